//! Who we are: the identity of one installation, by which everything that is ours is known.

use sha2::{Digest, Sha256};

use crate::consul::NodeRecord;
use crate::names;

/// The identity of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `--owner-id`, or [`Identity::derive_owner`]. Only what carries it may be changed or removed.
    pub owner: String,
    /// `--cluster-id`, by default the cluster UID.
    pub cluster: String,
    /// UID of the namespace `kube-system`, always.
    pub cluster_uid: String,
    /// `LEASE_NAMESPACE/LEASE_NAME`.
    pub installation: String,
}

impl Identity {
    /// The default owner id: a short hash of cluster id, lease namespace and lease name.
    #[must_use]
    pub fn derive_owner(cluster: &str, lease_namespace: &str, lease_name: &str) -> String {
        short_hash(&[cluster, lease_namespace, lease_name], 10)
    }

    /// Meta of our synthetic nodes.
    #[must_use]
    pub fn node_meta(&self) -> [(String, String); 3] {
        [
            (names::NODE_OWNER.to_owned(), self.owner.clone()),
            (names::NODE_CLUSTER_UID.to_owned(), self.cluster_uid.clone()),
            (names::NODE_INSTALLATION.to_owned(), self.installation.clone()),
        ]
    }

    /// Whether a node of our name is ours: all three values agree. A process for which they differ writes nothing there.
    #[must_use]
    pub fn owns_node(&self, node: &NodeRecord) -> bool {
        self.node_meta().iter().all(|(key, value)| node.meta.get(key) == Some(value))
    }
}

/// The first `digits` (at most 64) hex digits of SHA-256 over the parts, with a zero byte after each so that no two lists of parts run
/// into one.
#[must_use]
pub fn short_hash(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(short_hash(&["ab", "c"], 10), short_hash(&["a", "bc"], 10));
        assert_eq!(short_hash(&["a"], 8).len(), 8);
    }

    #[test]
    fn a_node_is_ours_only_when_all_three_values_agree() {
        let me = Identity {
            owner: "o".into(),
            cluster: "c".into(),
            cluster_uid: "u".into(),
            installation: "default/consul8s".into(),
        };
        let mut node = NodeRecord { meta: me.node_meta().into(), ..NodeRecord::default() };
        assert!(me.owns_node(&node));
        node.meta.insert(names::NODE_INSTALLATION.into(), "other/consul8s".into());
        assert!(!me.owns_node(&node));
        node.meta.clear();
        assert!(!me.owns_node(&node));
    }
}
