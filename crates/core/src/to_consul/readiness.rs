//! The one check of a registration: whether an endpoint serves, as Kubernetes sees it.
//!
//! The sentence that goes with it says what was judged and nothing that moves by itself: no counts, no times. A check whose output
//! changed is a Raft entry and wakes everybody who watches the service, and a rolling restart would write it for every pod.

use std::collections::BTreeMap;

use crate::consul::CheckStatus;
use crate::intent::to_consul::host;
use crate::kube::ObjectKey;

use super::candidate::Subject;
use super::cluster::{Cluster, serves};

/// State and output of a check.
pub type Verdict = (CheckStatus, String);

/// What the endpoints of one Service say, looked up by what a registration stands for.
#[derive(Clone, Debug)]
pub struct Readiness<'a> {
    key: &'a ObjectKey,
    whole: Whole,
    nodes: BTreeMap<&'a str, NodeState>,
    endpoints: BTreeMap<(String, Option<u16>), bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Serving,
    NotServing,
    NothingToJudgeBy,
}

#[derive(Clone, Copy, Debug)]
struct NodeState {
    ready: bool,
    serving: bool,
}

impl<'a> Readiness<'a> {
    /// Reads the endpoints once.
    #[must_use]
    pub fn new(key: &'a ObjectKey, cluster: &Cluster<'a>) -> Readiness<'a> {
        let mut nodes: BTreeMap<&str, NodeState> = cluster
            .nodes
            .iter()
            .map(|(name, (_, ready))| (*name, NodeState { ready: *ready, serving: false }))
            .collect();
        let mut endpoints: BTreeMap<(String, Option<u16>), bool> = BTreeMap::new();
        for (endpoint, ports) in cluster.endpoints() {
            let serving = serves(endpoint);
            if let Some(node) = endpoint.node_name.as_deref().and_then(|name| nodes.get_mut(name)) {
                node.serving |= serving;
            }
            let Ok(address) = host(&endpoint.address) else { continue };
            let numbers = ports.iter().filter_map(|port| u16::try_from(port.port?).ok()).map(Some);
            for number in numbers.chain([None]) {
                *endpoints.entry((address.clone(), number)).or_default() |= serving;
            }
        }
        let any_serves = cluster.slices.iter().flat_map(|slice| &slice.endpoints).any(serves);
        let whole = match any_serves {
            true => Whole::Serving,
            false if !cluster.selected && cluster.slices.is_empty() => Whole::NothingToJudgeBy,
            false => Whole::NotServing,
        };
        Readiness { key, whole, nodes, endpoints }
    }

    /// The check of a registration. `target` names the pod behind an endpoint, where known.
    #[must_use]
    pub fn judge(&self, subject: &Subject, target: Option<&str>) -> Verdict {
        let key = self.key;
        match subject {
            Subject::Address(_) => match self.whole {
                Whole::Serving => (CheckStatus::Passing, format!("an endpoint of {key} is serving")),
                Whole::NotServing => (CheckStatus::Critical, format!("no endpoint of {key} is serving")),
                Whole::NothingToJudgeBy => (
                    CheckStatus::Passing,
                    format!("{key} has neither selector nor EndpointSlices: nothing to judge by"),
                ),
            },
            Subject::Node(name) => match self.nodes.get(name.as_str()) {
                Some(NodeState { ready: true, serving: true }) => {
                    (CheckStatus::Passing, format!("node {name} is Ready and an endpoint of {key} on it is serving"))
                }
                Some(NodeState { ready: true, serving: false }) => {
                    (CheckStatus::Critical, format!("no endpoint of {key} on node {name} is serving"))
                }
                Some(NodeState { ready: false, .. }) => (CheckStatus::Critical, format!("node {name} is not Ready")),
                None => (CheckStatus::Critical, format!("node {name} does not exist")),
            },
            Subject::Endpoint { address, port } => {
                let who = target.map_or_else(|| format!("endpoint {address}"), |name| format!("pod {name}"));
                let by_port = self.endpoints.get(&(address.clone(), Some(*port)));
                let serving = by_port.or_else(|| self.endpoints.get(&(address.clone(), None)));
                match serving {
                    Some(true) => (CheckStatus::Passing, format!("{who} of {key} is serving")),
                    Some(false) => (CheckStatus::Critical, format!("{who} of {key} is not serving")),
                    None => (CheckStatus::Critical, format!("{who} of {key} is in no EndpointSlice")),
                }
            }
        }
    }
}
