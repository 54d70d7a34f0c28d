//! Counts what travels: forwards connections to a server, byte by byte as they come.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::servers::{Reach, Servers};

/// The servers, seen through counters.
pub(crate) struct Meters {
    consul: Meter,
    kube: Meter,
    reach: Reach,
    _folder: TempDir,
}

/// Bytes so far, as consul8s sees them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) from_consul: u64,
    pub(crate) from_kube: u64,
    pub(crate) to_kube: u64,
}

impl Meters {
    /// Counters in front of both servers.
    pub(crate) async fn start(servers: &Servers) -> Result<Self> {
        let reach = servers.reach();
        let consul = Meter::start(address(&reach.consul)).await?;
        let kube = Meter::start(address(servers.kubernetes.url())).await?;
        let folder = tempfile::Builder::new().prefix("consul8s-bench-").tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        copy_with(&reach.kubeconfig, &kubeconfig, address(servers.kubernetes.url()), &kube.address)?;
        let consul_url = reach.consul.replace(address(&reach.consul), &consul.address);
        let reach = Reach { consul: consul_url, kubeconfig, ..reach };
        Ok(Self { consul, kube, reach, _folder: folder })
    }

    /// Where consul8s is to find the servers.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// What has travelled so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let (from_consul, _) = self.consul.counts();
        let (from_kube, to_kube) = self.kube.counts();
        Traffic { from_consul, from_kube, to_kube }
    }
}

/// The part of a URL that is the address.
fn address(url: &str) -> &str {
    url.rsplit_once("://").map_or(url, |(_, address)| address)
}

fn copy_with(from: &Path, to: &Path, old: &str, new: &str) -> Result<()> {
    let text = fs::read_to_string(from).with_context(|| format!("reading {}", from.display()))?;
    fs::write(to, text.replace(old, new)).with_context(|| format!("writing {}", to.display()))
}

/// One server, seen through a counter.
struct Meter {
    address: String,
    counts: Arc<Counts>,
    _connections: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    down: AtomicU64,
    up: AtomicU64,
}

impl Meter {
    async fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (server, counts) = (server.to_owned(), Arc::new(Counts::default()));
        let mut connections = JoinSet::new();
        let all = counts.clone();
        connections.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                running.spawn(forward(client, server.clone(), all.clone()));
                while running.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, counts, _connections: connections })
    }

    /// Down to consul8s, and up to the server.
    fn counts(&self) -> (u64, u64) {
        (self.counts.down.load(Ordering::Relaxed), self.counts.up.load(Ordering::Relaxed))
    }
}

async fn forward(client: TcpStream, server: String, counts: Arc<Counts>) {
    // Whatever breaks, consul8s sees it as what it is: a broken connection.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(client_reads, server_writes, &counts.up) => {}
        () = copy(server_reads, client_writes, &counts.down) => {}
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
