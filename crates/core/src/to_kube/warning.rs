//! What is to be told about a Service beside its plan. None of it stops anything but [`Reason::OwnershipConflict`].
//!
//! Each message says what is wrong, of which object, in which numbers, and what to do next. The Service itself is named by the Event that
//! carries it, and by the condition.

use std::collections::BTreeMap;

use crate::consul::{AnswerMeta, HealthQuery};
use crate::names;
use crate::problem::{Problem, Reason, clean};

use super::decision::{Decision, Fate, ReadyBy, Rule};
use super::id::EndpointId;
use super::instance::Judged;
use super::port::PortPlan;
use super::standing::{Other, Standing};
use super::{Input, Wanted};

/// Things of one kind that a message names.
const NAMED: usize = 3;

/// What is known once a Service was planned.
pub(super) struct Found<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) standing: &'a Standing,
    pub(super) judged: &'a [Judged<'a>],
    pub(super) decisions: &'a [Decision],
    pub(super) wanted: &'a BTreeMap<EndpointId, Wanted>,
    pub(super) panic: bool,
    pub(super) ports: &'a PortPlan<'a>,
}

pub(super) fn all(found: &Found<'_>) -> Vec<Problem> {
    let Found { input, standing, judged, decisions, wanted, panic, ports } = found;
    let mut problems = of_service(input, standing);
    problems.extend(input.source.answer.and_then(|answer| hidden(&answer.meta)));
    problems.extend(rejected(decisions, judged));
    problems.extend(unmapped(judged, ports));
    if *panic {
        problems.push(panicking(input.intent.panic_threshold, decisions));
    } else if !wanted.values().any(|w| w.endpoint.ready) && !waits_for_its_author(standing, decisions) {
        problems.push(none_healthy(input.source.query, decisions, wanted));
    }
    problems.sort();
    problems
}

/// Whether what could be published is not, for a reason that is told: it is another installation's, or the settings can't be understood.
fn waits_for_its_author(standing: &Standing, decisions: &[Decision]) -> bool {
    standing.other_installation.is_some() || decisions.iter().any(|decision| decision.fate == Fate::NotAdded)
}

/// What can be told without an answer.
pub(super) fn of_service(input: &Input<'_>, standing: &Standing) -> Vec<Problem> {
    let mut problems: Vec<Problem> = standing.other_installation.iter().map(filled_by_another).collect();
    problems.extend(local(input));
    problems.extend(beside_ours(input, standing));
    problems.sort();
    problems
}

fn filled_by_another(other: &Other) -> Problem {
    let Other { owner, installation, slices } = other;
    let lease = if installation.is_empty() { String::new() } else { format!(" {}", clean(installation, 200)) };
    let message = format!(
        "another installation{lease} (owner id {}) fills this Service already, with {}; none are added. Let only one of the two have \
         it; those slices are taken over when the Lease of that installation has been gone or expired for 10 minutes",
        clean(owner, 80),
        counted(*slices, "slice")
    );
    Problem::new(Reason::OwnershipConflict, message)
}

fn local(input: &Input<'_>) -> Option<Problem> {
    let (internal, external) = (input.service.internal_local, input.service.external_local);
    let which = match (internal, external) {
        (true, true) => "internalTrafficPolicy and externalTrafficPolicy",
        (true, false) => "internalTrafficPolicy",
        (false, true) => "externalTrafficPolicy",
        (false, false) => return None,
    };
    let message =
        format!("{which}: Local drops all traffic: endpoints outside the cluster are on no node; use Cluster");
    Some(Problem::new(Reason::LocalTrafficPolicy, message))
}

fn beside_ours(input: &Input<'_>, standing: &Standing) -> Option<Problem> {
    let foreign = &standing.foreign_ready;
    let mirrored = foreign.iter().any(|(_, manager)| manager == names::MIRRORED_BY);
    let way = if mirrored {
        format!("delete Endpoints {}, of which they are mirrored, and what else makes slices", input.service.key)
    } else {
        "delete them, or take the Service from what makes them".to_owned()
    };
    let shown = |(name, manager): &(String, String)| match manager.as_str() {
        "" => format!("{name} of nobody"),
        manager => format!("{name} of {}", clean(manager, 80)),
    };
    (!foreign.is_empty()).then(|| {
        let message = format!(
            "slices of other managers with ready endpoints stand beside ours, and share the traffic ({}: {}); {way}",
            foreign.len(),
            named(foreign.iter().map(shown), foreign.len())
        );
        Problem::new(Reason::ForeignEndpoints, message)
    })
}

