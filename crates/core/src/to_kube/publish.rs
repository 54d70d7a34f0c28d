//! Which endpoints should stand, and how ready each is (the health table of contract §2).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::evidence::CheckProof;
use crate::health::{self, Health};
use crate::kube::Endpoint;

use super::decision::{Decision, Fate, ReadyBy, Rule};
use super::id::EndpointId;
use super::instance::Judged;
use super::standing::Standing;
use super::{Input, Wanted, zone};

/// What should stand, with the fate of each instance.
pub(super) struct Published {
    pub wanted: BTreeMap<EndpointId, Wanted>,
    pub decisions: Vec<Decision>,
    /// Whether the panic threshold made something ready.
    pub panic: bool,
}

/// From judged instances, sorted.
pub(super) fn publish(
    input: &Input<'_>,
    judged: &[Judged<'_>],
    standing: &Standing,
    nothing_new: bool,
    stale: bool,
) -> Published {
    let panic = !stale && panics(input, judged);
    let mut wanted: BTreeMap<EndpointId, Wanted> = BTreeMap::new();
    let mut decisions = Vec::with_capacity(judged.len());
    for (at, fate) in by_rank(input, judged, panic, stale) {
        let one = &judged[at];
        let fate = match fate {
            Fate::Dropped(_) => fate,
            fate => place(input, one, fate, standing, nothing_new, &mut wanted),
        };
        let shown = if one.endpoints.is_empty() { one.address } else { "" };
        decisions.push(Decision {
            instance: one.instance.reference(),
            address: shown.to_owned(),
            endpoints: one.endpoints.clone(),
            fate,
        });
    }
    decisions.sort_by(|a, b| a.instance.cmp(&b.instance).then_with(|| a.endpoints.cmp(&b.endpoints)));
    let panic = decisions.iter().any(|d| d.fate == Fate::Ready(ReadyBy::Panic));
    Published { wanted, decisions, panic }
}

/// The healthiest first: of several instances with one address and port it is the one that stands for it.
fn by_rank(input: &Input<'_>, judged: &[Judged<'_>], panic: bool, stale: bool) -> Vec<(usize, Fate)> {
    let mut order: Vec<(usize, Fate)> =
        judged.iter().enumerate().map(|(at, one)| (at, fate(input, one, panic, stale))).collect();
    // Stable, so that equals stay in the order of node and ID.
    order.sort_by_key(|(_, fate)| Reverse(rank(fate)));
    order
}

fn rank(fate: &Fate) -> u8 {
    match fate {
        Fate::Ready(ReadyBy::Health) => 4,
        Fate::Ready(ReadyBy::Policy | ReadyBy::Panic) => 3,
        Fate::Draining(_) => 2,
        Fate::NotReady(_) | Fate::Stale | Fate::NotAdded => 1,
        Fate::Dropped(_) => 0,
    }
}

fn fate(input: &Input<'_>, one: &Judged<'_>, panic: bool, stale: bool) -> Fate {
    if let Some(rule) = one.rule {
        return Fate::Dropped(rule);
    }
    if stale {
        return Fate::Stale;
    }
    let health = health::of(one.instance);
    let admitted = health::admits(input.intent.health, &health);
    match health {
        Health::Passing => Fate::Ready(ReadyBy::Health),
        Health::Maintenance(check) => Fate::Draining(CheckProof::of(check)),
        Health::Failing(_) if admitted => Fate::Ready(ReadyBy::Policy),
        Health::Failing(_) if panic => Fate::Ready(ReadyBy::Panic),
        Health::Failing(check) => Fate::NotReady(CheckProof::of(check)),
    }
}

/// Whether fewer instances are ready than the threshold asks for, of all that may be published.
fn panics(input: &Input<'_>, judged: &[Judged<'_>]) -> bool {
    let fit: Vec<&Judged<'_>> = judged.iter().filter(|one| one.rule.is_none()).collect();
    let ready = fit.iter().filter(|one| health::admits(input.intent.health, &health::of(one.instance))).count();
    ready * 100 < usize::from(input.intent.panic_threshold) * fit.len()
}

/// Puts the endpoints of an instance in, where none is there yet.
fn place(
    input: &Input<'_>,
    one: &Judged<'_>,
    fate: Fate,
    standing: &Standing,
    nothing_new: bool,
    wanted: &mut BTreeMap<EndpointId, Wanted>,
) -> Fate {
    let mut placed = false;
    let mut duplicate = false;
    for id in &one.endpoints {
        if nothing_new && !standing.endpoints.contains_key(id) {
            continue;
        }
        if wanted.contains_key(id) {
            duplicate = true;
            continue;
        }
        placed = true;
        let endpoint = endpoint(input, id, one, &fate);
        wanted.insert(id.clone(), Wanted { endpoint, instance: Some(one.instance.reference()) });
    }
    match (placed, duplicate) {
        (true, _) => fate,
        (false, true) => Fate::Dropped(Rule::Duplicate),
        (false, false) => Fate::NotAdded,
    }
}

fn endpoint(input: &Input<'_>, id: &EndpointId, one: &Judged<'_>, fate: &Fate) -> Endpoint {
    let (ready, serving, terminating) = match fate {
        Fate::Ready(_) => (true, true, false),
        Fate::Draining(_) => (input.service.publish_not_ready, true, true),
        Fate::NotReady(_) => (input.service.publish_not_ready, false, false),
        // Fail closed was asked for by name, so it counts more than `publishNotReadyAddresses`.
        Fate::Stale | Fate::Dropped(_) | Fate::NotAdded => (false, false, false),
    };
    let zone = zone::of(one.instance);
    Endpoint { address: id.address.to_string(), ready, serving, terminating, zone, ..Endpoint::default() }
}

/// The endpoint, as one that must not be used.
pub(crate) fn unready(endpoint: Endpoint) -> Endpoint {
    Endpoint { ready: false, serving: false, terminating: false, ..endpoint }
}
