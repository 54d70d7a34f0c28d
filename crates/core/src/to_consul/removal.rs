//! When a registration may go (contract §4 "Removal").
//!
//! An object that exists and no longer asks is evidence, and so is what a running watch saw. What is only missing from a fresh list
//! is asked for by name, twice. And whatever vanishes or loses its label together with much else is held: until it is asked for again or
//! released, or has been gone for `--mass-removal-hold`, which one more read must confirm.

use std::time::Duration;

use crate::duration;
use crate::evidence::{AbsenceProof, Evidence, UserIntent};
use crate::guard::HoldId;
use crate::names;
use crate::problem::{Problem, Reason};
use crate::settings::Policy;
use crate::time::UnixMillis;

use super::ledger::MassHold;
use super::nodes::Standing;
use super::register::Draft;
use super::{Fate, Held, HeldBecause, Missing, Need, Released, Stays, called, release};

/// Least time between the two reads that confirm an absence.
const LEAST_APART: Duration = Duration::from_secs(2);
/// Most time between them.
const MOST_APART: Duration = Duration::from_secs(4);
/// How many must agree until time ends a hold: those two, and one when the time is over.
const READS_TO_END_A_HOLD: usize = 3;

/// Why nothing should stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why<'a> {
    /// Somebody asked for it.
    Intent(UserIntent),
    /// The Service is missing from a list.
    Missing(Missing<'a>),
}

/// Everything that stands for the Service goes, as far as it may.
pub(super) fn all(draft: &mut Draft<'_>, why: Why<'_>) {
    if draft.input.settings.policy == Policy::UpsertOnly {
        return draft.stay(Stays::Policy);
    }
    let deleted = matches!(why, Why::Missing(_) | Why::Intent(UserIntent::ServiceDeleted));
    let (stays, goes): (Vec<_>, Vec<_>) =
        draft.standing.clone().into_iter().partition(|standing| deleted && kept(standing));
    for standing in &stays {
        draft.decide(called(standing), Fate::Stays(Stays::OnDelete));
    }
    if goes.is_empty() {
        return;
    }
    let by_accident = matches!(why, Why::Missing(_) | Why::Intent(UserIntent::Unlabelled));
    if by_accident {
        draft.plan.loss = goes.len();
    }
    let evidence = match why {
        Why::Intent(intent) => Evidence::Intent(intent),
        Why::Missing(missing) => match confirmed(missing.reads) {
            Some(proof) => Evidence::ConfirmedAbsent(proof),
            None => return ask(draft, missing, &goes),
        },
    };
    if let Some(held) = by_accident.then(|| hold(draft, why, &goes)).flatten() {
        if release::covers(draft.input, &held.hold.id, &goes) {
            draft.plan.released = Some(Released {
                id: held.hold.id,
                registrations: goes.len(),
                list: listed(why).filter(|_| held.why == HeldBecause::OldList),
            });
        } else {
            let until = ends(draft, &held);
            match why {
                _ if until.is_none_or(|until| draft.input.now < until) => return keep(draft, held, until, &goes),
                Why::Missing(missing) if !outlasted(missing.reads, until) => return ask(draft, missing, &goes),
                Why::Missing(_) | Why::Intent(_) => {}
            }
        }
    }
    for standing in &goes {
        draft.deregister(standing, evidence.clone());
    }
}

fn kept(standing: &Standing<'_>) -> bool {
    standing.service.meta.get(names::META_ON_DELETE).is_some_and(|word| word == "keep")
}

/// Two answers of 404 at the right distance.
fn confirmed(reads: &[UnixMillis]) -> Option<AbsenceProof> {
    let pairs =
        reads.iter().enumerate().flat_map(|(i, first)| reads[i + 1..].iter().map(move |second| (first, second)));
    pairs.filter_map(|(first, second)| AbsenceProof::twice(*first, *second, LEAST_APART, MOST_APART)).next()
}

