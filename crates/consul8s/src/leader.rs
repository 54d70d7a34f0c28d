//! Who may write: every replica watches and plans, and only the holder of a live claim writes.
//!
//! The [`Keeper`] is the task that wins and renews the claim and keeps the notebook; [`Leadership`] is what everybody else holds of
//! it. What an election is, is [`consul8s_core::claim`]'s business.

mod fence;
mod gains;
mod keeper;
mod notekeeper;
mod post;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use consul8s_core::claim::{CALL_WITHIN, Claim, Notebook, Notes, Vigil};
use consul8s_core::ports::{ApiError, ErrorKind};
use tokio::sync::{Notify, watch};

use crate::clock::BootClock;
use gains::Gained;

pub use fence::Fenced;
pub use gains::Gains;
pub use keeper::{Election, Keeper};
pub use post::Post;

/// What this process may write, and what the Lease remembers. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    shared: Arc<Shared>,
    clock: BootClock,
}

struct Shared {
    claim: watch::Sender<Option<Claim>>,
    /// How often a claim was gained: counted, because whoever looks late still learns that it was.
    gained: Gained,
    notebook: watch::Sender<Notebook>,
    /// How long another has been waited for.
    vigil: watch::Sender<Option<Vigil>>,
    /// To be written with the next renewal.
    notes: Mutex<Notes>,
    urgent: Notify,
    /// Why there is no claim.
    hindrance: Mutex<Option<String>>,
    /// Nothing may be written, whoever leads: the API speaks for another cluster.
    halted: watch::Sender<bool>,
}

impl Leadership {
    fn new(clock: BootClock) -> Leadership {
        let shared = Shared {
            claim: watch::Sender::new(None),
            gained: Gained::default(),
            notebook: watch::Sender::new(Notebook::default()),
            vigil: watch::Sender::new(None),
            notes: Mutex::default(),
            urgent: Notify::new(),
            hindrance: Mutex::default(),
            halted: watch::Sender::new(false),
        };
        Leadership { shared: Arc::new(shared), clock }
    }

    /// The claim, while it lives.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        // The time first: a claim that is renewed between the two lines was alive all along.
        let now = self.clock.now();
        self.shared.claim.borrow().clone().filter(|claim| claim.left(now).is_some() && !self.is_halted())
    }

    /// Stops all writes, the Lease's too, or lets them go on.
    pub fn halt(&self, halted: bool) {
        self.shared.halted.send_if_modified(|before| std::mem::replace(before, halted) != halted);
    }

    fn is_halted(&self) -> bool {
        *self.shared.halted.borrow()
    }

    /// How long `claim` may still be used, with its renewals; none when it is over or lost.
    #[must_use]
    pub fn left(&self, claim: &Claim) -> Option<Duration> {
        let now = self.clock.now();
        let current = self.shared.claim.borrow();
        let current = current.as_ref().filter(|current| current.is_of_the_same_term(claim) && !self.is_halted());
        current?.left(now)
    }

    /// Follows the claim: none while another has it, or nobody.
    #[must_use]
    pub fn claims(&self) -> watch::Receiver<Option<Claim>> {
        self.shared.claim.subscribe()
    }

    /// Counts the claims gained. What was not written for want of a claim is to be looked at again whenever this rises.
    #[must_use]
    pub fn gains(&self) -> Gains {
        self.shared.gained.follow()
    }

    /// Follows what the Lease remembers. It is read before a claim is gained.
    #[must_use]
    pub fn notebook(&self) -> watch::Receiver<Notebook> {
        self.shared.notebook.subscribe()
    }

    /// Whether `consul8s/allow-removal` stands on the Lease: it is taken away when it was followed for all Services.
    #[must_use]
    pub fn is_to_release(&self) -> bool {
        self.shared.notebook.borrow().allow_removal.is_some()
    }

    /// Has something noted on the Lease, with its next renewal. Nothing without a claim: the leader notes for all.
    pub fn note(&self, note: impl FnOnce(&mut Notes)) {
        if self.claim().is_none() {
            return;
        }
        let mut notes = self.notes();
        note(&mut notes);
        if notes.is_urgent() {
            self.shared.urgent.notify_one();
        }
    }

    /// Waits for a claim, but not longer than `limit`; then says what stood in the way.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn wait(&self, limit: Duration) -> Result<Claim, String> {
        tokio::time::timeout(limit, self.gained()).await.map_err(|_| self.what_stood_in_the_way())
    }

    /// Waits for a claim. Whoever holds the Lease is waited for at most `limit`, from the moment it was first seen: where it has stood
    /// unrenewed until then, it is taken, and where not, that is what stood in the way.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn wait_for_the_lease(&self, limit: Duration) -> Result<Claim, String> {
        let mut gained = pin!(self.gained());
        let mut vigils = self.shared.vigil.subscribe();
        let seen = tokio::time::timeout(limit, async {
            tokio::select! {
                biased;
                claim = &mut gained => Some(claim),
                // The sender lives in `self`, so this only ever waits.
                _ = vigils.wait_for(Option::is_some) => None,
            }
        });
        if let Some(claim) = seen.await.map_err(|_| self.what_stood_in_the_way())? {
            return Ok(claim);
        }
        let vigil = || *self.shared.vigil.borrow();
        let end = vigil().map_or_else(|| self.clock.now(), |vigil| vigil.began).after(limit);
        if let Ok(claim) = tokio::time::timeout(end.since(self.clock.now()), &mut gained).await {
            return Ok(claim);
        }
        if vigil().is_some_and(|vigil| vigil.free_at > end) {
            return Err(self.what_stood_in_the_way());
        }
        // It may be taken from now on, which is one call.
        tokio::time::timeout(CALL_WITHIN, gained).await.map_err(|_| self.what_stood_in_the_way())
    }

    async fn gained(&self) -> Claim {
        let mut claims = self.claims();
        loop {
            if let Some(claim) = self.claim() {
                return claim;
            }
            if claims.changed().await.is_err() {
                // Never: the sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn what_stood_in_the_way(&self) -> String {
        self.hindrance().clone().unwrap_or_else(|| "the Lease could not be read in time".to_owned())
    }

    /// Carries out a write under a claim: not a step of it is done when the claim is over, and nobody waits for it longer.
    ///
    /// # Errors
    /// The write's own; [`ErrorKind::NotLeading`] when the claim was over before it began; [`ErrorKind::Timeout`] when it ended before
    /// the answer was there.
    pub async fn under<T>(
        &self,
        claim: &Claim,
        write: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let Some(left) = self.left(claim) else { return Err(not_leading()) };
        let mut write = pin!(write);
        // tokio's clock stands still while the machine sleeps, and after a pause a write would get its turn before its time-out; so the
        // claim is looked at before every step.
        let fenced = poll_fn(|context| match self.left(claim) {
            Some(_) => write.as_mut().poll(context),
            None => Poll::Ready(Err(cut_short())),
        });
        tokio::time::timeout(left, fenced).await.unwrap_or_else(|_| Err(cut_short()))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.shared.notes)
    }

    fn hindrance(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.shared.hindrance)
    }
}

fn not_leading() -> ApiError {
    ApiError::new(ErrorKind::NotLeading, "not written: the claim to write is over")
}

fn cut_short() -> ApiError {
    ApiError::new(ErrorKind::Timeout, "the claim to write ended before there was an answer")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values go in and out, so what a panic leaves behind is one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
