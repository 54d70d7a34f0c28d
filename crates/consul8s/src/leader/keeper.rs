//! The task that wins the Lease and renews it, as [`Elector`] says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::claim::{Claim, Elector, Lease, LeaseWrite, Notebook, Notes, Step, Term, Timing};
use consul8s_core::ports::{ApiError, ErrorKind, LeaseApi};
use tokio_util::sync::CancellationToken;

use super::Leadership;
use crate::clock::{BootClock, Clock};
use crate::dice::Dice;
use crate::metrics::Metrics;

/// To give the Lease back on the way out. With the 3 s that writes in flight have it stays below the 5 s that the contract gives.
pub(super) const RETURN_WITHIN: Duration = Duration::from_millis(1500);

/// How it is decided who leads.
#[derive(Clone, Debug)]
pub struct Election {
    /// Our name on the Lease: nobody else's, not even that of an earlier process in the same pod.
    pub me: String,
    /// `NAMESPACE/NAME` of the Lease, for texts.
    pub lease: String,
    /// `--leader-elect`; without it nobody is asked, and the Lease is only a notebook.
    pub elect: bool,
    /// Times.
    pub timing: Timing,
    /// What claims are measured by.
    pub boot: BootClock,
    /// What people see on the Lease.
    pub clock: Clock,
}

/// Keeps the claim, and the notebook.
pub struct Keeper<L> {
    pub(super) api: L,
    pub(super) election: Election,
    pub(super) leadership: Leadership,
    metrics: Arc<Metrics>,
    dice: Dice,
    /// Why the Lease cannot be used, as it was told.
    trouble: Option<String>,
    /// Who holds it, as it was told.
    other: Option<String>,
}

impl<L: LeaseApi> Keeper<L> {
    /// A keeper, to be run as a task of its own, and what it keeps.
    pub fn new(api: L, election: Election, metrics: Arc<Metrics>) -> (Leadership, Keeper<L>) {
        let leadership = Leadership::new(election.boot);
        (
            leadership.clone(),
            Keeper { api, election, leadership, metrics, dice: Dice::default(), trouble: None, other: None },
        )
    }

    /// The same, with jitter from these dice.
    #[must_use]
    pub fn drawing(mut self, dice: Dice) -> Keeper<L> {
        self.dice = dice;
        self
    }

    /// Runs until `retire`; then there is no claim any more, and the Lease is given back.
    pub async fn run(mut self, retire: CancellationToken) {
        if self.election.elect { self.elect(&retire).await } else { self.only_note(&retire).await }
    }

    async fn elect(&mut self, retire: &CancellationToken) {
        let mut elector = Elector::new(self.election.me.clone(), self.election.timing);
        let mut cut = false;
        let mut halted = self.leadership.shared.halted.subscribe();
        while !retire.is_cancelled() {
            if *halted.borrow_and_update() {
                *self.leadership.hindrance() = Some("the API speaks for another cluster".to_owned());
                self.publish(None, elector.other());
                tokio::select! {
                    () = retire.cancelled() => {}
                    // The sender lives in `self`, so this only ever waits.
                    _ = halted.changed() => {}
                }
                continue;
            }
            let now = self.election.boot.now();
            let step = elector.step(now);
            self.leadership.shared.vigil.send_replace(elector.vigil());
            self.publish(elector.claim(now).cloned(), elector.other());
            let calls = !matches!(step, Step::Wait(_));
            let next = async {
                match step {
                    Step::Wait(until) => tokio::time::sleep(until.since(now)).await,
                    step => self.carry_out(&mut elector, &step).await,
                }
            };
            tokio::select! {
                biased;
                () = retire.cancelled() => cut = calls,
                // A call that is under way may end.
                _ = halted.wait_for(|halted| *halted), if !calls => {}
                () = next => {}
            }
        }
        // First no more writes, then nobody has to wait.
        elector.release();
        self.step_down();
        let late = |_| Err(ApiError::new(ErrorKind::Timeout, "no answer in time"));
        match tokio::time::timeout(RETURN_WITHIN, self.give_back(elector.lease(), cut)).await.unwrap_or_else(late) {
            Ok(true) => tracing::info!(lease = %self.election.lease, "gave the Lease back"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "could not give the Lease back; another takes it when it has run out"),
        }
    }

    async fn carry_out(&mut self, elector: &mut Elector, step: &Step) {
        let started = self.election.boot.now();
        let jitter = self.dice.unit();
        let result = match step {
            Step::Wait(_) => return,
            Step::Read => {
                let found = self.api.read().await;
                let now = self.election.boot.now();
                elector.was_read(found.as_ref().cloned(), now, jitter);
                found
            }
            Step::Create(term) => {
                let written = self.write(None, Some(term.clone())).await;
                let now = self.election.boot.now();
                elector.was_written(step, written.as_ref().cloned(), started, now, jitter);
                written.map(Some)
            }
            Step::Replace(term) => {
                let written = self.write(elector.lease(), Some(term.clone())).await;
                let now = self.election.boot.now();
                elector.was_written(step, written.as_ref().cloned(), started, now, jitter);
                written.map(Some)
            }
        };
        self.took(result.as_ref().map(Option::as_ref));
    }

