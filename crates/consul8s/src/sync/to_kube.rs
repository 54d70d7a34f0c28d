//! The Consul → Kubernetes half of a look at a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::consul::Read;
use consul8s_core::evidence::UserIntent;
use consul8s_core::guard::{self, Case, Judged, Need, NodeReading, ServiceReading, SourceState};
use consul8s_core::intent::Intent;
use consul8s_core::intent::to_kube::ToKube;
use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey};
use consul8s_core::packing::{self, SliceChange};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::settings::Settings;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_kube::belongs::{self, Belongs};
use consul8s_core::to_kube::{self, Input, Mode, Source, YIELD_AFTER};
use futures::future::join_all;

use super::peace;
use super::writers::Writers;
use crate::controller::Controller;
use crate::feeds::Demand;
use crate::metrics::Write;
use crate::stores::World;
use crate::stores::record::Gone;

/// The plan for a Service's slices, passed by the guard and packed.
#[derive(Debug, Default)]
pub(super) struct SlicePlan {
    /// What the guard said; none where no endpoint had to be judged.
    pub(super) judged: Option<Judged>,
    /// What to write, in order.
    pub(super) changes: Vec<SliceChange>,
    /// When to look again though nothing changes.
    pub(super) look_again: Option<UnixMillis>,
    /// The source has not answered yet.
    pub(super) waiting: bool,
    /// Problems beside the guard's: the query is refused, or somebody changes our slices back.
    pub(super) troubles: Vec<Problem>,
    /// What is asked for, for the readings that the guard needs.
    wish: Option<Arc<ToKube>>,
}

/// What is done about the slices of a Service.
enum Course {
    /// They follow the source.
    Follow(Box<ToKube>),
    /// They stay as they are.
    Leave,
    /// They go.
    Withdraw(UserIntent),
    /// They go, once Kubernetes' own stand.
    Yield,
}

/// Plans the slices of a Service; what it asks of Consul is watched from now on.
pub(super) fn plan<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    world: &mut World,
    key: &ObjectKey,
    service: Option<&Arc<KubeService>>,
    intent: Option<&Intent>,
    now: UnixMillis,
) -> SlicePlan {
    let slices: Vec<Arc<KubeSlice>> = world.slices.of_service(key).cloned().collect();
    let slices: Vec<&KubeSlice> = slices.iter().map(Arc::as_ref).collect();
    let identity = &controller.settings.identity;
    let (Some(service), Some(intent)) = (service, intent) else {
        bind(controller, world, key, None, now);
        world.guard.forget(key);
        return SlicePlan { changes: after_deletion(world, key, &slices, controller), ..SlicePlan::default() };
    };
    match course(world, key, intent) {
        Course::Follow(wish) => {
            bind(controller, world, key, Some(&wish), now);
            world.record(key).yielding = None;
            follow(world, service, *wish, &slices, &controller.settings, now)
        }
        Course::Leave => SlicePlan::default(),
        Course::Withdraw(why) => {
            bind(controller, world, key, None, now);
            world.guard.forget(key);
            let changes = packing::withdraw(service, &slices, &BTreeSet::new(), identity, why);
            SlicePlan { changes, ..SlicePlan::default() }
        }
        Course::Yield => yield_to_others(world, key, service, &slices, &controller.settings, now),
    }
}

fn course(world: &mut World, key: &ObjectKey, intent: &Intent) -> Course {
    let frozen = |world: &mut World| match &world.record(key).last_valid {
        Some(Intent::ToKube(wish)) => Course::Follow(Box::new(wish.clone())),
        _ => Course::Leave,
    };
    match intent {
        Intent::ToKube(wish) => Course::Follow(Box::new(wish.clone())),
        Intent::Suspended(_) => Course::Leave,
        Intent::Frozen(_) => frozen(world),
        Intent::Yield => Course::Yield,
        Intent::None(why) => Course::Withdraw(*why),
        Intent::ToConsul(_) => Course::Withdraw(UserIntent::OtherDirection),
    }
}

