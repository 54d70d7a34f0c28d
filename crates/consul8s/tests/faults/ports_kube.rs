//! Kubernetes as one process reaches it.

use std::collections::BTreeSet;
use std::sync::Arc;

use consul8s_core::adopt::Endpoints;
use consul8s_core::claim::{Lease, LeaseWrite};
use consul8s_core::import::{Definition, Import, NewService, Status};
use consul8s_core::kube::{Condition, KubeNode, KubeService, KubeSlice, ObjectKey, SliceSpec};
use consul8s_core::neighbours::Pulse;
use consul8s_core::ports::{ApiError, ErrorKind, KubeApi, KubeTeller, KubeWriter, LeaseApi, Watch, WatchEvent};
use consul8s_core::tell::{EventSpec, ObjectRef};
use consul8s_sim::KubeWorld;
use consul8s_sim::model::kube::{Resource, text_at};
use consul8s_sim::ports::{WorldLease, WorldWatch};
use tokio::time::{Instant, sleep_until};

use crate::line::{Line, simulated};
use crate::mutants::Mutant;
use crate::oracles::{MAKES_A_SERVICE, Write};
use crate::script::{Fault, Kind};

/// Reads, watches, writes and tells.
#[derive(Clone)]
pub(crate) struct Kube {
    line: Arc<Line>,
    mutant: Option<Mutant>,
}

impl Kube {
    pub(crate) fn new(line: &Arc<Line>, mutant: Option<Mutant>) -> Kube {
        Kube { line: line.clone(), mutant }
    }

    fn world(&self) -> KubeWorld {
        self.line.stage.worlds.kube.clone()
    }

    fn watch<T>(&self, open: impl Fn(&KubeWorld) -> WorldWatch<T> + Send + 'static) -> Tapped<T> {
        let world = self.world();
        let watch = open(&world);
        Tapped { line: self.line.clone(), open: Box::new(move || open(&world)), watch, blind: None, held: None }
    }

    fn write(&self, what: String) -> Write {
        Write::new(Kind::Write, self.line.now(), what)
    }
}

/// A watch in which events are late or missed. What is missed is made up for by a list.
pub(crate) struct Tapped<T> {
    line: Arc<Line>,
    open: Box<dyn Fn() -> WorldWatch<T> + Send>,
    watch: WorldWatch<T>,
    blind: Option<Instant>,
    /// What is to be told next, and when.
    held: Option<(Instant, WatchEvent<T>)>,
}

impl<T: Send + 'static> Tapped<T> {
    fn start_again(&mut self) {
        self.blind = None;
        self.watch = (self.open)();
        self.held = Some((Instant::now(), WatchEvent::Failed(simulated(ErrorKind::Gone))));
    }
}

impl<T: Send + 'static> Watch<T> for Tapped<T> {
    async fn next(&mut self) -> WatchEvent<T> {
        loop {
            if let Some(at) = self.held.as_ref().map(|(at, _)| *at) {
                sleep_until(at).await;
                self.line.gate().await;
                if let Some((_, event)) = self.held.take() {
                    return event;
                }
            }
            if let Some(until) = self.blind {
                if tokio::time::timeout_at(until, self.watch.next()).await.is_err() {
                    self.start_again();
                }
                continue;
            }
            let event = self.watch.next().await;
            match self.line.fault(Kind::Watch, None) {
                Some(Fault::Relist) => self.start_again(),
                Some(Fault::Blind(time)) => self.blind = Some(Instant::now() + time),
                Some(Fault::SlowAnswer(time)) => self.held = Some((Instant::now() + time, event)),
                _ => self.held = Some((Instant::now(), event)),
            }
        }
    }
}

impl KubeApi for Kube {
    type Services = Tapped<KubeService>;
    type Slices = Tapped<KubeSlice>;
    type Nodes = Tapped<KubeNode>;
    type Imports = Tapped<Import>;

