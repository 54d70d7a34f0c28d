//! Consul as plain values: what the planners read, and what the writer is asked to write.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::empty_node::EmptyNode;
use crate::few::Few;

/// State of a check, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckStatus {
    /// `passing`
    Passing,
    /// `warning`
    Warning,
    /// `critical`, and any word we do not know: what can't be understood is not called healthy.
    Critical,
}

impl CheckStatus {
    /// Reads Consul's word for it.
    #[must_use]
    pub fn parse(word: &str) -> CheckStatus {
        match word {
            "passing" => CheckStatus::Passing,
            "warning" => CheckStatus::Warning,
            _ => CheckStatus::Critical,
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CheckStatus::Passing => "passing",
            CheckStatus::Warning => "warning",
            CheckStatus::Critical => "critical",
        })
    }
}

/// One health check, of a node (`service_id` empty) or of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Node it belongs to. This and the name may be left empty where nothing reads them (instances): there are tens of thousands.
    pub node: String,
    /// ID, unique per node.
    pub id: String,
    /// Name.
    pub name: String,
    /// Instance it belongs to; empty for a check of the node.
    pub service_id: String,
    /// State.
    pub status: CheckStatus,
    /// Output text. Left empty by the edge where nothing reads it (instances).
    pub output: String,
    /// ModifyIndex, the fence of a compare-and-set.
    pub modify_index: u64,
}

/// An address with its port, as Consul's tagged addresses have it. Consul stores any number: the planner judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedAddress {
    /// Address, unchecked.
    pub address: String,
    /// Port, unchecked; 0 = none.
    pub port: i64,
}

/// A named port (Consul 1.22+).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    /// Name.
    pub name: String,
    /// Number, unchecked.
    pub port: i64,
    /// Whether it is the one that `Port` shows.
    pub default: bool,
}

/// One instance of a Consul service with its node and all checks that count for it. Nothing in it is checked: the catalog stores
/// almost anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Node name.
    pub node: String,
    /// Address of the node.
    pub node_address: String,
    /// Meta of the node.
    pub node_meta: Few<String>,
    /// Datacenter of the node.
    pub datacenter: String,
    /// Service ID, unique per node only.
    pub id: String,
    /// Service name as registered; Consul's lookups ignore case.
    pub name: String,
    /// Kind: empty for an ordinary service, `connect-proxy`, `mesh-gateway`, ….
    pub kind: String,
    /// Address of the instance; empty = the node's.
    pub address: String,
    /// Port; 0 = none.
    pub port: i64,
    /// Named ports (Consul 1.22+).
    pub ports: Vec<NamedPort>,
    /// Tags.
    pub tags: Vec<String>,
    /// Meta.
    pub meta: Few<String>,
    /// Tagged addresses of the instance, without those that Consul itself adds.
    pub tagged_addresses: Few<TaggedAddress>,
    /// Tagged addresses of the node.
    pub node_tagged_addresses: Few<String>,
    /// Zone of its locality.
    pub zone: Option<String>,
    /// Checks of the instance and of its node.
    pub checks: Vec<Check>,
}

/// What an instance is called in logs, plans and decisions: `ID@NODE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceRef {
    /// Node name.
    pub node: String,
    /// Service ID.
    pub id: String,
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.node)
    }
}

impl Instance {
    /// Its identity.
    #[must_use]
    pub fn reference(&self) -> InstanceRef {
        InstanceRef { node: self.node.clone(), id: self.id.clone() }
    }
}

/// What the health endpoint is asked for. One blocking query per distinct value, shared by all Services that ask the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthQuery {
    /// Service name.
    pub name: String,
    /// Datacenter; none = the agent's.
    pub datacenter: Option<String>,
    /// Enterprise namespace.
    pub namespace: Option<String>,
    /// Enterprise partition.
    pub partition: Option<String>,
    /// Cluster peer.
    pub peer: Option<String>,
    /// Filter expression, passed to Consul as it is.
    pub filter: Option<String>,
}

impl fmt::Display for HealthQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let parts = [
            ("dc", &self.datacenter),
            ("ns", &self.namespace),
            ("partition", &self.partition),
            ("peer", &self.peer),
            ("filter", &self.filter),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                write!(f, " {key}={value:?}")?;
            }
        }
        Ok(())
    }
}

/// How a read is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// By any server that heard its leader lately.
    Stale,
    /// By the leader after a quorum round: the only reads that can confirm an absence.
    Consistent,
    /// As `Stale`, once the index is above `index` or `wait` is over (Consul adds up to a sixteenth).
    Blocking {
        /// Index of the last answer, at least 1.
        index: u64,
        /// How long to wait.
        wait: Duration,
    },
}

