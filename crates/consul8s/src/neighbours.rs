//! What lies beyond our own: installations whose slices stand on Services that we should fill, and Services that bear our labels outside
//! our scope.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::evidence::UserIntent;
use consul8s_core::intent::{self, Intent};
use consul8s_core::kube::{KubeSlice, ObjectKey, Scope};
use consul8s_core::names;
use consul8s_core::neighbours::Installation;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::settings::Direction;

use crate::controller::Controller;
use crate::stores::World;

/// How often it is looked for slices of others; well below the half minute for which a Lease is watched.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often Services outside our scope are counted: two lists, of what bears our labels only.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Services that a log line names.
const NAMED: usize = 5;

/// Follows the Leases of other installations, as long as it is polled.
pub async fn follow_leases<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>) {
    if !controller.directions.contains(&Direction::ToKube) {
        return;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        controller.look_at_neighbours().await;
    }
}

/// Counts the Services outside our scope, as long as it is polled.
pub async fn count_out_of_scope<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>) {
    loop {
        if everything(&controller.settings.scope) {
            return;
        }
        if let Err(error) = controller.count_out_of_scope().await {
            tracing::debug!(%error, "labelled Services out of scope are not counted");
            // Who may not see the whole cluster is not told about it, and does not go on asking.
            if error.kind == ErrorKind::Forbidden {
                return;
            }
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

fn everything(scope: &Scope) -> bool {
    matches!(scope, Scope::All { exclude } if exclude.is_empty())
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    async fn look_at_neighbours(&self) {
        let due = {
            let mut world = self.world();
            let standing = standing(&world, self);
            world.neighbours.stand(standing);
            world.neighbours.due(self.clock.now())
        };
        for installation in due {
            let read = self.read_lease(&installation).await;
            let now = self.clock.now();
            let mut world = self.world();
            match read {
                Ok(pulse) => world.neighbours.read(&installation, pulse, now),
                Err(error) => {
                    tracing::debug!(lease = %installation.lease, %error, "whether an installation is alive is not known");
                    world.neighbours.failed(&installation, now);
                }
            }
        }
        let mut world = self.world();
        if !world.neighbours.judge(self.clock.now()) {
            return;
        }
        for owner in world.neighbours.abandoned() {
            tracing::warn!(
                owner,
                "the Lease of this installation has been gone or expired for ten minutes: its slices are taken over"
            );
        }
        let keys = world.all_keys();
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    async fn read_lease(
        &self,
        installation: &Installation,
    ) -> Result<Option<consul8s_core::neighbours::Pulse>, ApiError> {
        if installation.lease == self.settings.identity.installation {
            // It is ours now; whoever had it under another owner id has gone.
            return Ok(None);
        }
        let Some((namespace, name)) = installation.lease.split_once('/') else {
            return Err(ApiError::new(ErrorKind::Invalid, "its slices name no Lease"));
        };
        self.kube.pulse(&ObjectKey::new(namespace, name)).await
    }

    /// Counts the Services that bear a label of ours and lie outside our scope, and says so when that changes.
    ///
    /// # Errors
    /// They can't be listed.
    pub async fn count_out_of_scope(&self) -> Result<(), ApiError> {
        let scope = &self.settings.scope;
        let outside: BTreeSet<ObjectKey> =
            self.kube.labelled().await?.into_iter().filter(|key| !scope.covers(&key.namespace)).collect();
        let mut world = self.world();
        let before = world.out_of_scope.replace(outside.clone());
        if before.unwrap_or_default() != outside {
            tracing::info!("{}", told(&outside));
        }
        Ok(())
    }
}

fn told(outside: &BTreeSet<ObjectKey>) -> String {
    let names: Vec<String> = outside.iter().take(NAMED).map(ToString::to_string).collect();
    match outside.len() {
        0 => "no labelled Service is out of scope any more".to_owned(),
        count => format!(
            "labelled Services out of scope: {count}, which are left alone: {}{}; --namespace or --all-namespaces takes them in",
            names.join(", "),
            if count > NAMED { ", …" } else { "" }
        ),
    }
}

/// Installations whose slices stand on Services that we should fill.
fn standing<K: KubeApi, C: ConsulApi>(world: &World, controller: &Controller<K, C>) -> BTreeSet<Installation> {
    let settings = &controller.settings;
    let others = world.slices.iter().filter_map(|slice| installation(slice, &settings.identity.owner));
    let ours_to_fill = |key: &ObjectKey| {
        let service = world.services.get(key)?;
        let wanted = match intent::parse(service, settings).intent {
            Intent::ToKube(_) | Intent::Yield | Intent::Frozen(_) | Intent::Forbidden(_) => true,
            // What nobody asks for any more has nobody else to clean it up.
            Intent::None(why) => why != UserIntent::OutOfScope,
            Intent::Suspended(_) | Intent::ToConsul(_) => false,
        };
        wanted.then_some(())
    };
    let standing = others.filter(|(key, _)| ours_to_fill(key).is_some());
    standing.map(|(_, installation)| installation).collect()
}

/// Whose a slice is, and for which Service; none for our own, and for those of other managers.
fn installation(slice: &KubeSlice, ours: &str) -> Option<(ObjectKey, Installation)> {
    let managed = slice.labels.get(names::LABEL_MANAGED_BY).is_some_and(|manager| manager == names::MANAGED_BY);
    let owner = slice.annotations.get(names::SLICE_OWNER).filter(|owner| managed && *owner != ours)?;
    let lease = slice.annotations.get(names::SLICE_INSTALLATION)?;
    Some((slice.service()?, Installation { owner: owner.clone(), lease: lease.clone() }))
}