fn hidden(meta: &AnswerMeta) -> Option<Problem> {
    let why = match (meta.filtered, meta.anonymous_under_deny) {
        (true, _) => "Consul hides results from our token",
        (false, true) => "Consul is asked without a token, and denies by default",
        (false, false) => return None,
    };
    let message = format!(
        "{why}: what is missing is not removed; the token needs service:read and node:read (consul8s acl-policy)"
    );
    Some(Problem::new(Reason::ConsulPermissionDenied, message))
}

fn rejected(decisions: &[Decision], judged: &[Judged<'_>]) -> Option<Problem> {
    let is_rejected = |d: &&Decision| matches!(d.fate, Fate::Dropped(Rule::Address(_) | Rule::Denied));
    let all: Vec<&Decision> = decisions.iter().filter(is_rejected).collect();
    let denied = all.iter().any(|decision| decision.fate == Fate::Dropped(Rule::Denied));
    let ranges = if denied { ", or see --deny-cidr and --allow-cidr" } else { "" };
    (!all.is_empty()).then(|| {
        let message = format!(
            "{} of {} may not be published by their address: {}; register them under an address that may{ranges}",
            all.len(),
            counted(judged.len(), "instance"),
            named(all.iter().map(|d| rejection(d)), all.len())
        );
        Problem::new(Reason::AddressRejected, message)
    })
}

fn rejection(decision: &Decision) -> String {
    let who = clean(&decision.instance.to_string(), 120);
    let address = decision.endpoints.first().map_or_else(|| clean(&decision.address, 80), |id| id.address.to_string());
    match decision.fate {
        Fate::Dropped(Rule::Address(never)) => format!("{who} {address} ({})", never.as_str()),
        _ => format!("{who} {address} (denied)"),
    }
}

fn unmapped(judged: &[Judged<'_>], ports: &PortPlan<'_>) -> Option<Problem> {
    let fit = || judged.iter().filter(|one| one.rule.is_none());
    let count = fit().filter(|one| one.unmapped).count();
    (count > 0).then(|| {
        let names = ports.unmapped();
        let message = format!(
            "the Service ports {} lead to the one port that an instance has ({count} of {}); say which with consul8s/service.ports, \
             as in {}=meta:KEY",
            named(names.iter().copied(), names.len()),
            counted(fit().count(), "instance"),
            names.last().copied().unwrap_or("PORT")
        );
        Problem::new(Reason::UnmappedPorts, message)
    })
}

fn panicking(threshold: u8, decisions: &[Decision]) -> Problem {
    let count = |is: fn(&Fate) -> bool| decisions.iter().filter(|decision| is(&decision.fate)).count();
    let healthy = count(|fate| matches!(fate, Fate::Ready(ReadyBy::Health | ReadyBy::Policy)));
    let forced = count(|fate| matches!(fate, Fate::Ready(ReadyBy::Panic)));
    let draining = count(|fate| matches!(fate, Fate::Draining(_)));
    let message = format!(
        "{healthy} of {} healthy, fewer than {threshold}%: {forced} unhealthy are published as ready, until their checks pass or \
         consul8s/service.panic_threshold is lowered",
        counted(healthy + forced + draining, "instance")
    );
    Problem::new(Reason::PanicActive, message)
}

fn none_healthy(query: &HealthQuery, decisions: &[Decision], wanted: &BTreeMap<EndpointId, Wanted>) -> Problem {
    let published = wanted.values().filter(|wanted| wanted.instance.is_some()).count();
    let way = if decisions.is_empty() {
        "register it, or see whether the Service asks for the right one"
    } else {
        "see its checks in Consul, and here what was left out"
    };
    let message = format!(
        "Consul service {} has no healthy instance that can be published ({}, {published} published as not ready); {way}",
        clean(&query.name, 80),
        counted(decisions.len(), "instance")
    );
    Problem::new(Reason::NoHealthyInstances, message)
}

/// The first few of `count`.
fn named(all: impl Iterator<Item = impl Into<String>>, count: usize) -> String {
    let named: Vec<String> = all.take(NAMED).map(Into::into).collect();
    format!("{}{}", named.join(", "), if count > NAMED { ", …" } else { "" })
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
