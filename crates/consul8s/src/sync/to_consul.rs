//! The Kubernetes → Consul half of a look at a Service.

use std::sync::Arc;

use consul8s_core::claim::Claim;
use consul8s_core::consul::{ServiceId, TxnApplied, TxnOp, TxnOutcome};
use consul8s_core::empty_node::EmptyNode;
use consul8s_core::intent::Intent;
use consul8s_core::intent::to_consul::ToConsul;
use consul8s_core::kube::{KubeNode, KubeService, KubeSlice, ObjectKey};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::problem::Problem;
use consul8s_core::settings::{Direction, Settings};
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::{
    self, Before, HeldBecause, Input, Missing, RegistrationChange, RegistrationPlan, Seen, node_port, original,
};
use futures::future::join_all;

use super::peace;
use super::writers::Writers;
use crate::controller::Controller;
use crate::feeds::Demand;
use crate::metrics::Write;
use crate::stores::record::Gone;
use crate::stores::{World, denied};

/// The plan for a Service's registrations, or why there is none yet.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) plan: RegistrationPlan,
    /// What must answer before a plan is made.
    pub(super) waits_for: Option<&'static str>,
    /// The Consul name whose instances are to be read.
    pub(super) ask_elsewhere: Option<String>,
}

impl Made {
    fn waits_for(what: &'static str) -> Made {
        Made { waits_for: Some(what), ..Made::default() }
    }

    fn blocked(by: Problem) -> Made {
        Made { plan: RegistrationPlan { blocked: Some(by), ..RegistrationPlan::default() }, ..Made::default() }
    }
}

/// Plans the registrations of a Service, and takes the plan's losses into the ledger that holds mass removals. Nothing while our
/// nodes are not read yet, or what else it rests on.
pub(super) fn plan<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    world: &mut World,
    key: &ObjectKey,
    service: Option<&Arc<KubeService>>,
    intent: Option<&Intent>,
    now: UnixMillis,
) -> Made {
    let settings = &controller.settings;
    if !world.registry.synced() {
        let asks = matches!(intent, Some(Intent::ToConsul(_) | Intent::Frozen(Some(Direction::ToConsul))));
        return match world.registry.hidden().filter(|_| asks) {
            Some(node) => Made::blocked(denied::hidden(&node)),
            None => Made::waits_for("what stands on our nodes in Consul"),
        };
    }
    if service.is_none() {
        // What was removed may stand again, as in a Consul that was restored: then that its Service is missing must be found out anew.
        let list = world.cluster.version();
        let marks = settings.marks();
        let known = world.cluster.saw(world.registry.nodes().highest_version(&marks));
        world.record(key).gone.get_or_insert_with(Gone::missing).found_in(list, known);
    }
    let gone = world.record(key).gone.clone();
    let last_valid = match world.record(key).last_valid.clone() {
        Some(Intent::ToConsul(wish)) => Some(wish),
        _ => None,
    };
    let last_valid = last_valid.as_ref();
    let marks = settings.marks();
    let standing = world.registry.nodes().standing(key, &marks);
    let registered = !standing.is_empty();
    let there = service.zip(intent);
    let rests_on_nodes =
        there.is_some_and(|(service, intent)| node_port::needed(service, intent, last_valid, &standing));
    if let Some(turn) = world.cluster_nodes.need(key, rests_on_nodes) {
        controller.demand(Demand::ClusterNodes(turn));
    }
    if rests_on_nodes && !world.cluster_nodes.synced() {
        return Made::waits_for("which Nodes there are");
    }
    let reads = match &gone {
        Some(Gone::Missing { reads, .. }) => reads.as_slice(),
        _ => &[],
    };
    let list_version = gone.as_ref().and_then(Gone::list);
    let seen = match (there, &gone) {
        (Some((service, intent)), _) => Seen::There { service, intent, last_valid },
        (None, Some(Gone::Seen)) => Seen::Deleted,
        _ => {
            let known = gone.as_ref().and_then(Gone::known);
            Seen::Missing(Missing { reads, list_version, mark: world.cluster.mark(), known })
        }
    };
    let wish = match intent {
        Some(Intent::ToConsul(wish)) => Some(wish),
        Some(Intent::Frozen(_)) => last_valid,
        _ => None,
    };
    let mut made = Made { plan: consider(world, key, seen, wish, settings, now), ..Made::default() };
    match wish {
        Some(wish) if registered => after_registration(world, key, &wish.name, &mut made, now),
        Some(wish) => first_registration(world, key, &wish.name, &mut made, (now, controller.dice.unit())),
        None => {}
    }
    world.losses.note(key, made.plan.loss, now);
    if let Some(held) = made.plan.held.as_ref().filter(|held| held.why == HeldBecause::Mass) {
        world.losses.held(key, &held.hold);
    }
    let kept = peace::keep(std::mem::take(&mut made.plan.changes), &mut world.record(key).repairs, now);
    made.plan.changes = kept.changes;
    without_new_nodes(world, &mut made.plan, now);
    world.coming.begin(key, &made.plan.changes, world.registry.nodes());
    made.plan.problems.extend(kept.problems);
    made.plan.look_again = made.plan.look_again.into_iter().chain(kept.look_again).min();
    made
}

