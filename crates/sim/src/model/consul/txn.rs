//! Transactions: all or nothing, with compare-and-set as the real one does it.

use super::catalog::Catalog;
use super::record::{CheckRecord, Node, ServiceRecord};
use super::rules::{self, Refused};

/// What an operation does. The compare-and-set ones compare the record's `modify_index`; 0 = must not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `get`
    Get,
    /// `set`
    Set,
    /// `cas`
    Cas,
    /// `delete`
    Delete,
    /// `delete-cas`
    DeleteCas,
    /// Anything else, which is refused.
    Unknown(String),
}

impl Verb {
    /// Reads Consul's word for it.
    #[must_use]
    pub fn parse(word: &str) -> Verb {
        match word {
            "get" => Verb::Get,
            "set" => Verb::Set,
            "cas" => Verb::Cas,
            "delete" => Verb::Delete,
            "delete-cas" => Verb::DeleteCas,
            other => Verb::Unknown(other.to_owned()),
        }
    }
}

/// What an operation is about, or what it left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnItem {
    /// A node.
    Node(Node),
    /// An instance on a node.
    Service(String, Box<ServiceRecord>),
    /// A check.
    Check(CheckRecord),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRequest {
    /// What to do.
    pub verb: Verb,
    /// With what.
    pub item: TxnItem,
}

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnError {
    /// Position in the transaction.
    pub op: usize,
    /// Consul's text.
    pub what: String,
}

impl Catalog {
    /// Carries out all operations or none. Deletes leave nothing in the results.
    ///
    /// # Errors
    /// One entry for each operation at fault.
    pub fn txn(&mut self, ops: Vec<TxnRequest>) -> Result<Vec<TxnItem>, Vec<TxnError>> {
        let writes = ops.iter().any(|op| op.verb != Verb::Get);
        collect(ops.iter().map(|op| precheck(op).map(|()| None)))?;
        let mut next = self.clone();
        let done = collect(ops.into_iter().map(|op| next.operate(op)));
        if writes { self.commit(next, done) } else { done }
    }

    fn operate(&mut self, TxnRequest { verb, item }: TxnRequest) -> Result<Option<TxnItem>, Refused> {
        match item {
            TxnItem::Node(node) => self.operate_node(&verb, node),
            TxnItem::Service(node, service) => self.operate_service(&verb, &node, *service),
            TxnItem::Check(check) => self.operate_check(&verb, check),
        }
    }

    fn operate_node(&mut self, verb: &Verb, node: Node) -> Result<Option<TxnItem>, Refused> {
        let name = node.name.clone();
        let found = self.node(&name).map(|old| old.modify_index);
        let what = format!("node {name:?}");
        match allow(verb, node.modify_index, found, &what)? {
            Step::Write => self.ensure_node(node),
            Step::Remove => self.delete_node(&name),
            Step::Look => {}
        }
        Ok(kept(verb, || self.node(&name).cloned().map(TxnItem::Node)))
    }

    fn operate_service(
        &mut self,
        verb: &Verb,
        node: &str,
        mut wanted: ServiceRecord,
    ) -> Result<Option<TxnItem>, Refused> {
        if wanted.id.is_empty() {
            wanted.id.clone_from(&wanted.name);
        }
        let id = wanted.id.clone();
        let found = self.service(node, &id).map(|old| old.modify_index);
        let what = format!("service {id:?} on node {node:?}");
        match allow(verb, wanted.modify_index, found, &what)? {
            Step::Write => self.ensure_service(node, plain(wanted))?,
            Step::Remove => self.delete_service(node, &id),
            Step::Look => {}
        }
        let item = |service: &ServiceRecord| TxnItem::Service(node.to_owned(), Box::new(service.clone()));
        Ok(kept(verb, || self.service(node, &id).map(item)))
    }

    fn operate_check(&mut self, verb: &Verb, mut check: CheckRecord) -> Result<Option<TxnItem>, Refused> {
        if check.id.is_empty() {
            check.id.clone_from(&check.name);
        }
        let (node, id) = (check.node.clone(), check.id.clone());
        let found = self.check(&node, &id).map(|old| old.modify_index);
        let what = format!("check {id:?} on node {node:?}");
        match allow(verb, check.modify_index, found, &what)? {
            Step::Write => self.ensure_check(check)?,
            Step::Remove => self.delete_check(&node, &id),
            Step::Look => {}
        }
        Ok(kept(verb, || self.check(&node, &id).cloned().map(TxnItem::Check)))
    }
}

enum Step {
    Write,
    Remove,
    Look,
}

/// Compares indexes. `found` is the ModifyIndex of what is there.
fn allow(verb: &Verb, index: u64, found: Option<u64>, what: &str) -> Result<Step, Refused> {
    match verb {
        Verb::Get if found.is_none() => Err(Refused(format!("{what} doesn't exist"))),
        Verb::Get => Ok(Step::Look),
        Verb::Set => Ok(Step::Write),
        Verb::Delete => Ok(Step::Remove),
        Verb::Cas if found.unwrap_or(0) == index => Ok(Step::Write),
        Verb::Cas => Err(Refused(format!("failed to set {what}, index is stale"))),
        Verb::DeleteCas if found == Some(index) => Ok(Step::Remove),
        Verb::DeleteCas => Err(Refused(format!("failed to delete {what}, index is stale"))),
        Verb::Unknown(word) => Err(Refused(format!("unknown operation on {what}: {word}"))),
    }
}

/// Deletes report nothing.
fn kept(verb: &Verb, item: impl FnOnce() -> Option<TxnItem>) -> Option<TxnItem> {
    if matches!(verb, Verb::Delete | Verb::DeleteCas) { None } else { item() }
}

/// A transaction keeps only the plain shape of a service, even when that erases what was there.
fn plain(service: ServiceRecord) -> ServiceRecord {
    ServiceRecord { ports: None, locality: None, ..service }
}

/// What is checked before anything reaches Raft.
fn precheck(op: &TxnRequest) -> Result<(), Refused> {
    if let Verb::Unknown(word) = &op.verb {
        let kind = match &op.item {
            TxnItem::Node(_) => "node",
            TxnItem::Service(..) => "service",
            TxnItem::Check(_) => "check",
        };
        return Err(Refused(format!("unknown {kind} operation: {word}")));
    }
    match &op.item {
        TxnItem::Node(node) => rules::check_node(node),
        TxnItem::Service(..) if op.verb == Verb::Get => Ok(()),
        TxnItem::Service(_, service) => rules::check_service(service),
        TxnItem::Check(_) => Ok(()),
    }
}

fn collect(done: impl Iterator<Item = Result<Option<TxnItem>, Refused>>) -> Result<Vec<TxnItem>, Vec<TxnError>> {
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    for (op, result) in done.enumerate() {
        match result {
            Ok(item) => items.extend(item),
            Err(Refused(what)) => errors.push(TxnError { op, what }),
        }
    }
    if errors.is_empty() { Ok(items) } else { Err(errors) }
}
