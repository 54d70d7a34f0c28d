//! How often a claim was gained, for those who have to look again then. They are told in the order in which they began to wait, which
//! tokio's watch channel does not promise, so that a run can be played again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    waiters: Notify,
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Gained(Arc<Shared>);

impl Gained {
    /// A claim was gained.
    pub(super) fn once_more(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.waiters.notify_waiters();
    }

    /// Hears of those that are gained from now on.
    pub(super) fn follow(&self) -> Gains {
        Gains { shared: Arc::clone(&self.0), seen: self.0.count.load(Ordering::SeqCst) }
    }
}

/// Hears that a claim was gained.
#[derive(Debug)]
pub struct Gains {
    shared: Arc<Shared>,
    seen: u64,
}

impl Gains {
    /// How many were gained so far; those count as heard of.
    pub fn count(&mut self) -> u64 {
        self.seen = self.shared.count.load(Ordering::SeqCst);
        self.seen
    }

    /// Whether one was gained that was not heard of yet; it counts as heard of.
    pub fn has_changed(&mut self) -> bool {
        let before = self.seen;
        before != self.count()
    }

    /// Waits for one that was not heard of yet; for ever when none is gained.
    pub async fn changed(&mut self) {
        let mut told = pin!(self.shared.waiters.notified());
        // In line before the look, so that none between the two is missed.
        told.as_mut().enable();
        if self.shared.count.load(Ordering::SeqCst) == self.seen {
            told.await;
        }
        self.seen = self.shared.count.load(Ordering::SeqCst);
    }
}
