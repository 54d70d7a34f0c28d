//! How often something may be done: so many times at once, then once in a while.

use std::time::Duration;

use crate::time::UnixMillis;

/// A token bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    burst: u32,
    every: Duration,
    /// When the bucket is full again.
    full: UnixMillis,
}

impl Pace {
    /// A full bucket of `burst` tokens, one of which comes back in each `every`.
    pub(super) const fn new(burst: u32, every: Duration) -> Pace {
        Pace { burst, every, full: UnixMillis(0) }
    }

    /// When there is a token beside those that are kept in reserve; now, if there is one.
    pub(super) fn free_at(&self, now: UnixMillis, reserve: u32) -> UnixMillis {
        let spare = self.every * self.burst.saturating_sub(1 + reserve);
        let spare = u64::try_from(spare.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.full.0.saturating_sub(spare)).max(now)
    }

    /// Takes one, whether or not there is one.
    pub(super) fn spend(&mut self, now: UnixMillis) {
        self.full = self.full.max(now).after(self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let mut pace = Pace::new(3, Duration::from_secs(10));
        let mut now = UnixMillis(1_000_000);
        let mut times = Vec::new();
        for _ in 0..6 {
            now = pace.free_at(now, 0);
            pace.spend(now);
            times.push(now.0 - 1_000_000);
        }
        assert_eq!(times, [0, 0, 0, 10_000, 20_000, 30_000]);
        // After a long rest the burst is back, and no more than that.
        now = now.after(Duration::from_secs(3600));
        assert_eq!(pace.free_at(now, 2), now);
        pace.spend(now);
        assert_eq!((pace.free_at(now, 1), pace.free_at(now, 2)), (now, now.after(Duration::from_secs(10))));
        pace.spend(now);
        pace.spend(now);
        assert_eq!(pace.free_at(now, 0), now.after(Duration::from_secs(10)));
    }
}
