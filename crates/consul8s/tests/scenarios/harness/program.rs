//! The program under test: the real binary, told everything by flags, watched from outside.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use http::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::Outcome;
use super::http::Http;
use super::metrics::Scrape;
use super::wait::{SOON, eventually, so};

const BINARY: &str = env!("CARGO_BIN_EXE_consul8s");
/// Commands that don't run for ever end within this time, also when a server is away.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Runs the program, and kills it and removes its folder (`$0`) when this process dies and so closes the pipe; a line
/// before that says that it has ended already.
const WATCHDOG: &str =
    r#"exec 3<&0 </dev/null; ( read -r _ <&3 || { kill -s KILL $$; rm -rf "$0"; } ) & exec "$@" 3<&-"#;

/// Runs the rest of its arguments with another file as the system's configuration of DNS.
const WITH_DNS: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

/// Runs the rest of its arguments with so many file descriptors.
const WITH_FILES: &str = r#"ulimit -n "$0" && exec "$@""#;

/// A command line to be run.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(super) folder: PathBuf,
    pub(super) number: usize,
    pub(super) kubeconfig: PathBuf,
    pub(super) consul: String,
    pub(super) admin: String,
    pub(super) lease: String,
    pub(super) flags: Vec<String>,
    /// More of its environment.
    pub(super) environment: Vec<(String, String)>,
    /// The name server to ask instead of the system's.
    pub(super) dns: Option<Ipv4Addr>,
    /// File descriptors that it may have.
    pub(super) files: Option<u32>,
    pub(super) log: LogTo,
}

/// Who reads its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogTo {
    /// A file takes it.
    File,
    /// Nobody, but it may be that somebody will.
    Unread,
    /// Nobody any more.
    Closed,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Launch {
    /// With these flags too.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Launch {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// With none of the flags that it has so far: without namespace of its own.
    pub(crate) fn bare(self) -> Launch {
        Launch { flags: Vec::new(), ..self }
    }

    /// Without flags that say which namespaces.
    pub(crate) fn without_scope(mut self) -> Launch {
        if let Some(at) = self.flags.iter().position(|flag| flag == "--namespace") {
            self.flags.drain(at..at + 2);
        }
        self
    }

    /// With this in its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the environment of another, such as its token.
    pub(crate) fn with_rights_of(self, other: &Launch) -> Launch {
        Launch { environment: other.environment.clone(), ..self }
    }

    /// With Consul at this address.
    pub(crate) fn consul(self, address: &str) -> Launch {
        Launch { consul: address.to_owned(), ..self }
    }

    /// With this name server, in a mount namespace of its own: only root may.
    pub(crate) fn dns(self, server: Ipv4Addr) -> Launch {
        Launch { dns: Some(server), ..self }
    }

    /// With so many file descriptors.
    pub(crate) fn files(self, files: u32) -> Launch {
        Launch { files: Some(files), ..self }
    }

    /// With a log that nobody reads.
    pub(crate) fn unread(self) -> Launch {
        Launch { log: LogTo::Unread, ..self }
    }

    /// With a log whose reader has gone.
    pub(crate) fn log_closed(self) -> Launch {
        Launch { log: LogTo::Closed, ..self }
    }

    /// With this kubeconfig.
    pub(crate) fn kubeconfig(self, path: &Path) -> Launch {
        Launch { kubeconfig: path.to_owned(), ..self }
    }

    /// As another installation: with a Lease of this name.
    pub(crate) fn lease(self, name: &str) -> Launch {
        Launch { lease: name.to_owned(), ..self }
    }

    /// With health and metrics at this address.
    pub(crate) fn admin(self, address: &str) -> Launch {
        Launch { admin: address.to_owned(), ..self }
    }

    /// Starts it; it runs until it is ended.
    pub(crate) fn start(self) -> Outcome<Running> {
        let log = self.log_file();
        let file = || std::fs::File::create(&log).map_err(|why| format!("creating {}: {why}", log.display()));
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(WATCHDOG).arg(&self.folder);
        if let Some(server) = self.dns {
            let path = self.folder.join("resolv.conf");
            let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
            std::fs::write(&path, text).map_err(|why| format!("writing {}: {why}", path.display()))?;
            command.args(["unshare", "--mount", "/bin/sh", "-c", WITH_DNS]).arg(path);
        }
        if let Some(files) = self.files {
            command.args(["/bin/sh", "-c", WITH_FILES]).arg(files.to_string());
        }
        command.arg(BINARY).args(self.arguments());
        let (output, errors) = match self.log {
            LogTo::File => {
                let output = file()?;
                let errors = output.try_clone().map_err(|why| why.to_string())?;
                (Stdio::from(output), Stdio::from(errors))
            }
            LogTo::Unread | LogTo::Closed => (Stdio::piped(), Stdio::piped()),
        };
        self.surroundings(&mut command).stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(|why| format!("starting {BINARY}: {why}"))?;
        let lifeline = child.stdin.take();
        if self.log == LogTo::Closed {
            drop((child.stdout.take(), child.stderr.take()));
        }
        Ok(Running { child, lifeline, admin: Http::plain(&self.admin), log })
    }

    /// Runs it to its end; `command` are the words before the flags, such as `plan`.
    pub(crate) async fn finish(self, command: &[&str]) -> Outcome<Finished> {
        let mut process = Command::new(BINARY);
        process.args(command).args(self.arguments()).kill_on_drop(true);
        self.surroundings(&mut process).stdin(Stdio::null());
        let output = timeout(COMMAND_LIMIT, process.output()).await;
        let output = output.map_err(|_| format!("consul8s {command:?} still runs after {COMMAND_LIMIT:?}"))?;
        let output = output.map_err(|why| format!("starting {BINARY}: {why}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let finished =
            Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        // Kept beside the logs, for when the scenario fails.
        let _ = std::fs::write(self.log_file(), format!("consul8s {command:?}: {finished:#?}"));
        Ok(finished)
    }

    fn arguments(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.display().to_string();
        let usual = [
            ("--kubeconfig", kubeconfig.as_str()),
            ("--consul", &self.consul),
            ("--admin-address", &self.admin),
            ("--lease-name", &self.lease),
        ];
        let usual = usual.iter().flat_map(|(flag, value)| [flag, value]);
        usual.map(|&flag| flag.to_owned()).chain(self.flags.iter().cloned()).collect()
    }

    /// Nothing of the user's own environment may reach it.
    fn surroundings<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().env("HOME", &self.folder).current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in ["PATH", "RUST_BACKTRACE", "CONSUL8S_LOG_LEVEL"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("consul8s-{}.log", self.number))
    }
}

/// A program that was started. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    lifeline: Option<ChildStdin>,
    admin: Http,
    log: PathBuf,
}

