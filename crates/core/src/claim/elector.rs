//! The state machine of one who wants the Lease. It is told the time and what became of its calls, and says what to do next.

use std::time::Duration;

use crate::ports::{ApiError, ErrorKind};
use crate::time::BootTime;

use super::{Claim, Lease, Term, Timing};

/// Waits are drawn from one to this many times their length, so that many replicas do not come at the same moment.
const JITTER: f64 = 1.2;
/// Longest pause of one who waits while its calls fail; the first ones are shorter. Nobody leads meanwhile, so it stays short.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// As long as a server may ask one who waits to stay away.
const LONGEST_WISH: Duration = Duration::from_secs(30);
/// Pause after the second conflict in a row and each further one: somebody else writes to this Lease all the time.
const CONTENDED: Duration = Duration::from_millis(100);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(BootTime),
    /// Read the Lease.
    Read,
    /// Create it.
    Create(Term),
    /// Replace it as [`Elector::lease`] shows it.
    Replace(Term),
}

/// The wait for one who holds the Lease, by our own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vigil {
    /// When the Lease was first seen.
    pub began: BootTime,
    /// From when it may be taken, unless it is renewed meanwhile; long past when nobody holds it.
    pub free_at: BootTime,
}

/// One who wants the Lease.
#[derive(Clone, Debug)]
pub struct Elector {
    me: String,
    timing: Timing,
    known: Known,
    /// The Lease as last seen, also when it is gone now.
    last: Option<Lease>,
    /// Until when it may still be somebody else's: from the moment the record was seen to change, by our own clock.
    taken_until: BootTime,
    /// When it was first looked at with success.
    looked: Option<BootTime>,
    claim: Option<Claim>,
    due: BootTime,
    failures: u32,
    conflicts: u32,
}

/// Whether [`Elector::last`] is still worth anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Not read yet, or it has changed since.
    Nothing,
    /// There is none.
    Missing,
    /// As far as is known it stands.
    Stands,
}

impl Elector {
    /// One that has seen nothing yet. `me` must be nobody else's name, not even that of an earlier process in the same pod.
    #[must_use]
    pub fn new(me: impl Into<String>, timing: Timing) -> Elector {
        Elector {
            me: me.into(),
            timing,
            known: Known::Nothing,
            last: None,
            taken_until: BootTime::default(),
            looked: None,
            claim: None,
            due: BootTime::default(),
            failures: 0,
            conflicts: 0,
        }
    }

