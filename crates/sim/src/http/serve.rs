//! Servers on sockets. Stopping one breaks its connections; the world stays.

use std::future::Future;
use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::body::Body;
use super::{consul, kube};
use crate::world::{ConsulWorld, Cut, KubeWorld};

/// A server that runs. Dropped, it stops.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and breaks all connections; returns when both are done, so that the port is free.
    pub async fn shutdown(mut self) {
        self.stop = None;
        // A task that panicked or was aborted listens no more either.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves Consul's API.
///
/// # Errors
/// The listener has no address.
pub fn serve_consul(world: ConsulWorld, listener: TcpListener) -> std::io::Result<Server> {
    start(listener, move |stream| consul_connection(world.clone(), stream))
}

/// Serves the Kubernetes API.
///
/// # Errors
/// The listener has no address.
pub fn serve_kube(world: KubeWorld, listener: TcpListener) -> std::io::Result<Server> {
    start(listener, move |stream| kube_connection(world.clone(), stream))
}

/// Serves Consul's API on one connection until either side ends it; for sockets and for `tokio::io::duplex`.
pub async fn consul_connection(world: ConsulWorld, stream: impl AsyncRead + AsyncWrite + Unpin) {
    connection(stream, |request| {
        let world = world.clone();
        async move { consul::respond(&world, request).await }
    })
    .await;
}

/// Serves the Kubernetes API on one connection until either side ends it; for sockets and for `tokio::io::duplex`.
pub async fn kube_connection(world: KubeWorld, stream: impl AsyncRead + AsyncWrite + Unpin) {
    connection(stream, |request| {
        let world = world.clone();
        async move { kube::respond(&world, request).await }
    })
    .await;
}

async fn connection<F>(stream: impl AsyncRead + AsyncWrite + Unpin, respond: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<Body>, Cut>>,
{
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).timer(TokioTimer::new());
    // How a connection ends is the client's to judge.
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(respond)).await;
}

fn start<F>(
    listener: TcpListener,
    serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> std::io::Result<Server>
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(accept(listener, serve, stopped));
    Ok(Server { address, stop: Some(stop), task })
}

async fn accept<F>(
    listener: TcpListener,
    serve: impl Fn(tokio::net::TcpStream) -> F,
    mut stopped: oneshot::Receiver<()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A failed accept concerns one client, who sees it.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}