    fn watch_services(&self, namespace: Option<&str>) -> Self::Services {
        let namespace = namespace.map(str::to_owned);
        self.watch(move |world| world.watch_services(namespace.as_deref()))
    }

    fn watch_slices(&self, namespace: Option<&str>) -> Self::Slices {
        let namespace = namespace.map(str::to_owned);
        self.watch(move |world| world.watch_slices(namespace.as_deref()))
    }

    fn watch_nodes(&self) -> Self::Nodes {
        self.watch(KubeApi::watch_nodes)
    }

    fn watch_imports(&self, namespace: Option<&str>) -> Self::Imports {
        let namespace = namespace.map(str::to_owned);
        self.watch(move |world| world.watch_imports(namespace.as_deref()))
    }

    async fn import_definition(&self) -> Result<Definition, ApiError> {
        self.line.read("definition", || None, self.world().import_definition()).await
    }

    async fn service(&self, key: &ObjectKey) -> Result<Option<KubeService>, ApiError> {
        self.line.read("service", || None, self.world().service(key)).await
    }

    async fn endpoints(&self, key: &ObjectKey) -> Result<Option<Endpoints>, ApiError> {
        self.line.read("endpoints", || None, self.world().endpoints(key)).await
    }

    async fn pulse(&self, lease: &ObjectKey) -> Result<Option<Pulse>, ApiError> {
        self.line.read("pulse", || None, self.world().pulse(lease)).await
    }

    async fn labelled(&self) -> Result<BTreeSet<ObjectKey>, ApiError> {
        self.line.read("labelled", || None, self.world().labelled()).await
    }

    async fn cluster_uid(&self) -> Result<String, ApiError> {
        self.line.read("cluster", || None, self.world().cluster_uid()).await
    }

    async fn services_version(&self, namespace: Option<&str>) -> Result<Option<u64>, ApiError> {
        self.line.read("version", || None, self.world().services_version(namespace)).await
    }
}

impl KubeWriter for Kube {
    async fn create_slice(&self, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let (world, spec) = (self.world(), spec.clone());
        let write = Write::slice(self.line.now(), "create", &spec);
        self.line.write(write, async move { world.create_slice(&spec).await }).await
    }

    async fn update_slice(&self, uid: &str, resource_version: &str, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let (world, spec) = (self.world(), spec.clone());
        let write = Write::slice(self.line.now(), "update", &spec);
        let (uid, version) = (uid.to_owned(), resource_version.to_owned());
        let forced = self.mutant == Some(Mutant::NoPreconditions);
        let call = async move {
            let stands = world.read(|cluster| cluster.get(Resource::EndpointSlices, &spec.key).ok());
            match stands.filter(|_| forced) {
                Some(it) => {
                    let at = |pointer| text_at(&it, pointer).to_owned();
                    world.update_slice(&at("/metadata/uid"), &at("/metadata/resourceVersion"), &spec).await
                }
                None => world.update_slice(&uid, &version, &spec).await,
            }
        };
        self.line.write(write, call).await
    }

    async fn delete_slice(&self, key: &ObjectKey, uid: &str, resource_version: &str) -> Result<(), ApiError> {
        let (world, key, uid, version) = (self.world(), key.clone(), uid.to_owned(), resource_version.to_owned());
        let write = self.write(format!("delete slice {key}"));
        self.line.write(write, async move { world.delete_slice(&key, &uid, &version).await }).await
    }

    async fn adopt_endpoints(&self, endpoints: &Endpoints, owner: Option<&str>) -> Result<(), ApiError> {
        let (world, endpoints, owner) = (self.world(), endpoints.clone(), owner.map(str::to_owned));
        let write = self.write(format!("adopt {} {owner:?}", endpoints.key));
        self.line.write(write, async move { world.adopt_endpoints(&endpoints, owner.as_deref()).await }).await
    }

