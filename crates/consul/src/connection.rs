//! One connection and the request that rides on it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::dial::{Stream, reason};

/// HTTP/2 pings, so that a dead peer shows while polls wait for minutes.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A request without a body, or with a small one.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// An idle HTTP/1.1 connection.
pub(crate) struct Idle {
    pub(crate) sender: http1::SendRequest<Full<Bytes>>,
    /// Position of its address.
    pub(crate) address: usize,
    pub(crate) since: Instant,
    /// The dialer's revision when it was opened.
    pub(crate) revision: Option<u64>,
    slot: Slot,
}

/// The slot of an HTTP/1.1 connection while it is in use. Held by the request and by the task of the connection: a request that is
/// given up closes its connection, and only when that has happened may the next one open another.
#[derive(Clone)]
struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slot {
    fn new(permit: OwnedSemaphorePermit) -> Slot {
        Slot(Arc::new(Mutex::new(Some(permit))))
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

/// An HTTP/2 connection, shared by many requests.
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<Full<Bytes>>,
    pub(crate) address: usize,
    pub(crate) streams: Arc<AtomicUsize>,
    /// The dialer's revision when it was opened.
    pub(crate) revision: Option<u64>,
    born: Instant,
    /// It counts as one connection for as long as it lives.
    _slot: OwnedSemaphorePermit,
}

impl Shared {
    /// Room for one more request, at most `limit` at a time.
    pub(crate) fn lend(&self, limit: usize) -> Option<Lent> {
        if self.sender.is_closed() || self.streams.load(Ordering::Relaxed) >= limit {
            return None;
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lent {
            sender: Sender::Http2(self.sender.clone()),
            address: self.address,
            born: Some(self.born),
            reused: true,
            revision: self.revision,
            hold: Hold::Stream(self.streams.clone()),
        })
    }
}

/// A connection for one request.
pub(crate) struct Lent {
    sender: Sender,
    pub(crate) address: usize,
    /// When it was opened; none where it has carried requests since. Consul may be another one than the caller's last answer came from:
    /// no blocking query with an old index may go out first, since one above Consul's own index would wait for nothing.
    pub(crate) born: Option<Instant>,
    /// Whether it may have died since it carried its last request.
    pub(crate) reused: bool,
    /// The dialer's revision when it was opened.
    pub(crate) revision: Option<u64>,
    hold: Hold,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a running request occupies.
enum Hold {
    Slot(Slot),
    Stream(Arc<AtomicUsize>),
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Hold::Stream(streams) = self {
            streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Why a request has no answer.
pub(crate) struct Broken {
    pub(crate) reason: String,
    /// Not a byte of it left.
    pub(crate) unsent: bool,
    /// The connection ended before the first byte of an answer.
    pub(crate) unanswered: bool,
}

impl Lent {
    /// An idle connection, taken up again.
    pub(crate) fn again(idle: Idle, permit: OwnedSemaphorePermit) -> Lent {
        idle.slot.set(Some(permit));
        Lent {
            sender: Sender::Http1(idle.sender),
            address: idle.address,
            born: None,
            reused: true,
            revision: idle.revision,
            hold: Hold::Slot(idle.slot),
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends, and waits for the head of the answer. Dropped midway, an HTTP/1.1 connection closes and an HTTP/2 stream is reset.
    pub(crate) async fn send(&mut self, request: Outgoing) -> Result<Response<Incoming>, Broken> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        let mut failed = match sent {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let unsent = failed.take_message().is_some();
        let error = failed.into_error();
        Err(Broken { reason: reason(&error), unsent, unanswered: error.is_incomplete_message() })
    }

    /// The connection for the next request, once the whole answer has been read.
    pub(crate) fn into_idle(self) -> Option<Idle> {
        match (self.sender, &self.hold) {
            (Sender::Http1(sender), Hold::Slot(slot)) if !sender.is_closed() => {
                slot.set(None);
                let (address, revision) = (self.address, self.revision);
                Some(Idle { sender, address, since: Instant::now(), revision, slot: slot.clone() })
            }
            _ => None,
        }
    }
}

/// Puts an HTTP/1.1 connection into service. Its task ends with its last handle.
pub(crate) async fn http1(stream: Box<dyn Stream>, address: usize, permit: OwnedSemaphorePermit) -> io::Result<Lent> {
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let slot = Slot::new(permit);
    let held = slot.clone();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(reason = reason(&error), "connection to Consul ended");
        }
        drop(held);
    });
    let hold = Hold::Slot(slot);
    let born = Some(Instant::now());
    Ok(Lent { sender: Sender::Http1(sender), address, born, reused: false, revision: None, hold })
}

/// Puts an HTTP/2 connection into service. Its task ends with its last handle.
pub(crate) async fn http2(stream: Box<dyn Stream>, address: usize, slot: OwnedSemaphorePermit) -> io::Result<Shared> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(stream)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(reason = reason(&error), "HTTP/2 connection to Consul ended");
        }
    });
    Ok(Shared { sender, address, streams: Arc::default(), revision: None, born: Instant::now(), _slot: slot })
}
