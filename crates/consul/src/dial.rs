//! Opens one connection: name lookup, TCP, TLS. A trait, so that tests can hand in the end of an in-memory pipe.

use std::error::Error;
use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tower::ServiceExt as _;

use crate::config::{Address, TlsConfig};
use crate::tls::Tls;

/// One address gets this long for lookup, TCP and TLS together, before the next one is tried.
const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// A load balancer drops what is silent for 60 s, often without a word, and long polls are silent for minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(20);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// What was sent and is not acknowledged for this long: the other side is gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// A byte stream to Consul.
pub trait Stream: hyper::rt::Read + hyper::rt::Write + Send + Unpin {}
impl<T: hyper::rt::Read + hyper::rt::Write + Send + Unpin> Stream for T {}

/// An open connection.
pub struct Dialed {
    /// The bytes.
    pub stream: Box<dyn Stream>,
    /// Whether both sides agreed on HTTP/2.
    pub http2: bool,
}

impl Dialed {
    /// A connection over any tokio stream, speaking HTTP/1.1.
    pub fn http1(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static) -> Dialed {
        Dialed { stream: Box::new(TokioIo::new(stream)), http2: false }
    }
}

/// Opens connections.
pub trait Dialer: Send + Sync + 'static {
    /// Opens one to this address, in bounded time.
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Dialed>>;

    /// A number that goes up when connections that are open should be used no more, since certificates have changed; none where that
    /// can't happen.
    fn revision(&self) -> Option<u64> {
        None
    }
}

/// The real network.
pub(crate) struct Network {
    tcp: HttpConnector,
    tls: Tls,
}

impl Network {
    pub(crate) fn new(tls: TlsConfig) -> Network {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_AFTER));
        tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
        tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        tcp.set_connect_timeout(Some(DIAL_TIMEOUT));
        Network { tcp, tls: Tls::new(tls) }
    }
}

impl Dialer for Network {
    fn revision(&self) -> Option<u64> {
        self.tls.rotates().then(|| self.tls.revision())
    }

    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Dialed>> {
        let uri = Uri::builder().scheme(address.scheme()).authority(address.authority()).path_and_query("/").build();
        let tcp = self.tcp.clone();
        let tls = address.is_secure().then(|| self.tls.current());
        let server_name = self.tls.server_name().map(str::to_owned);
        Box::pin(async move {
            let uri = uri.map_err(io::Error::other)?;
            let dialing = async move {
                let Some(tls) = tls else {
                    let stream = tcp.oneshot(uri).await.map_err(|error| io::Error::other(reason(&error)))?;
                    return Ok(Dialed { stream: Box::new(stream), http2: false });
                };
                let tls = (*tls?).clone();
                let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
                let builder = match server_name {
                    Some(name) => {
                        let name = ServerName::try_from(name).map_err(io::Error::other)?;
                        builder.with_server_name_resolver(FixedServerNameResolver::new(name))
                    }
                    None => builder,
                };
                let connector = builder.enable_http1().enable_http2().wrap_connector(tcp);
                let stream = connector.oneshot(uri).await.map_err(|error| io::Error::other(reason(&*error)))?;
                let http2 = stream.connected().is_negotiated_h2();
                Ok(Dialed { stream: Box::new(stream), http2 })
            };
            tokio::time::timeout(DIAL_TIMEOUT, dialing)
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        })
    }
}

/// An error with what caused it: the outermost text alone ("tcp connect error") says too little.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