    async fn create_service(&self, new: &NewService) -> Result<KubeService, ApiError> {
        let (world, new) = (self.world(), new.clone());
        let write = self.write(format!("{MAKES_A_SERVICE} {new:?}"));
        self.line.write(write, async move { world.create_service(&new).await }).await
    }

    async fn delete_service(&self, service: &KubeService) -> Result<(), ApiError> {
        let (world, service) = (self.world(), service.clone());
        let write = self.write(format!("delete service {}", service.key));
        self.line.write(write, async move { world.delete_service(&service).await }).await
    }

    async fn orphan_service(&self, service: &KubeService) -> Result<(), ApiError> {
        let (world, service) = (self.world(), service.clone());
        let write = self.write(format!("orphan service {}", service.key));
        self.line.write(write, async move { world.orphan_service(&service).await }).await
    }

    async fn remember_forgotten(&self, service: &KubeService, forgotten: bool) -> Result<(), ApiError> {
        let (world, service) = (self.world(), service.clone());
        let write = self.write(format!("note on service {}", service.key));
        self.line.write(write, async move { world.remember_forgotten(&service, forgotten).await }).await
    }

    async fn set_finalizers(&self, import: &Import, finalizers: &[String]) -> Result<(), ApiError> {
        let (world, import, finalizers) = (self.world(), import.clone(), finalizers.to_vec());
        let write = self.write(format!("finalizers of {} {finalizers:?}", import.key));
        self.line.write(write, async move { world.set_finalizers(&import, &finalizers).await }).await
    }

    async fn set_import_status(&self, import: &Import, status: &Status) -> Result<(), ApiError> {
        let (world, import, status) = (self.world(), import.clone(), status.clone());
        let write = self.write(format!("status of {}", import.key));
        self.line.write(write, async move { world.set_import_status(&import, &status).await }).await
    }
}

impl KubeTeller for Kube {
    async fn event(&self, event: &EventSpec, regarding: &ObjectRef) -> Result<(), ApiError> {
        let (world, event, regarding) = (self.world(), event.clone(), regarding.clone());
        let write = Write::new(Kind::Tell, self.line.now(), format!("event {}: {}", regarding.key, event.message));
        self.line.write(write, async move { world.event(&event, &regarding).await }).await
    }

    async fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &str,
        condition: Option<&Condition>,
    ) -> Result<KubeService, ApiError> {
        let (world, key, uid, condition) = (self.world(), key.clone(), uid.to_owned(), condition.cloned());
        let word = condition.as_ref().map(|condition| format!("{} {}", condition.status.as_str(), condition.reason));
        let write = Write::new(Kind::Tell, self.line.now(), format!("condition {key}: {word:?}"));
        self.line.write(write, async move { world.set_condition(&key, &uid, condition.as_ref()).await }).await
    }
}

/// The Lease as one process reaches it.
pub(crate) struct Leases {
    line: Arc<Line>,
    lease: WorldLease,
}

impl Leases {
    pub(crate) fn new(line: &Arc<Line>) -> Leases {
        let (namespace, name) = crate::LEASE;
        Leases { line: line.clone(), lease: line.stage.worlds.kube.lease(ObjectKey::new(namespace, name)) }
    }

    fn took(&self, begun: std::time::Duration, write: &LeaseWrite, done: &Result<Lease, ApiError>) {
        if done.is_ok() && write.term.as_ref().is_some_and(|term| term.holder == self.line.name) {
            self.line.judge().renewed(&self.line.name, begun);
        }
    }
}

impl LeaseApi for Leases {
    async fn read(&self) -> Result<Option<Lease>, ApiError> {
        self.line.lease("lease", self.lease.read()).await
    }

    async fn create(&self, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let begun = self.line.now();
        let done = self.line.lease("lease", self.lease.create(write)).await;
        self.took(begun, write, &done);
        done
    }

    async fn replace(&self, seen: &Lease, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let begun = self.line.now();
        let done = self.line.lease("lease", self.lease.replace(seen, write)).await;
        self.took(begun, write, &done);
        done
    }
}
