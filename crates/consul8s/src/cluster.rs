//! Asks from time to time, and after each fresh list, whose API this is and how new what it shows.
//!
//! The UID of `kube-system` says which cluster answers: while it is another one, nothing is written on either side. The version of a list
//! says whether the cluster has gone back in time: the API server of a restored cluster passes on no change to a watch that has seen
//! more than it knows, so then everything is listed anew.

use std::sync::Arc;
use std::time::Duration;

use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};

use crate::controller::Controller;
use crate::feeds;
use crate::leader::Leadership;
use crate::stores::cluster::{Began, Found};

/// How often it is asked: two small reads.
const EVERY: Duration = Duration::from_secs(5);
/// Pause after a failure while somebody waits for the answer.
const SOON: Duration = Duration::from_millis(500);

/// Asks as long as the program runs. Without leadership nothing can be written anyway.
pub async fn follow<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, leadership: Option<Leadership>) {
    let namespace = feeds::namespaces(&controller.settings.scope).into_iter().next().flatten();
    loop {
        let began = controller.world().cluster.begin();
        let (uid, version) =
            tokio::join!(controller.kube.cluster_uid(), controller.kube.services_version(namespace.as_deref()));
        let answered = controller.cluster_told(uid, &version, began, leadership.as_ref());
        let waited_for = !controller.world().cluster.is_proven();
        let pause = if waited_for && !answered { SOON } else { EVERY };
        tokio::select! {
            () = controller.lists_came.notified(), if answered => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Takes in what the API said; whether it said anything.
    fn cluster_told(
        &self,
        uid: Result<String, ApiError>,
        version: &Result<Option<u64>, ApiError>,
        began: Began,
        leadership: Option<&Leadership>,
    ) -> bool {
        let ours = &self.settings.identity.cluster_uid;
        let same = match uid {
            Ok(uid) => uid == *ours,
            // Whoever may not read it any more was told once that it is the right one.
            Err(error) if error.kind == ErrorKind::Forbidden => true,
            // The namespace lives as long as its cluster.
            Err(error) if error.kind == ErrorKind::NotFound => false,
            Err(_) => return false,
        };
        let version = match version {
            Ok(version) => *version,
            Err(_) if !same => None,
            Err(_) => return false,
        };
        let mut world = self.world();
        let was_another = world.cluster.is_another();
        let found = world.cluster.looked(same, version, began);
        let drop_mark = world.cluster.drop_mark();
        let keys = if found == Found::Proven && world.kube_synced() { world.all_keys() } else { Default::default() };
        drop(world);
        if let Some(leadership) = leadership {
            leadership.halt(!same);
            if drop_mark {
                leadership.note(|notes| notes.list_mark(None));
            }
        }
        match found {
            Found::Same => {}
            Found::Proven => {
                keys.into_iter().for_each(|key| self.queue.add(key));
                self.imports.services_changed();
            }
            Found::WentBack => {
                tracing::warn!(
                    version,
                    "the API server counts from a lower resourceVersion than before: it was restored; everything is listed anew, and \
                     registrations of Services that are missing are held"
                );
                self.list_anew();
            }
            Found::Back => {
                tracing::info!("the API speaks for our cluster again; everything is listed anew");
                self.list_anew();
            }
            Found::Other => {
                if !was_another {
                    tracing::error!(
                        ours,
                        "the API speaks for another cluster: the UID of kube-system has changed. Nothing is written until it is the old \
                         one again; if this is right, restart consul8s"
                    );
                }
            }
        }
        true
    }
}
