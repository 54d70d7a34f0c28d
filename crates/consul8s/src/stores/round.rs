//! A round: one look at each of these Services that began after it, with its writes accepted.

use std::collections::BTreeSet;
use std::time::Duration;

use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;

/// How far a round is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    begun: UnixMillis,
    left: BTreeSet<ObjectKey>,
}

impl Round {
    /// One that begins now.
    #[must_use]
    pub fn begin(services: BTreeSet<ObjectKey>, now: UnixMillis) -> Round {
        Round { begun: now, left: services }
    }

    /// A look that began at `begun` has ended, and all that it wanted to write is written.
    pub fn looked(&mut self, service: &ObjectKey, begun: UnixMillis) {
        if begun >= self.begun {
            self.left.remove(service);
        }
    }

    /// How long it has been going on.
    #[must_use]
    pub fn age(&self, now: UnixMillis) -> Duration {
        now.since(self.begun)
    }

    /// Whether all have been looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}
