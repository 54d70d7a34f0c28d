//! What is to be done in Consul, one change at a time, and the operations that do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::consul::{Check, NodeRecord, NodeService, Registration, ServiceId, TxnOp};
use crate::evidence::Evidence;
use crate::names;
use crate::problem::clean;

/// One change. Its operations belong into one transaction, and the changes of a plan into their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationChange {
    /// One of our nodes is made, or taken over.
    SetNode {
        /// As it should be.
        after: NodeRecord,
        /// As it was read; none = it must not exist.
        before: Option<NodeRecord>,
    },
    /// An instance is registered or changed.
    Register {
        /// As it should be.
        after: Box<Registration>,
        /// As it was read.
        before: Before,
    },
    /// Only the check of an instance is written; its service is sent unchanged, as the fence.
    SetCheck {
        /// As it should be.
        after: Box<Registration>,
        /// As it was read.
        before: Before,
    },
    /// An instance is removed, and its checks with it.
    Deregister {
        /// Its node.
        node: String,
        /// Its ID.
        id: ServiceId,
        /// Its name, without which Consul deletes nothing.
        name: String,
        /// ModifyIndex of the read that showed it to be ours.
        index: u64,
        /// Why it may go.
        evidence: Evidence,
    },
}

/// What was read of a registration before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The service; none = it must not exist.
    pub service: Option<NodeService>,
    /// Its check; none = it must not exist.
    pub check: Option<Check>,
}

impl RegistrationChange {
    /// Word for metrics and logs.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            RegistrationChange::SetNode { .. } => "node",
            RegistrationChange::Register { before: Before { service: None, .. }, .. } => "create",
            RegistrationChange::Register { .. } => "update",
            RegistrationChange::SetCheck { .. } => "check",
            RegistrationChange::Deregister { .. } => "delete",
        }
    }

    /// Name of the node in Consul that it changes.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            RegistrationChange::SetNode { after, .. } => &after.name,
            RegistrationChange::Register { after, .. } | RegistrationChange::SetCheck { after, .. } => &after.node,
            RegistrationChange::Deregister { node, .. } => node,
        }
    }

    /// The operations, in their order, for one transaction (contract S5).
    #[must_use]
    pub fn ops(&self) -> Vec<TxnOp> {
        match self {
            RegistrationChange::SetNode { after, before } => {
                vec![TxnOp::SetNode { node: after.clone(), index: before.as_ref().map_or(0, |node| node.modify_index) }]
            }
            RegistrationChange::Register { after, before } => {
                let mut ops = vec![set_service(after, before)];
                // A check keeps the name its service had when it was written (measured), so a renamed service takes it along.
                let renamed = before.service.as_ref().is_some_and(|service| service.name != after.name);
                if renamed || !same_check(before.check.as_ref(), after) {
                    ops.push(set_check(after, before));
                }
                ops
            }
            RegistrationChange::SetCheck { after, before } => {
                vec![set_service(after, before), set_check(after, before)]
            }
            RegistrationChange::Deregister { node, id, name, index, evidence: _ } => {
                vec![TxnOp::DeleteService { node: node.clone(), id: id.clone(), name: name.clone(), index: *index }]
            }
        }
    }
}

fn set_service(after: &Registration, before: &Before) -> TxnOp {
    TxnOp::SetService {
        registration: after.clone(),
        index: before.service.as_ref().map_or(0, |service| service.modify_index),
    }
}

fn set_check(after: &Registration, before: &Before) -> TxnOp {
    TxnOp::SetCheck { registration: after.clone(), index: before.check.as_ref().map_or(0, |check| check.modify_index) }
}

