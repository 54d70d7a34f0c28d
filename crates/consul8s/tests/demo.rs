//! The demo, as a newcomer runs it: the real binary, in surroundings that would mislead it if it looked at them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use consul8s::demo::story::STORY;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The story takes two seconds; a busy machine may take much longer.
const STORY_LIMIT: Duration = Duration::from_secs(60);
/// Contract: SIGINT and SIGTERM end `demo` with 0 within this time.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The demo in an environment of which nothing may be used: all it names is closed. Its temporary files go to `folder`.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let kubeconfig = folder.join("closed");
    let closed = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
                  contexts: [{name: c, context: {cluster: c, user: c}}]\ncurrent-context: c\nusers: [{name: c}]\n";
    std::fs::write(&kubeconfig, closed).unwrap();
    let tmp = folder.join("tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_consul8s"));
    command.arg("demo").args(arguments).env("TMPDIR", tmp).env("KUBECONFIG", &kubeconfig);
    for (name, value) in [
        ("CONSUL_HTTP_ADDR", "127.0.0.1:1"),
        ("CONSUL_HTTP_TOKEN", "secret"),
        ("CONSUL_HTTP_SSL", "true"),
        ("CONSUL8S_CONSUL", "127.0.0.1:1"),
        ("CONSUL8S_NAMESPACE", "elsewhere"),
        ("CONSUL8S_DIRECTION", "to_kube"),
        ("CONSUL8S_ADMIN_ADDRESS", "127.0.0.1:1"),
        ("CONSUL8S_RUN_ONCE", "true"),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "1"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Whether nothing is left of its temporary files.
fn is_tidy(folder: &Path) -> bool {
    std::fs::read_dir(folder.join("tmp")).unwrap().next().is_none()
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> String {
    let found = timeout(STORY_LIMIT, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(wanted) {
                return line;
            }
        }
        panic!("it ended without printing {wanted:?}")
    });
    found.await.unwrap_or_else(|_| panic!("{wanted:?} is not printed"))
}

async fn terminate(mut child: Child) -> ExitStatus {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it runs");
    kill_process(pid, Signal::TERM).unwrap();
    timeout(END_LIMIT, child.wait()).await.expect("it ends in time").unwrap()
}

/// A PUT without body to a URL, as `curl -X PUT` sends it.
async fn put(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn once_it_tells_the_whole_story_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = timeout(STORY_LIMIT, demo(folder.path(), &["--once"]).output());
    let output = output.await.expect("it ends by itself").unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{log}");
    for step in STORY {
        assert!(told.contains(step.title), "{:?} in {told}", step.title);
    }
    assert!(told.contains(&format!("{0} of {0} steps followed", STORY.len())), "{told}");
    assert!(!told.contains('\x1b') && !told.contains("FAILED"), "{told}");
    assert!(!log.contains("INFO"), "the log does not get between the lines: {log}");
    assert!(is_tidy(folder.path()));
}

#[tokio::test]
async fn it_stays_up_and_follows_what_people_do_until_it_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The command as it is printed.
    let command = next(&mut lines, "/v1/agent/check/fail/").await;
    let fail = command.split_whitespace().last().unwrap();
    assert!(put(fail).await.starts_with("HTTP/1.1 200"), "{fail}");
    next(&mut lines, "ready → not ready").await;
    let pass = fail.replace("/fail/", "/pass/");
    assert!(put(&pass).await.starts_with("HTTP/1.1 200"), "{pass}");
    next(&mut lines, "not ready → ready").await;
    let status = terminate(child).await;
    assert_eq!(status.code(), Some(0));
    assert!(is_tidy(folder.path()));
}

#[tokio::test]
async fn it_can_be_ended_in_the_middle_of_the_story() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), &["--once"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Consul is away for a second now.
    next(&mut lines, "cannot be reached").await;
    assert_eq!(terminate(child).await.code(), Some(0));
    assert!(is_tidy(folder.path()));
}
