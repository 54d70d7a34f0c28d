//! The last gate before Consul. Changes of many Services travel in one transaction, which leaves some time after they were submitted.

use consul8s_core::consul::{TxnOp, TxnOutcome};
use consul8s_core::ports::{ApiError, ConsulWriter};

use super::{Leadership, not_leading};

/// A writer that sends nothing without a live claim.
pub struct Fenced<W> {
    writer: W,
    leadership: Leadership,
}

impl<W> Fenced<W> {
    /// Fences a writer.
    pub fn new(writer: W, leadership: Leadership) -> Fenced<W> {
        Fenced { writer, leadership }
    }
}

impl<W: ConsulWriter> ConsulWriter for Fenced<W> {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        let claim = self.leadership.claim().ok_or_else(not_leading)?;
        self.leadership.under(&claim, self.writer.txn(ops)).await
    }
}
