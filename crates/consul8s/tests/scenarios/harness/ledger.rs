//! Stands between the program and a plain server, changes nothing, and writes down what was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::Outcome;

/// A proxy that keeps a ledger.
pub(crate) struct Ledger {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Ledger {
    /// Before the server at `HOST:PORT`.
    pub(crate) async fn before(server: &str) -> Outcome<Ledger> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?;
        let asked = Arc::default();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let desk = Desk { client, server: server.to_owned(), asked: Arc::clone(&asked) };
        Ok(Ledger { address, asked, task: tokio::spawn(accept(listener, desk)) })
    }

    /// `HOST:PORT` to ask instead.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// All that was asked so far, as `METHOD PATH`.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// What was asked that a server may take for a change.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut all = self.asked();
        all.retain(|asked| !asked.starts_with("GET ") && !asked.starts_with("HEAD "));
        all
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Desk {
    client: Client<HttpConnector, BoxBody<Bytes, hyper::Error>>,
    server: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    async fn pass(self, request: Request<Incoming>) -> Result<Response<Incoming>, std::io::Error> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        lock(&self.asked).push(format!("{} {path}", head.method));
        head.uri = format!("http://{}{path}", self.server).parse().map_err(std::io::Error::other)?;
        let request = Request::from_parts(head, body.boxed());
        self.client.request(request).await.map_err(std::io::Error::other)
    }
}

async fn accept(listener: TcpListener, desk: Desk) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let desk = desk.clone();
        connections.spawn(async move {
            let service = service_fn(|request| desk.clone().pass(request));
            // How a connection ends is not the proxy's business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn lock(asked: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    asked.lock().expect("nobody panics while writing down")
}
