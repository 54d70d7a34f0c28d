//! What may be registered for a Service: its addresses, wherever they come from, and what was left out and why.

use std::fmt;

use crate::consul::NodeService;
use crate::evidence::UserIntent;
use crate::identity::short_hash;
use crate::names;
use crate::problem::Problem;

use super::change::at;

/// What one registration stands for. As long as that stays, it keeps its ID, whatever else changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An address of the Service itself.
    Address(String),
    /// A node that hosts an endpoint; its address may change.
    Node(String),
    /// One endpoint. Pods in the network of their host share an address, and differ in the port.
    Endpoint {
        /// Its address.
        address: String,
        /// Its port; 0 = none.
        port: u16,
    },
}

impl Subject {
    /// What a registration that stands stands for, by its meta.
    #[must_use]
    pub fn of(service: &NodeService) -> Subject {
        if service.meta.contains_key(names::META_SERVICE) {
            let port = u16::try_from(service.port).unwrap_or_default();
            return Subject::Endpoint { address: service.address.clone(), port };
        }
        match service.meta.get(names::META_K8S_NODE) {
            Some(node) => Subject::Node(node.clone()),
            None => Subject::Address(service.address.clone()),
        }
    }

    /// Hex digits by which IDs of one Service are told apart.
    #[must_use]
    pub fn hash(&self, digits: usize) -> String {
        match self {
            Subject::Address(address) => short_hash(&[address], digits),
            Subject::Node(node) => short_hash(&[node], digits),
            Subject::Endpoint { address, port } => short_hash(&[address, &port.to_string()], digits),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Address(address) => f.write_str(address),
            Subject::Node(node) => write!(f, "node {node}"),
            Subject::Endpoint { address, port } => f.write_str(&at(address, i64::from(*port))),
        }
    }
}

/// An address that is to be registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What it stands for.
    pub subject: Subject,
    /// Address or DNS name.
    pub address: String,
    /// Port; 0 = none.
    pub port: u16,
    /// Node it runs on, where known.
    pub node: Option<String>,
    /// Zone it runs in, where known.
    pub zone: Option<String>,
    /// Kind and name of the object behind an endpoint, where known.
    pub target: Option<(String, String)>,
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// To be registered, each subject once, in the order in which the first gets the plain ID.
    pub wanted: Vec<Candidate>,
    /// Left out, with the rule.
    pub left_out: Vec<(String, LeftOut)>,
    /// What is to be told.
    pub problems: Vec<Problem>,
    /// Why what is registered beyond `wanted` may go; none = that isn't known yet, and it stays.
    pub gone_because: Option<UserIntent>,
}

/// Why an address is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// It is no address, or one that is never handed out.
    Address,
    /// It has no port of the wanted name, or none between 1 and 65535.
    Port,
    /// Its pod terminates.
    Terminating,
    /// A slice that consul8s fills has it: it comes from Consul.
    Loop,
    /// A slice of DNS names, which has no defined meaning.
    Fqdn,
    /// Its node is not known.
    UnknownNode,
    /// Its node is labelled or tainted out of cloud load balancers.
    ExcludedNode,
    /// Its node has no address of the kind asked for.
    NodeAddress,
}

impl LeftOut {
    /// A few words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LeftOut::Address => "never registered",
            LeftOut::Port => "no such port",
            LeftOut::Terminating => "terminating",
            LeftOut::Loop => "comes from Consul",
            LeftOut::Fqdn => "slice of DNS names",
            LeftOut::UnknownNode => "node not known",
            LeftOut::ExcludedNode => "node left out of load balancers",
            LeftOut::NodeAddress => "node without such an address",
        }
    }

    /// The label `reason` of the metric `consul8s_instances_dropped`; none where leaving out is no fault.
    #[must_use]
    pub fn metric(self) -> Option<&'static str> {
        match self {
            LeftOut::Address | LeftOut::NodeAddress | LeftOut::Fqdn => Some("address"),
            LeftOut::Port => Some("port"),
            LeftOut::Loop => Some("loop"),
            LeftOut::Terminating | LeftOut::UnknownNode | LeftOut::ExcludedNode => None,
        }
    }
}
