//! Group commit: operations that wait are sent together, and each group learns what became of its own.
//!
//! A group (say, a service and its check) is all or nothing and never split. Nothing waits while there is room in flight; what
//! comes meanwhile goes together into the next transaction. Consul refuses a transaction as a whole, so the groups it blames are
//! sent again alone and the others together: a bad group costs a round trip, and nobody else their write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use consul8s_core::consul::{TxnApplied, TxnOp, TxnOutcome, TxnRefusal};
use consul8s_core::ports::{ApiError, ConsulWriter, ErrorKind, MAX_TXN_OPS};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::txn::{self, Tenancy};

/// Body of a transaction. Consul takes 512 KiB (`txn_max_req_len`); the rest is for brackets, commas and tenancy.
const MAX_BODY_BYTES: usize = 448 * 1024;
/// Transactions at a time. Raft orders them anyway; the second one fills the time that the first one travels.
const MAX_IN_FLIGHT: usize = 2;
/// Groups that may wait for the driver. Beyond it, submitting waits; each is the change of one Kubernetes Service.
const QUEUE_GROUPS: usize = 1024;

/// Takes groups of operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batcher {
    queue: mpsc::Sender<Group>,
}

/// Sends what the [`Batcher`] takes; somebody has to run it.
pub struct BatchDriver<W> {
    writer: Arc<W>,
    queue: mpsc::Receiver<Group>,
}

#[derive(Debug)]
struct Group {
    ops: Vec<TxnOp>,
    bytes: usize,
    not_after: Option<Instant>,
    reply: oneshot::Sender<Result<TxnOutcome, ApiError>>,
}

impl Batcher {
    /// A batcher and its driver, to be run as a task of its own. The driver ends when the last batcher is gone and all is sent.
    pub fn new<W: ConsulWriter>(writer: Arc<W>) -> (Batcher, BatchDriver<W>) {
        let (sender, receiver) = mpsc::channel(QUEUE_GROUPS);
        (Batcher { queue: sender }, BatchDriver { writer, queue: receiver })
    }

    /// Sends a group, all or nothing. Dropped before it was sent, it isn't sent.
    pub async fn submit(&self, ops: Vec<TxnOp>) -> Result<TxnOutcome, ApiError> {
        self.enqueue(ops, None).await
    }

    /// The same, but not a byte of it leaves after `deadline`, and nobody waits for its answer longer than that. What is
    /// unanswered by then may have been carried out.
    pub async fn submit_before(&self, ops: Vec<TxnOp>, deadline: Instant) -> Result<TxnOutcome, ApiError> {
        tokio::time::timeout_at(deadline, self.enqueue(ops, Some(deadline))).await.unwrap_or_else(|_| Err(too_late()))
    }

