//! What a look at a Service found becomes one value, which log, metrics and `plan` read. Told on transitions only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use consul8s_core::intent::Intent;
use consul8s_core::kube::ObjectKey;
use consul8s_core::plan;
use consul8s_core::ports::{ConsulApi, KubeApi};
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::settings::Direction;
use consul8s_core::to_consul::Fate;
use tokio::time::Instant;

use super::writers::Writers;
use super::{Applied, Planned};
use crate::controller::Controller;
use crate::stores::record::{State, Told};

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    pub(super) fn report<W>(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        applied: &Applied,
        started: Instant,
        writers: Option<&Writers<W>>,
    ) {
        let mut told = told(plan, applied);
        if let Some(told) = &mut told {
            self.measure(told, plan, applied, started);
            if writers.is_none() || !told.pending.is_empty() {
                told.text = text(plan, &told.problems);
            }
        }
        let mut world = self.world();
        let nothing_left = told.is_none()
            && plan.service.is_none()
            && world.slices.of_service(key).next().is_none()
            && !world.registry.nodes().keys().any(|known| known == key);
        let before = world.record(key).told.take();
        world.record(key).told.clone_from(&told);
        if nothing_left && world.registry.synced() {
            world.forget(key);
        }
        drop(world);
        log(key, plan, applied, before.as_ref(), told.as_ref());
        if let Some(mailbox) = writers.and_then(Writers::mailbox) {
            self.tell(key, plan, applied, told.as_ref(), mailbox);
        }
    }

    fn measure(&self, told: &Told, plan: &Planned, applied: &Applied, started: Instant) {
        self.metrics.reconciled(told.direction, started.elapsed());
        if let Applied::Done(written) = applied {
            if *written > 0
                && let Some(changed_at) = plan.changed_at
            {
                self.metrics.propagated(told.direction, changed_at.elapsed());
            }
            if matches!(told.state, State::Synced | State::Held | State::Panic) {
                self.metrics.succeeded(told.direction, self.clock.now().0 as f64 / 1000.0);
            }
        }
    }
}

/// The value; none for a Service that is not ours and has nothing of ours.
fn told(plan: &Planned, applied: &Applied) -> Option<Told> {
    let intent = plan.parsed.as_ref().map(|parsed| &parsed.intent);
    let direction = match intent {
        Some(Intent::ToKube(_) | Intent::Yield | Intent::Frozen(Some(Direction::ToKube) | None)) => Direction::ToKube,
        Some(Intent::ToConsul(_) | Intent::Frozen(Some(Direction::ToConsul))) => Direction::ToConsul,
        Some(Intent::Forbidden(direction)) => *direction,
        Some(Intent::Suspended(direction)) => direction.unwrap_or(Direction::ToKube),
        Some(Intent::None(_)) | None => {
            let parsed_problem = plan.parsed.as_ref().is_some_and(|parsed| !parsed.problems.is_empty());
            if !plan.registrations.changes.is_empty() || !plan.registrations.decisions.is_empty() {
                Direction::ToConsul
            } else if !plan.slices.changes.is_empty() || parsed_problem {
                Direction::ToKube
            } else {
                return None;
            }
        }
    };
    let problems = problems(plan);
    let judged = plan.slices.judged.as_ref();
    let registrations_held =
        plan.registrations.held.as_ref().map(|held| (held.hold.id.clone(), held.registrations.len()));
    let endpoints_held = judged.map_or(0, |j| j.held.iter().map(|h| h.endpoints.len()).sum::<usize>());
    let held = endpoints_held + registrations_held.as_ref().map_or(0, |(_, count)| *count);
    let mut pending = BTreeMap::new();
    if !matches!(applied, Applied::Done(_)) {
        let slices = plan.slices.changes.iter().map(|change| change.action());
        let registrations = plan.registrations.changes.iter().map(|change| change.action());
        let nodes = plan.registrations.empty_original.iter().map(|_| "node");
        for action in slices.chain(registrations).chain(nodes) {
            *pending.entry(action).or_insert(0) += 1;
        }
    }
    let wanted = judged.map(|j| j.plan.wanted.values().map(|w| &w.endpoint).chain(j.kept.values()));
    let endpoints = wanted.map_or((0, 0), |all| {
        all.fold((0, 0), |(yes, no), endpoint| if endpoint.ready { (yes + 1, no) } else { (yes, no + 1) })
    });
    let awaiting = judged.is_some_and(|j| !j.awaiting.is_empty()) || !plan.registrations.needs.is_empty();
    let waiting =
        plan.slices.waiting || plan.slices.resolving || direction == Direction::ToConsul && plan.waits_for.is_some();
    let state = state(intent, &problems, held, !pending.is_empty() || waiting || awaiting);
    let (retrying, resolving) = (matches!(applied, Applied::Failed(_)), plan.slices.resolving);
    let (dropped, text) = (dropped(plan), String::new());
    Some(Told {
        direction,
        state,
        endpoints,
        dropped,
        held,
        registrations_held,
        pending,
        resolving,
        retrying,
        text,
        problems,
    })
}

