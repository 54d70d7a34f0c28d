//! JSON over HTTP, to prepare and to look at both worlds. It shares no code with the program's own clients, so that it
//! doesn't share their bugs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::Outcome;

/// No server takes longer for what tests ask, but for a blocking query, which says itself how long.
const LIMIT: Duration = Duration::from_secs(30);

/// One server.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: Option<String>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// A server without TLS at `http://ADDRESS`.
    pub(crate) fn plain(address: &str) -> Http {
        Http::new(format!("http://{address}"), rustls::RootCertStore::empty(), None)
    }

    /// The same, which knows `token`.
    pub(crate) fn with_token(self, token: Option<&str>) -> Http {
        Http { token: token.map(str::to_owned), ..self }
    }

    /// A server with TLS, whose certificates are in `ca`, and who knows `token`.
    pub(crate) fn secure(base: &str, ca: &Path, token: &str) -> Outcome<Http> {
        let pem = std::fs::read(ca).map_err(|why| format!("reading {}: {why}", ca.display()))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|why| format!("{}: {why}", ca.display()))?;
            roots.add(certificate).map_err(|why| format!("{}: {why}", ca.display()))?;
        }
        Ok(Http::new(base.to_owned(), roots, Some(token.to_owned())))
    }

    fn new(base: String, roots: rustls::RootCertStore, token: Option<String>) -> Http {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions that the provider has")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Nothing is kept: scenarios restart servers, and a connection from before must not fail what is asked after it.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Http { client, base, token }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Outcome<Reply> {
        self.send(method, path, kind, in_bytes(body)).await
    }

    /// The same with a body that is anything.
    pub(crate) async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Outcome<Reply> {
        let what = format!("{method} {}{path}", self.base);
        let whole = async {
            let (head, body) = self.begin(method, path, kind, body).await?.into_parts();
            let body = body.collect().await.map_err(|why| format!("reading the answer: {why}"))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        let answer = tokio::time::timeout(LIMIT, whole).await;
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
            .map_err(|why: String| format!("{what}: {why}"))
    }

    /// Sends a request; the body of the answer can then be read piece by piece.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Outcome<Response<Incoming>> {
        self.begin(method, path, kind, in_bytes(body)).await
    }

    async fn begin(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Outcome<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(body)).map_err(|why| why.to_string())?;
        self.client.request(request).await.map_err(|why| reasons(&why))
    }
}

fn in_bytes(body: Option<&Value>) -> Bytes {
    body.map(Value::to_string).unwrap_or_default().into()
}

impl Reply {
    /// The body as JSON, if the status is a good one.
    pub(crate) fn json(&self) -> Outcome<Value> {
        if !self.status.is_success() {
            return Err(format!("{}: {}", self.status, self.text()));
        }
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|why| format!("{why} in {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An error with what it rests on: hyper's own first line says next to nothing.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
