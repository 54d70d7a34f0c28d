//! Our synthetic nodes as Consul has them, with an index from Kubernetes Service to registrations.
//!
//! What is ours is known by its marks alone (contract S5): the node by its identity, a service by `consul8s-owner`, the Kubernetes
//! Service it stands for by its meta. So a registration whose Service is long gone still finds its key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::consul::{Check, NodeRecord, NodeService, NodeView, ServiceId, TxnApplied};
use crate::guard::SERF_HEALTH;
use crate::identity::Identity;
use crate::kube::ObjectKey;
use crate::names;
use crate::problem::{Problem, Reason, clean};

/// Services on one node; a change of a node's record wakes the watchers of all of them.
pub const ROOM: usize = 500;

/// Address of our nodes. Consul wants one, and falls back to it for services without an address, which ours never are; so it is
/// one that leads nowhere by mistake. HashiCorp's catalog sync uses the same.
pub const NODE_ADDRESS: &str = "127.0.0.1";

/// `NODE`, `NODE-2`, …: our nodes, complete up to the first that doesn't exist.
#[derive(Clone, Debug)]
pub struct OurNodes {
    first: String,
    views: BTreeMap<u32, NodeView>,
    by_key: BTreeMap<ObjectKey, BTreeSet<(u32, String)>>,
}

/// One registration that stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Which of our nodes.
    pub ordinal: u32,
    /// Name of the node.
    pub node: &'a str,
    /// The service.
    pub service: &'a NodeService,
    /// Its readiness check.
    pub check: Option<&'a Check>,
}

impl OurNodes {
    /// None read yet; `first` is `--consul-node-name`.
    #[must_use]
    pub fn new(first: impl Into<String>) -> OurNodes {
        OurNodes { first: first.into(), views: BTreeMap::new(), by_key: BTreeMap::new() }
    }

    /// Names to read: those that exist and the one after, so that reading until nothing new appears shows all.
    #[must_use]
    pub fn to_read(&self) -> Vec<String> {
        let past_last = self.views.keys().next_back().map_or(1, |last| last + 1);
        (1..=past_last).map(|ordinal| self.name(ordinal)).collect()
    }

    /// Takes in a node as read; a name that is none of ours is passed over.
    pub fn set(&mut self, view: NodeView) {
        let Some(ordinal) = self.ordinal(&view.node.name) else { return };
        self.forget(ordinal);
        for service in view.services.values() {
            self.note(ordinal, service);
        }
        self.views.insert(ordinal, view);
    }

    /// The node does not exist, a read said.
    pub fn unset(&mut self, name: &str) {
        if let Some(ordinal) = self.ordinal(name) {
            self.forget(ordinal);
            self.views.remove(&ordinal);
        }
    }

    /// Takes in what an accepted transaction left behind, so that the next plan need not wait for a read.
    pub fn applied(&mut self, applied: &TxnApplied) {
        for node in &applied.nodes {
            let Some(ordinal) = self.ordinal(&node.name) else { continue };
            self.views.entry(ordinal).or_default().node = node.clone();
        }
        for (node, service) in &applied.services {
            let Some(ordinal) = self.ordinal(node) else { continue };
            self.drop_service(ordinal, &service.id);
            self.note(ordinal, service);
            let view = self.views.entry(ordinal).or_default();
            view.services.insert(service.id.clone(), service.clone());
        }
        for check in &applied.checks {
            let Some(ordinal) = self.ordinal(&check.node) else { continue };
            let view = self.views.entry(ordinal).or_default();
            view.checks.insert(check.id.clone(), check.clone());
        }
    }

    /// A service was deleted, and its checks with it.
    pub fn deleted(&mut self, node: &str, id: &ServiceId) {
        if let Some(ordinal) = self.ordinal(node) {
            self.drop_service(ordinal, id.as_str());
            if let Some(view) = self.views.get_mut(&ordinal) {
                view.checks.retain(|_, check| check.service_id != id.as_str());
            }
        }
    }

