//! The client of the benches: connections that are kept, requests one after the other, and streams of JSON lines. As
//! fast as HTTP/1.1 gets, since what it costs counts as the floor.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Longer than any blocking query of a bench waits.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Where the benches' connections come from: Consul takes 200 from one address, and those of consul8s are not to be fewer
/// for being measured.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Consul's header with the index to wait above.
const INDEX: &str = "X-Consul-Index";

/// A server on 127.0.0.1.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: String,
    tls: Option<TlsConnector>,
    token: Option<String>,
}

/// One kept connection.
pub(crate) struct Connection {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Consul's index, 0 without one.
    pub(crate) index: u64,
    body: Bytes,
}

/// An answer that goes on, one JSON value a line.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

/// A line, and when it was there.
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) value: Value,
}

impl Endpoint {
    /// Plain HTTP at `address`.
    pub(crate) fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), tls: None, token: None }
    }

    /// HTTPS at `address`, where the certificates in `pem` and no others are trusted, as the holder of `token` if there
    /// is one.
    pub(crate) fn secure(address: &str, pem: &[u8], token: Option<&str>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = Some(TlsConnector::from(Arc::new(config)));
        Ok(Self { address: address.to_owned(), tls, token: token.map(str::to_owned) })
    }

    /// A new connection, ready for its first request.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let connecting = timeout(ANSWER_LIMIT, self.open()).await;
        let sender = connecting?.with_context(|| format!("connecting to {}", self.address))?;
        Ok(Connection { endpoint: self.clone(), sender })
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((OWN_ADDRESS, 0)))?;
        let stream = socket.connect(self.address.parse()?).await?;
        // Else a small write waits for the answer to the one before it.
        stream.set_nodelay(true)?;
        match &self.tls {
            None => drive(stream).await,
            Some(tls) => drive(tls.connect(ServerName::try_from("127.0.0.1")?, stream).await?).await,
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, kind);
                Bytes::from(serde_json::to_vec(body)?)
            }
        };
        Ok(request.body(Full::new(bytes))?)
    }
}

/// Speaks HTTP on `stream`, in a task that ends with the connection.
async fn drive<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // What breaks the connection is told by the request that it breaks.
    tokio::spawn(connection);
    Ok(sender)
}

impl Connection {
    /// Opens it again if the server has closed it, as servers do with one that has been idle for a while.
    pub(crate) async fn keep_open(&mut self) -> Result<()> {
        if self.sender.is_closed() {
            *self = self.endpoint.connect().await?;
        }
        Ok(())
    }

    /// Sends a request and receives its whole answer, whatever its status.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.keep_open().await?;
        let request = self.endpoint.request(method.clone(), path, body)?;
        let what = || format!("{method} {path}");
        within_limit(async {
            let response = self.begin(request).await?;
            let index = response.headers().get(INDEX).and_then(|value| value.to_str().ok()?.parse().ok());
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, index: index.unwrap_or(0), body })
        })
        .await
        .with_context(what)
    }

    /// The same, where an answer with another status than 2xx is an error.
    pub(crate) async fn expect(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let answer = self.send(method.clone(), path, body).await?;
        if !answer.status.is_success() {
            bail!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(answer)
    }

    /// GETs what goes on for ever; the connection is used up by it.
    pub(crate) async fn lines(mut self, path: &str) -> Result<Lines> {
        let request = self.endpoint.request(Method::GET, path, None)?;
        let response = within_limit(self.begin(request)).await.with_context(|| format!("GET {path}"))?;
        if !response.status().is_success() {
            bail!("GET {path}: {}", response.status());
        }
        Ok(Lines { body: response.into_body(), buffer: Vec::new() })
    }

    async fn begin(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

async fn within_limit<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = || anyhow!("no answer within {} s", ANSWER_LIMIT.as_secs());
    timeout(ANSWER_LIMIT, work).await.map_err(|_| limit())?
}

impl Answer {
    /// Its body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body.
    pub(crate) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Lines {
    /// The next line. May be dropped and called again without losing one.
    pub(crate) async fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let at = Instant::now();
                let value = serde_json::from_slice(&self.buffer[..end])?;
                self.buffer.drain(..=end);
                return Ok(Line { at, value });
            }
            let frame = self.body.frame().await.ok_or_else(|| anyhow!("the stream has ended"))??;
            self.buffer.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        }
    }
}
