//! Writing to Consul: [`ConsulWriter`] over the same connections as the [`Client`](crate::Client) it came from.

use std::sync::Arc;

use consul8s_core::consul::{TxnApplied, TxnOp, TxnOutcome};
use consul8s_core::ports::{ApiError, ConsulWriter, ErrorKind, MAX_TXN_OPS};
use http::{Method, StatusCode};

use crate::error;
use crate::pool::Lane;
use crate::request::Target;
use crate::transport::{CALL_TIMEOUT, Call, Transport};
use crate::txn::{self, Tenancy};

/// Writes transactions.
#[derive(Clone)]
pub struct Writer {
    transport: Arc<Transport>,
}

impl Writer {
    pub(crate) fn new(transport: Arc<Transport>) -> Writer {
        Writer { transport }
    }
}

impl ConsulWriter for Writer {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        if ops.is_empty() {
            return Ok(TxnOutcome::Applied(TxnApplied::default()));
        }
        if ops.len() > MAX_TXN_OPS {
            let what = format!("a transaction of {} operations; Consul takes {MAX_TXN_OPS}", ops.len());
            return Err(ApiError::new(ErrorKind::Invalid, what));
        }
        let Transport { namespace, partition, .. } = &*self.transport;
        let tenancy = Tenancy { namespace: namespace.as_deref(), partition: partition.as_deref() };
        let body = txn::body(ops, tenancy)
            .map_err(|wrong| ApiError::new(ErrorKind::Invalid, format!("a transaction that is no JSON: {wrong}")))?;
        let call = Call {
            method: Method::PUT,
            target: Target::new("/v1/txn", None)?,
            fresh_target: None,
            body: body.into(),
            lane: Lane::Reserved,
            timeout: CALL_TIMEOUT,
            // Once sent it may have been carried out, and its fences have moved.
            repeatable: false,
        };
        let whole = self.transport.exchange(&call).await?;
        match whole.status {
            StatusCode::OK => txn::applied(ops, &whole.body).map(TxnOutcome::Applied).map_err(|wrong| {
                let what = format!("{}: carried out, but its answer is not Consul's ({wrong})", whole.call);
                ApiError::new(ErrorKind::Garbage, what)
            }),
            StatusCode::CONFLICT => txn::refused(&whole.body).map(TxnOutcome::Refused).ok_or_else(|| {
                let said = error::printable(&String::from_utf8_lossy(&whole.body));
                let what = format!("{}: refused, without a reason we can read: {said}", whole.call);
                ApiError::new(ErrorKind::Garbage, what)
            }),
            _ => Err(self.transport.refused(&whole)),
        }
    }
}
