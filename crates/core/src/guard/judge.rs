//! One pass of the guard over the plan of one Service.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Evidence, UserIntent};
use crate::kube::Endpoint;
use crate::problem::Reason;
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::{Behind, EndpointId, Removal, Rule, Why, hint, unready};

use super::absence::Absence;
use super::case::{Case, Judged};
use super::confirm::{Asked, feed};
use super::hold::{Held, HoldId, Kind, Mark};
use super::ledger::{Ledger, Line};
use super::memory::{LetGo, Memory};
use super::reading::Need;
use super::release::Release;

/// Decides what of the plan may be done now.
#[must_use]
pub fn judge(mut case: Case<'_>, memory: &mut Memory, ledger: &mut Ledger) -> Judged {
    memory.adopt(&case.plan, case.now);
    memory.note(&case.plan, case.now);
    let release =
        if case.plan.idle { Release::default() } else { Release::read(case.service, case.lease_release, memory) };
    let removals = std::mem::take(&mut case.plan.removals);
    let hold = service_hold(memory);
    let mut pass = Pass { case: &case, memory, out: Outcome::default(), hold };
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
    let nodes = nodes_of_what_stays(&case, &out, memory);
    finish(case, out, memory.used, nodes)
}

/// A missing endpoint that may have to stay.
struct Open {
    id: EndpointId,
    endpoint: Endpoint,
    behind: Option<Behind>,
    state: State,
}

