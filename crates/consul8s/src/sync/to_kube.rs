//! The Consul → Kubernetes half of a look at a Service: what is done about its slices.

mod confirm;
mod follow;
mod refused;
mod write;

pub(super) use confirm::{READ_AGAIN, ReadAgain};

use std::collections::BTreeSet;
use std::sync::Arc;

use consul8s_consul::watch::DEFAULT_WAIT;
use consul8s_core::consul::HealthQuery;
use consul8s_core::evidence::UserIntent;
use consul8s_core::guard::{Judged, Memory};
use consul8s_core::intent::Intent;
use consul8s_core::intent::to_kube::ToKube;
use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey};
use consul8s_core::packing::{self, SliceChange};
use consul8s_core::ports::{ConsulApi, KubeApi};
use consul8s_core::problem::Problem;
use consul8s_core::settings::Direction;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_kube::failover::{self, Choice};
use consul8s_core::to_kube::{self, Mode};

use crate::controller::Controller;
use crate::feeds::Demand;
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
    /// A hostname in the answer has not been looked up yet.
    pub(super) resolving: bool,
    /// Problems beside the guard's: the query is refused, or somebody changes our slices back.
    pub(super) troubles: Vec<Problem>,
    /// What is asked for, for the readings that the guard needs.
    wish: Option<Arc<ToKube>>,
}

/// One look, as far as it is the same for all that follows.
struct Look<'a, K, C> {
    controller: &'a Controller<K, C>,
    service: &'a KubeService,
    slices: &'a [&'a KubeSlice],
    now: UnixMillis,
}

/// What is done about the slices of a Service.
enum Course {
    /// They follow the source.
    Follow(Box<ToKube>, Mode),
    /// They stay as they are.
    Leave,
    /// They go.
    Withdraw(UserIntent),
    /// They go, because of this rule.
    Forbid(Problem),
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
    let plan = match (service, intent) {
        (Some(service), Some(intent)) => {
            let look = Look { controller, service, slices: &slices, now };
            match course(&look, world, intent) {
                Course::Follow(wish, mode) => look.bind_and_follow(world, *wish, mode),
                Course::Leave => SlicePlan::default(),
                Course::Withdraw(why) => look.withdraw(world, why),
                Course::Forbid(problem) => look.forbid(world, problem),
                Course::Yield => look.yield_to_others(world),
            }
        }
        _ => {
            bind(controller, world, key, &[], now);
            world.guard.forget(key);
            SlicePlan { changes: after_deletion(world, key, &slices, controller), ..SlicePlan::default() }
        }
    };
    end_opening(controller, world, key, &plan);
    plan
}

fn course<K, C>(look: &Look<'_, K, C>, world: &mut World, intent: &Intent) -> Course {
    match intent {
        Intent::ToKube(wish) => Course::Follow(Box::new(wish.clone()), Mode::Follow),
        // Only a rule is stronger: what stands is held against it.
        Intent::Suspended(direction) => {
            let stands = kept(look, world, *direction);
            stands.and_then(|(wish, _)| forbidden(look, &wish)).map_or(Course::Leave, Course::Forbid)
        }
        Intent::Frozen(direction) => {
            match (kept(look, world, *direction), &world.record(&look.service.key).last_valid) {
                // Valid until now, but not written on any slice yet.
                (Some((_, Mode::NothingNew)), Some(Intent::ToKube(wish))) => {
                    Course::Follow(Box::new(wish.clone()), Mode::Follow)
                }
                (Some((wish, mode)), _) => Course::Follow(Box::new(wish), mode),
                (None, _) => Course::Leave,
            }
        }
        Intent::Yield => Course::Yield,
        Intent::None(why) => Course::Withdraw(*why),
        Intent::Forbidden(_) => Course::Withdraw(UserIntent::NotAllowed),
        Intent::ToConsul(_) => Course::Withdraw(UserIntent::OtherDirection),
    }
}

/// The settings that what stands was made by.
fn kept<K, C>(look: &Look<'_, K, C>, world: &World, direction: Option<Direction>) -> Option<(ToKube, Mode)> {
    let (settings, abandoned) = (&look.controller.settings, world.neighbours.abandoned());
    to_kube::frozen(look.service, direction, look.slices, abandoned, settings)
}

/// What a rule says of settings that are followed, or that stand, though the Service's own can't be understood or don't count.
fn forbidden<K, C>(look: &Look<'_, K, C>, wish: &ToKube) -> Option<Problem> {
    let rules = &look.controller.settings.rules;
    rules.refusal(&look.service.key.namespace, Direction::ToKube, &wish.query.name)
}

