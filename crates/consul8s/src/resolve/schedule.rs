//! Which hostname is looked up when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Found;
use crate::stores::names::Turns;

/// No record is believed for less, whatever it says: that would be a storm.
const LEAST: Duration = Duration::from_secs(5);
/// None is believed for longer: people forget to lower it before they move something.
const MOST: Duration = Duration::from_secs(300);
/// Longest pause after failures.
const FAILED_MOST: Duration = Duration::from_secs(60);

/// Hostnames with their next time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<(Instant, String)>,
    names: BTreeMap<String, State>,
    failing: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// None while it is being looked up.
    at: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// Begins and ends names.
    pub(super) fn take(&mut self, turns: Turns, now: Instant) {
        for name in turns.end {
            self.failing.remove(&name);
            if let Some(at) = self.names.remove(&name).and_then(|state| state.at) {
                self.due.remove(&(at, name));
            }
        }
        for name in turns.begin {
            self.names.insert(name.clone(), State { at: Some(now), failures: 0 });
            self.due.insert((now, name));
        }
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<String> {
        self.first().filter(|at| *at <= now)?;
        let (_, name) = self.due.pop_first()?;
        if let Some(state) = self.names.get_mut(&name) {
            state.at = None;
        }
        Some(name)
    }

    /// A lookup has ended. Gives whether any fails now, when that has just changed.
    pub(super) fn ended(&mut self, name: &str, found: &Result<Found, String>, now: Instant) -> Option<bool> {
        // It may have been given up meanwhile, and even been begun again.
        let state = self.names.get_mut(name).filter(|state| state.at.is_none())?;
        let failed_before = !self.failing.is_empty();
        let pause = if let Ok(found) = found {
            state.failures = 0;
            self.failing.remove(name);
            found.good_for.clamp(LEAST, MOST)
        } else {
            state.failures = state.failures.saturating_add(1);
            self.failing.insert(name.to_owned());
            (LEAST * 2u32.saturating_pow(state.failures.min(8) - 1)).min(FAILED_MOST)
        };
        state.at = Some(now + pause);
        self.due.insert((now + pause, name.to_owned()));
        let fails = !self.failing.is_empty();
        (fails != failed_before).then_some(fails)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(names: &[&str]) -> Turns {
        Turns { begin: names.iter().map(|name| (*name).to_owned()).collect(), end: Vec::new() }
    }

    fn found(seconds: u64) -> Result<Found, String> {
        let good_for = Duration::from_secs(seconds);
        Ok(Found { addresses: vec![[10, 0, 0, 1].into()], failed: None, good_for })
    }

    #[test]
    fn a_name_is_looked_up_again_when_its_records_run_out_but_within_bounds() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.take(begin(&["a"]), now);
        for (ttl, pause) in [(0, 5), (4, 5), (30, 30), (86_400, 300)] {
            let at = schedule.first().unwrap();
            assert_eq!(schedule.pop(at).as_deref(), Some("a"));
            assert_eq!(schedule.pop(at), None, "it is being looked up");
            schedule.ended("a", &found(ttl), at);
            assert_eq!(schedule.first().unwrap() - at, Duration::from_secs(pause), "{ttl}");
        }
    }

    #[test]
    fn failures_come_further_and_further_apart_and_are_told_once() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        schedule.take(begin(&["a"]), now);
        let mut told = Vec::new();
        for pause in [5, 10, 20, 40, 60, 60, 60, 60, 60, 60] {
            schedule.pop(now).unwrap();
            told.extend(schedule.ended("a", &Err("no".to_owned()), now));
            assert_eq!(schedule.first().unwrap() - now, Duration::from_secs(pause));
            now = schedule.first().unwrap();
        }
        schedule.pop(now).unwrap();
        told.extend(schedule.ended("a", &found(30), now));
        assert_eq!(told, [true, false]);
    }

    #[test]
    fn one_that_is_given_up_is_not_looked_up_again() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.take(begin(&["a", "b"]), now);
        assert_eq!(schedule.pop(now).as_deref(), Some("a"));
        schedule.take(Turns { begin: vec![], end: vec!["a".into(), "b".into()] }, now);
        schedule.ended("a", &found(30), now);
        assert_eq!(schedule.first(), None);
    }
}
