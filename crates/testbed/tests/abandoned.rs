//! Nothing is left when the process that wanted the servers goes without cleaning up.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions};
use tokio::time::{sleep, timeout};

/// Set in the process that is to be killed.
const HOLD: &str = "CONSUL8S_TESTBED_HOLD";

/// Starts everything, tells process ids and folders on one line, and never ends.
#[expect(clippy::print_stdout, reason = "how the process that kills this one learns what to look for")]
async fn hold() {
    let options = KubernetesOptions { controller_manager: true, ..KubernetesOptions::default() };
    let (kubernetes, consul) = tokio::join!(Kubernetes::start(options), Consul::start(ConsulOptions::default()));
    let (kubernetes, consul) = (kubernetes.expect("Kubernetes"), consul.expect("Consul"));
    let pids = kubernetes.pids().into_iter().chain(consul.pid()).map(|pid| format!("/proc/{pid}"));
    let folders = [kubernetes.folder(), consul.folder()].map(|folder| folder.display().to_string());
    println!("holding {}", pids.chain(folders).collect::<Vec<String>>().join(" "));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_is_left_after_a_kill() {
    if std::env::var_os(HOLD).is_some() {
        return hold().await;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "nothing_is_left_after_a_kill", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let held: Vec<PathBuf> = lines
        .find_map(|line| Some(line.ok()?.split_once("holding ")?.1.split(' ').map(PathBuf::from).collect()))
        .expect("the second process started its servers");
    assert_eq!(held.len(), 6, "{held:?}");
    assert!(held.iter().all(|path| path.exists()), "{held:?}");

    child.kill().expect("a kill");
    child.wait().expect("its end");
    let left = async {
        while held.iter().any(|path| is_there(path)) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), left).await.unwrap_or_else(|_| {
        panic!("still there: {:?}", held.iter().filter(|path| is_there(path)).collect::<Vec<_>>());
    });
}

/// A process that is dead, but that nobody has asked about yet, does no harm.
fn is_there(path: &Path) -> bool {
    let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
    path.exists() && !stat.contains(") Z ")
}

#[tokio::test]
async fn nothing_is_left_after_a_panic() {
    let (send, receive) = tokio::sync::oneshot::channel();
    let panicked = tokio::spawn(async move {
        let consul = Consul::start(ConsulOptions::default()).await.expect("Consul");
        let pid = consul.pid().expect("a process");
        send.send([PathBuf::from(format!("/proc/{pid}")), consul.folder().to_owned()]).expect("a listener");
        panic!("a panic on purpose; the log of Consul follows");
    });
    let held = receive.await.expect("Consul started");
    assert!(panicked.await.expect_err("a panic").is_panic());
    assert!(!held.iter().any(|path| path.exists()), "still there: {held:?}");
}
