//! What was told about one object, and what is to be told next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kube::Condition;
use crate::problem::{Problem, Reason, ReasonKind};
use crate::time::UnixMillis;

use super::condition::{self, Wish};
use super::event::EventSpec;
use super::look::{Course, Look};
use super::matter::Matter;
use super::pace::Pace;

/// How long what is new is left to settle: a start, or a rollout, is many changes that are one to a person.
const SETTLE: Duration = Duration::from_secs(1);
/// The same is told no more often than this; a problem that comes back sooner was never gone.
const AGAIN: Duration = Duration::from_secs(30);
/// How long writes must fail, or the source be silent, before the condition says so.
const LASTS: Duration = Duration::from_secs(10);
/// Events that are kept for problems: what is done all the time must not make them wait.
const FOR_PROBLEMS: u32 = 2;
/// Pause after a condition could not be written, though it was tried a few times.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// What was told about one object. Kept by the program as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    look: Look,
    uid: Option<String>,
    /// Problems that were told, and since when they are gone.
    told: BTreeMap<Matter, Option<UnixMillis>>,
    /// When what was done was last told.
    done_at: BTreeMap<Reason, UnixMillis>,
    events: Pace,
    conditions: Pace,
    /// When the condition was last written.
    written_at: Option<UnixMillis>,
    /// What a write of ours left, as of that resourceVersion.
    written: Option<(String, Option<Condition>)>,
    /// It was taken away once; who puts it back is somebody else.
    taken_away: bool,
    /// Not before then, after a failure.
    condition_after: UnixMillis,
    /// Since when there is something to tell.
    news: Option<UnixMillis>,
    /// When anything was last told.
    told_at: UnixMillis,
    /// Since when writes fail or the source is silent.
    lasting: Option<UnixMillis>,
}

/// What is to be told now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// Events, the weightiest first.
    pub events: Vec<EventSpec>,
    /// What is to become of the condition.
    pub condition: Option<ConditionChange>,
    /// When to ask again, if there is no other look before.
    pub again: Option<UnixMillis>,
}

/// A write of the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionChange {
    /// UID of the Service.
    pub uid: String,
    /// As it should be; none = not there.
    pub condition: Option<Condition>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            look: Look::default(),
            uid: None,
            told: BTreeMap::new(),
            done_at: BTreeMap::new(),
            events: Pace::new(5, Duration::from_secs(60)),
            conditions: Pace::new(5, Duration::from_secs(20)),
            written_at: None,
            written: None,
            taken_away: false,
            condition_after: UnixMillis(0),
            news: None,
            told_at: UnixMillis(0),
            lasting: None,
        }
    }
}

impl Memory {
    /// Takes in what was found. Of another Service under the same name nothing was told yet.
    pub fn take_in(&mut self, look: Look, now: UnixMillis) {
        if let Some(service) = &look.service
            && self.uid.as_ref() != Some(&service.uid)
        {
            let told = service.condition.iter().flat_map(condition::told).map(|matter| (matter, None)).collect();
            *self = Memory { uid: Some(service.uid.clone()), told, ..Memory::default() };
        }
        self.look.update(look);
        match self.look.course {
            Course::Failing(..) | Course::Waiting(_) => drop(self.lasting.get_or_insert(now)),
            _ => self.lasting = None,
        }
        self.note_gone(now);
    }