/// Where our token may not make the node that something is to be registered on, only checks follow until that is tried again.
fn without_new_nodes(world: &World, plan: &mut RegistrationPlan, now: UnixMillis) {
    let makes_one = plan.changes.iter().any(|change| matches!(change, RegistrationChange::SetNode { .. }));
    if let Some((problem, until)) = world.denied.resting(now).filter(|_| makes_one) {
        plan.changes.retain(|change| matches!(change, RegistrationChange::SetCheck { .. }));
        plan.blocked = Some(problem.clone());
        plan.look_again = plan.look_again.into_iter().chain([until]).min();
    }
}

/// The plan from all that is known.
fn consider(
    world: &World,
    key: &ObjectKey,
    seen: Seen<'_>,
    wish: Option<&ToConsul>,
    settings: &Settings,
    now: UnixMillis,
) -> RegistrationPlan {
    let slices: Vec<&KubeSlice> = world.slices.of_service(key).map(Arc::as_ref).collect();
    let cluster_nodes: Vec<&KubeNode> = world.cluster_nodes.iter().map(Arc::as_ref).collect();
    let record = world.remembered(key);
    let original = record.zip(wish).map(|(record, wish)| record.original_node.of(&original::node_name(wish)));
    let elsewhere = record.zip(wish).map(|(record, wish)| record.elsewhere.of(&wish.name));
    to_consul::plan(&Input {
        key,
        seen,
        slices: &slices,
        cluster_nodes: &cluster_nodes,
        nodes: world.registry.nodes(),
        claims: &world.claims,
        elsewhere: elsewhere.unwrap_or_default(),
        original: original.unwrap_or_default(),
        ledger: &world.losses,
        coming: &world.coming.all(),
        lease_release: world.release.as_ref().map(|(text, _)| text.as_str()),
        settings,
        now,
    })
}

/// Two installations of one cluster would register a Service twice; so before it is registered for the first time it is read who has its
/// name. Where another has registered it, that is looked at again from time to time.
fn first_registration(
    world: &mut World,
    key: &ObjectKey,
    name: &str,
    made: &mut Made,
    (now, share): (UnixMillis, f64),
) {
    let elsewhere = &mut world.record(key).elsewhere;
    let refused = !elsewhere.of(name).is_empty();
    match elsewhere.is_fresh(name, now) {
        true if refused => {
            made.plan.look_again = made.plan.look_again.into_iter().chain([elsewhere.until()]).min();
        }
        true => elsewhere.registers(now, share),
        // Until it is read anew, the last answer stands.
        false if refused => made.ask_elsewhere = Some(name.to_owned()),
        false if made.plan.changes.iter().any(|change| change.action() == "create") => {
            made.plan.changes.clear();
            made.waits_for = Some("who else has registered it in Consul");
            made.ask_elsewhere = Some(name.to_owned());
        }
        false => {}
    }
}

