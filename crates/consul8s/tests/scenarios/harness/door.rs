//! A door in front of a server: while it is shut, connections are refused; the server notices nothing.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Outcome;
use super::ports::free_address;

/// Shut at first.
pub(crate) struct Door {
    address: SocketAddr,
    server: String,
    open: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) fn before(server: &str) -> Door {
        Door { address: free_address(), server: server.to_owned(), open: None }
    }

    /// `HOST:PORT` to knock at.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets connections through from now on.
    pub(crate) async fn open(&mut self) -> Outcome {
        let listener = TcpListener::bind(self.address).await.map_err(|why| format!("{}: {why}", self.address))?;
        self.open = Some(tokio::spawn(pass(listener, self.server.clone())));
        Ok(())
    }

    /// Cuts all connections and refuses new ones.
    pub(crate) async fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            // It was cut off just now; that is no news.
            let _ = open.await;
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.abort();
        }
    }
}

async fn pass(listener: TcpListener, server: String) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((mut inside, _)) = listener.accept().await {
        let server = server.clone();
        connections.spawn(async move {
            let Ok(mut outside) = TcpStream::connect(&server).await else { return };
            // How a connection ends is not the door's business.
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        });
    }
}
