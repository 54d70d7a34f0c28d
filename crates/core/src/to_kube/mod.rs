//! Consul → Kubernetes: what should stand on the slices of one Service, and why what stands there now should go.
//!
//! [`plan`] reads the answer, the Service and its slices, and decides about each instance on its own. What it can't decide without
//! asking Consul again (an endpoint that is missing) it leaves open: the [`guard`](crate::guard) closes it. How endpoints
//! become slices is [`packing`](crate::packing)'s business.

pub(crate) mod behind;
pub mod belongs;
pub mod decision;
pub mod failover;
mod frozen;
mod id;
mod instance;
mod port;
mod publish;
mod removal;
mod standing;
mod warning;
mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::consul::{Answer, HealthQuery, Instance, InstanceRef};
use crate::evidence::Evidence;
use crate::guard::Memory;
use crate::intent::applied;
use crate::intent::to_kube::ToKube;
use crate::kube::{Endpoint, Family, KubeService, KubeSlice, ObjectKey};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::time::UnixMillis;

pub use behind::Behind;
pub use decision::{Decision, Fate, ReadyBy, Rule};
pub use frozen::{frozen, may_yield};
pub use id::{EndpointId, PortId, Ports};
pub use port::PortPlan;
pub(crate) use publish::unready;
pub use standing::Standing;
pub(crate) use zone::hint;

/// How long slices of a Service that got a selector stay while no other manager's show a ready endpoint.
pub const YIELD_AFTER: Duration = Duration::from_secs(10);

/// What the planner reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The Service.
    pub service: &'a KubeService,
    /// What it asks for.
    pub intent: &'a ToKube,
    /// Whether endpoints may be added.
    pub mode: Mode,
    /// All its slices, of every manager, in any order.
    pub slices: &'a [&'a KubeSlice],
    /// The source in use.
    pub source: Source<'a>,
    /// Addresses of the hostnames in the answer, lower case and without trailing dot. A hostname that isn't here is not published.
    pub resolved: &'a BTreeMap<String, Vec<IpAddr>>,
    /// Owner ids of installations that are gone for good, whose slices are taken over.
    pub abandoned: &'a BTreeSet<String>,
    /// What earlier plans of this Service left.
    pub memory: &'a Memory,
    /// The settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: UnixMillis,
}

/// What Consul said.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What was asked.
    pub query: &'a HealthQuery,
    /// The last admitted answer; none = it never answered since we started, and nothing is planned.
    pub answer: Option<&'a Answer<Arc<Vec<Instance>>>>,
    /// When it last answered (also that nothing changed); before the first answer, when we started.
    pub heard: UnixMillis,
}

/// Whether endpoints may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They may.
    Follow,
    /// They may not: the Service's settings can't be understood and no valid ones are known. What stands follows its health.
    NothingNew,
}

/// What should stand on the slices of a Service, and why what stands there should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPlan {
    /// The Service.
    pub service: ObjectKey,
    /// Its UID: another Service under the same name is another Service.
    pub uid: String,
    /// Nothing is known yet, and so nothing is to be written.
    pub idle: bool,
    /// `max_staleness` is over: nothing may be ready, what the guard keeps included.
    pub stale: bool,
    /// Nothing may be added: no valid settings are known, or another installation fills the Service.
    pub nothing_new: bool,
    /// What was asked; endpoints are remembered with it.
    pub query: HealthQuery,
    /// The settings, as the slices are to keep them; none = what they keep stays.
    pub applied: Option<String>,
    /// Endpoints that should stand.
    pub wanted: BTreeMap<EndpointId, Wanted>,
    /// Endpoints that stand and should not.
    pub removals: BTreeMap<EndpointId, Removal>,
    /// What stands on our slices now.
    pub standing: Standing,
    /// What became of each instance, sorted by node and ID.
    pub decisions: Vec<Decision>,
    /// Problems and warnings, sorted.
    pub problems: Vec<Problem>,
    /// When `max_staleness` will be over, if nothing is heard until then.
    pub look_again: Option<UnixMillis>,
}

/// An endpoint that should stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As it should stand.
    pub endpoint: Endpoint,
    /// The instance behind it; none where it only stays as it stands.
    pub instance: Option<InstanceRef>,
}

/// An endpoint that stands and should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// As it stands.
    pub endpoint: Endpoint,
    /// Why it should go.
    pub why: Why,
}

/// Why an endpoint should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is known why.
    Known(Evidence),
    /// It is missing from the answer: evidence is needed. With what was behind it, where that is remembered.
    Missing(Option<Behind>),
}

impl EndpointPlan {
    /// How many instances each rule dropped, by the label of the metric.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for decision in &self.decisions {
            if let Fate::Dropped(rule) = decision.fate
                && let Some(label) = rule.metric()
            {
                *counts.entry(label).or_insert(0) += 1;
            }
        }
        counts
    }

    /// How many endpoints should be ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.wanted.values().filter(|w| w.endpoint.ready).count()
    }
}

