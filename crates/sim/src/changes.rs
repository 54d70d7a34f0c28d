//! Tells many that something has changed, always in the order in which they began to wait: a run in virtual time must be the same
//! whenever it is run, and tokio's own watch channel wakes in an order of its own choice.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    waiters: Notify,
}

/// Tells.
#[derive(Debug, Default)]
pub(crate) struct Bell(Arc<Shared>);

impl Bell {
    /// Tells all who wait.
    pub(crate) fn ring(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.waiters.notify_waiters();
    }

    /// Hears of everything from now on.
    pub(crate) fn listen(&self) -> Changes {
        Changes { seen: self.0.count.load(Ordering::SeqCst), shared: Arc::clone(&self.0) }
    }
}

/// Hears that something has changed. Many changes at once are heard as one.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changes {
    /// Waits for a change that was not heard of yet; for ever when none comes.
    pub async fn changed(&mut self) {
        let mut told = pin!(self.shared.waiters.notified());
        // In line before the look, so that a change between the two is not missed.
        told.as_mut().enable();
        if self.shared.count.load(Ordering::SeqCst) == self.seen {
            told.await;
        }
        self.seen = self.shared.count.load(Ordering::SeqCst);
    }

    /// All that has changed until now counts as heard of.
    pub fn mark_seen(&mut self) {
        self.seen = self.shared.count.load(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn each_change_is_heard_once_and_none_is_missed() {
        let bell = Bell::default();
        let mut changes = bell.listen();
        assert!(changes.changed().now_or_never().is_none(), "nothing has changed");
        bell.ring();
        bell.ring();
        assert!(changes.changed().now_or_never().is_some(), "it changed before anybody waited");
        assert!(changes.changed().now_or_never().is_none(), "once");
        bell.ring();
        changes.mark_seen();
        assert!(changes.changed().now_or_never().is_none(), "it was seen");
    }
}
