//! Writing slices.

use consul8s_core::claim::Claim;
use consul8s_core::kube::ObjectKey;
use consul8s_core::packing::SliceChange;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};

use super::super::peace;
use super::super::writers::Writers;
use super::SlicePlan;
use crate::controller::Controller;
use crate::metrics::Write;

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the changes in their order; at the first that fails the rest waits for the next look, since a later delete rests on
    /// an earlier create.
    pub(in crate::sync) async fn write_slices<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &SlicePlan,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<usize, ApiError> {
        for (written, change) in plan.changes.iter().enumerate() {
            let result = self.write_slice(change, writers, claim).await;
            let word = result.as_ref().map_or_else(|error| error.kind.as_str(), |()| "ok");
            self.metrics.wrote(Write { target: "slice", action: change.action(), result: word });
            if let Err(error) = result {
                self.after_refusal(key, change, &error);
                tracing::debug!(service = %key, slice = %change.key(), written, %error, "a write was refused");
                return Err(error);
            }
            peace::note(change, &mut self.world().record(key).repairs, self.clock.now());
        }
        Ok(plan.changes.len())
    }

    async fn write_slice<W: KubeWriter>(
        &self,
        change: &SliceChange,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        match change {
            SliceChange::Create(spec) => {
                let slice = writers.kubernetes(claim, |writer| writer.create_slice(spec)).await?;
                self.world().slices.wrote(slice);
            }
            SliceChange::Update { uid, resource_version, spec, .. } => {
                let slice =
                    writers.kubernetes(claim, |writer| writer.update_slice(uid, resource_version, spec)).await?;
                self.world().slices.wrote(slice);
            }
            SliceChange::Delete { key, uid, resource_version, .. } => {
                writers.kubernetes(claim, |writer| writer.delete_slice(key, uid, resource_version)).await?;
                self.world().slices.removed(key, uid);
            }
        }
        Ok(())
    }

    /// Learns from a refusal what the watch will tell a moment later, or never.
    fn after_refusal(&self, service: &ObjectKey, change: &SliceChange, error: &ApiError) {
        let mut world = self.world();
        match (change, error.kind) {
            // Somebody has the name; if it is a slice of this Service, the watch shows it and the name is passed over anyway.
            (SliceChange::Create(spec), ErrorKind::Conflict) => {
                let stranger =
                    world.slices.get(&spec.key).is_none_or(|slice| slice.service().as_ref() != Some(service));
                if stranger {
                    world.record(service).taken.insert(spec.key.name.clone());
                }
            }
            (SliceChange::Update { uid, spec, .. }, ErrorKind::NotFound) => world.slices.removed(&spec.key, uid),
            _ => {}
        }
    }
}
