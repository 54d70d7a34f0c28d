//! Which datacenter is in use (contract §2, `consul8s/service.failover`). A switch is what the user asked for, not absence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::duration;
use crate::health;
use crate::intent::applied;
use crate::intent::to_kube::ToKube;
use crate::kube::{KubeService, KubeSlice};
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::Settings;
use crate::time::UnixMillis;

use super::Source;
use super::belongs::{self, Belongs};
use super::instance::Bench;

/// How long the primary must have had a ready instance until it is used again.
pub const BACK_AFTER: Duration = Duration::from_secs(30);
/// How long the primary may be silent where `max_staleness` is not given.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// What is remembered of the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    begun: bool,
    /// Datacenter of `failover` in use; none = the primary.
    in_use: Option<String>,
    /// Since when the primary has had a ready instance, while another is in use.
    primary_ready: Option<UnixMillis>,
}

/// What the choice rests on.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// The Service.
    pub service: &'a KubeService,
    /// What it asks for.
    pub intent: &'a ToKube,
    /// All slices of the Service: what was in use before a restart stands there.
    pub slices: &'a [&'a KubeSlice],
    /// The primary, then the datacenters of `failover`, as [`ToKube::queries`] has them.
    pub sources: &'a [Source<'a>],
    /// Addresses of the hostnames in the answers.
    pub resolved: &'a BTreeMap<String, Vec<IpAddr>>,
    /// The settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: UnixMillis,
}

/// The source to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place among the candidates.
    pub index: usize,
    /// `FailedOver`, when this is another than before.
    pub event: Option<Problem>,
    /// When to look again, if nothing else happens.
    pub look_again: Option<UnixMillis>,
}

/// Chooses, and remembers the choice.
pub fn choose(candidates: &Candidates<'_>, choice: &mut Choice) -> Chosen {
    let Candidates { intent, now, .. } = *candidates;
    if !std::mem::replace(&mut choice.begun, true) {
        choice.in_use = used_before(candidates);
    }
    let before = intent.failover.iter().position(|dc| Some(dc) == choice.in_use.as_ref()).map_or(0, |at| at + 1);
    let index = next(candidates, choice, before);
    choice.in_use = index.checked_sub(1).and_then(|at| intent.failover.get(at).cloned());
    let back_at = choice.primary_ready.map(|since| since.after(BACK_AFTER));
    let silent_at = candidates.sources.iter().map(|source| source.heard.after(silent_after(intent)));
    let times = back_at.into_iter().chain(silent_at).filter(|at| *at > now);
    let look_again = if intent.failover.is_empty() { None } else { times.min() };
    let event = (index != before).then(|| event(candidates, before, index));
    Chosen { index, event, look_again }
}

/// The datacenter that our slices say was in use.
fn used_before(candidates: &Candidates<'_>) -> Option<String> {
    let Candidates { service, slices, settings, .. } = *candidates;
    let texts = slices
        .iter()
        .filter(|slice| belongs::of(slice, service, &settings.identity, &BTreeSet::new()) == Belongs::Ours);
    let mut texts = texts.filter_map(|slice| slice.annotations.get(names::SLICE_APPLIED));
    texts.find_map(|text| applied::parse(text, service, settings)?.query.datacenter)
}

fn next(candidates: &Candidates<'_>, choice: &mut Choice, before: usize) -> usize {
    let Candidates { intent, sources, now, .. } = *candidates;
    let (Some(primary), false) = (sources.first(), intent.failover.is_empty()) else {
        choice.primary_ready = None;
        return 0;
    };
    let silent = |source: &Source<'_>| is_silent(intent, source.heard, now);
    let ready = |source: &Source<'_>| !silent(source) && has_ready(candidates, source);
    let first_other = || sources.iter().enumerate().skip(1).find(|(_, source)| ready(source)).map(|(at, _)| at);
    if before == 0 {
        choice.primary_ready = None;
        // What is hidden from us is no reason to leave: it may be there.
        let whole = |answer: &crate::consul::Answer<_>| !answer.meta.hides();
        let none_ready = primary.answer.is_some_and(whole) && !has_ready(candidates, primary);
        return if silent(primary) || none_ready { first_other().unwrap_or(0) } else { 0 };
    }
    let back = ready(primary);
    choice.primary_ready = if back { choice.primary_ready.or(Some(now)) } else { None };
    let long_enough = choice.primary_ready.is_some_and(|since| now.since(since) >= BACK_AFTER);
    // After a start the one in use may only not have answered yet.
    let unknown = sources.get(before).is_some_and(|source| source.answer.is_none() && !silent(source));
    let at = match (back && long_enough, unknown) {
        (true, _) => 0,
        (false, true) => before,
        // None of them has one: the primary although it has only just come back, else the one in use.
        (false, false) => first_other().unwrap_or(if back { 0 } else { before }),
    };
    if at == 0 {
        choice.primary_ready = None;
    }
    at
}

/// Whether a source has been silent for so long that another is used.
#[must_use]
pub fn is_silent(intent: &ToKube, heard: UnixMillis, now: UnixMillis) -> bool {
    now.since(heard) >= silent_after(intent)
}

/// How long a question to Consul may wait for news at most, where silence means something: a third of the time after which it does.
#[must_use]
pub fn longest_wait(intent: &ToKube) -> Option<Duration> {
    let silent = if intent.failover.is_empty() { intent.max_staleness? } else { silent_after(intent) };
    Some(silent / 3)
}

fn silent_after(intent: &ToKube) -> Duration {
    intent.max_staleness.unwrap_or(SILENT_AFTER)
}

fn has_ready(candidates: &Candidates<'_>, source: &Source<'_>) -> bool {
    ready(candidates, source, 1) > 0
}

/// How many instances of a source are ready; counted up to `most`.
fn ready(candidates: &Candidates<'_>, source: &Source<'_>, most: usize) -> usize {
    let Candidates { service, intent, resolved, settings, .. } = *candidates;
    let mut bench = Bench::new(service, intent, settings, resolved);
    let instances = source.answer.iter().flat_map(|answer| answer.body.iter());
    let judged = instances.map(|instance| bench.judge(instance));
    let ready = judged.filter(|one| one.rule.is_none() && health::admits(intent.health, &health::of(one.instance)));
    ready.take(most).count()
}

fn event(candidates: &Candidates<'_>, before: usize, index: usize) -> Problem {
    let Candidates { intent, sources, now, .. } = *candidates;
    let name = |at: usize| match sources.get(at).and_then(|source| source.query.datacenter.as_ref()) {
        Some(datacenter) => format!("datacenter {}", clean(datacenter, 80)),
        None => "the agent's datacenter".to_owned(),
    };
    let silent = sources.get(before).is_some_and(|source| is_silent(intent, source.heard, now));
    let none_ready = sources.get(before).is_none_or(|source| !has_ready(candidates, source));
    let why = if silent {
        format!("{} has not answered for {}", name(before), duration::print(silent_after(intent)))
    } else if none_ready {
        format!("{} has none", name(before))
    } else {
        format!("it has had a ready one for {}", duration::print(BACK_AFTER))
    };
    let count = sources.get(index).map_or(0, |source| ready(candidates, source, usize::MAX));
    let instances = if count == 1 { "instance" } else { "instances" };
    let message = format!("{count} ready {instances} of {} now used: {why}", are(count, &name(index)));
    Problem::new(Reason::FailedOver, message)
}

fn are(count: usize, of: &str) -> String {
    format!("{of} {}", if count == 1 { "is" } else { "are" })
}
