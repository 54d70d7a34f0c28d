//! One endpoint that is missing: since when, which consistent reads agreed, and what they prove.

use std::time::Duration;

use crate::evidence::{AbsenceProof, Evidence, NodeProof};
use crate::time::UnixMillis;

use super::hold::Mark;

/// Two reads confirm an absence when they are at least this far apart (guard.md §1) …
pub const APART_LEAST: Duration = Duration::from_secs(2);
/// … and at most this far.
pub const APART_MOST: Duration = Duration::from_secs(10);
/// Reads that end a hold, at least.
pub const READS_TO_END: u32 = 3;

/// An endpoint that stands and is missing from the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    /// Since when.
    pub(super) since: UnixMillis,
    /// Whether it was ready: only then can its loss be held.
    pub(super) was_ready: bool,
    /// What its hold bears; none = not held, so far.
    pub(super) mark: Option<Mark>,
    /// Its node was shown alive without it.
    pub(super) explicit: Option<NodeProof>,
    /// It is in a consistent read without the filter that Consul applies, and not in one with it.
    pub(super) filtered_out: bool,
    /// When its node was last asked.
    pub(super) node_read: Option<UnixMillis>,
    /// When a consistent read last showed it after all.
    pub(super) shown: Option<UnixMillis>,
    /// When a consistent read without the filter last showed it.
    pub(super) shown_unfiltered: Option<UnixMillis>,
    agreed: u32,
    first: UnixMillis,
    last: UnixMillis,
    paired: bool,
}

impl Absence {
    /// It was just noticed.
    #[must_use]
    pub(super) fn begun(since: UnixMillis, was_ready: bool) -> Absence {
        Absence {
            since,
            was_ready,
            mark: None,
            explicit: None,
            filtered_out: false,
            node_read: None,
            shown: None,
            shown_unfiltered: None,
            agreed: 0,
            first: UnixMillis(0),
            last: UnixMillis(0),
            paired: false,
        }
    }

    /// As our slice kept it over a restart. The reads of then count, but one of now must agree with them.
    #[must_use]
    pub(super) fn restored(mark: &Mark, was_ready: bool) -> Absence {
        let (agreed, first) = (mark.reads, mark.first_read);
        Absence {
            agreed,
            first,
            last: first,
            paired: agreed >= 2,
            mark: Some(mark.clone()),
            ..Absence::begun(mark.since, was_ready)
        }
    }

    /// A consistent read agreed.
    pub(super) fn agree(&mut self, at: UnixMillis) {
        if at < self.since || (self.agreed > 0 && at <= self.last) {
            return;
        }
        if self.agreed == 0 {
            self.first = at;
        } else {
            let apart = at.since(self.last);
            self.paired |= apart >= APART_LEAST && apart <= APART_MOST;
        }
        self.agreed += 1;
        self.last = at;
    }

    /// A consistent read showed it: what others said before is void.
    pub(super) fn contradict(&mut self, at: UnixMillis) {
        let mark = self.mark.take();
        *self = Absence { shown: Some(at), mark, node_read: self.node_read, ..Absence::begun(at, self.was_ready) };
    }

    /// The source was not whole: it begins to be missing when it is missing from a whole one.
    pub(super) fn begin_again(&mut self, at: UnixMillis) {
        let mark = self.mark.take();
        *self = Absence { mark, ..Absence::begun(at, self.was_ready) };
    }

    /// How many agreed.
    #[must_use]
    pub(super) fn agreed(&self) -> u32 {
        self.agreed
    }

    /// The first that agreed.
    #[must_use]
    pub(super) fn first_read(&self) -> UnixMillis {
        self.first
    }

    /// Whether it is confirmed, so that only a hold can keep it: one read where it was not ready, otherwise two, 2–10 s apart.
    #[must_use]
    pub(super) fn confirmed(&self) -> Option<Evidence> {
        let enough = if self.was_ready { self.paired } else { self.agreed >= 1 };
        if !enough {
            return None;
        }
        AbsenceProof::counted(self.agreed, self.first, self.last).map(Evidence::ConfirmedAbsent)
    }

    /// Whether at least three reads agreed over this long.
    #[must_use]
    pub(super) fn outlasted(&self, hold: Option<Duration>) -> bool {
        hold.is_some_and(|hold| self.agreed >= READS_TO_END && self.last.since(self.first) >= hold)
    }

