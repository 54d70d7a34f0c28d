//! One request and its whole answer, in bounded time.

use std::time::Duration;

use bytes::Bytes;
use consul8s_core::ports::{ApiError, ErrorKind};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::time::Instant;

use crate::config::{Address, ClientConfig};
use crate::connection::{Lent, Outgoing};
use crate::credentials::Credentials;
use crate::dial::Dialer;
use crate::pool::{Lane, Pool};
use crate::recent::is_young;
use crate::request::Target;
use crate::turns::Turns;
use crate::{answer, error};

/// An ordinary read or a write, from its start to its last byte. A consistent read takes milliseconds; during an election a server
/// holds a request for up to 7 s.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Without an answer for this long, there may be none: as long as an election may hold a request.
const SUSPICIOUS: Duration = Duration::from_secs(7);
/// How long a read may queue for a connection behind polls that take turns. Such a round is a few seconds long.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections that may turn out to be dead before a request has left, until it counts as failed.
const MAX_ATTEMPTS: u32 = 4;

/// What client and writer share.
pub(crate) struct Transport {
    pub(crate) pool: Pool,
    pub(crate) credentials: Credentials,
    pub(crate) turns: Turns,
    pub(crate) namespace: Option<String>,
    pub(crate) partition: Option<String>,
    /// TLS without a certificate of our own. A server that asks for one may only break the connection: its reason comes after the handshake,
    /// and may come too late to be read.
    uncertified: bool,
}

/// What may be wrong when it breaks.
const UNCERTIFIED: &str = "; if Consul asks for a client certificate, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY give it";

/// A request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// What is asked instead over a connection that may lead to another Consul than the last one.
    pub(crate) fresh_target: Option<Target>,
    pub(crate) body: Bytes,
    pub(crate) lane: Lane,
    pub(crate) timeout: Duration,
    /// Whether to ask once more when a connection turns out to have ended while idle.
    pub(crate) repeatable: bool,
}

impl Call {
    /// Whether a healthy server answers it in no time.
    fn is_short(&self) -> bool {
        self.fresh_target.is_none()
    }
}

/// Watches over the wait for an answer. Whoever gives up earlier than this call would, as a write does whose claim is over, has learned
/// about the server what a time-out teaches.
struct Patience<'a> {
    pool: &'a Pool,
    address: usize,
    /// None for what may take long.
    began: Option<Instant>,
}

impl Patience<'_> {
    fn ends(mut self) {
        self.began = None;
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if self.began.is_some_and(|began| began.elapsed() >= SUSPICIOUS) {
            self.pool.distrust(self.address);
        }
    }
}

/// A whole answer.
pub(crate) struct Whole {
    /// Method and URL, for error texts.
    pub(crate) call: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) anonymous: bool,
    /// Position of the address that answered.
    pub(crate) address: usize,
    /// Whether it was asked as it stands, and not with [`Call::fresh_target`].
    pub(crate) indexed: bool,
    /// Whether it answers a blocking query, asked with its index.
    pub(crate) polled: bool,
    /// From the request to the last byte, without the time until there was a connection.
    pub(crate) took: Duration,
}

