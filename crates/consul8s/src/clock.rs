//! The one clock of the program. It runs on monotonic time from the moment it was made, so that a wall clock that is set does not
//! end or stretch a hold, and it follows the paused time of tests.

use std::time::{SystemTime, UNIX_EPOCH};

use consul8s_core::time::UnixMillis;
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
