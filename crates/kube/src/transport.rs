//! What every request to the API server goes through.
//!
//! kube's own stack would do but for five things, each of them measured or read in its source: its sockets delay small writes (no
//! `TCP_NODELAY`) and never notice a dead peer by themselves; it re-reads a token about once a minute and a client certificate never;
//! it repeats requests on its own, which here is the caller's to decide; it drops `Retry-After`; it logs each failed request as an
//! error of its own. So the layers are kube's (TLS, authentication, base address), and the rest is here.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt};
use tokio::time::Instant;
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

/// To a connection with TLS: an API server that does not shake hands within this is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// From the request to the head of its answer, whatever the call: the one wait that kube's watcher leaves unbounded. A first page of
/// 500 slices may take an overloaded server seconds, hence more than the limit of a single call (10 s). Less than the 25 s after which
/// kube's watcher begins a silent watch anew without a word: a server that takes requests and never answers must show.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A connection that says nothing for this long is dead. Longer than [`crate::watch::SERVER_TIMEOUT_S`], after which an API server
/// ends a watch that had nothing to tell.
const SILENT_AT_MOST: Duration = Duration::from_secs(30);
/// The kernel's own probes of an idle connection: 15 s + 3 × 5 s, so that a peer that is gone is noticed within 30 s.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Between two probes that are not answered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Probes until the connection is given up.
const KEEPALIVE_PROBES: u32 = 3;
/// How often the credential files are looked at. A rotated one is in use within 10 s, and a look is a few `stat` calls.
const CREDENTIALS_EVERY: Duration = Duration::from_secs(5);
/// The largest answer that is taken; a page of 500 ordinary objects has a hundredth of it. A list whose page is larger is asked for in
/// smaller ones ([`crate::watch`]), and a watch that has told so much goes on from where it was.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;
/// The same watch from the same place in history is not begun more often than this: a proxy that ends each watch at once would
/// otherwise be asked as fast as it answers, without a failure that a backoff could count.
const SAME_WATCH_EVERY: Duration = Duration::from_secs(1);

/// How we introduce ourselves: the API server's audit log and its metrics of slow clients show it.
const USER_AGENT_NAME: &str = concat!("consul8s/", env!("CARGO_PKG_VERSION"));

/// No head of an answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
pub(crate) struct NoAnswer;

/// 429, or 503 with a wish. API priority and fairness answers in plain text and says when to come back in a header.
#[derive(Debug, thiserror::Error)]
#[error("{status} the API server asks to come back later")]
pub(crate) struct Throttled {
    /// 429 or 503.
    pub(crate) status: u16,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after: Option<Duration>,
}

/// A client of this API server. Makes no request, but runs the kubeconfig's credential program if it names one.
pub(crate) fn client(mut config: Config) -> kube::Result<kube::Client> {
    config.headers.push((USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME)));
    let namespace = config.default_namespace.clone();
    Ok(kube::Client::new(Transport::new(config)?, namespace))
}

type Stack = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

struct Transport {
    stack: Stack,
    credentials: Credentials,
    pace: Pace,
}

impl Transport {
    fn new(config: Config) -> kube::Result<Transport> {
        let credentials = Credentials::new(config);
        Ok(Transport { stack: stack(&credentials.config)?, credentials, pace: Pace::default() })
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Limited<Incoming>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        if let Some(fresh) = self.credentials.changed(now) {
            self.stack = fresh;
        }
        let start = self.pace.start(&request, now);
        let stack = self.stack.clone();
        Box::pin(async move {
            if start > now {
                tokio::time::sleep_until(start).await;
            }
            match tokio::time::timeout(ANSWER_WITHIN, stack.oneshot(request)).await {
                Ok(response) => Ok(refuse_throttled(response?)?.map(|body| Limited::new(body, MAX_BODY_BYTES))),
                Err(_) => Err(NoAnswer.into()),
            }
        })
    }
}

fn stack(config: &Config) -> kube::Result<Stack> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(Some(CONNECT_WITHIN));
    connector.set_read_timeout(Some(SILENT_AT_MOST));
    connector.set_write_timeout(Some(SILENT_AT_MOST));
    // Else the time that a connection lay idle in the pool would count against the answer to its next request.
    connector.set_reset_reader_on_write(true);
    let http = HttpClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(SILENT_AT_MOST)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(BoxCloneService::new(service))
}

/// A JSON answer goes on to kube, which reads a `Status` with its message and its own `retryAfterSeconds`.
fn refuse_throttled(response: Response<Incoming>) -> Result<Response<Incoming>, BoxError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let status = response.status().as_u16();
    let retry_after = header(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    match (status, retry_after, json) {
        (429, _, false) | (503, Some(_), false) => Err(Throttled { status, retry_after }.into()),
        _ => Ok(response),
    }
}