/// What the headers of an answer say about its worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerMeta {
    /// `X-Consul-Index`; 0 where the header is missing or unreadable.
    pub index: u64,
    /// `X-Consul-KnownLeader: false`, and the backend is not `streaming` (whose value there means nothing).
    pub leaderless: bool,
    /// `X-Consul-LastContact`.
    pub last_contact: Duration,
    /// `X-Consul-Results-Filtered-By-ACLs: true`.
    pub filtered: bool,
    /// The answer to a blocking query. Where it had to wait, Consul leaves out what the token may not see, and nothing tells (measured on
    /// 1.22.7); so it never proves that nothing is hidden.
    pub polled: bool,
    /// The request bore no token and `X-Consul-Default-Acl-Policy` is `deny`: what is missing may only be hidden.
    pub anonymous_under_deny: bool,
}

impl AnswerMeta {
    /// Whether rights may have kept something from the answer: what it lacks proves nothing.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.filtered || self.anonymous_under_deny
    }
}

/// An answer with its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// Headers.
    pub meta: AnswerMeta,
    /// Body.
    pub body: T,
}

/// ID of a service instance that we write or remove. Never empty: Consul reads an empty one as "the whole node".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(String);

impl ServiceId {
    /// The ID, unless it is empty.
    pub fn new(id: impl Into<String>) -> Option<ServiceId> {
        let id = id.into();
        (!id.is_empty()).then_some(ServiceId(id))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// ID of this registration's readiness check.
    #[must_use]
    pub fn check_id(&self) -> String {
        format!("{}:{}", crate::names::CHECK_NAME, self.0)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name.
    pub name: String,
    /// Address.
    pub address: String,
    /// Meta.
    pub meta: BTreeMap<String, String>,
    /// ModifyIndex of the node record (does not move with its services).
    pub modify_index: u64,
}

/// One service of a node, as the catalog has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeService {
    /// ID.
    pub id: String,
    /// Name.
    pub name: String,
    /// Address.
    pub address: String,
    /// Port.
    pub port: i64,
    /// Tags.
    pub tags: Vec<String>,
    /// Meta.
    pub meta: BTreeMap<String, String>,
    /// Passing weight.
    pub weight: i64,
    /// ModifyIndex, the fence of a compare-and-set (does not move with its check).
    pub modify_index: u64,
}

/// A node with its services and all its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// The node.
    pub node: NodeRecord,
    /// Its services, by ID.
    pub services: BTreeMap<String, NodeService>,
    /// Its checks, by check ID.
    pub checks: BTreeMap<String, Check>,
}

/// A registration as it should be: one instance and its one check, on one of our nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Our synthetic node.
    pub node: String,
    /// ID.
    pub id: ServiceId,
    /// Consul service name.
    pub name: String,
    /// Address or DNS name.
    pub address: String,
    /// Port; 0 = none.
    pub port: u16,
    /// Tags, in the order given.
    pub tags: Vec<String>,
    /// Meta, with `consul8s-rv`.
    pub meta: BTreeMap<String, String>,
    /// Passing weight.
    pub weight: u16,
    /// State of its check.
    pub status: CheckStatus,
    /// Output of its check: a sentence for a person.
    pub output: String,
}

/// One operation of a transaction. `index` is the ModifyIndex of the read it rests on; 0 = the thing must not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// `Node` `cas`.
    SetNode {
        /// The node; its `modify_index` is not sent.
        node: NodeRecord,
        /// Fence.
        index: u64,
    },
    /// `Service` `cas`, the service part of a registration.
    SetService {
        /// What to write.
        registration: Registration,
        /// Fence.
        index: u64,
    },
    /// `Check` `cas`, the check part of a registration. Always in one transaction with a `SetService` of the same registration.
    SetCheck {
        /// What to write.
        registration: Registration,
        /// Fence.
        index: u64,
    },
    /// `Service` `delete-cas`, by ID and name; its checks go with it.
    DeleteService {
        /// Node.
        node: String,
        /// ID.
        id: ServiceId,
        /// Name it stands under.
        name: String,
        /// Fence.
        index: u64,
    },
    /// `Node` `delete-cas` of a node that is proven to be empty.
    RemoveNode(EmptyNode),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All of it was done.
    Applied(TxnApplied),
    /// Nothing of it was done.
    Refused(Vec<TxnRefusal>),
}

/// What an accepted transaction left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnApplied {
    /// Nodes written, as they stand.
    pub nodes: Vec<NodeRecord>,
    /// Services written, with the name of their node.
    pub services: Vec<(String, NodeService)>,
    /// Checks written.
    pub checks: Vec<Check>,
}

/// Why one operation was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRefusal {
    /// Position in the transaction.
    pub op: usize,
    /// Consul's text.
    pub what: String,
}

impl TxnRefusal {
    /// Whether it lost a race: somebody wrote between our read and our write. Read again, then plan again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.what.contains("index is stale")
    }

    /// Whether our token may not do it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.what.contains("Permission denied")
    }
}
