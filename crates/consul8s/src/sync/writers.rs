//! What can write. Only `run` and `-1` make one; a process without it can't write, whatever it plans.

use consul8s_consul::Batcher;
use tokio::sync::Mutex;

/// Writers of both sides.
pub struct Writers<W> {
    /// Kubernetes.
    pub kube: W,
    /// Consul.
    pub consul: Batcher,
    /// Held while a node of ours is made: many Services may want the same new node at once, and one of them makes it.
    pub node: Mutex<()>,
}

impl<W> Writers<W> {
    /// Both.
    pub fn new(kube: W, consul: Batcher) -> Writers<W> {
        Writers { kube, consul, node: Mutex::new(()) }
    }
}