fn bind<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    world: &mut World,
    key: &ObjectKey,
    wish: Option<&ToKube>,
    now: UnixMillis,
) {
    let rebound = world.sources.bind(key, wish.map(|wish| &wish.query), now);
    if let Some(query) = rebound.started {
        controller.demand(Demand::Watch(query));
    }
    if let Some(query) = rebound.ended {
        controller.demand(Demand::Stop(query));
    }
}

/// Plan, guard, pack.
fn follow(
    world: &mut World,
    service: &KubeService,
    wish: ToKube,
    slices: &[&KubeSlice],
    settings: &Settings,
    now: UnixMillis,
) -> SlicePlan {
    let key = &service.key;
    let Some(source) = world.sources.get(&wish.query) else { return SlicePlan::default() };
    let (answer, heard, broken, trigger) = (source.answer.clone(), source.heard, source.broken, source.changed);
    let waiting = answer.is_none();
    let trouble = source.trouble.as_ref().and_then(refused);
    let nothing = BTreeMap::new();
    let record = world.record(key);
    let plan = to_kube::plan(&Input {
        service,
        intent: &wish,
        mode: Mode::Follow,
        slices,
        source: Source { query: &wish.query, answer: answer.as_ref(), heard },
        resolved: &nothing,
        abandoned: &BTreeSet::new(),
        memory: &record.memory,
        settings,
        now,
    });
    let mut memory = std::mem::take(&mut record.memory);
    let (services_read, nodes_read) =
        (std::mem::take(&mut record.services_read), std::mem::take(&mut record.nodes_read));
    let case = Case {
        plan,
        service,
        source: answer.as_ref().map(|answer| SourceState::of(&answer.meta, broken)).unwrap_or_default(),
        services_read: &services_read,
        nodes_read: &nodes_read,
        lease_release: None,
        settings,
        now,
    };
    let judged = guard::judge(case, &mut memory, &mut world.guard);
    let record = world.record(key);
    record.memory = memory;
    let changes = packing::changes(&packing::Input {
        judged: &judged,
        service,
        intent: &wish,
        slices,
        taken: &record.taken,
        abandoned: &BTreeSet::new(),
        settings,
        trigger: Some(trigger),
    });
    let kept = peace::keep(changes, &mut record.repairs, now);
    let look_again = judged.look_again.into_iter().chain(kept.look_again).min();
    let (changes, troubles) = (kept.changes, trouble.into_iter().chain(kept.problems).collect());
    SlicePlan { judged: Some(judged), changes, look_again, waiting, troubles, wish: Some(Arc::new(wish)) }
}

/// What Consul says about the query itself, and not about its own state.
fn refused(error: &ApiError) -> Option<Problem> {
    match error.kind {
        ErrorKind::Invalid => Some(Problem::new(
            Reason::InvalidAnnotation,
            format!("Consul refuses the query of the Service's annotations, and what stands stays: {error}"),
        )),
        ErrorKind::Forbidden => Some(Problem::new(
            Reason::ConsulPermissionDenied,
            format!("Consul refuses our token, and what stands stays; it needs service:read and node:read: {error}"),
        )),
        _ => None,
    }
}

/// A Service that got a selector: ours go once another manager's slice shows a ready endpoint, or after a while.
fn yield_to_others(
    world: &mut World,
    key: &ObjectKey,
    service: &KubeService,
    slices: &[&KubeSlice],
    settings: &Settings,
    now: UnixMillis,
) -> SlicePlan {
    let since = *world.record(key).yielding.get_or_insert(now);
    let foreign =
        |slice: &&&KubeSlice| belongs::of(slice, service, &settings.identity, &BTreeSet::new()) == Belongs::Foreign;
    let others_stand = slices.iter().filter(foreign).any(|slice| slice.endpoints.iter().any(|endpoint| endpoint.ready));
    let changes = packing::withdraw(service, slices, &BTreeSet::new(), &settings.identity, UserIntent::Unsupported);
    if !others_stand && now.since(since) < YIELD_AFTER && !changes.is_empty() {
        return SlicePlan { look_again: Some(since.after(YIELD_AFTER)), ..SlicePlan::default() };
    }
    SlicePlan { changes, ..SlicePlan::default() }
}

