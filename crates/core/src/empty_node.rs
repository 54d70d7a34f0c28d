//! A node of the catalog that may be removed: two consistent reads showed it without a service (contract S5).
//!
//! Consul has no compare-and-set for that. `delete-cas` of a node compares the node's own record, which does not move with its
//! services, so that a service which somebody registers between the last read and the removal goes with the node. Hence only nodes
//! that nobody else writes to are ever asked for: our own, and those that the Python original made.

use std::fmt;
use std::time::Duration;

use crate::consul::NodeView;
use crate::evidence::AbsenceProof;
use crate::problem::clean;
use crate::time::UnixMillis;

/// Least and most time between the two reads.
const APART: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// A node that two consistent reads showed empty. Only they can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyNode {
    name: String,
    index: u64,
    proof: AbsenceProof,
}

impl EmptyNode {
    /// From the last read, and from when consistent reads showed the node without a service since one last showed it with one. As an
    /// error, when to read it again.
    pub fn shown(view: &NodeView, empty: &[UnixMillis], now: UnixMillis) -> Result<EmptyNode, UnixMillis> {
        let Some(last) = empty.iter().max().filter(|_| view.services.is_empty()) else { return Err(now) };
        let proof = empty.iter().find_map(|first| AbsenceProof::twice(*first, *last, APART.0, APART.1));
        match proof {
            Some(proof) => Ok(EmptyNode { name: view.node.name.clone(), index: view.node.modify_index, proof }),
            None => Err(last.after(APART.0).max(now)),
        }
    }

    /// Name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// ModifyIndex of the last read.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl fmt::Display for EmptyNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove node {}: no service in {}", clean(&self.name, 300), self.proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consul::{NodeRecord, NodeService};

    fn view(services: &[&str]) -> NodeView {
        let service = |id: &&str| ((*id).to_owned(), NodeService { id: (*id).to_owned(), ..NodeService::default() });
        NodeView {
            node: NodeRecord { name: "n".into(), modify_index: 7, ..NodeRecord::default() },
            services: services.iter().map(service).collect(),
            ..NodeView::default()
        }
    }

    fn shown(services: &[&str], seconds: &[u64]) -> Result<String, u64> {
        let empty: Vec<UnixMillis> = seconds.iter().map(|second| UnixMillis(second * 1000)).collect();
        let made = EmptyNode::shown(&view(services), &empty, UnixMillis(100_000));
        made.map(|node| node.to_string()).map_err(|at| at.0 / 1000)
    }

    #[test]
    fn two_reads_at_the_right_distance_show_it() {
        assert_eq!(shown(&[], &[]), Err(100));
        assert_eq!(shown(&[], &[99]), Err(101));
        assert_eq!(shown(&[], &[99, 100]), Err(102));
        assert_eq!(shown(&[], &[80, 100]), Err(102), "too far apart");
        assert_eq!(shown(&[], &[97, 99]), Ok("remove node n: no service in 2 consistent reads over 2s".into()));
        assert_eq!(shown(&["a"], &[97, 99]), Err(100), "the last read shows one");
    }
}