/// How far the absence of an endpoint has been established.
enum State {
    /// The source isn't whole, or its lineage is broken.
    Unknowable(Kind),
    /// Further reads must agree.
    Awaiting,
    /// It is proven, and goes when the lineage has been compared: a moment after we lead.
    Proven,
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
    /// How many of those nobody came for.
    lost: usize,
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
    asked: Asked,
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
    /// The id under which endpoints of this Service are held, beside mass holds.
    hold: Option<HoldId>,
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
                Why::Missing(behind) => match self.look(&id, removal.endpoint.ready, behind.as_ref()) {
                    Ok(state) => open.push(Open { id, endpoint: removal.endpoint, behind, state }),
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
    fn look(&mut self, id: &EndpointId, ready: bool, behind: Option<&Behind>) -> Result<State, Evidence> {
        let case = self.case;
        let known = self.known(id);
        let unseen = |broken: UnixMillis| known.seen.is_none_or(|seen| seen < broken);
        let lineage = case.source.broken.is_some_and(unseen);
        let absence = known.absence.get_or_insert_with(|| Box::new(Absence::begun(case.now, ready)));
        let kind = absence.mark.as_ref().map(|mark| mark.kind);
        if lineage || kind == Some(Kind::Lineage) {
            return Ok(State::Unknowable(Kind::Lineage));
        }
        if case.source.hidden {
            return Ok(State::Unknowable(Kind::NotWhole));
        }
        if kind == Some(Kind::NotWhole) {
            absence.begin_again(case.now);
            absence.mark = None;
        }
        feed(absence, case, id, behind);
        match &absence.explicit {
            Some(_) if case.source.uncompared => return Ok(State::Proven),
            Some(proof) => return Err(Evidence::Explicit(proof.clone())),
            None => {}
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
        let pending: BTreeSet<&EndpointId> = open.iter().map(|one| &one.id).collect();
        let done =
            self.memory.left.iter().filter(|(id, _)| !ready.contains(id) && !pending.contains(id)).map(|(_, at)| *at);
        let mut left: Vec<UnixMillis> = done.collect();
        for one in open {
            let absence = self.memory.known.get(&one.id).and_then(|known| known.absence.as_ref());
            left.extend(absence.filter(|absence| absence.was_ready).map(|absence| absence.since));
        }
        let lost = left.len().saturating_sub(came);
        let (after, before) = (ready.len(), ready.len() + lost);
        let held = (after == 0 && lost >= 1) || (before >= 3 && after * 2 < before);
        Loss { ready, came, left, lost, held }
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
        let Pass { case, memory, out, hold } = self;
        let settings = case.settings;
        let Some(absence) = memory.known.get_mut(&one.id).and_then(|known| known.absence.as_mut()) else { return };
        let kind = match held_by(&one.state, absence, loss, climate, settings) {
            Ok(kind) => kind,
            Err(evidence) => return self.let_go(one.id, evidence),
        };
        let lasts = kind.and_then(|kind| kind.lasts(settings));
        absence.mark = kind.map(|kind| {
            let own = absence.mark.as_ref().filter(|mark| mark.kind != Kind::Mass).map(|mark| mark.id.clone());
            let id = match kind {
                Kind::Mass => ledger.mass_id(case.now),
                Kind::Service | Kind::NotWhole | Kind::Lineage => own.unwrap_or_else(|| {
                    hold.get_or_insert_with(|| HoldId::of_service(&case.plan.service, case.now)).clone()
                }),
            };
            mark(absence, id, kind)
        });
        match absence.mark.clone() {
            Some(mark) if release.covers(&mark.id) => {
                absence.mark = None;
                *out.released.entry(mark.id).or_default() += 1;
                return self.let_go(one.id, Evidence::Intent(UserIntent::Released));
            }
            Some(mark) => {
                out.until.extend(absence.until(lasts).map(|until| (one.id.clone(), until)));
                out.marks.insert(one.id.clone(), mark);
            }
            None => drop(out.awaiting.insert(one.id.clone())),
        }
        if !matches!(one.state, State::Unknowable(_)) {
            out.look_again.extend(climate.known_at);
            out.asked.ask(&case.plan.query, absence, one.behind.as_ref(), lasts);
        }
        self.keep(one);
    }

    fn keep(&mut self, one: Open) {
        self.known(&one.id).let_go = LetGo::No;
        let endpoint = if self.case.plan.stale { unready(one.endpoint) } else { one.endpoint };
        self.out.kept.insert(one.id, endpoint);
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

/// The kind of hold that keeps it, none while its absence is not confirmed; or the evidence with which it goes.
fn held_by(
    state: &State,
    absence: &Absence,
    loss: &Loss,
    climate: &Climate,
    settings: &Settings,
) -> Result<Option<Kind>, Evidence> {
    let lasts_still = |kind: Kind| !absence.outlasted(kind.lasts(settings));
    // That others were shown again, or released, says nothing about this one; that others came for it does.
    let goes_on = loss.lost > 0 && absence.mark.as_ref().is_some_and(|mark| mark.kind == Kind::Mass);
    match state {
        State::Unknowable(kind) => Ok(Some(*kind)),
        State::Awaiting => Ok(None),
        // What was held before we started stays held so until it can be told whether it still is to be.
        State::Proven => Ok(absence.mark.as_ref().map(|mark| mark.kind)),
        State::Confirmed(_) if climate.known_at.is_some() => Ok(absence.mark.as_ref().map(|mark| mark.kind)),
        State::Confirmed(_) if (climate.mass || goes_on) && lasts_still(Kind::Mass) => Ok(Some(Kind::Mass)),
        State::Confirmed(_) if loss.held && lasts_still(Kind::Service) => Ok(Some(Kind::Service)),
        State::Confirmed(evidence) => Err(evidence.clone()),
    }
}

/// The id under which endpoints of this Service are held already.
fn service_hold(memory: &Memory) -> Option<HoldId> {
    let marks = memory.known.values().filter_map(|known| known.absence.as_ref()?.mark.as_ref());
    marks.filter(|mark| mark.kind != Kind::Mass).map(|mark| mark.id.clone()).min()
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

/// The nodes of endpoints that stay though no instance of the answer stands for them.
fn nodes_of_what_stays(case: &Case<'_>, out: &Outcome, memory: &Memory) -> BTreeMap<EndpointId, String> {
    let unanswered = case.plan.wanted.iter().filter(|(_, wanted)| wanted.instance.is_none()).map(|(id, _)| id);
    let stays = unanswered.chain(out.kept.keys());
    stays.filter_map(|id| Some((id.clone(), memory.known.get(id)?.behind()?.node().to_owned()))).collect()
}

fn finish(mut case: Case<'_>, mut out: Outcome, used: bool, nodes: BTreeMap<EndpointId, String>) -> Judged {
    let wanted = case.plan.wanted.values_mut().map(|wanted| &mut wanted.endpoint);
    hint(case.service, wanted.chain(out.kept.values_mut()));
    let held = group(&case, &out);
    let mut problems = case.plan.problems.clone();
    if out.kept_ready().next().is_some() {
        // What is kept still serves; that it is kept is told.
        problems.retain(|problem| problem.reason != Reason::NoHealthyInstances);
    }
    problems.extend(held.iter().map(|held| held.problem(&case.plan.service, case.settings)));
    problems.sort();
    let needs = out.asked.needs(case.plan.query.datacenter.as_ref());
    let look_again = needs.iter().map(Need::not_before).chain(case.plan.look_again).chain(out.look_again).min();
    Judged {
        plan: case.plan,
        kept: out.kept,
        removed: out.removed,
        awaiting: out.awaiting,
        held,
        marks: out.marks,
        nodes,
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