/// What is left of a Service that is gone. Only when that is proven: one that is merely missing from a list is read by name first.
fn after_deletion<K, C>(
    world: &mut World,
    key: &ObjectKey,
    slices: &[&KubeSlice],
    controller: &Controller<K, C>,
) -> Vec<SliceChange> {
    let proven = match &world.record(key).gone {
        Some(Gone::Seen) => true,
        Some(Gone::Missing { reads }) => !reads.is_empty(),
        None => false,
    };
    if proven { packing::leftovers(key, slices, &controller.settings.identity) } else { Vec::new() }
}

/// How far apart failed confirming reads are tried again.
const READ_AGAIN: Duration = Duration::from_secs(2);

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the changes in their order; at the first that fails the rest waits for the next look, since a later delete rests on
    /// an earlier create.
    pub(super) async fn write_slices<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &SlicePlan,
        writers: &Writers<W>,
    ) -> Result<usize, ApiError> {
        for (written, change) in plan.changes.iter().enumerate() {
            let result = self.write_slice(change, &writers.kube).await;
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

    async fn write_slice<W: KubeWriter>(&self, change: &SliceChange, writer: &W) -> Result<(), ApiError> {
        match change {
            SliceChange::Create(spec) => {
                let slice = writer.create_slice(spec).await?;
                self.world().slices.wrote(slice);
            }
            SliceChange::Update { uid, resource_version, spec, .. } => {
                let slice = writer.update_slice(uid, resource_version, spec).await?;
                self.world().slices.wrote(slice);
            }
            SliceChange::Delete { key, uid, resource_version, .. } => {
                writer.delete_slice(key, uid, resource_version).await?;
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

    /// Carries out the confirming reads that the guard needs, as far as they are due. Gives when those that are not, or failed, are to
    /// be done.
    pub(super) async fn confirm(&self, key: &ObjectKey, plan: &SlicePlan) -> Option<UnixMillis> {
        let (Some(judged), Some(wish)) = (&plan.judged, &plan.wish) else { return None };
        let now = self.clock.now();
        let (due, later): (Vec<&Need>, Vec<&Need>) = judged.needs.iter().partition(|need| need.not_before() <= now);
        let read = join_all(due.iter().map(|need| self.read(key, wish, need))).await;
        let failed = read.iter().any(|ok| !ok).then(|| now.after(READ_AGAIN));
        let succeeded = read.iter().any(|ok| *ok).then_some(now);
        later.iter().map(|need| need.not_before()).chain(failed).chain(succeeded).min()
    }

    async fn read(&self, key: &ObjectKey, wish: &ToKube, need: &Need) -> bool {
        let result = match need {
            Need::ServiceRead { query, .. } => self.read_service(key, wish, query).await,
            Need::NodeRead { node, datacenter, .. } => self.read_node(key, node, datacenter.as_deref()).await,
        };
        if let Err(error) = &result {
            tracing::debug!(service = %key, %error, "a confirming read failed; nothing goes, and it is tried again");
        }
        result.is_ok()
    }

    async fn read_service(
        &self,
        key: &ObjectKey,
        wish: &ToKube,
        query: &consul8s_core::consul::HealthQuery,
    ) -> Result<(), ApiError> {
        let answer = self.consul.health(query, Read::Consistent).await?;
        let at = self.clock.now();
        let mut world = self.world();
        if let Some(service) = world.services.get(key).cloned() {
            let reading = ServiceReading::of(&service, wish, &self.settings, &BTreeMap::new(), query, at, &answer);
            world.record(key).services_read.push(reading);
        }
        Ok(())
    }

    async fn read_node(&self, key: &ObjectKey, node: &str, datacenter: Option<&str>) -> Result<(), ApiError> {
        let (view, checks) = tokio::try_join!(
            self.consul.node(node, datacenter, Read::Consistent),
            self.consul.node_checks(node, datacenter, Read::Consistent),
        )?;
        let reading = NodeReading::of(node, self.clock.now(), &view, &checks);
        self.world().record(key).nodes_read.push(reading);
        Ok(())
    }
}