    /// Writes the Lease, with what is to be noted.
    pub(super) async fn write(&self, seen: Option<&Lease>, term: Option<Term>) -> Result<Lease, ApiError> {
        let notes = std::mem::take(&mut *self.leadership.notes());
        let on_it = seen.map(|lease| Notebook::read(&lease.annotations));
        // One that was deleted is made again with all that is known, but for what a person had written there.
        let known = || Notebook { allow_removal: None, ..self.leadership.shared.notebook.borrow().clone() };
        let after = notes.onto(&on_it.clone().unwrap_or_else(known));
        let annotations = after.changes_from(&on_it.unwrap_or_default());
        let write = LeaseWrite { term, now: self.election.clock.now(), annotations };
        let unwritten = Unwritten { leadership: &self.leadership, notes: Some(notes) };
        let written = match seen {
            Some(seen) => self.api.replace(seen, &write).await,
            None => self.api.create(&write).await,
        };
        if written.is_ok() {
            unwritten.are_written();
        }
        written
    }

    /// Takes in what a call told, beside what it means for the election.
    pub(super) fn took(&mut self, result: Result<Option<&Lease>, &ApiError>) {
        match result {
            Ok(lease) => {
                if let Some(lease) = lease {
                    self.read(&lease.annotations);
                }
                if self.trouble.take().is_some() {
                    tracing::info!(lease = %self.election.lease, "the Lease can be used again");
                    self.tell();
                }
            }
            // Somebody was first; nothing is wrong.
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => {
                let mut why = error.to_string();
                if error.kind == ErrorKind::Forbidden {
                    why.push_str("; allow `get`, `create` and `update` of `leases.coordination.k8s.io` there");
                }
                if self.trouble.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                }
                self.trouble = Some(why);
                self.tell();
            }
        }
    }

    fn read(&self, annotations: &BTreeMap<String, String>) {
        let notebook = Notebook::read(annotations);
        self.leadership.shared.notebook.send_if_modified(|known| {
            let news = *known != notebook;
            *known = notebook;
            news
        });
    }

    /// Says what stands in the way of a claim.
    fn tell(&self) {
        let held = || self.other.as_ref().map(|other| format!("{other} holds the Lease {}", self.election.lease));
        *self.leadership.hindrance() = self.trouble.clone().or_else(held);
    }

    /// Tells everybody who leads now.
    pub(super) fn publish(&mut self, claim: Option<Claim>, other: Option<&str>) {
        if self.other.as_deref() != other {
            self.other = other.map(str::to_owned);
            self.tell();
            if let Some(other) = other {
                tracing::info!(lease = %self.election.lease, holder = other, "another leads: stands by, watches and plans");
            }
        }
        let now = self.election.boot.now();
        let before = self.leadership.shared.claim.send_replace(claim.clone());
        let lived = before.as_ref().filter(|before| before.left(now).is_some());
        let goes_on = lived.zip(claim.as_ref()).is_some_and(|(before, after)| before.is_of_the_same_term(after));
        if before.is_some() && !goes_on {
            *self.leadership.notes() = Notes::default();
            self.metrics.leads(false);
            let why =
                self.leadership.hindrance().clone().unwrap_or_else(|| "the claim was not renewed in time".to_owned());
            tracing::warn!(lease = %self.election.lease, "no longer leads, so nothing is written: {why}");
        }
        if let Some(claim) = claim.filter(|_| !goes_on) {
            self.metrics.leads(true);
            self.leadership.shared.gained.once_more();
            let Claim { holder, epoch, deadline: _ } = claim;
            tracing::info!(lease = %self.election.lease, holder, epoch, "leads: writes from now on");
        }
    }

    /// Ends the claim, because we end.
    pub(super) fn step_down(&self) {
        if self.leadership.shared.claim.send_replace(None).is_some() {
            self.metrics.leads(false);
        }
    }

    /// Gives the Lease back if it is ours. A call that was `cut` short may have made it so.
    async fn give_back(&self, seen: Option<&Lease>, cut: bool) -> Result<bool, ApiError> {
        if self.leadership.is_halted() {
            return Ok(false);
        }
        let mut seen = if cut { self.api.read().await? } else { seen.cloned() };
        while let Some(lease) = seen.filter(|lease| lease.holder == self.election.me) {
            match self.write(Some(&lease), Some(Term::given_back(&lease))).await {
                // Somebody annotates it.
                Err(error) if error.kind == ErrorKind::Conflict => seen = self.api.read().await?,
                result => return result.map(|_| true),
            }
        }
        Ok(false)
    }
}

/// Notes that are on their way; back they go unless they arrive.
struct Unwritten<'a> {
    leadership: &'a Leadership,
    notes: Option<Notes>,
}

impl Unwritten<'_> {
    fn are_written(mut self) {
        self.notes = None;
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if let Some(notes) = self.notes.take() {
            let mut later = self.leadership.notes();
            *later = notes.then(std::mem::take(&mut *later));
        }
    }
}
