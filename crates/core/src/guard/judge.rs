//! One pass of the guard over the plan of one Service.

use std::collections::{BTreeMap, BTreeSet};

use crate::consul::{HealthQuery, InstanceRef};
use crate::evidence::{Evidence, UserIntent};
use crate::kube::{Endpoint, KubeService};
use crate::problem::{Problem, Reason};
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::{EndpointId, EndpointPlan, Removal, Rule, Why, unready};

use super::absence::Absence;
use super::hold::{Held, HoldId, Kind, Mark};
use super::ledger::{Ledger, Line};
use super::memory::{LetGo, Memory};
use super::reading::{Need, NodeReading, ServiceReading, SourceState};
use super::release::Release;

/// Node reads asked for in one pass: the others are asked for in the next, so that a service of thousands can't take all connections.
pub const MAX_NODE_READS: usize = 64;

/// What the guard reads.
#[derive(Debug)]
pub struct Case<'a> {
    /// The plan.
    pub plan: EndpointPlan,
    /// The Service.
    pub service: &'a KubeService,
    /// Whether the source is whole.
    pub source: SourceState,
    /// Confirming reads of its Consul service since the last pass, in any order; the same one again does no harm.
    pub services_read: &'a [ServiceReading],
    /// Confirming reads of nodes, likewise.
    pub nodes_read: &'a [NodeReading],
    /// `consul8s/allow-removal` on the Lease.
    pub lease_release: Option<&'a str>,
    /// The settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: UnixMillis,
}

/// A plan that the guard has passed: only this can be packed and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The plan, whose removals stand here now.
    pub plan: EndpointPlan,
    /// What stays exactly as it stands, because it is held or its absence is not confirmed yet.
    pub kept: BTreeMap<EndpointId, Endpoint>,
    /// What goes, each with its evidence.
    pub removed: BTreeMap<EndpointId, Evidence>,
    /// What of the kept is not held, but only awaits its confirming reads.
    pub awaiting: BTreeSet<EndpointId>,
    /// What is held.
    pub held: Vec<Held>,
    /// What the slices of the held keep of their holds.
    pub marks: BTreeMap<EndpointId, Mark>,
    /// `consul8s/allow-removal: true` was used; a slice keeps that too.
    pub used: bool,
    /// Reads that are needed, soonest first.
    pub needs: Vec<Need>,
    /// What was released, by hold.
    pub released: BTreeMap<HoldId, usize>,
    /// Problems of the plan and of the guard, sorted.
    pub problems: Vec<Problem>,
    /// When to look at this Service again without any other reason.
    pub look_again: Option<UnixMillis>,
}

/// Decides what of the plan may be done now.
#[must_use]
pub fn judge(mut case: Case<'_>, memory: &mut Memory, ledger: &mut Ledger) -> Judged {
    memory.adopt(&case.plan, case.now);
    memory.note(&case.plan, case.now);
    let release =
        if case.plan.idle { Release::default() } else { Release::read(case.service, case.lease_release, memory) };
    let removals = std::mem::take(&mut case.plan.removals);
    let mut pass = Pass { case: &case, memory, out: Outcome::default() };
    let open = pass.sort_out(removals);
    let loss = pass.loss(&open);
    let climate = pass.enter(&open, &loss, ledger);
    for one in open {
        pass.decide(one, &loss, &climate, &release, ledger);
    }
    pass.enter_marks(&loss, ledger);
    pass.keep_old_marks();
    let out = pass.out;
    let ready: BTreeSet<&EndpointId> = loss.ready.iter().chain(out.kept_ready()).collect();
    memory.note_done(|id| ready.contains(id), case.now);
    finish(case, out, memory.used)
}

/// A missing endpoint that may have to stay.
struct Open {
    id: EndpointId,
    endpoint: Endpoint,
    instance: Option<InstanceRef>,
    state: State,
}

/// How far the absence of an endpoint has been established.
enum State {
    /// The source isn't whole, or its lineage is broken.
    Unknowable(Kind),
    /// Further reads must agree.
    Awaiting,
    /// It is confirmed; only a hold can keep it.
    Confirmed(Evidence),
}

/// What all Services together lose.
struct Climate {
    /// Whether hold (b) applies.
    mass: bool,
    /// When that can be told; none = now.
    known_at: Option<UnixMillis>,
}

/// What the Service lost and would lose (guard.md §2).
struct Loss {
    ready: BTreeSet<EndpointId>,
    came: usize,
    left: Vec<UnixMillis>,
    /// Whether hold (a) applies.
    held: bool,
}

