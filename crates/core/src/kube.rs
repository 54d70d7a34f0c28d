//! Kubernetes as plain values: what the planners read, and what the writer is asked to write.

use std::collections::BTreeMap;
use std::fmt;

use crate::time::UnixMillis;

/// `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which namespaces a process looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace but those named.
    All {
        /// `--exclude-namespace`.
        exclude: Vec<String>,
    },
    /// Only those named, sorted, each once.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether objects of this namespace are looked at.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Scope::All { exclude } => !exclude.iter().any(|n| n == namespace),
            Scope::Namespaces(names) => names.iter().any(|n| n == namespace),
        }
    }
}

/// IP family of a Service or slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `IPv4`
    V4,
    /// `IPv6`
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`, Kubernetes' default.
    #[default]
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// `ClusterIP`
    #[default]
    ClusterIp,
    /// `NodePort`
    NodePort,
    /// `LoadBalancer`
    LoadBalancer,
    /// `ExternalName`
    ExternalName,
}

/// One port of a Service. A `targetPort` plays no role for a Service without selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty for the single unnamed port.
    pub name: String,
    /// Number, 1–65535 (the API server checks it).
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// `appProtocol`, copied to the slices.
    pub app_protocol: Option<String>,
    /// Port on every node, for `NodePort` and `LoadBalancer`.
    pub node_port: Option<u16>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// IP, as written by the cloud provider.
    pub ip: Option<String>,
    /// DNS name, as written by the cloud provider.
    pub hostname: Option<String>,
}

/// What consul8s reads of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeService {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID: another Service under the same name is another Service.
    pub uid: String,
    /// resourceVersion of the state read.
    pub resource_version: String,
    /// Creation time (whole seconds in Kubernetes): "the older keeps it".
    pub created: UnixMillis,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// `spec.selector`; empty = none.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`, in the order written.
    pub ports: Vec<ServicePort>,
    /// `spec.clusterIPs`; `None` and empty strings are left out.
    pub cluster_ips: Vec<String>,
    /// `spec.clusterIP: None`.
    pub headless: bool,
    /// `spec.ipFamilies`, primary first.
    pub ip_families: Vec<Family>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<String>,
    /// `status.loadBalancer.ingress`.
    pub load_balancer: Vec<Ingress>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `spec.trafficDistribution`.
    pub traffic_distribution: Option<String>,
    /// Our own condition on its status, if it bears one.
    pub condition: Option<Condition>,
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionStatus {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`, and whatever else somebody may have written.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }

    /// Reads it.
    #[must_use]
    pub fn parse(word: &str) -> ConditionStatus {
        match word {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        }
    }
}

/// The condition `consul8s/Synced` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether all is as it should be.
    pub status: ConditionStatus,
    /// Why, in one word. What stands may hold any.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
    /// When the status last changed, in whole seconds.
    pub since: UnixMillis,
}

impl Default for ObjectKey {
    fn default() -> Self {
        ObjectKey::new("default", "")
    }
}

/// Owner of a slice, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// `Service`, `Endpoints`, …
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
}

/// Address type of a slice that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressType {
    /// One of the two IP families.
    Ip(Family),
    /// `FQDN`, which nobody consumes; never ours.
    Fqdn,
}

/// One port of a slice. Slices of others may carry anything the API server lets through, hence the wide number.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlicePort {
    /// Name, equal to the Service port's.
    pub name: String,
    /// Protocol, equal to the Service port's.
    pub protocol: Protocol,
    /// Number that kube-proxy forwards to; `None` on foreign slices only.
    pub port: Option<i64>,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// First address, canonical on our slices (kube-proxy reads no other).
    pub address: String,
    /// `conditions.ready`; nil is read as true.
    pub ready: bool,
    /// `conditions.serving`; nil is read as true.
    pub serving: bool,
    /// `conditions.terminating`; nil is read as false.
    pub terminating: bool,
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `zone`.
    pub zone: Option<String>,
    /// `hints.forZones`, names only.
    pub hint_zones: Vec<String>,
    /// `targetRef`, as `Kind/name`; never ours.
    pub target: Option<String>,
}

/// An EndpointSlice that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeSlice {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID, the precondition of every write.
    pub uid: String,
    /// resourceVersion, the precondition of every write.
    pub resource_version: String,
    /// Whether it has a deletionTimestamp: a write into it succeeds and is lost.
    pub deleting: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    pub owners: Vec<OwnerRef>,
    /// `addressType`.
    pub address_type: AddressType,
    /// Endpoints, in the order written.
    pub endpoints: Vec<Endpoint>,
    /// Ports, in the order written.
    pub ports: Vec<SlicePort>,
}

impl KubeSlice {
    /// The Service this slice belongs to, by its label; a slice without it belongs to nobody.
    #[must_use]
    pub fn service(&self) -> Option<ObjectKey> {
        let name = self.labels.get(crate::names::LABEL_SERVICE_NAME)?;
        Some(ObjectKey::new(self.key.namespace.clone(), name.clone()))
    }
}

/// Kind of a Node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeAddressKind {
    /// `ExternalIP`
    External,
    /// `InternalIP`
    Internal,
}

/// What consul8s reads of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeNode {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Keys of its taints.
    pub taints: Vec<String>,
    /// `ExternalIP` and `InternalIP` addresses, in the order written.
    pub addresses: Vec<(NodeAddressKind, String)>,
    /// Whether its condition `Ready` is `True`.
    pub ready: bool,
    /// `lastTransitionTime` of its condition `Ready`.
    pub ready_changed: UnixMillis,
}

/// A slice as it should be. Two are equal when nothing needs writing, so the trigger time is not compared.
#[derive(Clone, Debug)]
pub struct SliceSpec {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Address family.
    pub family: Family,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All annotations but the trigger time.
    pub annotations: BTreeMap<String, String>,
    /// The Service that owns it (written as controller reference).
    pub owner: OwnerRef,
    /// Endpoints, in the order they are to be written.
    pub endpoints: Vec<Endpoint>,
    /// Ports, in the order of the Service.
    pub ports: Vec<SlicePort>,
    /// When the change behind this write was seen; becomes `endpoints.kubernetes.io/last-change-trigger-time`. The edge removes the
    /// annotation where this is unknown.
    pub trigger: Option<UnixMillis>,
}

impl PartialEq for SliceSpec {
    fn eq(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten here.
        let SliceSpec { key, family, labels, annotations, owner, endpoints, ports, trigger: _ } = self;
        *key == other.key
            && *family == other.family
            && *labels == other.labels
            && *annotations == other.annotations
            && *owner == other.owner
            && *endpoints == other.endpoints
            && *ports == other.ports
    }
}

impl Eq for SliceSpec {}