impl<K: KubeApi, C: ConsulApi> Look<'_, K, C> {
    fn bind_and_follow(&self, world: &mut World, wish: ToKube, mode: Mode) -> SlicePlan {
        let key = &self.service.key;
        let instead = self.while_refused(world, &wish);
        // A rule is not put off by annotations that can't be read, nor by a query that Consul refuses.
        if let Some(problem) = std::iter::once(&wish).chain(&instead).find_map(|wish| forbidden(self, wish)) {
            return self.forbid(world, problem);
        }
        let wishes: Vec<&ToKube> = std::iter::once(&wish).chain(&instead).collect();
        bind(self.controller, world, key, &wishes, self.now);
        world.record(key).yielding = None;
        match instead {
            Some(valid) => self.follow_instead(world, valid, &wish),
            None => self.follow(world, wish, mode),
        }
    }

    fn forbid(&self, world: &mut World, problem: Problem) -> SlicePlan {
        SlicePlan { troubles: vec![problem], ..self.withdraw(world, UserIntent::NotAllowed) }
    }

    fn withdraw(&self, world: &mut World, why: UserIntent) -> SlicePlan {
        let key = &self.service.key;
        bind(self.controller, world, key, &[], self.now);
        world.guard.forget(key);
        let record = world.record(key);
        (record.memory, record.choice) = (Memory::default(), Choice::default());
        let identity = &self.controller.settings.identity;
        let changes = packing::withdraw(self.service, self.slices, world.neighbours.abandoned(), identity, why);
        SlicePlan { changes, ..SlicePlan::default() }
    }

    /// A Service that got a selector: ours go once another manager's slice shows a ready endpoint, or after a while.
    fn yield_to_others(&self, world: &mut World) -> SlicePlan {
        let since = *world.record(&self.service.key).yielding.get_or_insert(self.now);
        let settings = &self.controller.settings;
        match to_kube::may_yield(self.service, self.slices, world.neighbours.abandoned(), settings, since, self.now) {
            Some(at) => {
                let plan = self.only_health(world);
                SlicePlan { look_again: plan.look_again.into_iter().chain([at]).min(), ..plan }
            }
            None => self.withdraw(world, UserIntent::Unsupported),
        }
    }

    /// What stands follows its health, and nothing is added.
    fn only_health(&self, world: &mut World) -> SlicePlan {
        let Some((wish, _)) = kept(self, world, None) else { return SlicePlan::default() };
        bind(self.controller, world, &self.service.key, &[&wish], self.now);
        self.follow(world, wish, Mode::NothingNew)
    }
}

/// Starts and stops watches, so that they are those that the Service asks for: by its annotations, and by settings that stay in force.
fn bind<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    world: &mut World,
    key: &ObjectKey,
    wishes: &[&ToKube],
    now: UnixMillis,
) {
    let queries: Vec<HealthQuery> = wishes.iter().flat_map(|wish| wish.queries()).collect();
    let waits = wishes.iter().filter_map(|wish| failover::longest_wait(wish));
    let wait = waits.min().map_or(DEFAULT_WAIT, |wait| wait.min(DEFAULT_WAIT));
    let rebound = world.sources.bind(key, &queries, wait, now);
    for (query, wait) in rebound.watch {
        controller.demand(Demand::Watch(query, wait));
    }
    for query in rebound.stop {
        controller.demand(Demand::Stop(query));
    }
    if wishes.is_empty() {
        controller.resolve(world.names.need(key, BTreeSet::new()));
    }
}

/// When every Service has been judged once since we started, those that waited for that are looked at again.
fn end_opening<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    world: &mut World,
    key: &ObjectKey,
    plan: &SlicePlan,
) {
    // One whose query is refused may never be answered.
    let known =
        plan.wish.iter().flat_map(|wish| wish.queries()).all(|query| !world.lineages.is_unknown(&query.datacenter));
    let answered = known && (!plan.waiting || !plan.troubles.is_empty());
    let waits = plan.judged.as_ref().is_some_and(|judged| !judged.kept.is_empty());
    let mut opening = std::mem::take(&mut world.opening);
    let waited = opening.looked(key, || world.all_keys(), answered, waits);
    world.opening = opening;
    if let Some(waited) = waited {
        world.guard.complete();
        waited.into_iter().for_each(|key| controller.queue.add(key));
    }
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
        Some(Gone::Missing { reads, .. }) => !reads.is_empty(),
        None => false,
    };
    if proven { packing::leftovers(key, slices, &controller.settings.identity) } else { Vec::new() }
}