    async fn enqueue(&self, ops: Vec<TxnOp>, not_after: Option<Instant>) -> Result<TxnOutcome, ApiError> {
        if ops.is_empty() {
            return Ok(TxnOutcome::Applied(TxnApplied::default()));
        }
        let invalid = |what: String| ApiError::new(ErrorKind::Invalid, what);
        if ops.len() > MAX_TXN_OPS {
            return Err(invalid(format!("{} operations that belong together; Consul takes {MAX_TXN_OPS}", ops.len())));
        }
        let bytes = txn::body(&ops, Tenancy::default()).map_err(|wrong| invalid(wrong.to_string()))?.len();
        if bytes > MAX_BODY_BYTES {
            return Err(invalid(format!(
                "{bytes} bytes of operations that belong together; at most {MAX_BODY_BYTES} fit"
            )));
        }
        let stopped = || ApiError::new(ErrorKind::Unreachable, "the writer to Consul has stopped");
        let (reply, outcome) = oneshot::channel();
        self.queue.send(Group { ops, bytes, not_after, reply }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl<W: ConsulWriter> BatchDriver<W> {
    /// Runs until the last [`Batcher`] is gone and all is sent. Dropped, what is under way is left without an answer.
    pub async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut in_flight = FuturesUnordered::new();
        let mut open = true;
        while open || !in_flight.is_empty() || !waiting.is_empty() {
            while in_flight.len() < MAX_IN_FLIGHT
                && let Some(batch) = next_batch(&mut waiting)
            {
                in_flight.push(commit(&*self.writer, batch));
            }
            tokio::select! {
                biased;
                Some(()) = in_flight.next() => {}
                group = self.queue.recv(), if open && waiting.len() < QUEUE_GROUPS => match group {
                    Some(group) => waiting.push_back(group),
                    None => open = false,
                },
                // Nothing is under way and nobody can submit any more.
                else => {}
            }
            // All who are there already, before the next transaction leaves.
            while waiting.len() < QUEUE_GROUPS
                && let Ok(group) = self.queue.try_recv()
            {
                waiting.push_back(group);
            }
        }
    }
}

/// As many of those who wait longest as fit into one transaction. Who doesn't wait any more is left out.
fn next_batch(waiting: &mut VecDeque<Group>) -> Option<Vec<Group>> {
    let (mut ops, mut bytes) = (0, 0);
    let mut batch = Vec::new();
    while let Some(group) = waiting.front() {
        if ops + group.ops.len() > MAX_TXN_OPS || bytes + group.bytes > MAX_BODY_BYTES {
            break;
        }
        let Some(group) = waiting.pop_front() else { break };
        if let Some(group) = in_time(group) {
            ops += group.ops.len();
            bytes += group.bytes;
            batch.push(group);
        }
    }
    (!batch.is_empty()).then_some(batch)
}

/// The group, unless its time is over or nobody waits for it.
fn in_time(group: Group) -> Option<Group> {
    if group.not_after.is_some_and(|deadline| Instant::now() >= deadline) {
        let _ = group.reply.send(Err(too_late()));
        return None;
    }
    (!group.reply.is_closed()).then_some(group)
}

fn too_late() -> ApiError {
    ApiError::new(ErrorKind::Timeout, "the time to write to Consul was over")
}

/// Sends a batch, and what is left of it again in smaller parts, until each group has its outcome.
async fn commit<W: ConsulWriter>(writer: &W, batch: Vec<Group>) {
    let mut parts = VecDeque::from([batch]);
    while let Some(part) = parts.pop_front() {
        let part: Vec<Group> = part.into_iter().filter_map(in_time).collect();
        if part.is_empty() {
            continue;
        }
        let ops: Vec<TxnOp> = part.iter().flat_map(|group| group.ops.iter().cloned()).collect();
        // The earliest deadline bounds all: a group whose time is over must not be under way.
        let deadline = part.iter().filter_map(|group| group.not_after).min();
        let result = match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline, writer.txn(&ops)).await.unwrap_or_else(|_| Err(too_late()))
            }
            None => writer.txn(&ops).await,
        };
        match result {
            Ok(TxnOutcome::Applied(applied)) => answer_applied(part, &applied),
            Ok(TxnOutcome::Refused(refusals)) if part.len() > 1 => parts.extend(without_blamed(part, &refusals)),
            // The whole is at fault: too many operations for an old server, or one group that no JSON reader takes.
            Err(error) if error.kind == ErrorKind::Invalid && part.len() > 1 => parts.extend(halves(part)),
            other => part.into_iter().for_each(|group| drop(group.reply.send(other.clone()))),
        }
    }
}

fn answer_applied(part: Vec<Group>, applied: &TxnApplied) {
    let nodes: BTreeMap<_, _> = applied.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let services: BTreeMap<_, _> =
        applied.services.iter().map(|entry| ((entry.0.as_str(), entry.1.id.as_str()), entry)).collect();
    let checks: BTreeMap<_, _> =
        applied.checks.iter().map(|check| ((check.node.as_str(), check.id.as_str()), check)).collect();
    for group in part {
        let mut own = TxnApplied::default();
        for op in &group.ops {
            match op {
                TxnOp::SetNode { node, .. } => own.nodes.extend(nodes.get(node.name.as_str()).copied().cloned()),
                TxnOp::SetService { registration, .. } => {
                    let key = (registration.node.as_str(), registration.id.as_str());
                    own.services.extend(services.get(&key).copied().cloned());
                }
                TxnOp::SetCheck { registration, .. } => {
                    let id = registration.id.check_id();
                    own.checks.extend(checks.get(&(registration.node.as_str(), id.as_str())).copied().cloned());
                }
                TxnOp::DeleteService { .. } | TxnOp::RemoveNode(_) => {}
            }
        }
        let _ = group.reply.send(Ok(TxnOutcome::Applied(own)));
    }
}

/// Those who are not blamed together, and each of the blamed alone: it may have been refused only because of an operation before
/// it, and alone it gets an answer of its own. Where nobody is to blame that we can tell, smaller parts.
fn without_blamed(part: Vec<Group>, refusals: &[TxnRefusal]) -> Vec<Vec<Group>> {
    let mut first_op = 0;
    let (mut blamed, mut others) = (Vec::new(), Vec::new());
    for group in part {
        let own = first_op..first_op + group.ops.len();
        first_op = own.end;
        if refusals.iter().any(|refusal| own.contains(&refusal.op)) { blamed.push(group) } else { others.push(group) }
    }
    if blamed.is_empty() {
        return halves(others);
    }
    let mut parts: Vec<Vec<Group>> = Vec::with_capacity(blamed.len() + 1);
    if !others.is_empty() {
        parts.push(others);
    }
    parts.extend(blamed.into_iter().map(|group| vec![group]));
    parts
}

fn halves(mut part: Vec<Group>) -> Vec<Vec<Group>> {
    let second = part.split_off(part.len() / 2);
    vec![part, second]
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
