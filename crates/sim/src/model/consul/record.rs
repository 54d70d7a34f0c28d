//! What the catalog stores. Lists and maps are optional because Consul tells nil from empty when it compares.

use std::collections::BTreeMap;

use consul8s_core::consul::{NamedPort, TaggedAddress};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// UUID; empty for nodes without an agent.
    pub id: String,
    /// Name.
    pub name: String,
    /// Address, unchecked.
    pub address: String,
    /// Tagged addresses.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Meta.
    pub meta: Option<BTreeMap<String, String>>,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// Weights for DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// While passing.
    pub passing: i64,
    /// While warning.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { passing: 1, warning: 1 }
    }
}

/// A service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecord {
    /// ID, unique per node.
    pub id: String,
    /// Name.
    pub name: String,
    /// Kind; empty for an ordinary service.
    pub kind: String,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Address, unchecked; empty = the node's.
    pub address: String,
    /// Port, unchecked; 0 = none, as with named ports.
    pub port: i64,
    /// Named ports.
    pub ports: Option<Vec<NamedPort>>,
    /// Tagged addresses.
    pub tagged_addresses: Option<BTreeMap<String, TaggedAddress>>,
    /// Meta.
    pub meta: Option<BTreeMap<String, String>>,
    /// Weights.
    pub weights: Weights,
    /// Region and zone.
    pub locality: Option<(String, String)>,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change (checks do not move it).
    pub modify_index: u64,
}

/// A check of a node or of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckRecord {
    /// Node it belongs to.
    pub node: String,
    /// ID, unique per node.
    pub id: String,
    /// Name.
    pub name: String,
    /// State, unchecked; Consul stores any word. Empty becomes `critical`.
    pub status: String,
    /// Notes.
    pub notes: String,
    /// Output.
    pub output: String,
    /// Instance; empty for a check of the node.
    pub service_id: String,
    /// Name of the instance's service at the time of the last write of this check.
    pub service_name: String,
    /// Tags of the instance at the time of the last write of this check.
    pub service_tags: Option<Vec<String>>,
    /// `ttl`, `maintenance` or empty.
    pub kind: String,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

impl Node {
    /// Whether a write of `self` over `old` changes nothing.
    pub(super) fn same_as(&self, old: &Node) -> bool {
        let mut new = self.clone();
        (new.create_index, new.modify_index) = (old.create_index, old.modify_index);
        new == *old
    }
}

impl ServiceRecord {
    /// The port that the health endpoint shows: with named ports, the default one.
    #[must_use]
    pub fn shown_port(&self) -> i64 {
        self.ports.iter().flatten().find(|port| port.default).map_or(self.port, |port| port.port)
    }

    /// Whether a write of `self` over `old` changes nothing.
    pub(super) fn same_as(&self, old: &ServiceRecord) -> bool {
        let mut new = self.clone();
        (new.create_index, new.modify_index) = (old.create_index, old.modify_index);
        new == *old
    }
}

impl CheckRecord {
    /// Whether a write of `self` over `old` changes nothing.
    pub(super) fn same_as(&self, old: &CheckRecord) -> bool {
        let mut new = self.clone();
        (new.create_index, new.modify_index) = (old.create_index, old.modify_index);
        new == *old
    }
}