/// Two that began at the same moment have both registered it: that shows when it is read once more.
fn after_registration(world: &mut World, key: &ObjectKey, name: &str, made: &mut Made, now: UnixMillis) {
    match world.record(key).elsewhere.again() {
        Some(at) if at <= now => made.ask_elsewhere = Some(name.to_owned()),
        Some(at) => made.plan.look_again = made.plan.look_again.into_iter().chain([at]).min(),
        None => {}
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the changes of a plan, in their order. Those of one kind are sent side by side, so that they travel together; when one
    /// of them fails, what comes after its kind waits for the next look.
    pub(super) async fn write_registrations<W>(
        &self,
        key: &ObjectKey,
        plan: &RegistrationPlan,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<usize, ApiError> {
        let mut written = 0;
        for step in plan.changes.chunk_by(|a, b| Step::of(a) == Step::of(b)) {
            let writes = step.iter().map(|change| self.carry_out(key, change, writers, claim));
            for result in join_all(writes).await {
                written += usize::from(result?);
            }
        }
        if plan.changes.iter().any(|change| Step::of(change) == Step::Leave) {
            self.world().losses.done(key, self.clock.now());
        }
        if let Some(node) = &plan.empty_original {
            self.remove_original(key, node, writers, claim).await?;
            written += 1;
        }
        Ok(written)
    }

    /// Carries out one change; false where there is nothing to do any more.
    async fn carry_out<W>(
        &self,
        key: &ObjectKey,
        change: &RegistrationChange,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<bool, ApiError> {
        if let RegistrationChange::SetNode { after, .. } = change {
            let _only_one = writers.node.lock().await;
            {
                let world = self.world();
                let stands = world.registry.nodes().get(&after.name).map(|view| &view.node);
                if stands.is_some_and(|node| self.settings.identity.owns_node(node)) {
                    // Another Service made it meanwhile.
                    return Ok(false);
                }
                if let Some((problem, _)) = world.denied.resting(self.clock.now()) {
                    return Err(ApiError::new(ErrorKind::Forbidden, problem.message.clone()));
                }
            }
            let written = self.write_change(key, change, writers, claim).await;
            let mut world = self.world();
            match &written {
                Ok(()) => world.denied.made(),
                Err(error) if error.kind == ErrorKind::Forbidden => {
                    if let Some(news) = world.denied.may_not_make(&after.name, error, self.clock.now()) {
                        tracing::warn!(reason = %news.reason, "{}", news.message);
                    }
                }
                Err(_) => {}
            }
            return written.map(|()| true);
        }
        self.write_change(key, change, writers, claim).await?;
        let mut world = self.world();
        peace::note(change, &mut world.record(key).repairs, self.clock.now());
        if let RegistrationChange::Deregister { node, .. } = change
            && world.registry.nodes().get(node).is_none()
        {
            world.record(key).original_node.forget();
        }
        Ok(true)
    }

    /// Removes the empty node that the Python original left behind.
    async fn remove_original<W>(
        &self,
        key: &ObjectKey,
        node: &EmptyNode,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        let outcome = writers.transact(claim, vec![TxnOp::RemoveNode(node.clone())]).await;
        // Whatever came of it, the next read shows it.
        self.world().record(key).original_node.forget();
        match outcome? {
            TxnOutcome::Applied(_) => Ok(()),
            TxnOutcome::Refused(refusals) => Err(ApiError::refused(node, &refusals)),
        }
    }

    async fn write_change<W>(
        &self,
        key: &ObjectKey,
        change: &RegistrationChange,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        let outcome = writers.transact(claim, change.ops()).await;
        let deleted: Vec<(String, ServiceId)> = match change {
            RegistrationChange::Deregister { node, id, .. } => vec![(node.clone(), id.clone())],
            _ => Vec::new(),
        };
        let result = match outcome {
            Ok(TxnOutcome::Applied(applied)) => {
                let mut world = self.world();
                world.registry.wrote(&applied, &deleted);
                if let RegistrationChange::Register { after, before: Before { service: None, .. } } = change
                    && let Some(ordinal) = world.registry.nodes().ordinal(&after.node)
                {
                    world.coming.stands(key, ordinal);
                }
                drop(world);
                self.watch_nodes();
                // Sent, but an answer that doesn't say so is not Consul's: what a proxy made up must not count as written.
                if says(&applied, change) {
                    Ok(())
                } else {
                    Err(ApiError::new(ErrorKind::Garbage, format!("Consul's answer does not say that it did {change}")))
                }
            }
            Ok(TxnOutcome::Refused(refusals)) => Err(ApiError::refused(change, &refusals)),
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(|error| error.kind == ErrorKind::Conflict) {
            self.world().registry.doubt(change.node());
        }
        let action = match change.action() {
            "node" => return result,
            "check" => "update",
            action => action,
        };
        let word = result.as_ref().map_or_else(|error| error.kind.as_str(), |()| "ok");
        self.metrics.wrote(Write { target: "registration", action, result: word });
        result
    }
}

/// What may be sent side by side: nothing leaves before what replaces it stands, and nothing stands before its node does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Node,
    Stand,
    Leave,
}

impl Step {
    fn of(change: &RegistrationChange) -> Step {
        match change {
            RegistrationChange::SetNode { .. } => Step::Node,
            RegistrationChange::Register { .. } | RegistrationChange::SetCheck { .. } => Step::Stand,
            RegistrationChange::Deregister { .. } => Step::Leave,
        }
    }
}

/// Whether an answer holds what was written.
fn says(applied: &TxnApplied, change: &RegistrationChange) -> bool {
    match change {
        RegistrationChange::SetNode { after, .. } => applied.nodes.iter().any(|node| node.name == after.name),
        RegistrationChange::Register { after, .. } | RegistrationChange::SetCheck { after, .. } => {
            applied.services.iter().any(|(node, service)| *node == after.node && service.id == after.id.as_str())
        }
        // A deletion leaves nothing behind.
        RegistrationChange::Deregister { .. } => true,
    }
}
