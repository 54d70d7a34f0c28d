//! A client over an in-memory connection, which knows nothing but HTTP.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

use bytes::Bytes;
use consul8s_sim::http::{consul_connection, kube_connection};
use consul8s_sim::{ConsulWorld, KubeWorld};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn index(&self) -> u64 {
        self.header("X-Consul-Index").parse().unwrap()
    }
}

/// A client on one connection.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn consul(world: &ConsulWorld) -> Client {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(consul_connection(world.clone(), far));
        Client::over(near).await
    }

    pub(crate) async fn kube(world: &KubeWorld) -> Client {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(kube_connection(world.clone(), far));
        Client::over(near).await
    }

    pub(crate) async fn over(
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    ) -> Client {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Client(sender)
    }

    pub(crate) async fn open(&mut self, method: Method, path: &str, kind: &str, body: &str) -> hyper::Result<Response> {
        let request = Request::builder().method(method).uri(path).header("content-type", kind).header("host", "sim");
        self.0.ready().await?;
        self.0.send_request(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, kind: &str, body: &str) -> hyper::Result<Reply> {
        let response = self.open(method, path, kind, body).await?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, text: String::from_utf8_lossy(&bytes).into() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, "", "").await.unwrap()
    }

    pub(crate) async fn put(&mut self, path: &str, body: &str) -> Reply {
        self.send(Method::PUT, path, "application/json", body).await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send(Method::POST, path, "application/json", body).await.unwrap()
    }

    pub(crate) async fn merge(&mut self, path: &str, body: &str) -> Reply {
        self.send(Method::PATCH, path, "application/merge-patch+json", body).await.unwrap()
    }

    pub(crate) async fn delete(&mut self, path: &str, body: &str) -> Reply {
        self.send(Method::DELETE, path, "application/json", body).await.unwrap()
    }
}

pub(crate) type Response = http::Response<hyper::body::Incoming>;

/// Lines of a watch.
pub(crate) struct Lines(hyper::body::Incoming, Vec<u8>);

impl Lines {
    pub(crate) fn of(response: Response) -> Lines {
        Lines(response.into_body(), Vec::new())
    }

    /// The next line as JSON; none at the end, an error when the connection broke.
    pub(crate) async fn next(&mut self) -> Option<Result<Value, hyper::Error>> {
        loop {
            if let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.1.drain(..=end).collect();
                return Some(Ok(serde_json::from_slice(&line).unwrap()));
            }
            match self.0.frame().await? {
                Ok(frame) => self.1.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(why) => return Some(Err(why)),
            }
        }
    }

    /// The next event, as `TYPE NAME`.
    pub(crate) async fn event(&mut self) -> String {
        let line = self.next().await.unwrap().unwrap();
        let name = line["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", line["type"].as_str().unwrap()).trim_end().to_owned()
    }
}

/// Lets every task that can go on do so.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
