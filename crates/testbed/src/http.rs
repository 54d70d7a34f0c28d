//! A very small HTTP client: one request, one connection, one answer. Tests need no more to prepare and look at the
//! servers, and sharing the program's own clients would hide their bugs.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::rustls::{pki_types::CertificateDer, pki_types::pem::PemObject};

use crate::{Result, TestbedError};

/// Far above what a healthy server needs, and below what a person would wait.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Far above the largest answer that a test asks for; a limit, so that a bug can't eat the machine's memory.
const BODY_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, e.g. 200.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// The body as JSON; `Value::Null` when it isn't JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether the status is one of 200 to 299.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What is asked of whom.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// `127.0.0.1:PORT`.
    pub(crate) address: &'a str,
    /// With its query.
    pub(crate) path: &'a str,
    /// A header's name and value, such as the one with the token.
    pub(crate) header: Option<(&'static str, &'a str)>,
    /// Sent as JSON.
    pub(crate) body: Option<&'a Value>,
}

impl Request<'_> {
    /// Sends the request, over TLS when `tls` says whom to trust.
    pub(crate) async fn send(&self, tls: Option<&TlsConnector>) -> Result<Reply> {
        let answer = timeout(REQUEST_LIMIT, self.exchange(tls)).await;
        let failed = |reason: String| TestbedError::Request {
            method: self.method,
            url: format!("{}://{}{}", if tls.is_some() { "https" } else { "http" }, self.address, self.path),
            reason,
        };
        match answer {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {} s", REQUEST_LIMIT.as_secs()))),
        }
    }

    async fn exchange(&self, tls: Option<&TlsConnector>) -> IoResult<Reply> {
        let stream = TcpStream::connect(self.address).await?;
        let answer = match tls {
            None => self.talk(stream).await?,
            Some(tls) => {
                let name = ServerName::try_from("127.0.0.1").map_err(Error::other)?;
                self.talk(tls.connect(name, stream).await?).await?
            }
        };
        parse(&answer).ok_or_else(|| Error::new(ErrorKind::InvalidData, "the answer is not HTTP"))
    }

    /// HTTP/1.0 on purpose: the server then closes at the end of the body, and never sends it in chunks.
    async fn talk(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> IoResult<Vec<u8>> {
        let body = self.body.map(Value::to_string).unwrap_or_default();
        let mut text = format!("{} {} HTTP/1.0\r\nHost: {}\r\n", self.method, self.path, self.address);
        if let Some((name, value)) = self.header {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body.is_some() {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(BODY_LIMIT_BYTES).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// Status and body of a whole answer that ends with its connection.
fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: String::from_utf8_lossy(&answer[end + 4..]).into_owned() })
}

/// Trust in the certificates of a PEM text and in no others.
pub(crate) fn trust(pem: &[u8]) -> std::result::Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let reply = parse(b"HTTP/1.0 404 Not Found\r\nDate: today\r\n\r\n{\"a\":\r\n\r\n1}").unwrap();
        assert_eq!(reply, Reply { status: 404, body: "{\"a\":\r\n\r\n1}".to_owned() });
        assert_eq!(reply.json()["a"], 1);
        assert!(!reply.is_ok());
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bytes in [&b""[..], b"HTTP/1.0 200 OK\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(parse(bytes), None);
        }
    }
}