impl Transport {
    pub(crate) fn new(config: ClientConfig, dialer: std::sync::Arc<dyn Dialer>) -> Transport {
        let ClientConfig { mut addresses, token, basic_auth, tls, namespace, partition, max_connections } = config;
        if addresses.is_empty() {
            addresses.push(Address::local());
        }
        let uncertified = tls.client_cert.is_none() && addresses.iter().any(Address::is_secure);
        Transport {
            pool: Pool::new(addresses, dialer, max_connections),
            credentials: Credentials::new(token, basic_auth),
            turns: Turns::new(),
            namespace,
            partition,
            uncertified,
        }
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn exchange(&self, call: &Call) -> Result<Whole, ApiError> {
        let (token, _) = self.credentials.token()?;
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut lent = self.connect(call).await?;
            let address = self.pool.address(lent.address).clone();
            let may_be_another =
                |target: &&Target| lent.born.is_some_and(|born| self.pool.recent.may_be_another(target, born));
            let fresh_target = call.fresh_target.as_ref().filter(may_be_another);
            let (target, indexed) = (fresh_target.unwrap_or(&call.target), fresh_target.is_none());
            let name = format!("{} {}{}", call.method, address, target.as_str());
            let request = self.request(call, target, &address, lent.is_http2(), token.clone())?;
            // Polls queue for their turn; a write has its time all told, however long it queued.
            let queued = if call.lane == Lane::Reserved { began.elapsed() } else { Duration::ZERO };
            let left = call.timeout.saturating_sub(queued);
            let patience =
                Patience { pool: &self.pool, address: lent.address, began: call.is_short().then(Instant::now) };
            let sent = Instant::now();
            let answered = tokio::time::timeout(left, self.answer(&mut lent, request, &name)).await;
            patience.ends();
            match answered {
                Err(_) => {
                    self.pool.distrust(lent.address);
                    let what = format!("{name}: no complete answer within {left:.1?}");
                    return Err(ApiError::new(ErrorKind::Timeout, what));
                }
                Ok(Err(Failure::Broken { unsent, unanswered, .. }))
                    if lent.reused && attempt < MAX_ATTEMPTS && (unsent || (unanswered && call.repeatable)) => {}
                Ok(Err(Failure::Broken { reason, .. })) => {
                    self.pool.distrust(lent.address);
                    let hint = if self.uncertified && lent.born.is_some_and(is_young) { UNCERTIFIED } else { "" };
                    let what = format!("{name}: the connection broke: {reason}{hint}");
                    return Err(ApiError::new(ErrorKind::Unreachable, what));
                }
                Ok(Err(Failure::Final(error))) => {
                    self.pool.distrust(lent.address);
                    return Err(error);
                }
                Ok(Ok((status, headers, body))) => {
                    let address = lent.address;
                    self.pool.give_back(lent);
                    if status == StatusCode::OK {
                        self.pool.recent.answered(call.fresh_target.as_ref().unwrap_or(&call.target), sent);
                    }
                    let (anonymous, took) = (token.is_none(), sent.elapsed());
                    let polled = indexed && call.fresh_target.is_some();
                    return Ok(Whole { call: name, status, headers, body, anonymous, address, indexed, polled, took });
                }
            }
        }
    }

    /// The error of an answer that isn't 200.
    pub(crate) fn refused(&self, whole: &Whole) -> ApiError {
        let error = error::from_status(&whole.call, whole.status, &whole.headers, &whole.body);
        if matches!(error.kind, ErrorKind::Server | ErrorKind::Garbage) {
            self.pool.distrust(whole.address);
        }
        error
    }

    async fn connect(&self, call: &Call) -> Result<Lent, ApiError> {
        let patience = if call.lane == Lane::Reserved { call.timeout } else { QUEUE_TIMEOUT };
        // On the heap, and gone when it is done: what opens a connection is larger than what waits for an answer.
        let connecting = Box::pin(self.pool.connection(call.lane));
        let connected = tokio::time::timeout(patience, connecting).await;
        let named = |what: &str| format!("{} {}: {what}", call.method, call.target.as_str());
        match connected {
            Ok(Ok(lent)) => Ok(lent),
            Ok(Err(error)) => Err(ApiError { what: named(&error.what), ..error }),
            Err(_) => {
                let why = format!("no connection to {} was free within {patience:.0?}", self.pool.current());
                Err(ApiError::new(ErrorKind::Timeout, named(&why)))
            }
        }
    }

    async fn answer(
        &self,
        lent: &mut Lent,
        request: Outgoing,
        name: &str,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        let response = lent.send(request).await.map_err(|broken| Failure::Broken {
            reason: broken.reason,
            unsent: broken.unsent,
            unanswered: broken.unanswered,
        })?;
        let (parts, body) = response.into_parts();
        let body = answer::collect(name, &parts.headers, body).await.map_err(Failure::Final)?;
        Ok((parts.status, parts.headers, body))
    }

    fn request(
        &self,
        call: &Call,
        target: &Target,
        address: &Address,
        http2: bool,
        token: Option<HeaderValue>,
    ) -> Result<Outgoing, ApiError> {
        let path = format!("{}{}", address.prefix(), target.as_str());
        let invalid = |error: http::Error| ApiError::new(ErrorKind::Invalid, format!("{}: {error}", target.as_str()));
        let uri = Uri::builder().path_and_query(path);
        let uri = if http2 { uri.scheme(address.scheme()).authority(address.authority()) } else { uri };
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri.build().map_err(invalid)?;
        let headers = request.headers_mut();
        if !http2 {
            let host = HeaderValue::from_str(&address.authority()).map_err(|error| invalid(error.into()))?;
            headers.insert(header::HOST, host);
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("consul8s/", env!("CARGO_PKG_VERSION"))));
        if call.method == Method::PUT {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            headers.insert("x-consul-token", token);
        }
        if let Some(auth) = &self.credentials.basic_auth {
            headers.insert(header::AUTHORIZATION, auth.header());
        }
        Ok(request)
    }
}

enum Failure {
    Broken { reason: String, unsent: bool, unanswered: bool },
    Final(ApiError),
}
