//! What the cluster shows about a Service: its endpoints and the nodes they run on, as readiness and addresses need them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kube::{AddressType, Endpoint, KubeNode, KubeService, KubeSlice, SlicePort};
use crate::names;
use crate::time::UnixMillis;

/// Share of nodes, in percent, that may turn NotReady together before that is taken for a fault of the control plane and not of the
/// nodes: Kubernetes' own limit for stopping evictions.
const DISRUPTED_PERCENT: usize = 55;
/// Fewer nodes are no sample.
const DISRUPTED_NODES: usize = 4;
/// How close together they must turn.
const DISRUPTED_WITHIN: Duration = Duration::from_secs(60);

/// The view of one Service.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// Its slices, without those of consul8s (what comes from Consul does not go back, and says nothing about readiness), by name.
    pub slices: Vec<&'a KubeSlice>,
    /// Addresses in slices of consul8s.
    pub from_consul: BTreeSet<&'a str>,
    /// Whether the Service has a selector.
    pub selected: bool,
    /// Nodes by name, with whether they count as Ready.
    pub nodes: BTreeMap<&'a str, (&'a KubeNode, bool)>,
}

impl<'a> Cluster<'a> {
    /// From everything that was listed for the Service.
    #[must_use]
    pub fn new(service: &KubeService, slices: &[&'a KubeSlice], nodes: &[&'a KubeNode]) -> Cluster<'a> {
        let mine = slices.iter().copied().filter(|slice| slice.service().as_ref() == Some(&service.key));
        let (from_consul, mut others): (Vec<_>, Vec<_>) = mine.partition(|slice| is_of_consul8s(slice));
        others.sort_by(|a, b| a.key.cmp(&b.key));
        let held = disrupted(nodes);
        Cluster {
            slices: others,
            from_consul: from_consul.iter().flat_map(|slice| &slice.endpoints).map(|e| e.address.as_str()).collect(),
            selected: !service.selector.is_empty(),
            nodes: nodes
                .iter()
                .map(|node| (node.name.as_str(), (*node, node.ready || held.contains(node.name.as_str()))))
                .collect(),
        }
    }

    /// All endpoints with the ports of their slice, but for slices of DNS names.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'a Endpoint, &'a [SlicePort])> {
        let ips = self.slices.iter().filter(|slice| matches!(slice.address_type, AddressType::Ip(_)));
        ips.flat_map(|slice| slice.endpoints.iter().map(|endpoint| (endpoint, slice.ports.as_slice())))
    }

    /// Whether the endpoints are not known: Kubernetes keeps at least one slice, be it empty, for a Service with a selector, so that
    /// none at all proves nothing.
    #[must_use]
    pub fn unknown(&self) -> bool {
        self.selected && self.slices.is_empty()
    }
}

/// Whether traffic may go there.
#[must_use]
pub fn serves(endpoint: &Endpoint) -> bool {
    endpoint.serving && !endpoint.terminating
}

/// Of any installation: whoever filled it, it was filled from Consul.
fn is_of_consul8s(slice: &KubeSlice) -> bool {
    slice.labels.get(names::LABEL_MANAGED_BY).is_some_and(|manager| manager == names::MANAGED_BY)
}

/// Nodes that turned NotReady together with so many others that the control plane is likelier to have lost them than they their
/// pods: they count as they did before. It holds as long as that is so.
fn disrupted<'a>(nodes: &[&'a KubeNode]) -> BTreeSet<&'a str> {
    if nodes.len() < DISRUPTED_NODES {
        return BTreeSet::new();
    }
    let mut lost: Vec<(UnixMillis, &str)> =
        nodes.iter().filter(|node| !node.ready).map(|node| (node.ready_changed, node.name.as_str())).collect();
    lost.sort();
    let mut held = BTreeSet::new();
    for (i, (from, _)) in lost.iter().enumerate() {
        let together = lost[i..].iter().take_while(|(at, _)| at.since(*from) <= DISRUPTED_WITHIN);
        let names: Vec<&str> = together.map(|(_, name)| *name).collect();
        if names.len() * 100 > DISRUPTED_PERCENT * nodes.len() {
            held.extend(names);
        }
    }
    held
}
