//! What goes by absence or by a lost label, over all Services together (contract §4 "Removal"): one Service that vanishes is its
//! owner's doing, a sixth of them within a minute is an accident until somebody says otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::guard::HoldId;
use crate::kube::ObjectKey;
use crate::time::UnixMillis;

/// How close together losses must be to be one event.
const WINDOW: Duration = Duration::from_secs(60);
/// Share of all registrations, in percent, from which on a loss is held.
const MASS_PERCENT: usize = 15;
/// Fewer registrations are never held.
const MASS_REGISTRATIONS: usize = 5;
/// Fewer Services are never held.
const MASS_SERVICES: usize = 3;

/// The losses of the last minute, and those that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    losses: BTreeMap<ObjectKey, Loss>,
    hold: Option<MassHold>,
    /// A hold of the process before this one, and how many registrations it held: for what is found lost at the start.
    before: Option<(MassHold, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loss {
    registrations: usize,
    since: UnixMillis,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Wants to go.
    Pending,
    /// Is held.
    Held,
    /// Is gone.
    Done,
}

/// A hold over registrations. It ends when they are asked for again, when it is released, or after `--mass-removal-hold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassHold {
    /// One word, by which it is released.
    pub id: HoldId,
    /// When the first of its losses was seen.
    pub since: UnixMillis,
}

impl Ledger {
    /// A Service has this many registrations that want to go by absence or by a lost label; 0 = it asks for them again, or they are
    /// gone. To be told as soon as it is seen, for all Services of a list before the first is planned: only then do losses that
    /// come together show as such.
    pub fn note(&mut self, key: &ObjectKey, registrations: usize, now: UnixMillis) {
        self.forget_old(now);
        if registrations > 0 {
            let fresh = Loss { registrations, since: now, state: State::Pending };
            let loss = self.losses.entry(key.clone()).or_insert(fresh);
            match loss.state {
                State::Done => *loss = fresh,
                State::Pending | State::Held => loss.registrations = registrations,
            }
        } else if self.losses.get(key).is_some_and(|loss| loss.state != State::Done) {
            self.losses.remove(key);
        }
        self.end_hold();
    }

    /// What a plan held, so that it stays held.
    pub fn held(&mut self, key: &ObjectKey, hold: &MassHold) {
        if let Some(loss) = self.losses.get_mut(key) {
            loss.state = State::Held;
            if self.before.as_ref().is_some_and(|(before, _)| before == hold) {
                loss.since = loss.since.min(hold.since);
            }
            self.hold.get_or_insert_with(|| hold.clone());
        }
    }

    /// The process that wrote before this one held so many registrations, under `hold.id`, the last of them since `hold.since`: what this
    /// one holds, or finds to be held at its start, is the same hold and has lasted as long. If it is more, it is another.
    pub fn continues(&mut self, hold: MassHold, registrations: usize) {
        if let Some(mine) = &mut self.hold {
            mine.id = hold.id;
            let held = self.losses.values_mut().filter(|loss| loss.state == State::Held);
            held.for_each(|loss| loss.since = loss.since.min(hold.since));
        } else {
            self.before = Some((hold, registrations));
        }
    }

    /// Whether it is not decided yet what of the hold before goes on.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.before.is_some() && self.losses.values().any(|loss| loss.state == State::Pending)
    }

    /// What was lost at the start is decided on: what is lost from now on has nothing to do with the hold before.
    pub fn opened(&mut self) {
        self.before = None;
    }

    /// The removal of a Service's registrations was carried out.
    pub fn done(&mut self, key: &ObjectKey, now: UnixMillis) {
        if let Some(loss) = self.losses.get_mut(key) {
            // What was held for long is no part of what goes now.
            let since = if matches!(loss.state, State::Held | State::Done) { loss.since } else { now };
            *loss = Loss { since, state: State::Done, ..*loss };
        }
        self.end_hold();
    }

    /// The hold that is on, if any.
    #[must_use]
    pub fn hold(&self) -> Option<&MassHold> {
        self.hold.as_ref()
    }

    /// The hold that is on, and since when the last of what it holds is lost.
    #[must_use]
    pub fn noted(&self) -> Option<MassHold> {
        let held = self.losses.values().filter(|loss| loss.state == State::Held);
        let since = held.map(|loss| loss.since).max()?;
        self.hold.as_ref().map(|hold| MassHold { id: hold.id.clone(), since })
    }

    /// Since when the registrations of a Service that `hold` holds are lost, as far as is known.
    #[must_use]
    pub fn lost_since(&self, key: &ObjectKey, hold: &MassHold) -> UnixMillis {
        let since = self.losses.get(key).map_or(hold.since, |loss| loss.since);
        let goes_on = self.before.as_ref().is_some_and(|(before, _)| before == hold);
        if goes_on { since.min(hold.since) } else { since }
    }

    /// How many registrations are held.
    #[must_use]
    pub fn registrations_held(&self) -> usize {
        self.losses.values().filter(|loss| loss.state == State::Held).map(|loss| loss.registrations).sum()
    }

    /// Whether the loss of this many registrations of a Service is held. `standing` counts all registrations of ours that stand.
    #[must_use]
    pub fn holds(&self, key: &ObjectKey, registrations: usize, standing: usize, now: UnixMillis) -> Option<MassHold> {
        let mine = self.losses.get(key);
        match mine.map(|loss| loss.state) {
            Some(State::Held) => return self.hold.clone(),
            Some(State::Pending | State::Done) | None => {}
        }
        let recent = |loss: &&Loss| now.since(loss.since) <= WINDOW;
        let others: Vec<&Loss> =
            self.losses.iter().filter(|(at, _)| *at != key).map(|(_, loss)| loss).filter(recent).collect();
        let lost = registrations + others.iter().map(|loss| loss.registrations).sum::<usize>();
        let gone: usize = others.iter().filter(|loss| loss.state == State::Done).map(|loss| loss.registrations).sum();
        let mass = others.len() + 1 >= MASS_SERVICES
            && lost >= MASS_REGISTRATIONS
            && lost * 100 >= MASS_PERCENT * (standing + gone);
        let first = others.iter().map(|loss| loss.since).chain(mine.map(|loss| loss.since)).min().unwrap_or(now);
        let before = self.before.as_ref().filter(|(_, registrations)| lost <= *registrations).map(|(hold, _)| hold);
        let begun = self.hold.as_ref().or(before).cloned();
        mass.then(|| begun.unwrap_or_else(|| MassHold { id: HoldId::of_all(first), since: first }))
    }

    fn forget_old(&mut self, now: UnixMillis) {
        self.losses.retain(|_, loss| loss.state != State::Done || now.since(loss.since) <= WINDOW);
    }

    fn end_hold(&mut self) {
        if !self.losses.values().any(|loss| loss.state == State::Held) {
            self.hold = None;
        }
    }
}
