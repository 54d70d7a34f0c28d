//! One server process: started with its output in a file, ended for sure, started again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::{Result, TestbedError};

/// Lines of a log that go into an error or, after a panic, to standard error: enough for a Go stack trace's start.
const TAIL_LINES: usize = 60;
/// How often a server that was asked to end is looked at.
const EXIT_POLL: Duration = Duration::from_millis(10);

/// A server, running or not.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    /// The script that starts it.
    watchdog: PathBuf,
    /// What the watchdog removes when this process dies.
    folder: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// While this end of the pipe is open, the watchdog lets the server live.
    lifeline: ChildStdin,
}

impl Server {
    /// Describes a server that logs to `NAME.log` in `folder`; nothing runs yet.
    pub(crate) fn new(name: &str, program: PathBuf, arguments: Vec<String>, folder: &Path) -> Result<Self> {
        // Written once, and each server has its own: a shell reads its script while it runs.
        let watchdog = folder.join(format!("{name}.watchdog.sh"));
        fs::write(&watchdog, include_str!("watchdog.sh"))
            .map_err(TestbedError::io(format!("writing {}", watchdog.display())))?;
        Ok(Self {
            name: name.to_owned(),
            program,
            arguments,
            log: folder.join(format!("{name}.log")),
            watchdog,
            folder: folder.to_owned(),
            running: None,
        })
    }

    /// Starts it. It runs in a process group of its own, so that a Ctrl-C in the terminal reaches only the program
    /// that holds this value, which then ends its servers in its own order.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        self.kill();
        let open_log = || OpenOptions::new().create(true).append(true).open(&self.log);
        let opening = || TestbedError::io(format!("opening {}", self.log.display()));
        let (stdout, stderr) = (open_log().map_err(opening())?, open_log().map_err(opening())?);
        let mut child = Command::new("/bin/sh")
            .arg(&self.watchdog)
            .arg(&self.folder)
            .arg(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(TestbedError::io(format!("starting {} with /bin/sh", self.name)))?;
        // Always there, since it was asked for above.
        self.running = child.stdin.take().map(|lifeline| Running { child, lifeline });
        Ok(())
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Ends it as a power cut would, and waits until it is gone. Nothing happens when it doesn't run.
    pub(crate) fn kill(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        // Both fail only for a process that is gone already, which is what is wanted.
        let _ = running.child.kill();
        let _ = running.child.wait();
        running.release();
    }

    /// Asks it to end (SIGTERM) and waits; kills it when it takes longer than `limit`. Returns whether it ended by
    /// itself.
    pub(crate) async fn terminate(&mut self, limit: Duration) -> bool {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only for a process that is gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + limit;
        while self.exit_status().is_none() && self.running.is_some() && Instant::now() < deadline {
            sleep(EXIT_POLL).await;
        }
        let ended = self.exit_status().is_some();
        self.kill();
        ended
    }

    /// How it ended, if it has been started and ended by itself since.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.running.as_mut().and_then(|running| running.child.try_wait().ok().flatten())
    }

    /// An error when it has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => Err(TestbedError::Exited {
                server: self.name.clone(),
                status,
                command: self.command_line(),
                log: self.log_tail(),
            }),
        }
    }

    /// The error for a server that runs, but did not become `wanted`.
    pub(crate) fn not_ready(&self, wanted: &'static str, limit: Duration, last: String) -> TestbedError {
        TestbedError::NotReady {
            server: self.name.clone(),
            wanted,
            seconds: limit.as_secs(),
            last,
            command: self.command_line(),
            log: self.log_tail(),
        }
    }

    fn command_line(&self) -> String {
        format!("{} {}", self.program.display(), self.arguments.join(" "))
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Running {
    /// Tells the watchdog that the server was ended in good order: its folder stays.
    fn release(mut self) {
        // Fails only when the watchdog is gone already; then there is nobody to tell.
        let _ = self.lifeline.write_all(b"ended\n");
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the server said; the test harness captures it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the log of {} ({}) ---\n{}", self.name, self.command_line(), self.log_tail());
        }
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    /// A shell that runs `script`, in a folder of its own.
    fn shell(script: &str) -> (TempDir, Server) {
        let folder = tempfile::tempdir().unwrap();
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let mut server = Server::new("shell", "/bin/sh".into(), arguments, folder.path()).unwrap();
        server.spawn().unwrap();
        (folder, server)
    }

    async fn until(condition: impl Fn() -> bool) {
        let waiting = async {
            while !condition() {
                sleep(EXIT_POLL).await;
            }
        };
        timeout(Duration::from_secs(10), waiting).await.unwrap();
    }

    fn runs(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[tokio::test]
    async fn an_abandoned_server_goes_with_its_children_and_its_folder() {
        let (folder, mut server) = shell("sleep 300 & echo $! >child; echo $$ >self; wait");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        until(|| !read("self").is_empty()).await;
        let pids = [read("child"), read("self")].map(|pid| pid.trim().to_owned());
        assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
        assert_eq!(Some(pids[1].clone()), server.pid().map(|pid| pid.to_string()));

        // What the kernel does when this process dies.
        drop(server.running.take().unwrap().lifeline);
        until(|| !pids.iter().any(|pid| runs(pid)) && !folder.path().exists()).await;
    }

    #[tokio::test]
    async fn a_stopped_server_leaves_its_folder() {
        let (folder, mut server) = shell("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done");
        until(|| server.log_tail() == "up").await;
        assert!(server.terminate(Duration::from_secs(10)).await);
        assert_eq!((server.log_tail().as_str(), server.pid()), ("up\nasked", None));

        let (_other, mut stubborn) = shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
        until(|| stubborn.log_tail() == "up").await;
        assert!(!stubborn.terminate(Duration::from_millis(200)).await);
        assert!(folder.path().exists());
    }

    #[tokio::test]
    async fn a_server_that_ends_says_how_and_what_it_said() {
        let (_folder, mut server) = shell("echo no such luck >&2; exit 3");
        let pid = server.pid().unwrap().to_string();
        until(|| !runs(&pid)).await;
        let error = server.check_alive().unwrap_err().to_string();
        for part in ["shell ended by itself (exit status: 3)", "command: /bin/sh -c", "no such luck"] {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
    }
}
