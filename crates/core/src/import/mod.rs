//! Services made from the Consul catalog (contract §3): what a `ConsulImport` asks for, which Services it should have, and what it has to
//! tell.
//!
//! [`plan`] reads all imports of one namespace at once, since who has a name keeps it, and of two imports the older goes first. A created
//! Service that is not an `ExternalName` is an ordinary to_kube Service from then on: nothing here knows of endpoints, but that a Service is
//! not taken away while it has any.

mod absence;
mod name;
mod own;
mod plan;
mod select;
mod service;
mod status;
mod telling;

use std::collections::BTreeMap;
use std::fmt;

use crate::consul::HealthQuery;
use crate::kube::{Family, ObjectKey, ServicePort};
use crate::time::UnixMillis;

pub use absence::{Lineage, Memory};
pub use own::finalizers;
pub use plan::{Action, Input, Need, Plan, Removal, plan};
pub use service::{Candidate, NewService};
pub use status::{ImportCondition, Status};
pub use telling::look;

/// Finalizer of an import, under which its deletion policy is carried out.
pub const FINALIZER: &str = "consul8s.io/import";
/// Label of the Services that were created.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGED_BY: &str = "consul8s";
/// On a created Service: `NAMESPACE/NAME` of its import.
pub const IMPORT: &str = "consul8s/import";
/// On a created Service: UID of its import.
pub const IMPORT_UID: &str = "consul8s/import-uid";
/// On a created Service: `true` while it is missing from a Consul that was restored or wiped, so that a restart knows that nobody took it
/// out.
pub const IMPORT_FORGOTTEN: &str = "consul8s/import-forgotten";

/// What consul8s reads of a `ConsulImport`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID.
    pub uid: String,
    /// resourceVersion of the state read.
    pub resource_version: String,
    /// Generation of the spec.
    pub generation: i64,
    /// Creation time: the older goes first.
    pub created: UnixMillis,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// All its finalizers, ours and others'.
    pub finalizers: Vec<String>,
    /// What it asks for.
    pub spec: Spec,
    /// How it stands, as was last written.
    pub status: Status,
}

impl Import {
    /// Whether it bears our finalizer.
    #[must_use]
    pub fn is_held_by_us(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }
}

/// `spec`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Which services.
    pub selector: Selector,
    /// Datacenter to read; the agent's when none.
    pub datacenter: Option<String>,
    /// Enterprise namespace to read.
    pub namespace: Option<String>,
    /// Enterprise partition to read.
    pub partition: Option<String>,
    /// Cluster peer to read.
    pub peer: Option<String>,
    /// What a Service looks like when it is created.
    pub template: Template,
    /// Services outlive their import.
    pub orphan: bool,
    /// Nothing is created, changed or deleted.
    pub suspend: bool,
}

impl Spec {
    /// The list that its selector looks at; none where Consul has none, for a peer.
    #[must_use]
    pub fn catalog(&self) -> Option<CatalogQuery> {
        let Spec { datacenter, namespace, partition, .. } = self.clone();
        let filter = self.selector.filter.clone();
        self.peer.is_none().then_some(CatalogQuery { datacenter, namespace, partition, filter })
    }

    /// Where the instances of a service are read.
    #[must_use]
    pub fn instances(&self, service: &str) -> HealthQuery {
        let Spec { datacenter, namespace, partition, peer, .. } = self.clone();
        HealthQuery { name: service.to_owned(), datacenter, namespace, partition, peer, filter: None }
    }
}

/// `spec.selector`: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Exact names.
    pub names: Vec<String>,
    /// Beginning of the name.
    pub prefix: Option<String>,
    /// Tags, all of them.
    pub tags: Vec<String>,
    /// Consul's business, which gives only what it matches.
    pub filter: Option<String>,
}

/// `spec.template`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Name, with `{name}`, `{datacenter}`, `{namespace}`.
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `type: ExternalName`.
    pub external_name: bool,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Ports; empty = found out.
    pub ports: Vec<ServicePort>,
    /// `ipFamilies`.
    pub ip_families: Vec<Family>,
    /// `ipFamilyPolicy`.
    pub ip_family_policy: Option<String>,
    /// `trafficDistribution`.
    pub traffic_distribution: Option<String>,
}

/// A list of Consul's catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogQuery {
    /// Datacenter; the agent's when none.
    pub datacenter: Option<String>,
    /// Enterprise namespace.
    pub namespace: Option<String>,
    /// Enterprise partition.
    pub partition: Option<String>,
    /// Filter expression.
    pub filter: Option<String>,
}

impl fmt::Display for CatalogQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("catalog")?;
        let parts = [
            ("dc", &self.datacenter),
            ("ns", &self.namespace),
            ("partition", &self.partition),
            ("filter", &self.filter),
        ];
        for (key, value) in parts {
            value.iter().try_for_each(|value| write!(f, " {key}={value:?}"))?;
        }
        Ok(())
    }
}

/// Names of services with all tags that any instance has.
pub type Catalog = BTreeMap<String, Vec<String>>;

/// The definition of the resource, as the cluster has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// There is none: nobody imports anything.
    Absent,
    /// Imports are served.
    Served,
    /// It is being deleted, and every import with it.
    Deleting,
}

#[cfg(test)]
mod tests;