fn state(intent: Option<&Intent>, problems: &[Problem], held: usize, pending: bool) -> State {
    let has = |reason| problems.iter().any(|problem| problem.reason == reason);
    if matches!(intent, Some(Intent::Suspended(_))) && !has(Reason::NotAllowed) {
        State::Suspended
    } else if held > 0 {
        State::Held
    } else if problems.iter().any(|problem| problem.reason.stops()) {
        State::Problem
    } else if pending {
        State::Pending
    } else if has(Reason::PanicActive) {
        State::Panic
    } else {
        State::Synced
    }
}

fn problems(plan: &Planned) -> Vec<Problem> {
    let parsed = plan.parsed.iter().flat_map(|parsed| parsed.problems.iter());
    let judged = plan.slices.judged.iter().flat_map(|judged| judged.problems.iter());
    let registrations = plan.registrations.problems.iter().chain(&plan.registrations.blocked);
    let mut all: Vec<Problem> =
        parsed.chain(judged).chain(&plan.slices.troubles).chain(registrations).cloned().collect();
    all.sort();
    all.dedup();
    all
}

fn dropped(plan: &Planned) -> BTreeMap<&'static str, usize> {
    let mut dropped: BTreeMap<&'static str, usize> =
        plan.slices.judged.as_ref().map(|judged| judged.plan.dropped()).unwrap_or_default();
    for decision in &plan.registrations.decisions {
        if let Fate::LeftOut(why) = &decision.fate
            && let Some(label) = why.metric()
        {
            *dropped.entry(label).or_insert(0) += 1;
        }
    }
    dropped
}

/// What `plan` prints of the Service, and the debug log shows.
fn text(plan: &Planned, problems: &[Problem]) -> String {
    let mut out = String::new();
    let judged = plan.slices.judged.as_ref();
    for problem in problems.iter().filter(|problem| judged.is_none_or(|judged| !judged.problems.contains(problem))) {
        let _ = writeln!(out, "  {problem}");
    }
    let slices = match judged {
        Some(judged) => plan::text(judged, &plan.slices.changes),
        None => plan.slices.changes.iter().fold(String::new(), |text, change| format!("{text}\n{change}")),
    };
    // Without the Service's name, which stands above all this; and all of it below that.
    let mut margin = "";
    for line in slices.lines().skip(1) {
        if !line.starts_with(' ') {
            margin = "  ";
        }
        let _ = writeln!(out, "{margin}{line}");
    }
    if let Some(what) = plan.waits_for {
        let _ = writeln!(out, "  waiting until it is known {what}");
    }
    let registrations = plan.registrations.to_string();
    for line in registrations.lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn log(key: &ObjectKey, plan: &Planned, applied: &Applied, before: Option<&Told>, after: Option<&Told>) {
    if let Some(after) = after {
        let known = before.map(|before| before.problems.as_slice()).unwrap_or_default();
        for problem in after.problems.iter().filter(|problem| !known.iter().any(|k| k.reason == problem.reason)) {
            tracing::warn!(service = %key, reason = %problem.reason, "{}", problem.message);
        }
    }
    if let Some(before) = before {
        let still = after.map(|after| after.problems.as_slice()).unwrap_or_default();
        for problem in before.problems.iter().filter(|problem| !still.iter().any(|s| s.reason == problem.reason)) {
            tracing::info!(service = %key, reason = %problem.reason, "mended");
        }
    }
    if matches!(applied, Applied::Done(1..)) {
        let done: Vec<String> = plan
            .slices
            .changes
            .iter()
            .map(ToString::to_string)
            .chain(plan.registrations.changes.iter().map(ToString::to_string))
            .chain(plan.registrations.empty_original.iter().map(ToString::to_string))
            .collect();
        // One line each, also where a slice prints its endpoints below one another.
        let done = done.join("; ").replace("\n  ", ", ");
        tracing::info!(service = %key, "{done}");
    }
}