#[derive(Default)]
struct Outcome {
    kept: BTreeMap<EndpointId, Endpoint>,
    removed: BTreeMap<EndpointId, Evidence>,
    awaiting: BTreeSet<EndpointId>,
    marks: BTreeMap<EndpointId, Mark>,
    until: BTreeMap<EndpointId, UnixMillis>,
    services: BTreeSet<Need>,
    nodes: BTreeSet<Need>,
    released: BTreeMap<HoldId, usize>,
    look_again: BTreeSet<UnixMillis>,
}

impl Outcome {
    fn kept_ready(&self) -> impl Iterator<Item = &EndpointId> {
        self.kept.iter().filter(|(_, endpoint)| endpoint.ready).map(|(id, _)| id)
    }
}

struct Pass<'a, 'b> {
    case: &'a Case<'b>,
    memory: &'a mut Memory,
    out: Outcome,
}

impl Pass<'_, '_> {
    /// What has a reason goes; what is missing is looked at more closely.
    fn sort_out(&mut self, removals: BTreeMap<EndpointId, Removal>) -> Vec<Open> {
        let mut open = Vec::new();
        for (id, removal) in removals {
            match removal.why {
                Why::Known(evidence) => {
                    self.known(&id).absence = None;
                    self.let_go(id, evidence);
                }
                Why::Missing(instance) => match self.look(&id, removal.endpoint.ready, instance.as_ref()) {
                    Ok(state) => open.push(Open { id, endpoint: removal.endpoint, instance, state }),
                    Err(evidence) => self.let_go(id, evidence),
                },
            }
        }
        open
    }

    fn known(&mut self, id: &EndpointId) -> &mut super::memory::Known {
        self.memory.known.entry(id.clone()).or_default()
    }

    fn let_go(&mut self, id: EndpointId, evidence: Evidence) {
        let absent = matches!(evidence, Evidence::ConfirmedAbsent(_));
        self.known(&id).let_go = if absent { LetGo::Absent } else { LetGo::Otherwise };
        self.out.removed.insert(id, evidence);
    }

    /// What the reads say about a missing endpoint: how far its absence is established, or the evidence with which it goes at once.
    fn look(&mut self, id: &EndpointId, ready: bool, instance: Option<&InstanceRef>) -> Result<State, Evidence> {
        let case = self.case;
        let known = self.known(id);
        let unseen = |broken: UnixMillis| known.seen.is_none_or(|seen| seen < broken);
        let lineage = case.source.broken.is_some_and(unseen);
        let absence = known.absence.get_or_insert_with(|| Box::new(Absence::begun(case.now, ready)));
        let kind = absence.mark.as_ref().map(|mark| mark.kind);
        if case.source.hidden {
            return Ok(State::Unknowable(Kind::NotWhole));
        }
        if lineage || kind == Some(Kind::Lineage) {
            return Ok(State::Unknowable(Kind::Lineage));
        }
        if kind == Some(Kind::NotWhole) {
            absence.begin_again(case.now);
            absence.mark = None;
        }
        feed(absence, case, id, instance);
        if let Some(proof) = &absence.explicit {
            return Err(Evidence::Explicit(proof.clone()));
        }
        if absence.filtered_out {
            return Err(Evidence::Unfit(Rule::Filter));
        }
        match absence.confirmed() {
            None => Ok(State::Awaiting),
            Some(evidence) if !absence.was_ready => Err(evidence),
            Some(evidence) => Ok(State::Confirmed(evidence)),
        }
    }

    /// The loss of the last ten minutes, done and pending together.
    fn loss(&mut self, open: &[Open]) -> Loss {
        let wanted = self.case.plan.wanted.iter();
        let ready: BTreeSet<EndpointId> = wanted.filter(|(_, w)| w.endpoint.ready).map(|(id, _)| id.clone()).collect();
        let came = self.memory.came(ready.iter(), self.case.now);
        let done = self.memory.left.iter().filter(|(id, _)| !ready.contains(id)).map(|(_, at)| *at);
        let mut left: Vec<UnixMillis> = done.collect();
        for one in open {
            let absence = self.memory.known.get(&one.id).and_then(|known| known.absence.as_ref());
            left.extend(absence.filter(|absence| absence.was_ready).map(|absence| absence.since));
        }
        let lost = left.len().saturating_sub(came);
        let (after, before) = (ready.len(), ready.len() + lost);
        let held = (after == 0 && lost >= 1) || (before >= 3 && after * 2 < before);
        Loss { ready, came, left, held }
    }