    /// A node by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NodeView> {
        self.views.get(&self.ordinal(name)?)
    }

    /// All of them, in order.
    pub fn views(&self) -> impl Iterator<Item = &NodeView> {
        self.views.values()
    }

    /// Every Kubernetes Service that something on our nodes says it stands for.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.by_key.keys()
    }

    /// What stands for a Kubernetes Service and carries our mark, in the order of nodes and IDs.
    pub fn standing(&self, key: &ObjectKey, marks: &Marks<'_>) -> Vec<Standing<'_>> {
        let entries = self.by_key.get(key).into_iter().flatten();
        let all = entries.filter_map(|(ordinal, id)| self.standing_at(*ordinal, id));
        all.filter(|standing| marks.ours(standing.service)).collect()
    }

    /// What stands under an ID, on whichever of our nodes, whoever wrote it.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Standing<'_>> {
        self.views.keys().find_map(|ordinal| self.standing_at(*ordinal, id))
    }

    /// How many registrations carry our mark.
    #[must_use]
    pub fn count(&self, marks: &Marks<'_>) -> usize {
        self.services().filter(|service| marks.ours(service)).count()
    }

    /// The highest resourceVersion that a registration of ours was written from: a list below it is of a restored API server.
    #[must_use]
    pub fn highest_version(&self, marks: &Marks<'_>) -> Option<u64> {
        let ours = self.services().filter(|service| marks.ours(service));
        ours.filter_map(|service| service.meta.get(names::META_RV)?.parse().ok()).max()
    }

    /// The first node with room, given how many are to come to each.
    #[must_use]
    pub fn place(&self, coming: &BTreeMap<u32, usize>) -> u32 {
        let taken = |ordinal: u32| {
            let standing = self.views.get(&ordinal).map_or(0, |view| view.services.len());
            standing + coming.get(&ordinal).copied().unwrap_or(0)
        };
        let mut ordinal = 1;
        while taken(ordinal) >= ROOM {
            ordinal += 1;
        }
        ordinal
    }

    /// Name of the node with this number.
    #[must_use]
    pub fn name(&self, ordinal: u32) -> String {
        if ordinal == 1 { self.first.clone() } else { format!("{}-{ordinal}", self.first) }
    }

    /// Whether it exists.
    #[must_use]
    pub fn exists(&self, ordinal: u32) -> bool {
        self.views.contains_key(&ordinal)
    }

    /// A node of our name that carries another identity: nothing is written until `--take-over`, and on an agent's node not even then
    /// (contract §4).
    #[must_use]
    pub fn foreign(&self, marks: &Marks<'_>) -> Option<&NodeView> {
        let theirs =
            |view: &&NodeView| !marks.identity.owns_node(&view.node) && (!marks.take_over || is_an_agents(view));
        self.views.values().find(theirs)
    }

    fn services(&self) -> impl Iterator<Item = &NodeService> {
        self.views.values().flat_map(|view| view.services.values())
    }

    fn standing_at(&self, ordinal: u32, id: &str) -> Option<Standing<'_>> {
        let view = self.views.get(&ordinal)?;
        let service = view.services.get(id)?;
        let check = view.checks.get(&ServiceId::new(id)?.check_id());
        Some(Standing { ordinal, node: &view.node.name, service, check })
    }

    /// Number of the node with this name, from 1; none where it is none of ours.
    #[must_use]
    pub fn ordinal(&self, name: &str) -> Option<u32> {
        match name.strip_prefix(&self.first)? {
            "" => Some(1),
            rest => {
                let ordinal = rest.strip_prefix('-')?.parse().ok().filter(|n| *n > 1)?;
                (self.name(ordinal) == name).then_some(ordinal)
            }
        }
    }

    fn note(&mut self, ordinal: u32, service: &NodeService) {
        if let Some(key) = key_of(service) {
            self.by_key.entry(key).or_default().insert((ordinal, service.id.clone()));
        }
    }

    fn drop_service(&mut self, ordinal: u32, id: &str) {
        let Some(old) = self.views.get_mut(&ordinal).and_then(|view| view.services.remove(id)) else { return };
        let Some(key) = key_of(&old) else { return };
        if let Some(entries) = self.by_key.get_mut(&key) {
            entries.remove(&(ordinal, old.id));
            if entries.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    fn forget(&mut self, ordinal: u32) {
        self.by_key.retain(|_, entries| {
            entries.retain(|(at, _)| *at != ordinal);
            !entries.is_empty()
        });
    }
}

/// How our own services are known.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// Who we are.
    pub identity: &'a Identity,
    /// `--take-over`: on a node of ours every mark of a consul8s counts as ours.
    pub take_over: bool,
}

impl Marks<'_> {
    /// Whether we may change or remove it.
    #[must_use]
    pub fn ours(&self, service: &NodeService) -> bool {
        service.meta.get(names::META_OWNER).is_some_and(|owner| self.take_over || *owner == self.identity.owner)
    }
}

/// The Kubernetes Service that a registration stands for.
#[must_use]
pub fn key_of(service: &NodeService) -> Option<ObjectKey> {
    let namespace = service.meta.get(names::META_K8S_NS)?;
    // A registered endpoint names its pod there, and its Service in a key of its own.
    let name = service.meta.get(names::META_SERVICE).or_else(|| service.meta.get(names::META_K8S_REF_NAME))?;
    Some(ObjectKey::new(namespace.clone(), name.clone()))
}

/// The node as we make it.
#[must_use]
pub fn record(name: String, identity: &Identity) -> NodeRecord {
    NodeRecord { name, address: NODE_ADDRESS.to_owned(), meta: identity.node_meta().into(), modify_index: 0 }
}

/// Whether an agent stands for the node: it would take away what we put there.
fn is_an_agents(view: &NodeView) -> bool {
    view.checks.get(SERF_HEALTH).is_some_and(|check| check.service_id.is_empty())
}

/// The problem of a node of our name that is somebody else's. It concerns all Services: one Event on the Lease.
#[must_use]
pub fn conflict(view: &NodeView, identity: &Identity) -> Problem {
    let node = &view.node;
    if is_an_agents(view) {
        let message = format!(
            "Consul node {} is an agent's: nothing is registered on it, not even with --take-over; choose another --consul-node-name",
            clean(&node.name, 80)
        );
        return Problem::new(Reason::OwnershipConflict, message);
    }
    let shown = |key: &str| clean(node.meta.get(key).map_or("-", String::as_str), 80);
    let message = format!(
        "Consul node {} belongs to owner {}, cluster {}, installation {}; we are {}, {}, {}: nothing is registered; choose another \
         --consul-node-name or --owner-id, or make it ours with --take-over",
        clean(&node.name, 80),
        shown(names::NODE_OWNER),
        shown(names::NODE_CLUSTER_UID),
        shown(names::NODE_INSTALLATION),
        identity.owner,
        identity.cluster_uid,
        identity.installation
    );
    Problem::new(Reason::OwnershipConflict, message)
}

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", clean(&self.service.id, 300), self.node)
    }
}