    /// UID of the Service that was looked at last.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Whether there is nothing left to remember: the object is gone, or asks for nothing and never did, and all is told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let over = self.look.service.is_none() || (self.look.course == Course::NotOurs && !self.taken_away);
        over && self.look.problems.is_empty() && self.look.done.is_empty() && self.news.is_none()
    }

    /// What is to be told now. `shared`: problems that are told on the Lease, because they concern all. `pressing`: there will be no
    /// later, so that nothing waits.
    pub fn tell(&mut self, shared: &BTreeSet<Reason>, now: UnixMillis, pressing: bool) -> Telling {
        let lasts_at = self.lasting.map(|since| since.after(LASTS)).filter(|at| *at > now);
        let levels = self.levels(now);
        for (matter, _) in levels.iter().filter(|(matter, _)| shared.contains(&matter.reason)) {
            self.told.entry(matter.clone()).or_default();
        }
        let untold: Vec<(Matter, String)> =
            levels.into_iter().filter(|(matter, _)| !self.told.contains_key(matter)).collect();
        let change = self.change(now);
        if untold.is_empty() && change.is_none() && self.look.done.is_empty() {
            self.news = None;
            return Telling { again: lasts_at, ..Telling::default() };
        }
        let settled = self.told_at.max(*self.news.get_or_insert(now)).after(SETTLE);
        if settled > now && !pressing {
            return Telling { again: Some(settled), ..Telling::default() };
        }
        let mut later: BTreeSet<UnixMillis> = lasts_at.into_iter().collect();
        let mut telling = Telling { events: self.events(untold, &mut later, now, pressing), ..Telling::default() };
        if let Some((change, at)) = change {
            if at <= now || pressing {
                self.pay(&change, now);
                telling.condition = Some(change);
            } else {
                later.insert(at);
            }
        }
        if later.is_empty() {
            self.news = None;
        }
        if telling.condition.is_some() || !telling.events.is_empty() {
            self.told_at = now;
        }
        telling.again = later.first().copied();
        telling
    }

    /// The condition was written; the Service stands at this resourceVersion now.
    pub fn wrote(&mut self, version: &str, condition: Option<Condition>) {
        self.taken_away |= condition.is_none();
        self.written = Some((version.to_owned(), condition));
    }

    /// The condition could not be written; not again before a while, or before `until`.
    pub fn not_written(&mut self, now: UnixMillis, until: Option<UnixMillis>) {
        self.condition_after = until.unwrap_or(now.after(AFTER_FAILURE));
        // It is news until it is written.
        self.news.get_or_insert(now);
    }

    /// Problems, each with the messages of all that are the same matter, the weightiest first; and that it is suspended.
    fn levels(&self, now: UnixMillis) -> Vec<(Matter, String)> {
        let mut levels: BTreeMap<(usize, Matter), Vec<&str>> = BTreeMap::new();
        for Problem { reason, message } in &self.look.problems {
            if reason.kind() == ReasonKind::Warning {
                let matter = Matter::of(*reason, message);
                levels.entry((condition::weight(*reason), matter)).or_default().push(message);
            }
        }
        match &self.look.course {
            Course::Suspended => {
                levels.insert((0, Matter::from(Reason::Suspended)), vec![condition::SUSPENDED]);
            }
            // What concerns a Service alone: that Consul is away does not.
            Course::Failing(reason, why) if self.lasts(now) && reason.stops() => {
                levels.entry((condition::weight(*reason), Matter::from(*reason))).or_default().push(why);
            }
            _ => {}
        }
        levels.into_iter().map(|((_, matter), messages)| (matter, messages.join("; "))).collect()
    }

    fn lasts(&self, now: UnixMillis) -> bool {
        self.lasting.is_some_and(|since| now.since(since) >= LASTS)
    }

    /// Notes which told problems are gone, or back.
    fn note_gone(&mut self, now: UnixMillis) {
        // Before the source has answered, its problems can't be known.
        if matches!(self.look.course, Course::Waiting(_)) {
            return;
        }
        let there: BTreeSet<Matter> = self.levels(now).into_iter().map(|(matter, _)| matter).collect();
        let common: BTreeSet<Reason> = self.look.common.iter().map(|problem| problem.reason).collect();
        self.told.retain(|matter, gone| {
            let long = gone.is_some_and(|since| now.since(since) >= AGAIN);
            match there.contains(matter) || common.contains(&matter.reason) {
                true => *gone = None,
                false => drop(gone.get_or_insert(now)),
            }
            !long
        });
    }

    fn events(
        &mut self,
        untold: Vec<(Matter, String)>,
        later: &mut BTreeSet<UnixMillis>,
        now: UnixMillis,
        pressing: bool,
    ) -> Vec<EventSpec> {
        let mut events = Vec::new();
        for (matter, message) in untold {
            let at = self.events.free_at(now, 0);
            if at <= now || pressing {
                self.events.spend(now);
                events.push(EventSpec::new(matter.reason, &message));
                self.told.insert(matter, None);
            } else {
                later.insert(at);
            }
        }
        // Backwards: what happens often comes first in the order of reasons.
        for (reason, message) in std::mem::take(&mut self.look.done).into_iter().rev() {
            let window = self.done_at.get(&reason).map_or(now, |at| at.after(AGAIN));
            let at = self.events.free_at(now, kept_from(reason)).max(window);
            if at <= now || pressing {
                self.done_at.insert(reason, now);
                self.events.spend(now);
                events.push(EventSpec::new(reason, &message));
            } else {
                later.insert(at);
                self.look.done.insert(reason, message);
            }
        }
        events
    }

    /// The condition as it stands: as the look has it, or as a later write of ours left it.
    fn standing(&self) -> Option<&Condition> {
        let service = self.look.service.as_ref()?;
        match &self.written {
            Some((version, condition)) if older(&service.version, version) => condition.as_ref(),
            _ => service.condition.as_ref(),
        }
    }

    /// What is to become of the condition, and when it may; none when nothing is.
    fn change(&self, now: UnixMillis) -> Option<(ConditionChange, UnixMillis)> {
        let standing = self.standing();
        let uid = self.look.service.as_ref()?.uid.clone();
        let paced = self.conditions.free_at(now, 0).max(self.condition_after);
        match condition::wish(&self.look, self.lasts(now), standing.is_some()) {
            Wish::Keep => None,
            Wish::Gone if standing.is_none() || self.taken_away => None,
            Wish::Gone => Some((ConditionChange { uid, condition: None }, paced)),
            Wish::Stands { status, reason, message } => {
                let same_status = standing.filter(|standing| standing.status == status);
                let same = same_status.filter(|standing| standing.reason == reason.as_str());
                if same.is_some_and(|standing| standing.message == message) {
                    return None;
                }
                let counted_at = self.written_at.map_or(now, |at| at.after(AGAIN)).max(self.condition_after);
                let at = if same.is_some() { counted_at } else { paced };
                let since = same_status.map_or(UnixMillis(now.0 / 1000 * 1000), |standing| standing.since);
                let condition = Condition { status, reason: reason.as_str().to_owned(), message, since };
                Some((ConditionChange { uid, condition: Some(condition) }, at))
            }
        }
    }

    fn pay(&mut self, change: &ConditionChange, now: UnixMillis) {
        let standing = self.standing().map(|standing| (standing.status, standing.reason.clone()));
        let wanted = change.condition.as_ref().map(|condition| (condition.status, condition.reason.clone()));
        if standing != wanted {
            self.conditions.spend(now);
        }
        self.written_at = Some(now);
        if wanted.is_some() {
            self.taken_away = false;
        }
    }
}

/// How many Events are kept for others when this was done: what a person did, or waits for, is told like a problem.
fn kept_from(reason: Reason) -> u32 {
    match reason {
        Reason::RemovalReleased | Reason::FailedOver | Reason::Adopted => 0,
        _ => FOR_PROBLEMS,
    }
}

/// Whether resourceVersion `a` is older than `b`: of one server and one object, they may be compared as numbers.
fn older(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}