/// Asks for the next read: at once, or when the last is old enough.
fn ask(draft: &mut Draft<'_>, missing: Missing<'_>, goes: &[Standing<'_>]) {
    let now = draft.input.now;
    let at = missing.reads.iter().max().map_or(now, |last| last.after(LEAST_APART).max(now));
    draft.plan.needs.push(Need::ReadService { key: draft.input.key.clone(), at });
    draft.plan.look_again = Some(at);
    for standing in goes {
        draft.decide(called(standing), Fate::Stays(Stays::Unconfirmed));
    }
}

fn hold(draft: &Draft<'_>, why: Why<'_>, goes: &[Standing<'_>]) -> Option<Held> {
    let input = draft.input;
    let old_list = match why {
        Why::Missing(missing) => old_list(draft, missing),
        Why::Intent(_) => None,
    };
    let mass = || {
        let standing = input.nodes.count(&draft.marks);
        input.ledger.holds(input.key, goes.len(), standing, input.now).map(|hold| (hold, HeldBecause::Mass))
    };
    let (hold, why) = old_list.map(|hold| (hold, HeldBecause::OldList)).or_else(mass)?;
    let lasts = input.settings.mass_removal_hold.filter(|_| why == HeldBecause::Mass);
    Some(Held { hold, registrations: goes.iter().map(called).collect(), why, lasts })
}

fn listed(why: Why<'_>) -> Option<u64> {
    match why {
        Why::Missing(missing) => missing.list_version,
        Why::Intent(_) => None,
    }
}

/// When time ends a hold; none = it never does.
fn ends(draft: &Draft<'_>, held: &Held) -> Option<UnixMillis> {
    let since = draft.input.ledger.lost_since(draft.input.key, &held.hold);
    held.lasts.map(|lasts| since.after(lasts))
}

/// Whether enough reads agreed, one of them when the time was over.
fn outlasted(reads: &[UnixMillis], until: Option<UnixMillis>) -> bool {
    reads.len() >= READS_TO_END_A_HOLD && reads.iter().max().copied() >= until
}

/// A list older than what was registered from it comes from an API server that was restored.
fn old_list(draft: &Draft<'_>, missing: Missing<'_>) -> Option<MassHold> {
    let list = missing.list_version?;
    let known = missing.mark.or(missing.known).or_else(|| draft.input.nodes.highest_version(&draft.marks))?;
    // What is known is the same for all that are missing, so it gives the id its number.
    (list < known).then(|| MassHold { id: HoldId::of_all(UnixMillis(known)), since: draft.input.now })
}

impl Held {
    /// What is to be told where the Services themselves are gone: the same for all of one hold.
    #[must_use]
    pub fn of_all(&self) -> Problem {
        self.problem("registrations of Services that are missing")
    }

    fn problem(&self, what: &str) -> Problem {
        let Held { hold, why, lasts, .. } = self;
        let (id, because) = (&hold.id, why.because());
        let time = lasts.map_or(String::new(), |lasts| format!("for {}, or ", duration::print(lasts)));
        let message = format!(
            "holding {what} ({id}): {because}; they stay {time}until they are asked for again or released with: consul8s release {id}"
        );
        Problem::new(Reason::RemovalHeld, message)
    }
}

impl HeldBecause {
    fn because(self) -> &'static str {
        match self {
            HeldBecause::Mass => "too many registrations went within a minute",
            HeldBecause::OldList => {
                "the list they are missing from is older than what they were registered from, as after a restore"
            }
        }
    }
}

fn keep(draft: &mut Draft<'_>, held: Held, until: Option<UnixMillis>, goes: &[Standing<'_>]) {
    let plural = if goes.len() == 1 { "" } else { "s" };
    draft.plan.problems.push(held.problem(&format!("{} registration{plural}", goes.len())));
    for standing in goes {
        draft.decide(called(standing), Fate::Held(held.hold.id.to_string()));
    }
    draft.plan.held = Some(held);
    draft.plan.look_again = until;
}
