//! Who may write: leader election over one Lease, with the rules of Kubernetes' own client library.
//!
//! - A renewal is a PUT with the resourceVersion last seen: of two that want the Lease one gets it, and the other a conflict.
//! - Nobody's clock is believed but one's own: whoever waits begins to count when *it* sees the record change, and takes the Lease
//!   only when the record has stood unchanged for a whole lease duration.
//! - Whoever holds it counts from the *start* of its last successful renewal, and stops by itself at the renew deadline, a third of
//!   a lease duration before anybody else may begin.
//!
//! So no two claims live at one moment, as long as no two clocks differ in their rate by half. [`Elector`] is the machine, a value that
//! is told the time; [`Claim`] is what it gives; [`Notebook`] is what the Lease remembers beside its holder.

mod elector;
mod lease;
mod notebook;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::time::BootTime;

pub use elector::{Elector, Step, Vigil};
pub use lease::{Lease, LeaseWrite, Term};
pub use notebook::{HeldNote, Notebook, Notes};

/// The right to write, until its deadline.
///
/// Renewed, it is the same claim with a later deadline; a claim of another epoch or holder is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it.
    pub holder: String,
    /// `leaseTransitions` of the Lease under this holder: it rises each time the Lease changes hands.
    pub epoch: u64,
    /// When it ends unless it is renewed; none where nobody was to be elected.
    pub deadline: Option<BootTime>,
}

impl Claim {
    /// Time that is left; none when it is over. Without a deadline it is longer than any write may take.
    #[must_use]
    pub fn left(&self, now: BootTime) -> Option<Duration> {
        let Some(deadline) = self.deadline else { return Some(WITHOUT_DEADLINE) };
        let left = deadline.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether this is the same claim, however often one of the two was renewed.
    #[must_use]
    pub fn is_of_the_same_term(&self, other: &Claim) -> bool {
        (&self.holder, self.epoch) == (&other.holder, other.epoch)
    }
}

/// What [`Claim::left`] says of a claim without deadline. Each write has a limit of its own, far below this.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(3600);

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a record must stand unchanged before another takes the Lease.
    pub lease: Duration,
    /// How long after the start of its last successful renewal a holder goes on.
    pub renew_deadline: Duration,
    /// From one renewal to the next.
    pub retry: Duration,
    /// How often one who waits looks, and how long a holder pauses after a renewal that failed. Half of `retry`: a Lease that is given
    /// back is found within it.
    pub look: Duration,
}

impl Default for Timing {
    /// Kubernetes' own, which are the contract's.
    fn default() -> Timing {
        Timing {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            look: Duration::from_secs(1),
        }
    }
}

/// For a whole call about the Lease. Of the 10 s until the renew deadline it leaves room for two more attempts.
pub const CALL_WITHIN: Duration = Duration::from_secs(2);
