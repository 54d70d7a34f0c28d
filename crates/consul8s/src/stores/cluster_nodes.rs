//! The Nodes of the cluster: watched only while some Service rests on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consul8s_core::kube::{KubeNode, ObjectKey};
use consul8s_core::ports::{ApiError, WatchEvent};

/// What is to become of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is to be started, under this number: what an earlier one still tells is not heard.
    Start(u64),
    /// It is to be stopped.
    Stop,
}

/// Nodes by name, and who needs them.
#[derive(Debug, Default)]
pub struct ClusterNodes {
    by_name: BTreeMap<String, Arc<KubeNode>>,
    needed_by: BTreeSet<ObjectKey>,
    listed: bool,
    /// Number of the watch.
    watch: u64,
    /// Why the watch tells nothing, if so.
    trouble: Option<ApiError>,
}

impl ClusterNodes {
    /// Takes note of whether a Service needs them.
    pub fn need(&mut self, service: &ObjectKey, needed: bool) -> Option<Turn> {
        let before = self.needed_by.is_empty();
        if needed {
            self.needed_by.insert(service.clone());
        } else {
            self.needed_by.remove(service);
        }
        match (before, self.needed_by.is_empty()) {
            (true, false) => {
                self.watch += 1;
                Some(Turn::Start(self.watch))
            }
            (false, true) => {
                // What nobody follows any more is soon no longer true.
                *self = ClusterNodes { watch: self.watch, ..ClusterNodes::default() };
                Some(Turn::Stop)
            }
            _ => None,
        }
    }

    /// Whether they have been listed: only then is a node that is missing here absent.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.listed
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KubeNode>> {
        self.by_name.values()
    }

    /// Takes in what watch number `watch` told; gives the Services to look at. Most that a Node tells is of no interest here
    /// (its heartbeat, its images), and is no news.
    pub fn take_in(&mut self, watch: u64, event: WatchEvent<KubeNode>) -> BTreeSet<ObjectKey> {
        if watch != self.watch || self.needed_by.is_empty() {
            return BTreeSet::new();
        }
        if let WatchEvent::Failed(error) = event {
            if self.trouble.as_ref().is_none_or(|known| known.kind != error.kind) {
                tracing::warn!(%error, "the Nodes cannot be watched; what is registered at node ports stays as it is");
            }
            self.trouble = Some(error);
            return BTreeSet::new();
        }
        self.trouble = None;
        let news = match event {
            WatchEvent::Listed(nodes) => {
                let nodes: BTreeMap<String, Arc<KubeNode>> =
                    nodes.into_iter().map(|node| (node.name.clone(), Arc::new(node))).collect();
                let news = !self.listed || nodes != self.by_name;
                self.by_name = nodes;
                self.listed = true;
                news
            }
            WatchEvent::Applied(node) => {
                let news = self.by_name.get(&node.name).is_none_or(|known| **known != node);
                self.by_name.insert(node.name.clone(), Arc::new(node));
                news
            }
            WatchEvent::Deleted(node) => self.by_name.remove(&node.name).is_some(),
            WatchEvent::Failed(_) => false,
        };
        if news { self.needed_by.clone() } else { BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, ready: bool) -> KubeNode {
        KubeNode { name: name.into(), ready, ..KubeNode::default() }
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    #[test]
    fn they_are_watched_while_somebody_needs_them() {
        let mut nodes = ClusterNodes::default();
        assert_eq!(nodes.need(&key("a"), false), None);
        assert_eq!(nodes.need(&key("a"), true), Some(Turn::Start(1)));
        assert_eq!((nodes.need(&key("a"), true), nodes.need(&key("b"), true)), (None, None));
        assert!(!nodes.synced());
        nodes.take_in(1, WatchEvent::Listed(vec![node("n1", true)]));
        assert!(nodes.synced());
        assert_eq!((nodes.need(&key("a"), false), nodes.need(&key("b"), false)), (None, Some(Turn::Stop)));
        assert!(!nodes.synced() && nodes.iter().next().is_none());
        assert_eq!(nodes.need(&key("b"), true), Some(Turn::Start(2)));
        nodes.take_in(1, WatchEvent::Listed(vec![node("n1", true)]));
        assert!(!nodes.synced(), "that was the first watch");
    }

    #[test]
    fn those_are_looked_at_who_need_them_and_only_for_news() {
        let mut nodes = ClusterNodes::default();
        nodes.need(&key("a"), true);
        let mut told = |event| nodes.take_in(1, event).len();
        assert_eq!(told(WatchEvent::Listed(vec![])), 1, "an empty list is an answer");
        assert_eq!(told(WatchEvent::Applied(node("n1", true))), 1);
        assert_eq!(told(WatchEvent::Applied(node("n1", true))), 0);
        assert_eq!(told(WatchEvent::Listed(vec![node("n1", true)])), 0);
        assert_eq!(told(WatchEvent::Applied(node("n1", false))), 1);
        assert_eq!(told(WatchEvent::Deleted(node("n1", false))), 1);
        assert_eq!(told(WatchEvent::Deleted(node("n1", false))), 0);
    }
}
