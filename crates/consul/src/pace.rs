//! How fast a watch may ask. A change is asked for at once; what turns in circles is slowed down.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

/// Changes: a handful at once, then 20 a second. More often nobody could follow, and each costs Consul the whole list.
const CHANGE_BURST: u32 = 4;
const CHANGE_EVERY: Duration = Duration::from_millis(50);
/// Answers that bring nothing new: two at once (a check's output, a neighbour's change), then one a second. A server that answers at once
/// whatever the index is bounded by this.
const IDLE_BURST: u32 = 2;
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// The second attempt comes within this time: most failures are over at once.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// From then on no more than one attempt a second (contract), and up to half as long again each time. Slower than doubling, so that
/// after an election of 10 s nobody sleeps for another 10.
const LEAST_BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_GROWTH: f64 = 1.5;
/// Never longer apart than this (contract).
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Says how long to rest before the next question.
#[derive(Debug)]
pub(crate) struct Pace {
    changes: Bucket,
    idle: Bucket,
    failures: u32,
    random: SmallRng,
}

impl Pace {
    /// Equal seeds make equal choices.
    pub(crate) fn new(seed: u64) -> Pace {
        Pace {
            changes: Bucket::new(CHANGE_BURST, CHANGE_EVERY),
            idle: Bucket::new(IDLE_BURST, IDLE_EVERY),
            failures: 0,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// After an answer with something new in it.
    pub(crate) fn after_change(&mut self, now: Instant) -> Duration {
        self.failures = 0;
        self.changes.take(now)
    }

    /// After an answer with nothing new in it.
    pub(crate) fn after_nothing(&mut self, now: Instant) -> Duration {
        self.failures = 0;
        self.idle.take(now)
    }

    /// After a failure: anything up to a bound that grows (those who failed together must not come back together), but no sooner than
    /// the server wishes.
    pub(crate) fn after_failure(&mut self, wish: Option<Duration>) -> Duration {
        let growth = BACKOFF_GROWTH.powi(i32::try_from(self.failures).unwrap_or(i32::MAX));
        let bound = LEAST_BACKOFF.mul_f64(growth.min(LONGEST_BACKOFF.as_secs_f64()));
        let part = self.random.random::<f64>();
        let chosen = match self.failures {
            0 => FIRST_BACKOFF.mul_f64(part),
            _ => LEAST_BACKOFF + (bound - LEAST_BACKOFF).mul_f64(part),
        };
        self.failures = self.failures.saturating_add(1);
        let wish = wish.unwrap_or_default();
        // Also those who were given the same wish.
        let spread = wish.mul_f64(self.random.random::<f64>() / 10.0);
        chosen.max(wish.saturating_add(spread)).min(LONGEST_BACKOFF)
    }
}

/// A token bucket that may go into debt: it says how long to wait instead of refusing.
#[derive(Debug)]
struct Bucket {
    burst: u32,
    every: Duration,
    /// When it will be full again.
    full_at: Option<Instant>,
}

impl Bucket {
    fn new(burst: u32, every: Duration) -> Bucket {
        Bucket { burst, every, full_at: None }
    }

    fn take(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.unwrap_or(now).max(now) + self.every;
        self.full_at = Some(full_at);
        full_at.saturating_duration_since(now).saturating_sub(self.every * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut pace = Pace::new(1);
        let mut now = Instant::now();
        for _ in 0..CHANGE_BURST {
            assert_eq!(pace.after_change(now), Duration::ZERO);
        }
        let began = now;
        for _ in 0..20 {
            now += pace.after_change(now);
        }
        assert_eq!(now - began, Duration::from_secs(1));
        now += Duration::from_secs(1);
        assert_eq!(pace.after_change(now), Duration::ZERO);
    }

    #[test]
    fn nothing_new_is_asked_for_once_a_second() {
        let mut pace = Pace::new(1);
        let began = Instant::now();
        let mut now = began;
        for _ in 0..IDLE_BURST + 10 {
            now += pace.after_nothing(now);
        }
        assert_eq!(now - began, Duration::from_secs(10));
        // A change in between is still told at once.
        assert_eq!(pace.after_change(now), Duration::ZERO);
    }

    #[test]
    fn backoff_grows_to_its_limit_with_jitter() {
        let mut pace = Pace::new(7);
        let rests: Vec<Duration> = (0..40).map(|_| pace.after_failure(None)).collect();
        assert!(rests[0] < FIRST_BACKOFF);
        assert!(rests.iter().all(|rest| *rest <= LONGEST_BACKOFF));
        let late: Duration = rests[20..].iter().sum::<Duration>() / 20;
        assert!(late > Duration::from_secs(8) && late < Duration::from_secs(22), "{late:?}");
        // After the second attempt at most one a second, whatever the jitter.
        assert!(rests[1..].iter().all(|rest| *rest >= LEAST_BACKOFF), "{rests:?}");
        pace.after_change(Instant::now());
        assert!(pace.after_failure(None) < FIRST_BACKOFF);
        assert!(Pace::new(1).after_failure(None) != Pace::new(2).after_failure(None));
    }

    #[test]
    fn the_servers_wish_is_honoured_up_to_the_limit() {
        let mut pace = Pace::new(1);
        let rest = pace.after_failure(Some(Duration::from_secs(7)));
        assert!(rest >= Duration::from_secs(7) && rest < Duration::from_secs(8), "{rest:?}");
        assert_eq!(pace.after_failure(Some(Duration::from_secs(3600))), LONGEST_BACKOFF);
    }
}
