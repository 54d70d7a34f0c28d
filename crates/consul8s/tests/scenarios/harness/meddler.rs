//! Stands between the program and a server, and spoils answers.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Outcome;
use super::http::Http;
use super::wait::{SOON, eventually, so};

const INDEX: &str = "x-consul-index";

/// Of a body that drips.
const DRIP_EVERY: Duration = Duration::from_secs(1);
/// How often a body that overflows stands in one piece of it.
const REPEATED: usize = 4096;

type Body = BoxBody<Bytes, std::io::Error>;

/// What is said instead of Consul's own answer.
#[derive(Clone, Debug)]
pub(crate) struct Spoiled {
    pub(crate) status: u16,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) index: Index,
    pub(crate) body: &'static str,
    pub(crate) delivery: Delivery,
    /// Only what is asked below this path; everything when empty.
    pub(crate) only: &'static str,
    /// Only what may be answered by a follower.
    pub(crate) only_stale: bool,
}

/// How a spoiled answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Whole.
    Whole,
    /// The connection breaks where the body should go on.
    Cut,
    /// A byte a second.
    Dripping,
    /// After the body, which is sent in chunks, nothing follows, not even an end.
    Unending,
    /// Over and over again, without an end.
    Overflowing,
    /// Not at all.
    Never,
}

/// The `X-Consul-Index` of a spoiled answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Index {
    /// The highest that Consul itself has answered, so that nothing but the content is wrong.
    AsSeen,
    /// This one.
    Of(u64),
    /// None.
    Missing,
}

/// A proxy in front of a server.
pub(crate) struct Meddler {
    address: SocketAddr,
    spoil: watch::Sender<Option<Spoiled>>,
    spoiled: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Meddler {
    /// Before a Consul agent. Passes everything through at first.
    pub(crate) async fn before(consul: &str) -> Outcome<Meddler> {
        Meddler::before_server(Http::plain(consul)).await
    }

    /// Before any server, whoever is asked with the rights of this client. Without TLS itself.
    pub(crate) async fn before_server(server: Http) -> Outcome<Meddler> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?;
        let (spoil, orders) = watch::channel(None);
        let spoiled = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicU64::new(1));
        let proxy = Proxy { server, orders, spoiled: Arc::clone(&spoiled), seen };
        Ok(Meddler { address, spoil, spoiled, task: tokio::spawn(accept(listener, proxy)) })
    }

    /// `HOST:PORT` to ask instead of the server.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Breaks what is under way and spoils all answers until so many were; then passes everything through again.
    pub(crate) async fn spoil(&self, how: &Spoiled, times: usize) -> Outcome {
        let before = self.spoiled();
        self.begin(how);
        let enough = eventually(&format!("{times} answers are {how:?}"), 2 * SOON, async || {
            let spoiled = self.spoiled() - before;
            so(spoiled >= times, || spoiled.to_string())
        })
        .await;
        self.end();
        enough
    }

    /// Breaks what is under way and spoils answers from now on.
    pub(crate) fn begin(&self, how: &Spoiled) {
        self.spoil.send_replace(Some(how.clone()));
    }

    /// Breaks what is under way and passes everything through again.
    pub(crate) fn end(&self) {
        self.spoil.send_replace(None);
    }

    /// How many answers were ever spoiled.
    pub(crate) fn spoiled(&self) -> usize {
        self.spoiled.load(Ordering::SeqCst)
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Proxy {
    server: Http,
    orders: watch::Receiver<Option<Spoiled>>,
    spoiled: Arc<AtomicUsize>,
    seen: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, proxy: Proxy) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let proxy = proxy.clone();
        connections.spawn(async move {
            let service = service_fn(|request| proxy.clone().answer(request));
            // How a connection ends is what this proxy is for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Proxy {
    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let order = self.orders.borrow_and_update().clone();
        if let Some(spoiled) = order.filter(|spoiled| spoiled.concerns(request.uri())) {
            self.spoiled.fetch_add(1, Ordering::SeqCst);
            if spoiled.delivery == Delivery::Never {
                let _ = self.orders.changed().await;
                return Err(std::io::Error::other("never answered"));
            }
            return Ok(spoiled.response(self.seen.load(Ordering::SeqCst), self.orders));
        }
        tokio::select! {
            answer = self.forward(request) => answer,
            // What is under way breaks when the order changes, as it would with a server that goes wrong.
            _ = self.orders.changed() => Err(std::io::Error::other("meddled with")),
        }
    }

    fn forward(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, std::io::Error>> + Send>> {
        let (server, seen) = (self.server.clone(), Arc::clone(&self.seen));
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let body = if body.is_empty() { None } else { serde_json::from_slice(&body).ok() };
            let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let answer = server.open(head.method, &path, kind.unwrap_or("application/json"), body.as_ref()).await;
            let (head, body) = answer.map_err(std::io::Error::other)?.into_parts();
            let index = head.headers.get(INDEX).and_then(|value| value.to_str().ok()?.parse().ok());
            seen.fetch_max(index.unwrap_or(0), Ordering::SeqCst);
            Ok(Response::from_parts(head, body.map_err(std::io::Error::other).boxed()))
        })
    }
}

