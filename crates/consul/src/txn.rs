//! `/v1/txn`: from operations to JSON, and from its answer to what became of them.
//!
//! What is written must read back equal, or a converged state would be written again and again. Consul compares deeply and tells
//! absent from empty, so empty collections are left out.

use std::collections::BTreeMap;

use consul8s_core::consul::{CheckStatus, Registration, TxnApplied, TxnOp, TxnRefusal};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lenient::{elements, or_default, text};
use crate::wire;

/// DNS weight of an instance while a check warns. Consul's own default; absent weights would read back as 1 and 1.
const WARNING_WEIGHT: u16 = 1;

/// What names a node to be deleted says nothing else about it.
static NO_META: BTreeMap<String, String> = BTreeMap::new();

/// Enterprise tenancy of everything in a transaction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tenancy<'a> {
    pub(crate) namespace: Option<&'a str>,
    pub(crate) partition: Option<&'a str>,
}

#[derive(Serialize)]
enum Op<'a> {
    Node(NodeOp<'a>),
    Service(ServiceOp<'a>),
    Check(CheckOp<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeOp<'a> {
    verb: &'static str,
    node: Node<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node<'a> {
    node: &'a str,
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<&'a str>,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceOp<'a> {
    verb: &'static str,
    node: &'a str,
    service: Service<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    address: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    port: u16,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "is_empty")]
    meta: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<&'a str>,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckOp<'a> {
    verb: &'static str,
    check: Check<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: String,
    name: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<&'a str>,
    modify_index: u64,
}

/// The body of a transaction.
pub(crate) fn body(ops: &[TxnOp], tenancy: Tenancy<'_>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&ops.iter().map(|op| wire_op(op, tenancy)).collect::<Vec<_>>())
}

fn wire_op<'a>(op: &'a TxnOp, tenancy: Tenancy<'a>) -> Op<'a> {
    let Tenancy { namespace, partition } = tenancy;
    match op {
        TxnOp::SetNode { node, index } => Op::Node(NodeOp {
            verb: "cas",
            node: Node { node: &node.name, address: &node.address, meta: &node.meta, partition, modify_index: *index },
        }),
        TxnOp::SetService { registration, index } => Op::Service(ServiceOp {
            verb: "cas",
            node: &registration.node,
            service: service(registration, *index, tenancy),
        }),
        TxnOp::SetCheck { registration, index } => Op::Check(CheckOp {
            verb: "cas",
            check: Check {
                node: &registration.node,
                check_id: registration.id.check_id(),
                name: consul8s_core::names::CHECK_NAME,
                status: word(registration.status),
                output: &registration.output,
                service_id: registration.id.as_str(),
                service_name: &registration.name,
                namespace,
                partition,
                modify_index: *index,
            },
        }),
        TxnOp::RemoveNode(node) => Op::Node(NodeOp {
            verb: "delete-cas",
            node: Node { node: node.name(), address: "", meta: &NO_META, partition, modify_index: node.index() },
        }),
        TxnOp::DeleteService { node, id, name, index } => Op::Service(ServiceOp {
            verb: "delete-cas",
            node,
            service: Service {
                id: id.as_str(),
                service: name,
                address: "",
                port: 0,
                tags: &[],
                meta: None,
                weights: None,
                namespace,
                partition,
                modify_index: *index,
            },
        }),
    }
}

fn service<'a>(registration: &'a Registration, index: u64, tenancy: Tenancy<'a>) -> Service<'a> {
    Service {
        id: registration.id.as_str(),
        service: &registration.name,
        address: &registration.address,
        port: registration.port,
        tags: &registration.tags,
        meta: Some(&registration.meta),
        weights: Some(Weights { passing: registration.weight, warning: WARNING_WEIGHT }),
        namespace: tenancy.namespace,
        partition: tenancy.partition,
        modify_index: index,
    }
}

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Passing => "passing",
        CheckStatus::Warning => "warning",
        CheckStatus::Critical => "critical",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

fn is_empty(meta: &Option<&BTreeMap<String, String>>) -> bool {
    meta.is_none_or(BTreeMap::is_empty)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Answer<'a> {
    #[serde(borrow)]
    results: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Outcome<'a> {
    #[serde(borrow)]
    node: Option<&'a RawValue>,
    #[serde(borrow)]
    service: Option<&'a RawValue>,
    #[serde(borrow)]
    check: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Refusal {
    #[serde(deserialize_with = "or_default")]
    op_index: usize,
    #[serde(deserialize_with = "text")]
    what: String,
}

/// What a transaction left behind. Consul lists results in the order of the operations and leaves deletions out; a service's
/// result does not say its node, the operation does.
pub(crate) fn applied(ops: &[TxnOp], answer: &[u8]) -> Result<TxnApplied, serde_json::Error> {
    let answer: Answer<'_> = serde_json::from_slice(answer)?;
    let mut results =
        elements(answer.results).into_iter().filter_map(|raw| crate::lenient::part::<Outcome<'_>>(Some(raw)));
    let mut applied = TxnApplied::default();
    for op in ops {
        if matches!(op, TxnOp::DeleteService { .. } | TxnOp::RemoveNode(_)) {
            continue;
        }
        let Some(result) = results.next() else { break };
        match op {
            TxnOp::SetNode { node, .. } => {
                let written = result.node.and_then(wire::node_record).filter(|written| written.name == node.name);
                applied.nodes.extend(written);
            }
            TxnOp::SetService { registration, .. } => {
                let written = result.service.and_then(wire::node_service);
                let written = written.filter(|written| written.id == registration.id.as_str());
                applied.services.extend(written.map(|service| (registration.node.clone(), service)));
            }
            TxnOp::SetCheck { registration, .. } => {
                let written = result.check.and_then(wire::node_check);
                applied.checks.extend(written.filter(|written| written.id == registration.id.check_id()));
            }
            TxnOp::DeleteService { .. } | TxnOp::RemoveNode(_) => {}
        }
    }
    Ok(applied)
}

/// Why a transaction was refused: never an empty list.
pub(crate) fn refused(answer: &[u8]) -> Option<Vec<TxnRefusal>> {
    let answer: Answer<'_> = serde_json::from_slice(answer).ok()?;
    let refusals: Vec<TxnRefusal> = elements(answer.errors)
        .into_iter()
        .filter_map(|raw| crate::lenient::part::<Refusal>(Some(raw)))
        .map(|refusal| TxnRefusal { op: refusal.op_index, what: refusal.what })
        .collect();
    (!refusals.is_empty()).then_some(refusals)
}