    /// The claim, while it lives.
    #[must_use]
    pub fn claim(&self, now: BootTime) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| claim.left(now).is_some())
    }

    /// The Lease as last seen; none when there is none.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.last.as_ref().filter(|_| self.known != Known::Missing)
    }

    /// Somebody else who holds the Lease, as far as is known.
    #[must_use]
    pub fn other(&self) -> Option<&str> {
        let holder = self.lease().map(|lease| lease.holder.as_str())?;
        (!holder.is_empty() && holder != self.me).then_some(holder)
    }

    /// How long whoever holds it has been waited for, and may have to be; none before it was first seen.
    #[must_use]
    pub fn vigil(&self) -> Option<Vigil> {
        self.looked.map(|began| Vigil { began, free_at: self.taken_until })
    }

    /// What to do now.
    pub fn step(&mut self, now: BootTime) -> Step {
        if self.claim(now).is_none() {
            self.claim = None;
        }
        if now < self.due {
            let deadline = self.claim.as_ref().and_then(|claim| claim.deadline);
            return Step::Wait(deadline.map_or(self.due, |deadline| deadline.min(self.due)));
        }
        match self.known {
            Known::Missing if self.is_free(now) => Step::Create(self.term()),
            Known::Stands if self.is_free(now) => Step::Replace(self.term()),
            Known::Nothing | Known::Missing | Known::Stands => Step::Read,
        }
    }

    /// Whether nobody else can have it any more.
    fn is_free(&self, now: BootTime) -> bool {
        now >= self.taken_until
    }

    fn term(&self) -> Term {
        let (holder, duration) = (self.me.clone(), self.timing.lease);
        match &self.last {
            None => Term { holder, duration, transitions: 0, begins: true },
            Some(last) if last.holder == self.me => {
                Term { holder, duration, transitions: last.transitions, begins: self.known == Known::Missing }
            }
            Some(last) => Term { holder, duration, transitions: last.transitions.saturating_add(1), begins: true },
        }
    }

    /// The Lease was read, or the read failed. `jitter` is drawn from 0 to 1.
    pub fn was_read(&mut self, found: Result<Option<Lease>, &ApiError>, now: BootTime, jitter: f64) {
        match found {
            Ok(found) => {
                self.looked.get_or_insert(now);
                self.see(found, now);
                self.failures = 0;
                let look = self.drawn(self.timing.look, jitter);
                self.due = if self.is_free(now) { now } else { now.after(look).min(self.taken_until) };
            }
            Err(error) => self.failed(error, now, jitter),
        }
    }

    /// A [`Step::Create`] or [`Step::Replace`] that was begun at `started` has ended at `now`.
    pub fn was_written(
        &mut self,
        step: &Step,
        written: Result<Lease, &ApiError>,
        started: BootTime,
        now: BootTime,
        jitter: f64,
    ) {
        match written {
            Ok(lease) => {
                self.see(Some(lease), now);
                (self.failures, self.conflicts) = (0, 0);
                self.due = started.after(self.timing.retry);
                if let Some(mine) = self.last.as_ref().filter(|last| last.holder == self.me) {
                    let deadline = Some(started.after(self.timing.renew_deadline));
                    self.claim = Some(Claim { holder: self.me.clone(), epoch: mine.transitions, deadline });
                }
            }
            Err(error) if error.kind == ErrorKind::Conflict => {
                // Somebody was first, or an earlier write of ours has arrived after all.
                self.known = Known::Nothing;
                self.conflicts = self.conflicts.saturating_add(1);
                self.due = if self.conflicts > 1 { now.after(self.drawn(CONTENDED, jitter)) } else { now };
            }
            Err(error) if error.kind == ErrorKind::NotFound && matches!(step, Step::Replace(_)) => {
                self.see(None, now);
                self.due = now;
            }
            Err(error) => self.failed(error, now, jitter),
        }
    }

    /// Gives the Lease back: the claim is over at once, and what is returned is to be written if it is still ours.
    pub fn release(&mut self) -> Option<Term> {
        self.claim = None;
        self.lease().filter(|lease| lease.holder == self.me).map(Term::given_back)
    }

    /// Takes in how the Lease stands.
    fn see(&mut self, found: Option<Lease>, now: BootTime) {
        let Some(lease) = found else {
            // Who held it when it was deleted goes on until it notices; that time is waited out, too.
            self.known = Known::Missing;
            return;
        };
        self.known = Known::Stands;
        if lease.holder == self.me || lease.holder.is_empty() {
            self.taken_until = BootTime::default();
        } else {
            self.claim = None;
            if !self.last.as_ref().is_some_and(|last| lease.is_untouched_since(last)) {
                self.taken_until = now.after(lease.duration.max(self.timing.lease));
            }
        }
        self.last = Some(lease);
    }

    fn failed(&mut self, error: &ApiError, now: BootTime, jitter: f64) {
        let wish = error.retry_after.unwrap_or_default();
        let pause = if self.claim(now).is_some() {
            // Whoever stays away for longer loses it.
            self.drawn(self.timing.look, jitter).max(wish.min(self.timing.retry))
        } else {
            let doubled = self.timing.look.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
            self.drawn(doubled, jitter).max(wish.min(LONGEST_WISH))
        };
        self.failures = self.failures.saturating_add(1);
        self.due = now.after(pause);
    }

    fn drawn(&self, wait: Duration, jitter: f64) -> Duration {
        wait.mul_f64(1.0 + (JITTER - 1.0) * jitter.clamp(0.0, 1.0))
    }
}