    /// Writes the ledger's line, with what was under a mass hold before this pass, and asks whether this is a mass.
    fn enter(&self, open: &[Open], loss: &Loss, ledger: &mut Ledger) -> Climate {
        let mut under_mass = Vec::new();
        for one in open {
            let absence = self.memory.known.get(&one.id).and_then(|known| known.absence.as_ref());
            if let Some((absence, mark)) = absence.and_then(|absence| Some((absence, absence.mark.as_ref()?)))
                && mark.kind == Kind::Mass
            {
                under_mass.push(absence.since);
                ledger.restore_mass(&mark.id);
            }
        }
        ledger.enter(&self.case.plan.service, line(loss, under_mass));
        Climate { mass: ledger.is_mass(self.case.now), known_at: ledger.complete_at(self.case.now) }
    }

    /// The line again, with what is under a mass hold now.
    fn enter_marks(&self, loss: &Loss, ledger: &mut Ledger) {
        let under_mass = self.out.marks.values().filter(|mark| mark.kind == Kind::Mass).map(|mark| mark.since);
        ledger.enter(&self.case.plan.service, line(loss, under_mass.collect()));
    }

    /// Section 2 of guard.md for one missing endpoint.
    fn decide(&mut self, one: Open, loss: &Loss, climate: &Climate, release: &Release, ledger: &mut Ledger) {
        let settings = self.case.settings;
        let service_id = self.service_hold();
        let case = self.case;
        let Some(absence) = self.known(&one.id).absence.as_mut() else { return };
        let kind = match &one.state {
            State::Unknowable(kind) => Some(*kind),
            State::Awaiting => None,
            // What was held before we started stays held so until it can be told whether it still is to be.
            State::Confirmed(_) if climate.known_at.is_some() => absence.mark.as_ref().map(|mark| mark.kind),
            State::Confirmed(_) if climate.mass && !absence.outlasted(Kind::Mass.lasts(settings)) => Some(Kind::Mass),
            State::Confirmed(_) if loss.held && !absence.outlasted(Kind::Service.lasts(settings)) => {
                Some(Kind::Service)
            }
            State::Confirmed(evidence) => {
                let evidence = evidence.clone();
                return self.let_go(one.id, evidence);
            }
        };
        let lasts = kind.and_then(|kind| kind.lasts(settings));
        if let Some(kind) = kind {
            let id = match kind {
                Kind::Mass => ledger.mass_id(case.now),
                Kind::Service | Kind::NotWhole | Kind::Lineage => {
                    service_id.unwrap_or_else(|| HoldId::of_service(&case.plan.service, case.now))
                }
            };
            let mark = mark(absence, id, kind);
            if release.covers(&mark.id) {
                absence.mark = None;
                *self.out.released.entry(mark.id).or_default() += 1;
                return self.let_go(one.id, Evidence::Intent(UserIntent::Released));
            }
            absence.mark = Some(mark.clone());
            let until = absence.until(lasts);
            self.out.until.extend(until.map(|until| (one.id.clone(), until)));
            self.out.marks.insert(one.id.clone(), mark);
        } else {
            absence.mark = None;
            self.out.awaiting.insert(one.id.clone());
        }
        if !matches!(one.state, State::Unknowable(_)) {
            self.out.look_again.extend(climate.known_at);
            self.ask(&one, lasts);
        }
        self.keep(one);
    }

    /// The id under which endpoints of this Service are held already.
    fn service_hold(&self) -> Option<HoldId> {
        let of_absence = |known: &super::memory::Known| known.absence.as_ref()?.mark.clone();
        let mut marks = self.memory.known.values().filter_map(of_absence).filter(|mark| mark.kind != Kind::Mass);
        marks.next().map(|mark| mark.id)
    }

    fn keep(&mut self, one: Open) {
        self.known(&one.id).let_go = LetGo::No;
        let endpoint = if self.case.plan.stale { unready(one.endpoint) } else { one.endpoint };
        self.out.kept.insert(one.id, endpoint);
    }

    /// The reads that would establish the absence, or end its hold.
    fn ask(&mut self, one: &Open, hold: Option<std::time::Duration>) {
        let plan = &self.case.plan;
        let Some(absence) = self.memory.known.get(&one.id).and_then(|known| known.absence.as_ref()) else { return };
        let Some(not_before) = absence.next_read(hold) else { return };
        let unfiltered = HealthQuery { filter: None, ..plan.query.clone() };
        // What Consul filters out looks missing: it counts as missing only if it is missing without the filter too.
        let (query, not_before) = match absence.shown_unfiltered {
            Some(shown) => (plan.query.clone(), shown),
            None => (unfiltered, not_before),
        };
        self.out.services.insert(Need::ServiceRead { query, not_before });
        // A node behind a cluster peer can't be asked.
        if let Some(instance) = &one.instance
            && absence.was_ready
            && plan.query.peer.is_none()
        {
            let not_before = if absence.node_read.is_none() { absence.since } else { not_before };
            let (node, datacenter) = (instance.node.clone(), plan.query.datacenter.clone());
            self.out.nodes.insert(Need::NodeRead { node, datacenter, not_before });
        }
    }

