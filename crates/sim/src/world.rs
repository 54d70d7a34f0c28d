//! A model that many share and wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use consul8s_core::time::UnixMillis;

use crate::changes::{Bell, Changes};
use crate::faults::{Faults, Verdict};
use crate::model::consul::{Catalog, Stamp};
use crate::model::kube::Cluster;

/// A handle to a shared model; clones are handles to the same. Servers may come and go in front of it.
pub struct World<M> {
    shared: Arc<Shared<M>>,
}

/// An embedded Consul.
pub type ConsulWorld = World<Catalog>;

/// An embedded Kubernetes API.
pub type KubeWorld = World<Cluster>;

struct Shared<M> {
    /// Model and faults under one lock, never held over an await.
    inner: Mutex<Inner<M>>,
    /// Rung after every write, so that whoever waits looks again.
    changes: Bell,
}

struct Inner<M> {
    model: M,
    faults: Faults,
}

/// A request that got no answer: its connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection cut")
    }
}

impl std::error::Error for Cut {}

impl<M> Clone for World<M> {
    fn clone(&self) -> Self {
        World { shared: Arc::clone(&self.shared) }
    }
}

impl<M> World<M> {
    /// A world that holds this model.
    pub fn of(model: M) -> World<M> {
        let inner = Mutex::new(Inner { model, faults: Faults::default() });
        World { shared: Arc::new(Shared { inner, changes: Bell::default() }) }
    }

    /// Looks at the model.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.lock().model)
    }

    /// Changes the model and tells all who wait.
    pub fn write<R>(&self, change: impl FnOnce(&mut M) -> R) -> R {
        let result = change(&mut self.lock().model);
        self.shared.changes.ring();
        result
    }

    /// Changes the fault script and tells all who wait.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
        self.shared.changes.ring();
    }

    /// The fault script as it stands.
    pub fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Told after every write and every change of faults.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.shared.changes.listen()
    }

    /// Lets a request in: waits its delay, then says what is to become of it.
    pub(crate) async fn admit(&self) -> Verdict {
        let delay = self.faults().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.lock().faults.judge()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        // A poisoned lock means that a test's closure panicked; the model was changed by whole values and is still one.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsulWorld {
    /// A fresh Consul: datacenter `dc1`, one server `consul-server`.
    #[must_use]
    pub fn new() -> ConsulWorld {
        World::of(Catalog::new("dc1", "consul-server"))
    }

    /// Waits as a blocking query does: until what it asks for was touched and its index is above `index`, until `wait` is over,
    /// or until the state is replaced. Returns at once when the index is above already. Gives whether it had to wait.
    ///
    /// # Errors
    /// [`Cut`] when the world becomes unreachable meanwhile.
    pub async fn block(&self, index: u64, wait: Duration, stamp: impl Fn(&Catalog) -> Stamp) -> Result<bool, Cut> {
        let mut changes = self.changes();
        let (first, lineage) = self.read(|catalog| (stamp(catalog), catalog.lineage()));
        if first.index > index {
            return Ok(false);
        }
        let woken = async {
            loop {
                if self.faults().unreachable {
                    return Err(Cut);
                }
                let (now, life) = self.read(|catalog| (stamp(catalog), catalog.lineage()));
                if life != lineage || (now.touched != first.touched && now.index > index) {
                    return Ok(true);
                }
                changes.changed().await;
            }
        };
        tokio::time::timeout(wait, woken).await.unwrap_or(Ok(true))
    }
}

impl Default for ConsulWorld {
    fn default() -> Self {
        ConsulWorld::new()
    }
}

impl KubeWorld {
    /// A fresh cluster with its own identity: two clusters made with different seeds share no UID.
    #[must_use]
    pub fn new(seed: u32) -> KubeWorld {
        World::of(Cluster::new(seed, wall_clock))
    }
}

impl Default for KubeWorld {
    fn default() -> Self {
        KubeWorld::new(1)
    }
}

/// The machine's clock, for creation times that people read.
fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
