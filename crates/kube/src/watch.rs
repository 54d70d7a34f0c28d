//! A list and watch that never ends, on top of kube's watcher.
//!
//! kube's state machine lists in pages, watches from there, takes up a broken watch where it ended and lists again after a 410. Added
//! here: one [`WatchEvent::Listed`] for a whole list, a backoff that keeps growing while lists fail (kube's own starts over at each
//! attempt, since an attempt begins with a success), a restart where kube would ask for a lost place in history for ever, and objects
//! that cannot be read stay their own trouble.

use std::fmt;

use consul8s_core::ports::{ErrorKind, Watch, WatchEvent};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::connect::Connection;
use crate::error::{Call, is_too_large};
use crate::item::{FromWire, Item};

/// After this many seconds the API server ends a watch. kube's watcher takes one that is still silent 5 s later for dead and connects
/// again, for which the transport allows another 5 s: a broken connection is noticed within 30 s. Still long enough for a bookmark,
/// which the API server sends 2 s before the end, so that a quiet watch keeps its place in history. The price is one request
/// every 20 s for each watch.
pub(crate) const SERVER_TIMEOUT_S: u32 = 20;
/// Objects in one page of a list, as client-go has it: a page of full slices stays below 10 MB.
const PAGE: u32 = 500;
/// A page that is larger than an answer may be is asked for in so many: somebody's objects of a megabyte each must not stop all others.
const SMALLER: u32 = 8;

/// A running watch of one kind of object.
pub struct KubeWatch<T> {
    api: Api<Item<T>>,
    what: Watched,
    server: String,
    stream: BoxStream<'static, watcher::Result<Event<Item<T>>>>,
    /// Objects in a page.
    page: u32,
    /// The list that is being received.
    listed: Vec<T>,
    backoff: Backoff,
    /// Until when the next attempt waits. Kept here and not in a future: `next` may be dropped and called again.
    resume_at: Option<Instant>,
}

impl<T: FromWire> KubeWatch<T> {
    /// Watches one namespace, or all of them.
    pub(crate) fn new(connection: &Connection, namespace: Option<&str>) -> KubeWatch<T>
    where
        T::Wire: Resource<Scope = NamespaceResourceScope>,
    {
        let client = connection.client.clone();
        let (api, of) = match namespace {
            Some(namespace) => (Api::namespaced(client, namespace), Of::Namespace(namespace.to_owned())),
            None => (Api::all(client), Of::AllNamespaces),
        };
        KubeWatch::begin(connection, api, of)
    }

    /// Watches what lives in no namespace.
    pub(crate) fn of_cluster(connection: &Connection) -> KubeWatch<T>
    where
        T::Wire: Resource<Scope = ClusterResourceScope>,
    {
        KubeWatch::begin(connection, Api::all(connection.client.clone()), Of::Cluster)
    }

    fn begin(connection: &Connection, api: Api<Item<T>>, of: Of) -> KubeWatch<T> {
        let what = Watched { kind: T::Wire::kind(&()).into_owned(), of };
        KubeWatch {
            stream: start(&api, PAGE),
            api,
            what,
            server: connection.server.clone(),
            page: PAGE,
            listed: Vec::new(),
            backoff: Backoff::default(),
            resume_at: None,
        }
    }

    /// One step of kube's watcher; none when it is of no interest outside.
    fn take(&mut self, event: watcher::Result<Event<Item<T>>>) -> Option<WatchEvent<T>> {
        match event {
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(item)) => self.listed.extend(self.readable(item)),
            Ok(Event::InitDone) => {
                self.backoff.reset();
                return Some(WatchEvent::Listed(std::mem::take(&mut self.listed)));
            }
            Ok(Event::Apply(item)) => {
                self.backoff.reset();
                return self.readable(item).map(WatchEvent::Applied);
            }
            Ok(Event::Delete(item)) => {
                self.backoff.reset();
                match self.readable(item) {
                    Some(last) => return Some(WatchEvent::Deleted(last)),
                    // It is gone, but who it was cannot be told: the next list says so.
                    None => self.stream = start(&self.api, self.page),
                }
            }
            Err(error) => return Some(self.failed(&error)),
        }
        None
    }

    fn failed(&mut self, error: &watcher::Error) -> WatchEvent<T> {
        let call = Call { verb: "watch", what: &self.what, server: &self.server };
        let failure = call.watch_error(error);
        let now = Instant::now();
        self.resume_at = Some(now + self.backoff.after_failure(now, failure.retry_after));
        if let watcher::Error::InitialListFailed(error) = error
            && is_too_large(error)
        {
            self.page = (self.page / SMALLER).max(1);
            self.stream = start(&self.api, self.page);
        }
        // Refused before the watch began: kube would ask for the same place in history again and again.
        if failure.kind == ErrorKind::Gone && matches!(error, watcher::Error::WatchStartFailed(_)) {
            self.stream = start(&self.api, self.page);
        }
        WatchEvent::Failed(failure)
    }

    /// An object that cannot be read affects itself alone. It stands as it was last seen; in a list it is missing.
    fn readable(&self, item: Item<T>) -> Option<T> {
        let key = item.key();
        let kind = &self.what.kind;
        item.content.inspect_err(|why| tracing::warn!("{kind} {key} cannot be read and is left as it is: {why}")).ok()
    }
}

impl<T: FromWire> Watch<T> for KubeWatch<T> {
    async fn next(&mut self) -> WatchEvent<T> {
        loop {
            if let Some(at) = self.resume_at {
                tokio::time::sleep_until(at).await;
                self.resume_at = None;
            }
            match self.stream.next().await {
                Some(event) => {
                    if let Some(event) = self.take(event) {
                        return event;
                    }
                }
                // kube's watcher never ends; were it to, a new one lists again.
                None => self.stream = start(&self.api, self.page),
            }
        }
    }
}

impl<T> fmt::Debug for KubeWatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubeWatch({} at {})", self.what, self.server)
    }
}

/// `Services of all namespaces`, `EndpointSlices of namespace shop`, `Nodes`.
struct Watched {
    kind: String,
    of: Of,
}

enum Of {
    Namespace(String),
    AllNamespaces,
    Cluster,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.kind)?;
        match &self.of {
            Of::Namespace(namespace) => write!(f, " of namespace {namespace}"),
            Of::AllNamespaces => f.write_str(" of all namespaces"),
            Of::Cluster => Ok(()),
        }
    }
}

fn start<T: FromWire>(api: &Api<Item<T>>, page: u32) -> BoxStream<'static, watcher::Result<Event<Item<T>>>> {
    // The default list is a consistent one (no resourceVersion): after a restart against an API server that lags behind, what is
    // read is still never older than what was read before.
    let config = watcher::Config::default().timeout(SERVER_TIMEOUT_S).page_size(page);
    watcher(api.clone(), config).boxed()
}