impl Spoiled {
    fn concerns(&self, asked: &http::Uri) -> bool {
        let may_be_stale =
            || asked.query().unwrap_or_default().split('&').any(|part| part == "stale" || part == "stale=");
        asked.path().starts_with(self.only) && (!self.only_stale || may_be_stale())
    }

    fn response(&self, seen: u64, orders: watch::Receiver<Option<Spoiled>>) -> Response<Body> {
        let whole = Bytes::from_static(self.body.as_bytes());
        let cut = || Err(std::io::Error::other("cut short"));
        let body = match self.delivery {
            Delivery::Whole | Delivery::Never => {
                Full::new(whole.clone()).map_err(|never: Infallible| match never {}).boxed()
            }
            Delivery::Cut => in_pieces(stream::iter([Ok(whole.clone()), cut()])),
            Delivery::Dripping => in_pieces(until_changed(orders, self.dripping())),
            Delivery::Unending => {
                in_pieces(until_changed(orders, stream::iter([Ok(whole.clone())]).chain(stream::pending())))
            }
            Delivery::Overflowing => {
                in_pieces(until_changed(orders, stream::repeat(Bytes::from(self.body.repeat(REPEATED))).map(Ok)))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        for (name, value) in self.headers {
            response.headers_mut().insert(*name, header::HeaderValue::from_static(value));
        }
        match self.index {
            Index::AsSeen => drop(response.headers_mut().insert(INDEX, seen.into())),
            Index::Of(index) => drop(response.headers_mut().insert(INDEX, index.into())),
            Index::Missing => {}
        }
        if self.delivery == Delivery::Cut {
            response.headers_mut().insert(header::CONTENT_LENGTH, (2 * whole.len()).into());
        }
        response
    }

    fn dripping(&self) -> impl Stream<Item = Piece> + Send + Sync + use<> {
        stream::iter(self.body.bytes()).then(async |byte| {
            sleep(DRIP_EVERY).await;
            Ok(Bytes::from(vec![byte]))
        })
    }
}

type Piece = std::io::Result<Bytes>;

fn in_pieces(pieces: impl Stream<Item = Piece> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}

/// Goes on until the order changes, and breaks then.
fn until_changed(
    mut orders: watch::Receiver<Option<Spoiled>>,
    pieces: impl Stream<Item = Piece> + Send + Sync,
) -> impl Stream<Item = Piece> + Send + Sync {
    let changed = async move {
        let _ = orders.changed().await;
    };
    pieces.take_until(changed).chain(stream::iter([Err(std::io::Error::other("meddled with"))]))
}
