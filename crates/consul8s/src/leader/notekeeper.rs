//! `--leader-elect=false`: this process writes without asking anybody, and the Lease is only its notebook.

use consul8s_core::claim::{Claim, Lease};
use consul8s_core::ports::{ApiError, ErrorKind, LeaseApi};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Keeper;
use super::keeper::RETURN_WITHIN;

impl<L: LeaseApi> Keeper<L> {
    pub(super) async fn only_note(&mut self, retire: &CancellationToken) {
        let mut written = Instant::now();
        let mut halted = self.leadership.shared.halted.subscribe();
        while !retire.is_cancelled() {
            tokio::select! {
                () = retire.cancelled() => break,
                _ = halted.wait_for(|halted| !halted) => {}
            }
            let found = tokio::select! {
                () = retire.cancelled() => break,
                found = self.look(&mut written) => found,
            };
            self.took(found.as_ref().map(Option::as_ref));
            if let Some(claim) = self.may_begin(found.as_ref().err()) {
                self.publish(Some(claim), None);
            }
            tokio::select! {
                () = retire.cancelled() => {}
                () = self.leadership.shared.urgent.notified() => {}
                () = sleep(self.election.timing.retry) => {}
            }
        }
        let last = timeout(RETURN_WITHIN, self.note_what_is_left()).await;
        self.step_down();
        if !matches!(last, Ok(Ok(()))) {
            tracing::warn!("could not note on the Lease what was to be remembered");
        }
    }

    /// Reads the Lease, makes it where there is none, and writes what is to be noted: at once where somebody waits for it, otherwise as
    /// seldom as another could take over.
    async fn look(&mut self, written: &mut Instant) -> Result<Option<Lease>, ApiError> {
        let found = self.api.read().await?;
        let due = {
            let notes = self.leadership.notes();
            notes.is_urgent() || (!notes.is_empty() && written.elapsed() >= self.election.timing.lease)
        };
        if found.is_some() && !due {
            return Ok(found);
        }
        let result = self.write(found.as_ref(), None).await.map(Some);
        *written = Instant::now();
        result
    }

    /// The marks must be known before anything is written from them; but whoever may not read them has chosen to go without.
    fn may_begin(&self, error: Option<&ApiError>) -> Option<Claim> {
        let answered = error.is_none_or(|error| matches!(error.kind, ErrorKind::Forbidden | ErrorKind::NotFound));
        let claim = Claim { holder: self.election.me.clone(), epoch: 0, deadline: None };
        (answered && self.leadership.claim().is_none()).then_some(claim)
    }

    async fn note_what_is_left(&self) -> Result<(), ApiError> {
        if self.leadership.notes().is_empty() || self.leadership.is_halted() {
            return Ok(());
        }
        let found = self.api.read().await?;
        self.write(found.as_ref(), None).await.map(drop)
    }
}
