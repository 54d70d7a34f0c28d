//! consul8s as a user runs it: the release build, a process of its own.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use hyper::Method;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::http::Endpoint;
use super::scrape::Scrape;
use super::servers::Reach;
use crate::cargo;

/// Ends the process when this one dies, however it dies; the same script that guards the servers.
const WATCHDOG: &str = include_str!("../../../crates/testbed/src/watchdog.sh");
/// Lines of the log that go into an error.
const TAIL_LINES: usize = 30;
/// Times in `/proc/PID/stat` are in hundredths of a second on every Linux that a program sees.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running consul8s. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    /// While this is open the watchdog lets it live.
    lifeline: ChildStdin,
    log: PathBuf,
    admin: Endpoint,
    // After the process: it logs in there.
    _folder: TempDir,
}

/// What a process has used of the machine.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Resident memory now.
    pub(crate) resident_mib: f64,
    /// The most resident memory so far.
    pub(crate) peak_mib: f64,
    /// Processor time so far, of user and system.
    pub(crate) cpu_seconds: f64,
}

/// Builds the release binary of this checkout and says where it is.
pub(crate) async fn build() -> Result<PathBuf> {
    eprintln!("bench: building consul8s (release)");
    let mut build = cargo::command();
    build.args(["build", "--release", "--package", "consul8s", "--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output().await.context("starting cargo")?;
    if !output.status.success() {
        bail!("cargo build --release ended with {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages).ok_or_else(|| anyhow!("cargo built no executable called consul8s"))
}

/// The path of the program among cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "consul8s")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

impl Program {
    /// Starts `binary` on the servers within `reach`, for `namespaces` (a list) and with an identity of its own, so that its node in
    /// Consul is not that of another one.
    pub(crate) fn start(binary: &Path, reach: &Reach, namespaces: &str) -> Result<Self> {
        let admin = free_address()?;
        let lease = namespaces.split(',').next().unwrap_or_default();
        let folder = tempfile::Builder::new().prefix("consul8s-bench-").tempdir()?;
        let log = folder.path().join("consul8s.log");
        let output = File::create(&log)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WATCHDOG, "watchdog"])
            .args([folder.path(), binary])
            .args(["run", "--consul", &reach.consul, "--kube-config-path"])
            .arg(&reach.kubeconfig)
            .args(["--namespace", namespaces, "--lease-name", lease, "--admin-address", &admin])
            // The settings of whoever runs the bench are not to be measured.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(reach.consul_ca.as_ref().map(|file| ("CONSUL_CACERT", file)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut child = command.spawn().with_context(|| format!("starting {}", binary.display()))?;
        let lifeline = child.stdin.take().ok_or_else(|| anyhow!("no pipe to the watchdog"))?;
        Ok(Self { child, lifeline, log, admin: Endpoint::plain(&admin), _folder: folder })
    }

    /// Its metrics as they are now.
    pub(crate) async fn metrics(&self) -> Result<Scrape> {
        let answer = self.admin.connect().await?.expect(Method::GET, "/metrics", None).await?;
        Ok(Scrape::parse(&answer.text()))
    }

    /// An error with the end of its log when it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("consul8s ended by itself ({status})\nend of its log:\n{}", self.log_tail()),
        }
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        usage_of(self.child.id())
    }
}

/// What the process `pid` has used so far.
pub(crate) fn usage_of(pid: u32) -> Result<Usage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).with_context(|| format!("reading {name} in /proc"));
    parse_usage(&read("status")?, &read("stat")?).ok_or_else(|| anyhow!("/proc looks different from what is known"))
}

/// An address on this machine that nobody listens on now.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}

/// Reads `/proc/PID/status` and `/proc/PID/stat`.
fn parse_usage(status: &str, stat: &str) -> Option<Usage> {
    let mebibytes = |field: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes / 1024.0)
    };
    // The name, in brackets, may hold anything; the 12th and 13th field after it are the times of user and system.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| -> Option<f64> { fields.get(index)?.parse().ok() };
    Some(Usage {
        resident_mib: mebibytes("VmRSS")?,
        peak_mib: mebibytes("VmHWM")?,
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
    })
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Tells the watchdog that all is in order; it fails only when that is gone too.
        let _ = self.lifeline.write_all(b"ended\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_proc() {
        let status = "Name:\tconsul8s\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t3\n";
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 1 2 3";
        let usage = parse_usage(status, stat).unwrap();
        assert_eq!((usage.resident_mib, usage.peak_mib, usage.cpu_seconds), (10.0, 20.0, 2.0));
        assert!(parse_usage("", stat).is_none());
        assert!(parse_usage(status, "42 (x) S 1").is_none());
    }

    #[test]
    fn the_executable_is_the_programs_own() {
        let messages = "{\"target\":{\"name\":\"other\"},\"executable\":\"/no\"}\nnoise\n\
                        {\"target\":{\"name\":\"consul8s\"},\"executable\":null}\n\
                        {\"target\":{\"name\":\"consul8s\"},\"executable\":\"/target/release/consul8s\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/target/release/consul8s")));
        assert_eq!(executable(""), None);
    }
}
