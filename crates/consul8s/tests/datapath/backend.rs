//! Who answers: a TCP server at an address of its own, which tells its name to everybody who asks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::namespace::DEVICE;

/// What a client sends.
pub(crate) const QUESTION: &[u8] = b"who are you?\n";
/// How long a backend goes on answering when it is no longer registered.
pub(crate) const GRACE: Duration = Duration::from_secs(15);

static NEXT: AtomicU16 = AtomicU16::new(1);

/// A server. Dropped, it is gone at once; see [`Backend::retire`].
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Backend {
    /// Starts one at port 8080 of a new address.
    pub(crate) async fn start() -> Outcome<Backend> {
        let [high, low] = NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let address = Ipv4Addr::new(10, 77, high, low);
        let arguments = ["addr", "add", &format!("{address}/32"), "dev", DEVICE];
        let output = Command::new("ip").args(arguments).output().await.map_err(|why| format!("ip: {why}"))?;
        if !output.status.success() {
            return Err(format!("ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Backend::listen(SocketAddr::from((address, 8080))).await
    }

    /// Starts another one at the same address, with another port.
    pub(crate) async fn beside(&self, port: u16) -> Outcome<Backend> {
        Backend::listen(SocketAddr::new(self.address.ip(), port)).await
    }

    async fn listen(address: SocketAddr) -> Outcome<Backend> {
        let listener = TcpListener::bind(address).await.map_err(|why| format!("listening on {address}: {why}"))?;
        Ok(Backend { address, task: tokio::spawn(serve(listener, address.to_string())) })
    }

    /// What it answers: its address and port.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// Lets it end as real ones do: it answers for [`GRACE`] from now on.
    pub(crate) fn retire(self) {
        tokio::spawn(async move {
            sleep(GRACE).await;
            drop(self);
        });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, name.clone()));
    }
}

/// A client that goes away is no concern of the server's.
async fn answer(mut stream: TcpStream, name: String) {
    let mut question = [0; QUESTION.len()];
    if stream.read_exact(&mut question).await.is_ok() {
        let _ = stream.write_all(name.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}
