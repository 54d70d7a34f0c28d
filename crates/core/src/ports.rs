//! The seam: how the program reaches either side, in core values. The edges implement these traits for the real servers, the
//! embedded worlds implement them for simulation. The only place in `core` that names a future.
//!
//! Reading and writing are separate traits: what only plans never holds a writer.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::adopt::Endpoints;
use crate::claim::{Lease, LeaseWrite};
use crate::consul::{Answer, HealthQuery, Instance, NodeView, Read, TxnOp, TxnOutcome, TxnRefusal};
use crate::import::{Catalog, CatalogQuery, Definition, Import, NewService, Status};
use crate::kube::{Condition, KubeNode, KubeService, KubeSlice, ObjectKey, SliceSpec};
use crate::neighbours::Pulse;
use crate::tell::{EventSpec, ObjectRef};

/// Why a call failed, as far as the caller acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time. The call may have been carried out.
    Timeout,
    /// 401 or 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409: somebody else was first. Read again.
    Conflict,
    /// 410: the watch's place in history is gone. List again.
    Gone,
    /// 400, 413 or 422, or a telling text under 500: the request itself is at fault, and trying again does not help.
    Invalid,
    /// 429.
    Throttled,
    /// 5xx.
    Server,
    /// The answer is not what the API speaks: cut short, unparsable, too large.
    Garbage,
    /// Not sent: the claim under which it was to be written is over.
    NotLeading,
}

impl ErrorKind {
    /// Word for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Gone => "gone",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Throttled => "throttled",
            ErrorKind::Server => "server",
            ErrorKind::Garbage => "garbage",
            ErrorKind::NotLeading => "not_leading",
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ApiError {
    /// What the caller acts on.
    pub kind: ErrorKind,
    /// For a person: which call, to which address, and why it failed. No secret in it.
    pub what: String,
    /// The server's wish (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error without a wish of the server.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> ApiError {
        ApiError { kind, what: what.into(), retry_after: None }
    }

    /// Consul refused a transaction that was to do `what`. A lost race weighs most: what is read anew may be no longer wanted.
    pub fn refused(what: impl fmt::Display, refusals: &[TxnRefusal]) -> ApiError {
        let why: Vec<&str> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
        let kind = if refusals.iter().any(TxnRefusal::is_conflict) {
            ErrorKind::Conflict
        } else if refusals.iter().any(TxnRefusal::is_denied) {
            ErrorKind::Forbidden
        } else {
            ErrorKind::Invalid
        };
        ApiError::new(kind, format!("Consul refused to {what}: {}", why.join("; ")))
    }
}

/// Reads of Consul. Each call is bounded in time by the implementation (a blocking one by its wait and its margin).
pub trait ConsulApi: Send + Sync + 'static {
    /// Instances of a service with their checks, whatever their health; in Consul's order.
    fn health(
        &self,
        query: &HealthQuery,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Vec<Instance>>, ApiError>> + Send;

    /// A node of the agent's own datacenter with its services (without checks: see [`ConsulApi::node_checks`]); none when the
    /// catalog has no such node.
    fn node(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Option<NodeView>>, ApiError>> + Send;

    /// All checks of a node, with their output.
    fn node_checks(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Vec<crate::consul::Check>>, ApiError>> + Send;

    /// Names and tags of all services of the catalog that are listed.
    fn services(
        &self,
        query: &CatalogQuery,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Catalog>, ApiError>> + Send;

    /// The leader's address, for a start-up line and for waiting: an error when nobody answers, an empty text without leader.
    fn leader(&self) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// How blocking queries travel: `http1`, where each has a connection, or `http2`, where they share some.
    fn transport(&self) -> &'static str {
        "http1"
    }

    /// What taking turns on few connections may add to the time until a change is seen; zero while nobody has to.
    fn watch_delay_bound(&self) -> Duration {
        Duration::ZERO
    }
}

/// Writes to Consul.
pub trait ConsulWriter: Send + Sync + 'static {
    /// One transaction of at most [`MAX_TXN_OPS`] operations; all or nothing.
    fn txn(&self, ops: &[TxnOp]) -> impl Future<Output = Result<TxnOutcome, ApiError>> + Send;
}

/// Operations that Consul takes in one transaction (128; 129 give 413).
pub const MAX_TXN_OPS: usize = 128;

/// What a watch tells. Level, not edge: an event only says how the object stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent<T> {
    /// The complete list, first or again. What it does not hold is absent, which is weaker than having been seen to go.
    Listed(Vec<T>),
    /// Created or changed.
    Applied(T),
    /// Seen to go; the last state.
    Deleted(T),
    /// The watch broke and tries again by itself, with backoff; what was listed still stands.
    Failed(ApiError),
}

/// A running list and watch, which never ends: errors come as [`WatchEvent::Failed`] and it goes on.
pub trait Watch<T>: Send + 'static {
    /// The next event. Safe to drop and call again.
    fn next(&mut self) -> impl Future<Output = WatchEvent<T>> + Send;
}

