//! What can write. Only `run` and `-1` make one; a process without it can't write, whatever it plans. And each write takes the claim
//! under which it is made: it is not sent when that is over, and nobody waits for it longer.

use std::future::Future;
use std::sync::Arc;

use consul8s_consul::Batcher;
use consul8s_core::claim::Claim;
use consul8s_core::consul::{TxnOp, TxnOutcome};
use consul8s_core::ports::ApiError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::leader::Leadership;
use crate::teller::Mailbox;

/// Writers of both sides.
pub struct Writers<W> {
    kube: W,
    consul: Batcher,
    leadership: Leadership,
    mailbox: Option<Arc<Mailbox>>,
    /// Held while a node of ours is made: many Services may want the same new node at once, and one of them makes it.
    pub node: Mutex<()>,
}

impl<W> Writers<W> {
    /// Both.
    pub fn new(kube: W, consul: Batcher, leadership: Leadership) -> Writers<W> {
        Writers { kube, consul, leadership, mailbox: None, node: Mutex::new(()) }
    }

    /// With a mailbox for what people are to be told.
    #[must_use]
    pub fn telling(self, mailbox: Arc<Mailbox>) -> Writers<W> {
        Writers { mailbox: Some(mailbox), ..self }
    }

    /// Where to leave what people are to be told.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_deref()
    }

    /// Who may write.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// One write to Kubernetes: `writers.kubernetes(claim, |writer| writer.create_slice(spec))`. The one door to the writer.
    pub async fn kubernetes<'a, T, F>(&'a self, claim: &Claim, write: impl FnOnce(&'a W) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        self.leadership.under(claim, write(&self.kube)).await
    }

    /// One transaction in Consul, all or nothing.
    pub async fn transact(&self, claim: &Claim, ops: Vec<TxnOp>) -> Result<TxnOutcome, ApiError> {
        // It may wait for others that travel with it, hence a deadline beside the fence.
        let deadline = Instant::now() + self.leadership.left(claim).unwrap_or_default();
        self.leadership.under(claim, self.consul.submit_before(ops, deadline)).await
    }
}