/// Whether the service part needs no write. `consul8s-rv` says what a write rested on and is no reason for one.
#[must_use]
pub fn same_service(stands: &NodeService, wanted: &Registration) -> bool {
    let Registration { node: _, id, name, address, port, tags, meta, weight, status: _, output: _ } = wanted;
    stands.id == id.as_str()
        && stands.name == *name
        && stands.address == *address
        && stands.port == i64::from(*port)
        && stands.tags == *tags
        && stands.weight == i64::from(*weight)
        && without_version(&stands.meta).eq(without_version(meta))
}

/// Whether the check part needs no write.
#[must_use]
pub fn same_check(stands: Option<&Check>, wanted: &Registration) -> bool {
    stands.is_some_and(|check| {
        check.name == names::CHECK_NAME
            && check.service_id == wanted.id.as_str()
            && check.status == wanted.status
            && check.output == wanted.output
    })
}

fn without_version(meta: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    meta.iter().filter(|(key, _)| *key != names::META_RV)
}

impl fmt::Display for RegistrationChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistrationChange::SetNode { after, before: None } => write!(f, "create node {}", after.name),
            RegistrationChange::SetNode { after, before: Some(_) } => write!(f, "take over node {}", after.name),
            RegistrationChange::Register { after, before: Before { service: None, .. } } => {
                write!(
                    f,
                    "register {}@{} as {} at {}, ",
                    shown(after.id.as_str()),
                    after.node,
                    shown(&after.name),
                    place(after)
                )?;
                write!(f, "{}: {}", after.status, after.output)
            }
            RegistrationChange::Register { after, before: Before { service: Some(before), check } } => {
                write!(f, "change {}@{}: ", shown(after.id.as_str()), after.node)?;
                differences(f, before, check.as_ref(), after)
            }
            RegistrationChange::SetCheck { after, before } => {
                write!(f, "check {}@{}: ", shown(after.id.as_str()), after.node)?;
                check_difference(f, before.check.as_ref(), after)
            }
            RegistrationChange::Deregister { node, id, name, index: _, evidence } => {
                write!(f, "deregister {}@{node}, {}: {evidence}", shown(id.as_str()), shown(name))
            }
        }
    }
}

/// Address and port as a person writes them.
pub(crate) fn at(address: &str, port: i64) -> String {
    let address = shown(address);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn place(registration: &Registration) -> String {
    at(&registration.address, i64::from(registration.port))
}

fn differences(
    f: &mut fmt::Formatter<'_>,
    before: &NodeService,
    check: Option<&Check>,
    after: &Registration,
) -> fmt::Result {
    let mut parts: Vec<String> = Vec::new();
    let mut differs = |what: &str, old: String, new: String| {
        if old != new {
            parts.push(format!("{what} {old} → {new}"));
        }
    };
    differs("name", shown(&before.name), shown(&after.name));
    differs("address", at(&before.address, before.port), place(after));
    differs("tags", shown(&before.tags.join(",")), shown(&after.tags.join(",")));
    differs("weight", before.weight.to_string(), after.weight.to_string());
    let keys: BTreeSet<&String> = before.meta.keys().chain(after.meta.keys()).collect();
    let value = |value: Option<&String>| value.map_or("-".to_owned(), |value| shown(value));
    for key in keys.into_iter().filter(|key| *key != names::META_RV) {
        differs(&format!("meta {}", shown(key)), value(before.meta.get(key)), value(after.meta.get(key)));
    }
    f.write_str(&parts.join("; "))?;
    if same_check(check, after) {
        return Ok(());
    }
    f.write_str(if parts.is_empty() { "" } else { "; " })?;
    check_difference(f, check, after)
}

fn check_difference(f: &mut fmt::Formatter<'_>, before: Option<&Check>, after: &Registration) -> fmt::Result {
    match before {
        Some(before) if before.status != after.status => {
            write!(f, "{} → {}: {}", before.status, after.status, after.output)
        }
        Some(_) => write!(f, "{}: {}", after.status, after.output),
        None => write!(f, "no check → {}: {}", after.status, after.output),
    }
}

fn shown(text: &str) -> String {
    clean(text, 300)
}