impl Running {
    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How much of its log waits for a reader, in bytes ([`Launch::unread`]).
    pub(crate) fn unread(&self) -> Outcome<u64> {
        let log = self.child.stderr.as_ref().ok_or("its log goes elsewhere")?;
        rustix::io::ioctl_fionread(log).map_err(|why| why.to_string())
    }

    /// From now on it may have so many file descriptors; what it has open stays.
    pub(crate) fn may_have(&self, files: u64) -> Outcome {
        let limit = Rlimit { current: Some(files), maximum: Some(1024) };
        prlimit(Some(self.pid()?), Resource::Nofile, limit).map(drop).map_err(|why| format!("prlimit: {why}"))
    }

    /// Status of a GET on the admin address.
    pub(crate) async fn status(&self, path: &str) -> Outcome<StatusCode> {
        Ok(self.admin.ask(Method::GET, path, "", None).await?.status)
    }

    /// Waits until a path of the admin address answers 200.
    pub(crate) async fn answers(&self, path: &str) -> Outcome {
        eventually(&format!("{path} is green"), SOON, async || {
            let status = self.status(path).await?;
            so(status == StatusCode::OK, || status.to_string())
        })
        .await
    }

    /// A scrape of its metrics.
    pub(crate) async fn scrape(&self) -> Outcome<Scrape> {
        Ok(Scrape(self.admin.ask(Method::GET, "/metrics", "", None).await?.text()))
    }

    /// Waits until the sum of a metric's samples is as `right` wants it.
    pub(crate) async fn counts(&self, name: &str, labels: &[(&str, &str)], right: impl Fn(f64) -> bool) -> Outcome {
        eventually(&format!("{name} {labels:?}"), SOON, async || {
            let sum = self.scrape().await?.count(name, labels);
            so(right(sum), || sum.to_string())
        })
        .await
    }

    /// How many writes of slices, Services and registrations it has tried.
    pub(crate) async fn writes(&self) -> Outcome<f64> {
        Ok(self.scrape().await?.count("consul8s_writes_total", &[]))
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(mut self) -> Outcome {
        self.child.kill().await.map_err(|why| format!("killing it: {why}"))
    }

    /// Asks it to end, as the platform does, and gives its exit code.
    pub(crate) async fn terminate(mut self, limit: Duration) -> Outcome<i32> {
        self.signal(Signal::TERM)?;
        self.ended(limit).await
    }

    /// Sends it a signal, such as the one that makes it stand still.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        kill_process(self.pid()?, signal).map_err(|why| format!("{signal:?}: {why}"))
    }

    fn pid(&self) -> Outcome<Pid> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        pid.ok_or_else(|| format!("it had ended already: {}", self.log()))
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Outcome<i32> {
        let status: ExitStatus = match timeout(limit, self.child.wait()).await {
            Ok(status) => status.map_err(|why| why.to_string())?,
            Err(_) => return Err(format!("it still runs after {limit:?}")),
        };
        status.code().ok_or_else(|| format!("it ended without exit code: {status}"))
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> Outcome {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("it has ended: {status}")),
            Err(why) => Err(why.to_string()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a process that is gone already.
        let _ = self.child.start_kill();
        if let Some(lifeline) = self.lifeline.take() {
            release(lifeline);
        }
    }
}

/// Tells the watchdog that there is nobody left to kill.
fn release(lifeline: ChildStdin) {
    use std::io::Write;
    if let Ok(pipe) = lifeline.into_owned_fd() {
        // Fails only when the watchdog is gone already.
        let _ = std::fs::File::from(pipe).write_all(b"ended\n");
    }
}
