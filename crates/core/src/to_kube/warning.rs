//! What is to be told about a Service beside its plan. None of it stops anything.

use std::collections::BTreeMap;

use crate::consul::AnswerMeta;
use crate::problem::{Problem, Reason, clean};

use super::decision::{Decision, Fate, Rule};
use super::id::EndpointId;
use super::instance::Judged;
use super::standing::Standing;
use super::{Input, Wanted};

/// Rejected addresses that a message names.
const NAMED: usize = 3;

pub(super) fn all(
    input: &Input<'_>,
    standing: &Standing,
    judged: &[Judged<'_>],
    decisions: &[Decision],
    wanted: &BTreeMap<EndpointId, Wanted>,
    panic: bool,
) -> Vec<Problem> {
    let mut problems = of_service(input, standing);
    let fates = || decisions.iter().map(|d| &d.fate);
    let published = wanted.values().filter(|w| w.instance.is_some()).count();
    problems.extend(input.source.answer.and_then(|answer| hidden(&answer.meta)));
    problems.extend(rejected(decisions, judged));
    if judged.iter().any(|one| one.unmapped && one.rule.is_none()) {
        problems.push(Problem::new(
            Reason::UnmappedPorts,
            "several Service ports lead to the one port that an instance has; say which with consul8s/service.ports",
        ));
    }
    if panic {
        let forced = fates().filter(|fate| matches!(fate, Fate::Ready(super::ReadyBy::Panic))).count();
        problems.push(Problem::new(
            Reason::PanicActive,
            format!(
                "fewer than {}% are healthy; {forced} unhealthy are published as ready",
                input.intent.panic_threshold
            ),
        ));
    } else if standing.other_installation.is_none() && !wanted.values().any(|w| w.endpoint.ready) {
        let name = clean(&input.source.query.name, 80);
        problems.push(Problem::new(
            Reason::NoHealthyInstances,
            format!(
                "Consul service {name} has no healthy instance that can be published ({}, {published} published as not ready)",
                instances(decisions.len())
            ),
        ));
    }
    problems.sort();
    problems
}

/// What can be told without an answer.
pub(super) fn of_service(input: &Input<'_>, standing: &Standing) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(owner) = &standing.other_installation {
        problems.push(Problem::new(
            Reason::OwnershipConflict,
            format!("the installation with owner id {owner} fills this Service already; none are added"),
        ));
    }
    if input.service.internal_local || input.service.external_local {
        let which = if input.service.internal_local { "internal" } else { "external" };
        problems.push(Problem::new(
            Reason::LocalTrafficPolicy,
            format!("{which}TrafficPolicy: Local drops all traffic: endpoints outside the cluster are on no node; use Cluster"),
        ));
    }
    if standing.foreign_ready > 0 {
        problems.push(Problem::new(
            Reason::ForeignEndpoints,
            format!(
                "slices of other managers with ready endpoints ({}) stand beside ours, and share the traffic",
                standing.foreign_ready
            ),
        ));
    }
    problems.sort();
    problems
}

fn hidden(meta: &AnswerMeta) -> Option<Problem> {
    let why = match (meta.filtered, meta.anonymous_under_deny) {
        (true, _) => "Consul hides results from our token",
        (false, true) => "Consul is asked without a token, and denies by default",
        (false, false) => return None,
    };
    Some(Problem::new(
        Reason::ConsulPermissionDenied,
        format!(
            "{why}: what is missing is not removed; the token needs service:read and node:read (consul8s acl-policy)"
        ),
    ))
}

fn rejected(decisions: &[Decision], judged: &[Judged<'_>]) -> Option<Problem> {
    let is_rejected = |d: &&Decision| matches!(d.fate, Fate::Dropped(Rule::Address(_) | Rule::Denied));
    let all: Vec<&Decision> = decisions.iter().filter(is_rejected).collect();
    let named: Vec<String> = all.iter().take(NAMED).map(|d| rejection(d)).collect();
    (!all.is_empty()).then(|| {
        let more = if all.len() > NAMED { ", …" } else { "" };
        let count = format!("{} of {} may not be published by their address", all.len(), instances(judged.len()));
        Problem::new(Reason::AddressRejected, format!("{count}: {}{more}", named.join(", ")))
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

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}