/// Reads of Kubernetes. Each call is bounded in time by the implementation.
pub trait KubeApi: Send + Sync + 'static {
    /// Watch of Services.
    type Services: Watch<KubeService>;
    /// Watch of EndpointSlices.
    type Slices: Watch<KubeSlice>;
    /// Watch of Nodes.
    type Nodes: Watch<KubeNode>;
    /// Watch of ConsulImports.
    type Imports: Watch<Import>;

    /// Watches the Services of one namespace, or of all.
    fn watch_services(&self, namespace: Option<&str>) -> Self::Services;

    /// Watches the EndpointSlices of one namespace, or of all.
    fn watch_slices(&self, namespace: Option<&str>) -> Self::Slices;

    /// Watches the Nodes of the cluster.
    fn watch_nodes(&self) -> Self::Nodes;

    /// Watches the ConsulImports of one namespace, or of all. Only where they are defined.
    fn watch_imports(&self, namespace: Option<&str>) -> Self::Imports;

    /// Whether ConsulImports are defined.
    fn import_definition(&self) -> impl Future<Output = Result<Definition, ApiError>> + Send;

    /// One Service, as it stands now; none on 404.
    fn service(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<KubeService>, ApiError>> + Send;

    /// One `Endpoints` object, as it stands now; none on 404.
    fn endpoints(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<Endpoints>, ApiError>> + Send;

    /// The Lease of another installation, as it stands now; none on 404.
    fn pulse(&self, lease: &ObjectKey) -> impl Future<Output = Result<Option<Pulse>, ApiError>> + Send;

    /// All Services of the cluster that bear a label of ours, whatever its value, sorted.
    fn labelled(&self) -> impl Future<Output = Result<BTreeSet<ObjectKey>, ApiError>> + Send;

    /// UID of the namespace `kube-system`, the identity of the cluster.
    fn cluster_uid(&self) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// resourceVersion of a consistent list of the Services of one namespace, or of all; none where it is no number. It only ever grows,
    /// unless the API server is restored from a backup, or is another one.
    fn services_version(&self, namespace: Option<&str>) -> impl Future<Output = Result<Option<u64>, ApiError>> + Send;
}

/// Writes to Kubernetes. Every change names the uid and resourceVersion it rests on; a lost race is [`ErrorKind::Conflict`].
pub trait KubeWriter: Send + Sync + 'static {
    /// Creates; [`ErrorKind::Conflict`] when the name is taken.
    fn create_slice(&self, spec: &SliceSpec) -> impl Future<Output = Result<KubeSlice, ApiError>> + Send;

    /// Replaces the contents of the slice that has this uid and resourceVersion.
    fn update_slice(
        &self,
        uid: &str,
        resource_version: &str,
        spec: &SliceSpec,
    ) -> impl Future<Output = Result<KubeSlice, ApiError>> + Send;

    /// Deletes the slice that has this uid and resourceVersion; gone already is success.
    fn delete_slice(
        &self,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Keeps an `Endpoints` object, as it was read, from being mirrored, and notes whose doing that is; or takes both back (none).
    fn adopt_endpoints(
        &self,
        endpoints: &Endpoints,
        owner: Option<&str>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Creates a Service; [`ErrorKind::Conflict`] when the name is taken.
    fn create_service(&self, new: &NewService) -> impl Future<Output = Result<KubeService, ApiError>> + Send;

    /// Deletes a Service as it was read; gone already is success.
    fn delete_service(&self, service: &KubeService) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Takes the marks of its import off a Service, as it was read; gone already is success.
    fn orphan_service(&self, service: &KubeService) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Notes on a Service that was made for an import, as it was read, whether Consul has forgotten it; gone already is success.
    fn remember_forgotten(
        &self,
        service: &KubeService,
        forgotten: bool,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Sets the finalizers of an import, as it was read; gone already is success.
    fn set_finalizers(
        &self,
        import: &Import,
        finalizers: &[String],
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Sets the status of an import, as it was read; gone already is success.
    fn set_import_status(&self, import: &Import, status: &Status) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// The one Lease of this installation. Each call ends within [`CALL_WITHIN`](crate::claim::CALL_WITHIN), is sent once, and shares no
/// connection with reads and writes of anything else: what they wait for must not cost the claim.
pub trait LeaseApi: Send + Sync + 'static {
    /// As it stands now; none on 404.
    fn read(&self) -> impl Future<Output = Result<Option<Lease>, ApiError>> + Send;

    /// Creates it; [`ErrorKind::Conflict`] when it is there.
    fn create(&self, write: &LeaseWrite) -> impl Future<Output = Result<Lease, ApiError>> + Send;

    /// Changes it if it still is as `seen`, else [`ErrorKind::Conflict`]: read it again. Whatever others have put on it stays.
    fn replace(&self, seen: &Lease, write: &LeaseWrite) -> impl Future<Output = Result<Lease, ApiError>> + Send;
}

/// Tells people what was done and found: Events, and our condition on the status of Services. A type of its own beside the writer: it
/// changes nothing that anything is planned on, and nothing waits for it. Each call is bounded in time by the implementation.
pub trait KubeTeller: Send + Sync + 'static {
    /// Tells of an object. The same again, a little later, may be counted on the Event that was made before.
    fn event(&self, event: &EventSpec, regarding: &ObjectRef) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Sets our condition on the Service that has this uid, or takes it away, and leaves all other conditions alone. Gives the Service as
    /// it then stands; [`ErrorKind::Conflict`] when another Service has the name, or none.
    fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &str,
        condition: Option<&Condition>,
    ) -> impl Future<Output = Result<KubeService, ApiError>> + Send;
}
