//! Repairs, and where they end: what somebody else changes back after three of our repairs in five minutes is left alone for ten minutes
//! (contract S11). Two programs that both insist would otherwise write for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::UnixMillis;

/// Repairs within [`WINDOW`] after which the next is not made.
const MOST: usize = 3;
/// How far back repairs count.
const WINDOW: Duration = Duration::from_secs(300);
/// How long an object is left alone.
const ALONE: Duration = Duration::from_secs(600);
/// While it is left alone, what really changed is still written this often, so that S1 holds.
const CHANGE_EVERY: Duration = Duration::from_secs(60);

/// What was written to the objects of one Service, and how often it had to be written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    objects: BTreeMap<String, Object>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Object {
    /// What we last wrote.
    written: String,
    at: UnixMillis,
    repairs: Vec<UnixMillis>,
    alone_since: Option<UnixMillis>,
}

/// Whether a write may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Write,
    /// Somebody changes it back each time: not before then.
    LeaveAlone(UnixMillis),
}

impl Repairs {
    /// Judges a write of `wanted` (any text that is equal for equal content) to an object.
    #[must_use]
    pub fn judge(&self, object: &str, wanted: &str, now: UnixMillis) -> Verdict {
        let Some(known) = self.objects.get(object) else { return Verdict::Write };
        if let Some(since) = known.alone_since.filter(|since| now.since(*since) < ALONE) {
            let due = known.at.after(CHANGE_EVERY);
            return match known.written != wanted {
                true if now >= due => Verdict::Write,
                true => Verdict::LeaveAlone(due),
                false => Verdict::LeaveAlone(since.after(ALONE)),
            };
        }
        let recent = known.repairs.iter().filter(|at| now.since(**at) <= WINDOW).count();
        if known.written == wanted && recent >= MOST { Verdict::LeaveAlone(now.after(ALONE)) } else { Verdict::Write }
    }

    /// Notes that an object is left alone from now on; again does no harm.
    pub fn leave_alone(&mut self, object: &str, now: UnixMillis) {
        if let Some(known) = self.objects.get_mut(object) {
            let since = known.alone_since.filter(|since| now.since(*since) < ALONE);
            known.alone_since = Some(since.unwrap_or(now));
        }
    }

    /// Notes an accepted write. The same content as last time is a repair.
    pub fn wrote(&mut self, object: &str, wanted: String, now: UnixMillis) {
        let known = self.objects.entry(object.to_owned()).or_default();
        if known.written == wanted {
            known.repairs.retain(|at| now.since(*at) <= WINDOW);
            known.repairs.push(now);
        }
        if known.alone_since.is_some_and(|since| now.since(since) >= ALONE) {
            known.alone_since = None;
            known.repairs.clear();
        }
        known.written = wanted;
        known.at = now;
    }

    /// Forgets an object that is gone.
    pub fn forget(&mut self, object: &str) {
        self.objects.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(1_000_000 + seconds * 1000)
    }

    #[test]
    fn three_repairs_in_five_minutes_are_made_and_the_fourth_is_not() {
        let mut repairs = Repairs::default();
        for second in [0, 10, 20, 30] {
            assert_eq!(repairs.judge("s", "x", at(second)), Verdict::Write, "{second}");
            repairs.wrote("s", "x".into(), at(second));
        }
        assert_eq!(repairs.judge("s", "x", at(40)), Verdict::LeaveAlone(at(640)));
        repairs.leave_alone("s", at(40));
        assert_eq!(repairs.judge("s", "x", at(300)), Verdict::LeaveAlone(at(640)));
        assert_eq!(repairs.judge("s", "x", at(640)), Verdict::Write, "the war may be over");
        repairs.wrote("s", "x".into(), at(640));
        assert_eq!(repairs.judge("s", "x", at(641)), Verdict::Write, "and counts anew");
    }

    #[test]
    fn a_real_change_is_no_repair_and_old_repairs_do_not_count() {
        let mut repairs = Repairs::default();
        for second in 0..20 {
            let wanted = if second % 2 == 0 { "x" } else { "y" };
            assert_eq!(repairs.judge("s", wanted, at(second)), Verdict::Write);
            repairs.wrote("s", wanted.into(), at(second));
        }
        let mut slow = Repairs::default();
        for minute in 0..20 {
            assert_eq!(slow.judge("s", "x", at(minute * 120)), Verdict::Write, "minute {minute}");
            slow.wrote("s", "x".into(), at(minute * 120));
        }
    }

    #[test]
    fn what_really_changed_is_written_once_a_minute_also_then() {
        let mut repairs = Repairs::default();
        for second in 0..4 {
            repairs.wrote("s", "x".into(), at(second));
        }
        repairs.leave_alone("s", at(4));
        assert_eq!(repairs.judge("s", "critical", at(10)), Verdict::LeaveAlone(at(63)));
        assert_eq!(repairs.judge("s", "critical", at(63)), Verdict::Write);
        repairs.wrote("s", "critical".into(), at(63));
        assert_eq!(repairs.judge("s", "passing", at(70)), Verdict::LeaveAlone(at(123)));
        assert_eq!(repairs.judge("s", "critical", at(200)), Verdict::LeaveAlone(at(604)), "a repair is no change");
    }
}
