//! The clocks of the program.
//!
//! [`Clock`] is the one for everything but claims. It runs on monotonic time from the moment it was made, so that a wall clock that is set does not
//! end or stretch a hold, and it follows the paused time of tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consul8s_core::time::{BootTime, UnixMillis};
use tokio::time::Instant;

/// A clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    epoch: UnixMillis,
}

impl Clock {
    /// A clock that agrees with the wall clock now.
    #[must_use]
    pub fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), epoch: UnixMillis::default().after(since_epoch) }
    }

    /// A clock by which it is `time` now.
    #[must_use]
    pub fn showing(time: UnixMillis) -> Clock {
        Clock { started: Instant::now(), epoch: time }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.epoch.after(self.started.elapsed())
    }

    /// `moment` as tokio counts time; now, when it has passed.
    #[must_use]
    pub fn instant(&self, moment: UnixMillis) -> Instant {
        Instant::now() + moment.since(self.now())
    }
}

/// The clock that claims are measured by. It goes on while the machine sleeps, which tokio's and [`Clock`] do not: a laptop that is
/// opened again must not write on a claim that others have taken meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum BootClock {
    /// The machine's.
    Machine,
    /// tokio's since then, for paused time.
    Runtime(Instant),
    /// The same on a machine that has slept for so many milliseconds, which tokio's clock knows nothing of: for tests.
    Slept(Instant, &'static AtomicU64),
}

impl BootClock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> BootTime {
        match self {
            BootClock::Machine => BootTime(since_boot()),
            BootClock::Runtime(start) => BootTime(start.elapsed()),
            BootClock::Slept(start, millis) => {
                BootTime(start.elapsed() + Duration::from_millis(millis.load(Ordering::SeqCst)))
            }
        }
    }
}

fn since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Elsewhere the monotonic clock does not stop, or there is no better one.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_machine_s_clock_goes_on_and_the_runtime_s_can_be_paused() {
        let (machine, runtime) = (BootClock::Machine, BootClock::Runtime(Instant::now()));
        let (first, start) = (machine.now(), runtime.now());
        assert!(first.0 > Duration::from_secs(1), "it counts from the start of the machine");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(runtime.now().since(start), Duration::from_secs(3600));
        let second = machine.now();
        assert!(second > first && second.since(first) < Duration::from_secs(60));
    }
}
