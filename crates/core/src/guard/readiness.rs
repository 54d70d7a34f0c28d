//! Whether an endpoint is ready, and whether it was ten minutes ago.

use crate::time::UnixMillis;

/// Flips remembered at most. An endpoint that flaps faster loses its oldest gaps: it then counts as ready throughout them, so that it
/// can't make up for another one that left.
const MAX_FLIPS: usize = 16;

/// Whether an endpoint is ready, with the flips of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    ready: bool,
    flips: Vec<UnixMillis>,
}

impl Readiness {
    /// As it is since long ago.
    #[must_use]
    pub(super) fn since_long(ready: bool) -> Readiness {
        Readiness { ready, flips: Vec::new() }
    }

    /// What it is from now on. `forget` is the time before which nobody will ask.
    pub(super) fn set(&mut self, now: UnixMillis, ready: bool, forget: UnixMillis) {
        self.flips.retain(|at| *at > forget);
        if self.ready == ready {
            return;
        }
        self.ready = ready;
        self.flips.push(now);
        if self.flips.len() > MAX_FLIPS {
            // The first flip that ended readiness goes with the one that brought it back: parity, and so the present, stays.
            let ended = usize::from(!self.at_start());
            self.flips.drain(ended..ended + 2);
        }
    }

    /// What it was at `time`, which is not before what was forgotten.
    #[must_use]
    pub(super) fn at(&self, time: UnixMillis) -> bool {
        let later = self.flips.iter().filter(|at| **at > time).count();
        self.ready == later.is_multiple_of(2)
    }

    fn at_start(&self) -> bool {
        self.ready == self.flips.len().is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: UnixMillis = UnixMillis(0);

    #[test]
    fn remembers_what_was() {
        let mut readiness = Readiness::since_long(true);
        readiness.set(UnixMillis(100), false, LONG_AGO);
        readiness.set(UnixMillis(200), true, LONG_AGO);
        readiness.set(UnixMillis(300), true, LONG_AGO);
        let at = |time| readiness.at(UnixMillis(time));
        assert_eq!([at(99), at(100), at(199), at(200), at(999)], [true, false, false, true, true]);
    }

    #[test]
    fn forgets_what_nobody_asks_for() {
        let mut readiness = Readiness::default();
        readiness.set(UnixMillis(100), true, LONG_AGO);
        readiness.set(UnixMillis(900), true, UnixMillis(500));
        assert!(readiness.flips.is_empty() && readiness.at(UnixMillis(500)));
    }

    #[test]
    fn flapping_is_bounded_and_never_looks_like_a_newcomer() {
        for start in [true, false] {
            let mut readiness = Readiness::since_long(start);
            for time in 1..=1001 {
                readiness.set(UnixMillis(time), (time % 2 == 0) == start, LONG_AGO);
            }
            assert!(readiness.flips.len() <= MAX_FLIPS);
            assert_eq!(readiness.ready, !start);
            assert_eq!(readiness.at(LONG_AGO), start);
            assert!(readiness.at(UnixMillis(500)), "counts as ready in the gaps that were dropped");
        }
    }
}
