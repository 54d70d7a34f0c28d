//! The time while imports are defined: their watches, and when each namespace is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::import::{Definition, ImportCondition, Memory};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ConsulApi, ErrorKind, KubeApi, KubeWriter, Watch, WatchEvent};
use consul8s_core::problem::Reason;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::sources::{Sources, Told};
use crate::controller::Controller;
use crate::feeds;
use crate::queue::Queue;
use crate::stores::kube::Objects;
use crate::sync::writers::Writers;

/// How often every namespace is looked at though nothing changed.
const AUDIT: Duration = Duration::from_secs(60);
/// What watches have told and was not taken in yet. Beyond it they wait, and with them their servers.
const WAITING: usize = 16;
/// What was written shows in the watches within this time; after it, it is looked at all the same.
pub(super) const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// A namespace with imports: what is looked at at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Namespace(pub(super) String);

/// What was written and does not show yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Written {
    /// A Service was created.
    Service(ObjectKey),
    /// A Service is no longer this one in this state.
    NotService(ObjectKey, String),
    /// An import is no longer in this state.
    NotImport(ObjectKey, String),
}

/// While imports are defined.
pub(super) struct Session<K, C, W> {
    pub(super) controller: Arc<Controller<K, C>>,
    pub(super) writers: Option<Arc<Writers<W>>>,
    pub(super) imports: Objects<consul8s_core::import::Import>,
    pub(super) sources: Sources,
    /// By UID of the import.
    pub(super) memories: BTreeMap<String, Memory>,
    /// Names that Kubernetes refused, and when.
    pub(super) refused: BTreeMap<ObjectKey, (String, Instant)>,
    pub(super) written: BTreeMap<Written, Instant>,
    /// What was done for imports and has not been told yet.
    pub(super) done: BTreeMap<ObjectKey, Vec<(Reason, String)>>,
    /// What each import said of conflicts when it was first looked at, by UID.
    pub(super) stood: BTreeMap<String, Option<ImportCondition>>,
    /// Imports with a service that could not get a name.
    pub(super) in_conflict: BTreeSet<ObjectKey>,
    queue: Queue<Namespace>,
    tasks: JoinSet<()>,
}

impl<K: KubeApi, C: ConsulApi, W: KubeWriter> Session<K, C, W> {
    pub(super) fn new(controller: Arc<Controller<K, C>>, writers: Option<Arc<Writers<W>>>) -> Session<K, C, W> {
        let imports = Objects::new(feeds::namespaces(&controller.settings.scope));
        let queue = Queue::drawing(controller.dice.clone());
        Session {
            controller,
            writers,
            imports,
            sources: Sources::default(),
            memories: BTreeMap::new(),
            refused: BTreeMap::new(),
            written: BTreeMap::new(),
            done: BTreeMap::new(),
            stood: BTreeMap::new(),
            in_conflict: BTreeSet::new(),
            queue,
            tasks: JoinSet::new(),
        }
    }

    /// Until imports are no longer defined.
    pub(super) async fn run(mut self) {
        let (events, mut imports) = mpsc::channel(WAITING);
        for (number, namespace) in feeds::namespaces(&self.controller.settings.scope).into_iter().enumerate() {
            let (mut watch, events) = (self.controller.kube.watch_imports(namespace.as_deref()), events.clone());
            self.tasks.spawn(async move { while events.send((number, watch.next().await)).await.is_ok() {} });
        }
        let (news, mut catalogs) = mpsc::channel::<Told>(WAITING);
        let mut services = self.controller.imports.services.subscribe();
        let mut gains = self.writers.as_ref().map(|writers| writers.leadership().gains());
        let mut audits = tokio::time::interval(AUDIT);
        audits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some((number, event)) = imports.recv() => {
                    if self.import_told(number, event).await {
                        return;
                    }
                    let wanted: BTreeSet<_> = self.imports.iter().filter_map(|import| import.spec.catalog()).collect();
                    self.controller.imports.looks_at(wanted.iter().map(|query| query.datacenter.clone()).collect());
                    self.sources.watch(wanted, &self.controller.consul, &self.controller.dice, &mut self.tasks, &news);
                }
                Some(told) = catalogs.recv() => if self.sources.told(told, self.controller.clock.now()) { self.look_at_all() },
                Ok(()) = services.changed() => self.look_at_all(),
                () = async { match &mut gains { Some(gains) => gains.changed().await, None => std::future::pending().await } } => self.look_at_all(),
                _ = audits.tick() => self.look_at_all(),
                Some(ended) = self.tasks.join_next() => resume(ended),
                namespace = self.queue.next() => {
                    let ended = self.look(&namespace).await;
                    self.queue.done(namespace, ended);
                    self.queue.prune();
                }
            }
            let listed = self.imports.synced() && self.sources.answered() && self.controller.world().kube_synced();
            let quiet =
                self.queue.depth() == 0 && self.written.is_empty() && !services.has_changed().unwrap_or_default();
            self.controller.imports.settle(listed && quiet);
        }
    }

    /// Takes in what a watch of imports told; whether they are no longer defined.
    async fn import_told(&mut self, number: usize, event: WatchEvent<consul8s_core::import::Import>) -> bool {
        if let WatchEvent::Failed(error) = &event {
            tracing::debug!(%error, "ConsulImports are not listed now");
            // Other failures pass; and it is asked again where even that fails.
            let gone = error.kind == ErrorKind::NotFound
                && matches!(self.controller.kube.import_definition().await, Ok(Definition::Absent));
            return gone;
        }
        let was_synced = self.imports.synced();
        let touched = match &event {
            WatchEvent::Applied(import) | WatchEvent::Deleted(import) => Some(import.key.namespace.clone()),
            WatchEvent::Listed(_) | WatchEvent::Failed(_) => None,
        };
        if let WatchEvent::Deleted(import) = &event {
            self.forget(&import.key);
        }
        self.imports.take_in(number, event);
        match touched {
            Some(namespace) if was_synced => self.queue.add(Namespace(namespace)),
            _ => self.look_at_all(),
        }
        false
    }

    fn look_at_all(&self) {
        let namespaces: BTreeSet<&str> = self.imports.iter().map(|import| import.key.namespace.as_str()).collect();
        namespaces.into_iter().for_each(|namespace| self.queue.add(Namespace(namespace.to_owned())));
    }

    /// Whether all that was written shows, or should have.
    pub(super) fn shows(&mut self) -> bool {
        let world = self.controller.world();
        let imports = &self.imports;
        self.written.retain(|written, at| {
            let open = match written {
                Written::Service(key) => world.services.get(key).is_none(),
                Written::NotService(key, version) => {
                    world.services.get(key).is_some_and(|service| service.resource_version == *version)
                }
                Written::NotImport(key, version) => {
                    imports.get(key).is_some_and(|import| import.resource_version == *version)
                }
            };
            open && at.elapsed() < SHOWN_WITHIN
        });
        drop(world);
        self.written.is_empty()
    }
}

fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // A watch that died would leave its imports behind in silence: end, and be started again.
        std::panic::resume_unwind(error.into_panic());
    }
}
