//! The Kubernetes → Consul half of a look at a Service.

use std::sync::Arc;

use consul8s_core::consul::{ServiceId, TxnOutcome};
use consul8s_core::intent::Intent;
use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::settings::Settings;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::{self, HeldBecause, Input, Missing, Need, RegistrationChange, RegistrationPlan, Seen};

use super::peace;
use super::writers::Writers;
use crate::controller::Controller;
use crate::metrics::Write;
use crate::stores::World;
use crate::stores::record::Gone;

/// Plans the registrations of a Service, and takes the plan's losses into the ledger that holds mass removals. Nothing while our
/// nodes are not read yet.
pub(super) fn plan(
    world: &mut World,
    key: &ObjectKey,
    service: Option<&Arc<KubeService>>,
    intent: Option<&Intent>,
    settings: &Settings,
    now: UnixMillis,
) -> RegistrationPlan {
    if !world.registry.synced() {
        return RegistrationPlan::default();
    }
    let gone = world.record(key).gone.clone();
    let last_valid = world.record(key).last_valid.clone();
    let last_valid = last_valid.as_ref().and_then(|intent| match intent {
        Intent::ToConsul(wish) => Some(wish),
        _ => None,
    });
    let reads = match &gone {
        Some(Gone::Missing { reads }) => reads.as_slice(),
        _ => &[],
    };
    let seen = match (service, intent, &gone) {
        (Some(service), Some(intent), _) => Seen::There { service, intent, last_valid },
        (_, _, Some(Gone::Seen)) => Seen::Deleted,
        _ => Seen::Missing(Missing { reads, ..Missing::default() }),
    };
    let slices: Vec<Arc<KubeSlice>> = world.slices.of_service(key).cloned().collect();
    let slices: Vec<&KubeSlice> = slices.iter().map(Arc::as_ref).collect();
    let mut plan = to_consul::plan(&Input {
        key,
        seen,
        slices: &slices,
        cluster_nodes: &[],
        nodes: world.registry.nodes(),
        claims: &world.claims,
        elsewhere: &[],
        original: to_consul::original::Original::Absent,
        ledger: &world.losses,
        settings,
        now,
    });
    world.losses.note(key, plan.loss, now);
    if let Some(held) = plan.held.as_ref().filter(|held| held.why == HeldBecause::Mass) {
        world.losses.held(key, &held.hold);
    }
    let kept = peace::keep(std::mem::take(&mut plan.changes), &mut world.record(key).repairs, now);
    plan.changes = kept.changes;
    plan.problems.extend(kept.problems);
    plan.look_again = plan.look_again.into_iter().chain(kept.look_again).min();
    plan
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the changes of a plan, in their order; at the first that fails the rest waits for the next look.
    pub(super) async fn write_registrations<W>(
        &self,
        key: &ObjectKey,
        plan: &RegistrationPlan,
        writers: &Writers<W>,
    ) -> Result<usize, ApiError> {
        let mut written = 0;
        for change in &plan.changes {
            if let RegistrationChange::SetNode { after, .. } = change {
                let _only_one = writers.node.lock().await;
                let stands = self.world().registry.nodes().get(&after.name).map(|view| view.node.clone());
                if stands.is_some_and(|node| self.settings.identity.owns_node(&node)) {
                    // Another Service made it meanwhile.
                    continue;
                }
                self.write_change(change, writers).await?;
            } else {
                self.write_change(change, writers).await?;
                peace::note(change, &mut self.world().record(key).repairs, self.clock.now());
            }
            written += 1;
        }
        if plan.changes.iter().any(|change| matches!(change, RegistrationChange::Deregister { .. })) {
            self.world().losses.done(key, self.clock.now());
        }
        Ok(written)
    }

    async fn write_change<W>(&self, change: &RegistrationChange, writers: &Writers<W>) -> Result<(), ApiError> {
        let outcome = writers.consul.submit(change.ops()).await;
        let deleted: Vec<(String, ServiceId)> = match change {
            RegistrationChange::Deregister { node, id, .. } => vec![(node.clone(), id.clone())],
            _ => Vec::new(),
        };
        let result = match outcome {
            Ok(TxnOutcome::Applied(applied)) => {
                self.world().registry.wrote(&applied, &deleted);
                self.watch_nodes();
                Ok(())
            }
            Ok(TxnOutcome::Refused(refusals)) => Err(refused(change, &refusals)),
            Err(error) => Err(error),
        };
        let action = match change.action() {
            "node" => return result,
            "check" => "update",
            action => action,
        };
        let word = result.as_ref().map_or_else(|error| error.kind.as_str(), |()| "ok");
        self.metrics.wrote(Write { target: "registration", action, result: word });
        result
    }

    /// Carries out the reads that a plan needs, as far as they are due.
    pub(super) async fn read_services(&self, needs: &[Need]) {
        for need in needs {
            let Need::ReadService { key, at } = need else { continue };
            if *at > self.clock.now() {
                continue;
            }
            match self.kube.service(key).await {
                Ok(Some(service)) => self.world().services.wrote(service),
                Ok(None) => {
                    let now = self.clock.now();
                    if let Some(Gone::Missing { reads }) = &mut self.world().record(key).gone {
                        reads.push(now);
                    }
                }
                Err(error) => tracing::debug!(service = %key, %error, "a confirming read failed; it is tried again"),
            }
        }
    }
}

fn refused(change: &RegistrationChange, refusals: &[consul8s_core::consul::TxnRefusal]) -> ApiError {
    let why: Vec<&str> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
    let conflict = refusals.iter().any(consul8s_core::consul::TxnRefusal::is_conflict);
    let kind = if conflict { ErrorKind::Conflict } else { ErrorKind::Invalid };
    ApiError::new(kind, format!("Consul refused to {change}: {}", why.join("; ")))
}