    /// When the next consistent read of the service is due, if it is to be confirmed, or to outlast this hold; none when no further
    /// read would change anything.
    #[must_use]
    pub(super) fn next_read(&self, hold: Option<Duration>) -> Option<UnixMillis> {
        if let Some(shown) = self.shown
            && self.agreed == 0
        {
            return Some(shown.after(APART_LEAST));
        }
        if self.agreed == 0 {
            return Some(self.since);
        }
        if self.confirmed().is_none() {
            return Some(self.last.after(APART_LEAST));
        }
        let hold = hold?;
        // One read on the way notices what came back unseen; the last one ends the hold.
        let end = self.first.after(hold);
        let halfway = self.last.after((hold / 2).max(APART_LEAST));
        Some(halfway.min(end).max(self.last.after(APART_LEAST)))
    }

    /// When it may go under this hold, if all further reads agree.
    #[must_use]
    pub(super) fn until(&self, hold: Option<Duration>) -> Option<UnixMillis> {
        let from = if self.agreed == 0 { self.since } else { self.first };
        hold.map(|hold| from.after(hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    fn agreed(was_ready: bool, seconds: &[u64]) -> Absence {
        let mut absence = Absence::begun(UnixMillis(0), was_ready);
        for at in seconds {
            absence.agree(UnixMillis(at * SECOND));
        }
        absence
    }

    #[test]
    fn two_reads_confirm_when_2_to_10_seconds_apart() {
        for (seconds, expected) in [
            (vec![], false),
            (vec![0], false),
            (vec![0, 1], false),
            (vec![0, 2], true),
            (vec![0, 10], true),
            (vec![0, 11], false),
            (vec![0, 11, 12], false),
            (vec![0, 11, 14], true),
        ] {
            assert_eq!(agreed(true, &seconds).confirmed().is_some(), expected, "{seconds:?}");
        }
    }

    #[test]
    fn one_read_confirms_what_was_not_ready() {
        assert!(agreed(false, &[]).confirmed().is_none());
        assert!(agreed(false, &[1]).confirmed().is_some());
    }

    #[test]
    fn a_read_of_before_does_not_count_nor_does_one_twice() {
        let mut absence = Absence::begun(UnixMillis(5 * SECOND), true);
        absence.agree(UnixMillis(4 * SECOND));
        absence.agree(UnixMillis(6 * SECOND));
        absence.agree(UnixMillis(6 * SECOND));
        assert_eq!(absence.agreed(), 1);
    }

    #[test]
    fn a_hold_ends_after_three_reads_over_its_time() {
        let hold = Some(Duration::from_secs(60));
        for (seconds, expected) in
            [(vec![0, 2, 59], false), (vec![0, 2, 60], true), (vec![0, 60], false), (vec![0, 2, 30, 60], true)]
        {
            assert_eq!(agreed(true, &seconds).outlasted(hold), expected, "{seconds:?}");
        }
        assert!(!agreed(true, &[0, 2, 900]).outlasted(None));
    }

    #[test]
    fn a_contradiction_voids_what_was_agreed() {
        let mut absence = agreed(true, &[0, 2]);
        absence.contradict(UnixMillis(3 * SECOND));
        assert!(absence.confirmed().is_none());
        assert_eq!(absence.next_read(None), Some(UnixMillis(5 * SECOND)));
    }

    #[test]
    fn reads_are_asked_for_at_once_after_two_seconds_halfway_and_at_the_end() {
        let hold = Some(Duration::from_secs(60));
        for (seconds, expected) in
            [(vec![], Some(0)), (vec![0], Some(2)), (vec![0, 2], Some(32)), (vec![0, 2, 32], Some(60))]
        {
            assert_eq!(agreed(true, &seconds).next_read(hold), expected.map(|s| UnixMillis(s * SECOND)), "{seconds:?}");
        }
        assert_eq!(agreed(true, &[0, 2]).next_read(None), None);
    }

    #[test]
    fn after_a_restart_one_more_read_must_agree() {
        let id = super::super::hold::HoldId::parse("h-123456").unwrap();
        let kind = super::super::hold::Kind::Service;
        let mark = Mark { id, kind, since: UnixMillis(0), first_read: UnixMillis(0), reads: 2 };
        let mut absence = Absence::restored(&mark, true);
        let hold = Some(Duration::from_secs(60));
        assert!(!absence.outlasted(hold));
        absence.agree(UnixMillis(70 * SECOND));
        assert!(absence.outlasted(hold));
    }
}