/// The files that credentials come from, looked at again while requests are made.
///
/// The kubeconfig itself is not among them: `kubectl config use-context` must not move a running controller to another cluster.
struct Credentials {
    config: Config,
    files: Vec<PathBuf>,
    seen: Vec<Option<Seen>>,
    looked: Instant,
}

/// Enough to tell one content of a file from the next.
type Seen = (SystemTime, u64);

impl Credentials {
    fn new(config: Config) -> Credentials {
        let user = &config.auth_info;
        let named = [user.token_file.as_ref(), user.client_certificate.as_ref(), user.client_key.as_ref()];
        let mut files: Vec<PathBuf> = named.into_iter().flatten().map(PathBuf::from).collect();
        files.extend(config.root_cert_file.clone());
        let seen = look(&files);
        Credentials { config, files, seen, looked: Instant::now() }
    }

    /// A new stack when a file has changed since. Connections that are open stay as they are; the next one uses the new files.
    fn changed(&mut self, now: Instant) -> Option<Stack> {
        if self.files.is_empty() || now.duration_since(self.looked) < CREDENTIALS_EVERY {
            return None;
        }
        self.looked = now;
        let seen = look(&self.files);
        if seen == self.seen {
            return None;
        }
        // A file that is only half there is tried again at the next look; until then the old ones serve.
        match stack(&self.config) {
            Ok(fresh) => {
                tracing::info!("Kubernetes credentials were read again, because their files have changed");
                self.seen = seen;
                Some(fresh)
            }
            Err(error) => {
                let why = crate::connect::setup_text(&error);
                tracing::warn!("Kubernetes credentials have changed but cannot be used, the old ones serve on: {why}");
                None
            }
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Seen>> {
    let seen = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.iter().map(seen).collect()
}

/// When each watch was last begun, by its address with its place in history.
#[derive(Default)]
struct Pace {
    begun: BTreeMap<String, Instant>,
}

impl Pace {
    /// When this request may go out; at once, but for a watch that was begun from the same place a moment ago.
    fn start(&mut self, request: &Request<Body>, now: Instant) -> Instant {
        let uri = request.uri().to_string();
        if !uri.contains("watch=true") {
            return now;
        }
        self.begun.retain(|_, begun| now.duration_since(*begun) < SAME_WATCH_EVERY);
        let start = self.begun.get(&uri).map_or(now, |begun| *begun + SAME_WATCH_EVERY);
        self.begun.insert(uri, start);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request<Body> {
        Request::get(uri).body(Body::from(Vec::new())).unwrap()
    }

    #[test]
    fn the_same_watch_is_begun_once_a_second() {
        let mut pace = Pace::default();
        let now = Instant::now();
        let watch = request("/api/v1/services?&watch=true&resourceVersion=7");
        assert_eq!(pace.start(&watch, now), now);
        assert_eq!(pace.start(&watch, now), now + SAME_WATCH_EVERY);
        assert_eq!(pace.start(&watch, now), now + SAME_WATCH_EVERY * 2);
        // Another place in history is progress, and a list is no watch.
        assert_eq!(pace.start(&request("/api/v1/services?&watch=true&resourceVersion=8"), now), now);
        assert_eq!(pace.start(&request("/api/v1/services?&limit=500"), now), now);
        let later = now + SAME_WATCH_EVERY * 4;
        assert_eq!(pace.start(&watch, later), later);
        assert_eq!(pace.begun.len(), 1);
    }

    #[tokio::test]
    async fn rotated_files_make_a_new_stack() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "one").unwrap();
        let mut config = Config::new("http://127.0.0.1:1".parse().unwrap());
        config.root_cert = Some(Vec::new());
        config.auth_info.token_file = Some(token.to_str().unwrap().to_owned());
        let mut credentials = Credentials::new(config);
        let start = credentials.looked;
        assert!(credentials.changed(start + CREDENTIALS_EVERY).is_none(), "nothing has changed");
        std::fs::write(&token, "another").unwrap();
        assert!(credentials.changed(start + CREDENTIALS_EVERY).is_none(), "not looked at yet");
        assert!(credentials.changed(start + CREDENTIALS_EVERY * 2).is_some(), "read again");
        assert!(credentials.changed(start + CREDENTIALS_EVERY * 3).is_none(), "once");
        std::fs::remove_file(&token).unwrap();
        assert!(credentials.changed(start + CREDENTIALS_EVERY * 4).is_none(), "the old one serves on");
        std::fs::write(&token, "a third one").unwrap();
        assert!(credentials.changed(start + CREDENTIALS_EVERY * 5).is_some(), "back again");
    }
}
