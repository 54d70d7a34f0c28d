//! How long to wait between two attempts of a watch.

use std::time::Duration;

use tokio::time::Instant;

/// First wait: long enough that a refused connection is no busy loop, short enough that an API server's restart costs little.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait of our own choice. There are few watches, so a short one costs the server little, and each second of it is a second that
/// nothing is followed after the server came back.
const CEILING: Duration = Duration::from_secs(4);
/// Longest wait that a server may ask for: nothing is ever retried more than 30 s apart.
const LONGEST: Duration = Duration::from_secs(30);
/// A failure this long after the one before it belongs to another trouble and starts from the shortest wait again.
const CALM: Duration = Duration::from_secs(60);

/// Waits that double, with jitter, and never end.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The wait after a failure at `now`; at least what the server asked for, as far as [`LONGEST`] allows.
    pub(crate) fn after_failure(&mut self, now: Instant, asked: Option<Duration>) -> Duration {
        if self.last.is_some_and(|last| now.duration_since(last) > CALM + LONGEST) {
            self.failures = 0;
        }
        self.last = Some(now);
        let ceiling = ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        // Half fixed, half drawn: many watches of many replicas do not come back at the same moment, and none comes back at once.
        let drawn = ceiling.mul_f64(rand::random_range(0.5..=1.0));
        drawn.max(asked.unwrap_or_default()).min(LONGEST)
    }

    /// Something arrived: the next failure starts from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

fn ceiling(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(CEILING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling_and_never_ends() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        for failures in 0..200 {
            let wait = backoff.after_failure(now, None);
            assert!(wait <= ceiling(failures) && wait >= ceiling(failures) / 2, "{failures}: {wait:?}");
        }
        assert_eq!(ceiling(4), CEILING);
    }

    #[test]
    fn news_and_calm_start_from_the_shortest_wait() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        for _ in 0..10 {
            backoff.after_failure(now, None);
        }
        backoff.reset();
        assert!(backoff.after_failure(now, None) <= FIRST);
        for _ in 0..10 {
            backoff.after_failure(now, None);
        }
        assert!(backoff.after_failure(now + CALM + LONGEST + FIRST, None) <= FIRST);
    }

    #[test]
    fn follows_the_server_within_the_limit() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.after_failure(now, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.after_failure(now, Some(Duration::from_secs(700))), LONGEST);
    }
}
