//! Services made from the Consul catalog: the task behind `ConsulImport`. It runs beside the work on Services, which fills what it creates.
//!
//! Where the resource is not defined, it is looked for again within a minute; imports are watched while it is. What is to be done is
//! [`consul8s_core::import`]'s business.

mod look;
mod session;
mod sources;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::import::{Definition, Import};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::settings::Direction;
use tokio::sync::watch;

use crate::controller::Controller;
use crate::stores::kube::Stored;
use crate::stores::lineages::Datacenter;
use crate::sync::writers::Writers;
use session::Session;

/// How often it is looked whether imports are defined, where they are not.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked again after a failure.
const AGAIN: Duration = Duration::from_secs(2);

impl Stored for Import {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> &str {
        &self.resource_version
    }
    fn concerns(&self) -> Option<ObjectKey> {
        None
    }
}

/// What the rest of the program and this task know of each other.
#[derive(Debug)]
pub struct Progress {
    services: watch::Sender<()>,
    settled: AtomicBool,
    in_conflict: AtomicUsize,
    /// The datacenters whose lists are looked at.
    datacenters: Mutex<BTreeSet<Datacenter>>,
    /// Services to be created, changed and deleted that were not, by namespace and action.
    pending: Mutex<BTreeMap<String, BTreeMap<&'static str, u64>>>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            services: watch::Sender::new(()),
            settled: AtomicBool::new(false),
            in_conflict: AtomicUsize::new(0),
            datacenters: Mutex::default(),
            pending: Mutex::default(),
        }
    }
}

impl Progress {
    /// Services changed.
    pub fn services_changed(&self) {
        self.services.send_replace(());
    }

    /// The datacenters whose lists are looked at.
    #[must_use]
    pub fn datacenters(&self) -> BTreeSet<Datacenter> {
        self.datacenters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something is known of the lineage of a datacenter: what rests on it is looked at again, and until then nothing is settled.
    pub fn lineage_changed(&self, datacenter: &Datacenter) {
        if self.datacenters().contains(datacenter) {
            self.services_changed();
            self.settle(false);
        }
    }

    fn looks_at(&self, datacenters: BTreeSet<Datacenter>) {
        *self.datacenters.lock().unwrap_or_else(PoisonError::into_inner) = datacenters;
    }

    /// Whether nothing is left to do for imports.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// How many imports have a service that could not get a name.
    #[must_use]
    pub fn in_conflict(&self) -> usize {
        self.in_conflict.load(Ordering::Relaxed)
    }

    fn conflicts(&self, imports: usize) {
        self.in_conflict.store(imports, Ordering::Relaxed);
    }

    /// How many Services are to be created, changed and deleted, and were not.
    #[must_use]
    pub fn pending(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for (action, count) in self.by_namespace().values().flatten() {
            *all.entry(*action).or_default() += count;
        }
        all
    }

    fn set_pending(&self, namespace: &str, pending: BTreeMap<&'static str, u64>) {
        let mut by_namespace = self.by_namespace();
        if pending.is_empty() {
            by_namespace.remove(namespace);
        } else {
            by_namespace.insert(namespace.to_owned(), pending);
        }
    }

    fn by_namespace(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<&'static str, u64>>> {
        // Whole values go in and out, so what a panic leaves behind is one.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, settled: bool) {
        self.settled.store(settled, Ordering::Relaxed);
    }
}

/// Runs as long as it is polled.
pub async fn run<K: KubeApi, C: ConsulApi, W: KubeWriter>(
    controller: Arc<Controller<K, C>>,
    writers: Option<Arc<Writers<W>>>,
) {
    if !controller.directions.contains(&Direction::ToKube) {
        controller.imports.settle(true);
        return std::future::pending().await;
    }
    let mut told = false;
    loop {
        let pause = match controller.kube.import_definition().await {
            Ok(Definition::Absent) => NOTICED_WITHIN,
            Ok(Definition::Served | Definition::Deleting) => {
                tracing::info!("ConsulImports are defined: they are watched");
                Session::new(controller.clone(), writers.clone()).run().await;
                controller.imports.conflicts(0);
                controller.imports.looks_at(BTreeSet::new());
                tracing::info!("ConsulImports are no longer defined; Services made for them stay");
                NOTICED_WITHIN
            }
            Err(error) if matches!(error.kind, ErrorKind::Forbidden) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%error, "ConsulImports are not looked at");
                }
                NOTICED_WITHIN
            }
            Err(error) => {
                tracing::debug!(%error, "whether ConsulImports are defined is not known");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        controller.imports.settle(true);
        tokio::time::sleep(pause.mul_f64(0.8 + 0.4 * controller.dice.unit())).await;
    }
}
