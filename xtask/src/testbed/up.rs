//! `cargo xtask testbed up`: a playground.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use consul8s_testbed::binaries::{CONSUL, KUBECTL, PLAYGROUND, Program};
use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions, TestbedError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::build;

/// How often the servers are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Starts Kubernetes and Consul, says how to reach them, and ends them at a signal, or when one of them fails.
pub(crate) async fn up() -> Result<()> {
    build::build(PLAYGROUND).await?;
    let mut signals = Signals::new().context("listening for signals")?;
    eprintln!("testbed: starting Kubernetes and Consul");
    let starting = async {
        let options = KubernetesOptions { controller_manager: true, ..KubernetesOptions::default() };
        tokio::try_join!(Kubernetes::start(options), Consul::start(ConsulOptions::default()))
    };
    let (mut kubernetes, mut consul) = tokio::select! {
        started = starting => started?,
        () = signals.any() => return Ok(()),
    };
    explain(&kubernetes, &consul)?;
    let result = tokio::select! {
        failure = first_failure(&mut kubernetes, &mut consul) => Err(failure.into()),
        () = signals.any() => Ok(()),
    };
    // Not with eprintln, which panics when the terminal is gone; that is how a hangup comes.
    let _ = writeln!(io::stderr(), "\ntestbed: ending the servers and removing their data");
    result
}

/// What asks a program in the foreground to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

async fn first_failure(kubernetes: &mut Kubernetes, consul: &mut Consul) -> TestbedError {
    loop {
        if let Err(error) = kubernetes.check_alive().and_then(|()| consul.check_alive()) {
            return error;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The line to copy on standard output, all else on standard error.
fn explain(kubernetes: &Kubernetes, consul: &Consul) -> Result<()> {
    let kubeconfig = shell_word(&kubernetes.kubeconfig().display().to_string());
    let mut stdout = io::stdout().lock();
    // One who reads no output needs none.
    let _ = writeln!(stdout, "export KUBECONFIG={kubeconfig} CONSUL_HTTP_ADDR={}", consul.http_addr());
    eprintln!(
        "\n\
         Kubernetes is at {}, Consul at http://{} (its web page, too).\n\
         In another terminal, paste the line above. kubectl and consul are here, if you have none:\n\
         \n    export PATH={}:{}:\"$PATH\"\n\
         \n\
         Then try:\n\
         \n    kubectl get services --all-namespaces\
         \n    consul catalog services\
         \n    cargo run -- run          # consul8s, connected to both\n\
         \n\
         There are no nodes, so pods don't run; Services and EndpointSlices work as anywhere.\n\
         Logs are in {} and {}.\n\
         Ctrl-C ends all of it and removes the data.",
        kubernetes.url(),
        consul.http_addr(),
        folder_of(&KUBECTL)?,
        folder_of(&CONSUL)?,
        kubernetes.folder().display(),
        consul.folder().display(),
    );
    Ok(())
}

fn folder_of(program: &Program) -> Result<String> {
    let path = program.locate()?;
    Ok(shell_word(&path.parent().unwrap_or(Path::new(".")).display().to_string()))
}

/// A word that every shell takes as it is meant.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_needed() {
        assert_eq!(shell_word("/tmp/a-b_c.1"), "/tmp/a-b_c.1");
        assert_eq!(shell_word("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