/// Plans one Service.
#[must_use]
pub fn plan(input: &Input<'_>) -> EndpointPlan {
    let standing = Standing::of(input);
    let stale = input.intent.max_staleness.is_some_and(|most| input.now.since(input.source.heard) >= most);
    let Some(answer) = input.source.answer else {
        return unanswered(input, standing, stale);
    };
    let mut bench = instance::Bench::new(input.service, input.intent, input.settings, input.resolved);
    let judged: Vec<instance::Judged<'_>> = sorted(&answer.body).into_iter().map(|i| bench.judge(i)).collect();
    // Where another installation fills the Service, none are added (contract §2, "Refused").
    let nothing_new = input.mode == Mode::NothingNew || standing.other_installation.is_some();
    let published = publish::publish(input, &judged, &standing, nothing_new, stale);
    let wanted = published.wanted;
    let seen = removal::Seen::new(input, &judged, &standing, &wanted, bench.ports(), nothing_new);
    let removals = seen.removals();
    let kept = standing.endpoints.iter().filter(|(id, _)| !wanted.contains_key(id) && !removals.contains_key(id));
    let kept: Vec<(EndpointId, Wanted)> =
        kept.map(|(id, endpoint)| (id.clone(), Wanted { endpoint: endpoint.clone(), instance: None })).collect();
    let problems = warning::all(&warning::Found {
        input,
        standing: &standing,
        judged: &judged,
        decisions: &published.decisions,
        wanted: &wanted,
        panic: published.panic,
        ports: bench.ports(),
    });
    let mut wanted = wanted;
    wanted.extend(kept);
    EndpointPlan {
        service: input.service.key.clone(),
        uid: input.service.uid.clone(),
        idle: false,
        stale,
        nothing_new,
        query: input.source.query.clone(),
        applied: applied(input),
        wanted,
        removals,
        standing,
        decisions: published.decisions,
        problems,
        look_again: stale_at(input),
    }
}

/// Settings of which some are only guessed are not kept.
fn applied(input: &Input<'_>) -> Option<String> {
    (input.mode == Mode::Follow).then(|| applied::print(input.intent, input.source.query))
}

fn stale_at(input: &Input<'_>) -> Option<UnixMillis> {
    let at = input.source.heard.after(input.intent.max_staleness?);
    (at > input.now).then_some(at)
}

/// The source never answered: what stands stays as it is, unless `max_staleness` says otherwise.
fn unanswered(input: &Input<'_>, standing: Standing, stale: bool) -> EndpointPlan {
    let keep = |(id, endpoint): (&EndpointId, &Endpoint)| {
        let endpoint = if stale { unready(endpoint.clone()) } else { endpoint.clone() };
        (id.clone(), Wanted { endpoint, instance: None })
    };
    EndpointPlan {
        service: input.service.key.clone(),
        uid: input.service.uid.clone(),
        idle: !stale,
        stale,
        nothing_new: true,
        query: input.source.query.clone(),
        applied: applied(input),
        wanted: standing.endpoints.iter().map(keep).collect(),
        removals: BTreeMap::new(),
        problems: warning::of_service(input, &standing),
        standing,
        decisions: Vec::new(),
        look_again: stale_at(input),
    }
}

/// The families that a Service wants, primary first. A Service without any is one that only tests make.
#[must_use]
pub fn families(service: &KubeService) -> &[Family] {
    if service.ip_families.is_empty() { &[Family::V4] } else { &service.ip_families }
}

/// In an order that doesn't depend on Consul's: by node, then ID; of several with one identity any order gives the same plan.
fn sorted(instances: &[Instance]) -> Vec<&Instance> {
    let mut all: Vec<&Instance> = instances.iter().collect();
    all.sort_by(|a, b| (&a.node, &a.id, &a.address, a.port).cmp(&(&b.node, &b.id, &b.address, b.port)));
    all
}

/// All endpoints that the instances of an answer have or would have, and the instances themselves: what a confirming read shows.
#[must_use]
pub fn digest(
    service: &KubeService,
    intent: &ToKube,
    settings: &Settings,
    resolved: &BTreeMap<String, Vec<IpAddr>>,
    instances: &[Instance],
) -> (BTreeSet<EndpointId>, BTreeSet<InstanceRef>) {
    let mut bench = instance::Bench::new(service, intent, settings, resolved);
    let endpoints = instances.iter().flat_map(|i| bench.judge(i).endpoints).collect();
    (endpoints, instances.iter().map(Instance::reference).collect())
}

/// Hostnames that the addresses of instances are written as: what [`Input::resolved`] is asked for.
#[must_use]
pub fn hostnames(
    service: &KubeService,
    intent: &ToKube,
    settings: &Settings,
    instances: &[Instance],
) -> BTreeSet<String> {
    let nothing = BTreeMap::new();
    let bench = instance::Bench::new(service, intent, settings, &nothing);
    instances.iter().filter_map(|instance| bench.hostname(instance)).collect()
}

#[cfg(test)]
mod tests;