    /// Nothing is known of what was held before we started, as long as the source doesn't answer: its marks stay.
    fn keep_old_marks(&mut self) {
        for (id, _) in self.case.plan.wanted.iter().filter(|(_, wanted)| wanted.instance.is_none()) {
            let absence = self.memory.known.get(id).and_then(|known| known.absence.as_ref());
            if let Some(mark) = absence.and_then(|absence| absence.mark.clone()) {
                self.out.marks.insert(id.clone(), mark);
            }
        }
    }
}

fn line(loss: &Loss, under_mass: Vec<UnixMillis>) -> Line {
    Line { after: loss.ready.len(), came: loss.came, left: loss.left.clone(), under_mass }
}

/// The mark of an endpoint under this hold: the one that it bears, as long as the hold is the same.
fn mark(absence: &Absence, id: HoldId, kind: Kind) -> Mark {
    match &absence.mark {
        Some(mark) if mark.kind == kind && mark.id == id => mark.clone(),
        _ => Mark { id, kind, since: absence.since, first_read: absence.first_read(), reads: absence.agreed() },
    }
}

/// Takes the reads into account, oldest first.
fn feed(absence: &mut Absence, case: &Case<'_>, id: &EndpointId, instance: Option<&InstanceRef>) {
    let asked = &case.plan.query;
    let mut reads: Vec<&ServiceReading> = case.services_read.iter().collect();
    reads.sort_by_key(|read| (read.at, read.query.filter.is_some()));
    for read in reads {
        let base = HealthQuery { filter: asked.filter.clone(), ..read.query.clone() };
        if !read.whole || base != *asked || read.at < absence.since {
            continue;
        }
        match (read.shows(id, instance), asked.filter == read.query.filter) {
            (true, true) => absence.contradict(read.at),
            (true, false) => absence.shown_unfiltered = Some(read.at),
            (false, true) if asked.filter.is_some() => absence.filtered_out |= absence.shown_unfiltered.is_some(),
            (false, _) => {
                absence.shown_unfiltered = None;
                absence.agree(read.at);
            }
        }
    }
    for read in case.nodes_read {
        let Some(instance) = instance.filter(|instance| instance.node == read.node) else { continue };
        if read.at < absence.since || absence.node_read.is_some_and(|last| read.at <= last) {
            continue;
        }
        absence.node_read = Some(read.at);
        absence.explicit = read.explicit(instance, &asked.name);
    }
}

fn finish(case: Case<'_>, out: Outcome, used: bool) -> Judged {
    let held = group(&case, &out);
    let mut problems = case.plan.problems.clone();
    if out.kept_ready().next().is_some() {
        // What is kept still serves; that it is kept is told.
        problems.retain(|problem| problem.reason != Reason::NoHealthyInstances);
    }
    problems.extend(held.iter().map(|held| held.problem(&case.plan.service, case.settings)));
    problems.sort();
    let mut needs: Vec<Need> = out.services.into_iter().chain(out.nodes.into_iter().take(MAX_NODE_READS)).collect();
    needs.sort_by(|a, b| (a.not_before(), a).cmp(&(b.not_before(), b)));
    let look_again = needs.iter().map(Need::not_before).chain(case.plan.look_again).chain(out.look_again).min();
    Judged {
        plan: case.plan,
        kept: out.kept,
        removed: out.removed,
        awaiting: out.awaiting,
        held,
        marks: out.marks,
        used,
        needs,
        released: out.released,
        problems,
        look_again,
    }
}

/// What is held, by hold.
fn group(case: &Case<'_>, out: &Outcome) -> Vec<Held> {
    let of = case.plan.ready() + out.kept_ready().count();
    let mut held: BTreeMap<(HoldId, Kind), Held> = BTreeMap::new();
    for (id, mark) in out.marks.iter().filter(|(id, _)| out.kept.contains_key(id)) {
        let until = out.until.get(id).copied();
        let one = held.entry((mark.id.clone(), mark.kind)).or_insert_with(|| Held {
            id: mark.id.clone(),
            kind: mark.kind,
            endpoints: Vec::new(),
            of,
            since: mark.since,
            until,
        });
        one.endpoints.push(id.clone());
        one.since = one.since.min(mark.since);
        one.until = one.until.max(until);
    }
    held.into_values().collect()
}
