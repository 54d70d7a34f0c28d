//! [`ConsulApi`] and [`ConsulWriter`] on the embedded Consul.

use std::collections::BTreeMap;
use std::time::Duration;

use consul8s_core::consul::{
    Answer, AnswerMeta, Check, CheckStatus, HealthQuery, Instance, NodeRecord, NodeService, NodeView, Read,
    Registration, TxnApplied, TxnOp, TxnOutcome, TxnRefusal,
};
use consul8s_core::import::{Catalog as Listed, CatalogQuery};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ConsulApi, ConsulWriter, ErrorKind, MAX_TXN_OPS};

use super::{Reply, admit};
use crate::model::consul::{Catalog, CheckRecord, Node, ServiceRecord, Stamp, TxnItem, TxnRequest, Verb, Weights};
use crate::world::{ConsulWorld, Cut};

impl ConsulApi for ConsulWorld {
    async fn health(&self, query: &HealthQuery, read: Read) -> Result<Answer<Vec<Instance>>, ApiError> {
        if let Some(filter) = &query.filter {
            let what = format!("Failed to create boolean expression evaluator: not simulated: {filter}");
            return Err(ApiError::new(ErrorKind::Invalid, what));
        }
        let name = query.name.clone();
        let reply =
            start(self, query.datacenter.as_deref(), read, |catalog| catalog.health_service_stamp(&name)).await?;
        let hidden = self.faults().hidden.unwrap_or_default();
        let (stamp, found, left_out) = self.read(|catalog| {
            let all = catalog.health_service(&name);
            let seen: Vec<_> =
                all.iter().filter(|(node, service, _)| !hidden.hides(&node.name, &service.name)).collect();
            let body: Vec<Instance> = seen.iter().map(|found| instance(catalog, found)).collect();
            (catalog.health_service_stamp(&name), body, seen.len() < all.len())
        });
        reply.deliver(Answer { meta: meta(self, stamp, read, left_out), body: found })
    }

    async fn node(&self, name: &str, dc: Option<&str>, read: Read) -> Result<Answer<Option<NodeView>>, ApiError> {
        let reply = start(self, dc, read, |catalog| catalog.node_services(name).0).await?;
        let hidden = self.faults().hidden.unwrap_or_default();
        let (stamp, view, left_out) = self.read(|catalog| {
            let (stamp, found) = catalog.node_services(name);
            let seen = found.filter(|_| !hidden.hides(name, ""));
            let total = catalog.node_services(name).1.map_or(0, |(_, services)| services.len() + 1);
            let view = seen.map(|(node, services)| {
                let services = services.into_iter().filter(|service| !hidden.hides(name, &service.name));
                let services = services.map(|service| (service.id.clone(), node_service(service))).collect();
                NodeView { node: node_record(node), services, checks: BTreeMap::new() }
            });
            let shown = view.as_ref().map_or(0, |view| view.services.len() + 1);
            (stamp, view, shown < total)
        });
        reply.deliver(Answer { meta: meta(self, stamp, read, left_out), body: view })
    }

    async fn node_checks(&self, name: &str, dc: Option<&str>, read: Read) -> Result<Answer<Vec<Check>>, ApiError> {
        let reply = start(self, dc, read, |catalog| catalog.node_checks(name).0).await?;
        let hidden = self.faults().hidden.unwrap_or_default();
        let (stamp, checks, left_out) = self.read(|catalog| {
            let (stamp, all) = catalog.node_checks(name);
            let total = all.len();
            let seen = all.into_iter().filter(|check| !hidden.hides(name, &check.service_name));
            let seen: Vec<Check> = seen.map(|record| check(record, true)).collect();
            let left_out = seen.len() < total;
            (stamp, seen, left_out)
        });
        reply.deliver(Answer { meta: meta(self, stamp, read, left_out), body: checks })
    }

    async fn services(&self, query: &CatalogQuery, read: Read) -> Result<Answer<Listed>, ApiError> {
        if let Some(filter) = &query.filter {
            let what = format!("Failed to create boolean expression evaluator: not simulated: {filter}");
            return Err(ApiError::new(ErrorKind::Invalid, what));
        }
        let reply = start(self, query.datacenter.as_deref(), read, |catalog| catalog.services().0).await?;
        let hidden = self.faults().hidden.unwrap_or_default();
        let (stamp, names, left_out) = self.read(|catalog| {
            let (stamp, all) = catalog.services();
            let total = all.len();
            let mut seen: Listed = all.into_iter().filter(|(name, _)| !hidden.hides("", name)).collect();
            seen.values_mut().for_each(|tags| tags.sort());
            let left_out = seen.len() < total;
            (stamp, seen, left_out)
        });
        reply.deliver(Answer { meta: meta(self, stamp, read, left_out), body: names })
    }

    async fn leader(&self) -> Result<String, ApiError> {
        let reply = admit(self).await?;
        let leader = if self.faults().leaderless { String::new() } else { "127.0.0.1:8300".to_owned() };
        reply.deliver(leader)
    }
}

impl ConsulWriter for ConsulWorld {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        let reply = admit(self).await?;
        if self.faults().leaderless {
            return Err(no_leader());
        }
        if ops.len() > MAX_TXN_OPS {
            let what = format!("Transaction contains too many operations ({} > {MAX_TXN_OPS})", ops.len());
            return Err(ApiError::new(ErrorKind::Invalid, what));
        }
        let ops: Vec<TxnRequest> = ops.iter().map(request).collect();
        reply.deliver(match self.write(|catalog| catalog.txn(ops)) {
            Ok(items) => TxnOutcome::Applied(applied(items)),
            Err(errors) => {
                let refusal = |error: crate::model::consul::TxnError| TxnRefusal { op: error.op, what: error.what };
                TxnOutcome::Refused(errors.into_iter().map(refusal).collect())
            }
        })
    }
}

/// Admits a read and lets it block.
async fn start(
    world: &ConsulWorld,
    datacenter: Option<&str>,
    read: Read,
    stamp: impl Fn(&Catalog) -> Stamp,
) -> Result<Reply, ApiError> {
    let reply = admit(world).await?;
    if world.faults().leaderless && read == Read::Consistent {
        return Err(no_leader());
    }
    if datacenter.is_some_and(|name| world.read(|catalog| catalog.datacenter() != name)) {
        return Err(ApiError::new(ErrorKind::Invalid, "No path to datacenter"));
    }
    if let Read::Blocking { index, wait } = read {
        let broken = |Cut| ApiError::new(ErrorKind::Unreachable, "simulated: connection broke while waiting");
        world.block(index, wait, stamp).await.map_err(broken)?;
    }
    Ok(reply)
}

fn no_leader() -> ApiError {
    ApiError::new(ErrorKind::Server, "No cluster leader")
}

fn meta(world: &ConsulWorld, stamp: Stamp, read: Read, left_out: bool) -> AnswerMeta {
    let faults = world.faults();
    let anonymous = faults.hidden.as_ref().map(|hidden| hidden.anonymous);
    let polled = matches!(read, Read::Blocking { .. });
    AnswerMeta {
        index: stamp.index,
        // The streaming backend, which answers polls, never claims to know the leader; an edge does not call that leaderless.
        leaderless: faults.leaderless && read == Read::Stale,
        last_contact: Duration::ZERO,
        // Real ones tell it where the query had nothing to wait for. A reader may not count on that.
        filtered: left_out && anonymous == Some(false) && !polled,
        polled,
        anonymous_under_deny: anonymous == Some(true),
    }
}

fn instance(catalog: &Catalog, (node, service, checks): &(&Node, &ServiceRecord, Vec<&CheckRecord>)) -> Instance {
    Instance {
        node: node.name.clone(),
        node_address: node.address.clone(),
        node_meta: node.meta.clone().unwrap_or_default().into(),
        datacenter: catalog.datacenter().to_owned(),
        id: service.id.clone(),
        name: service.name.clone(),
        kind: service.kind.clone(),
        address: service.address.clone(),
        port: service.shown_port(),
        ports: service.ports.clone().unwrap_or_default(),
        tags: service.tags.clone().unwrap_or_default(),
        meta: service.meta.clone().unwrap_or_default().into(),
        tagged_addresses: service.tagged_addresses.clone().unwrap_or_default().into(),
        node_tagged_addresses: node.tagged_addresses.clone().unwrap_or_default().into(),
        zone: service.locality.as_ref().map(|(_, zone)| zone.clone()),
        checks: checks.iter().map(|record| check(record, false)).collect(),
    }
}

fn check(record: &CheckRecord, with_output: bool) -> Check {
    Check {
        node: record.node.clone(),
        id: record.id.clone(),
        name: record.name.clone(),
        service_id: record.service_id.clone(),
        status: CheckStatus::parse(&record.status),
        output: if with_output { record.output.clone() } else { String::new() },
        modify_index: record.modify_index,
    }
}

fn node_record(node: &Node) -> NodeRecord {
    NodeRecord {
        name: node.name.clone(),
        address: node.address.clone(),
        meta: node.meta.clone().unwrap_or_default(),
        modify_index: node.modify_index,
    }
}

fn node_service(service: &ServiceRecord) -> NodeService {
    NodeService {
        id: service.id.clone(),
        name: service.name.clone(),
        address: service.address.clone(),
        port: service.port,
        tags: service.tags.clone().unwrap_or_default(),
        meta: service.meta.clone().unwrap_or_default(),
        weight: service.weights.passing,
        modify_index: service.modify_index,
    }
}

fn request(op: &TxnOp) -> TxnRequest {
    match op {
        TxnOp::SetNode { node, index } => {
            let meta = (!node.meta.is_empty()).then(|| node.meta.clone());
            let (name, address) = (node.name.clone(), node.address.clone());
            let node = Node { name, address, meta, modify_index: *index, ..Node::default() };
            TxnRequest { verb: Verb::Cas, item: TxnItem::Node(node) }
        }
        TxnOp::SetService { registration, index } => {
            let service = Box::new(service_record(registration, *index));
            TxnRequest { verb: Verb::Cas, item: TxnItem::Service(registration.node.clone(), service) }
        }
        TxnOp::SetCheck { registration, index } => {
            let check = CheckRecord {
                node: registration.node.clone(),
                id: registration.id.check_id(),
                name: names::CHECK_NAME.to_owned(),
                status: registration.status.to_string(),
                output: registration.output.clone(),
                service_id: registration.id.to_string(),
                modify_index: *index,
                ..CheckRecord::default()
            };
            TxnRequest { verb: Verb::Cas, item: TxnItem::Check(check) }
        }
        TxnOp::RemoveNode(node) => {
            let node = Node { name: node.name().to_owned(), modify_index: node.index(), ..Node::default() };
            TxnRequest { verb: Verb::DeleteCas, item: TxnItem::Node(node) }
        }
        TxnOp::DeleteService { node, id, name, index } => {
            let (id, name) = (id.to_string(), name.clone());
            let service = ServiceRecord { id, name, modify_index: *index, ..ServiceRecord::default() };
            TxnRequest { verb: Verb::DeleteCas, item: TxnItem::Service(node.clone(), Box::new(service)) }
        }
    }
}

fn service_record(registration: &Registration, index: u64) -> ServiceRecord {
    ServiceRecord {
        id: registration.id.to_string(),
        name: registration.name.clone(),
        tags: (!registration.tags.is_empty()).then(|| registration.tags.clone()),
        address: registration.address.clone(),
        port: i64::from(registration.port),
        meta: (!registration.meta.is_empty()).then(|| registration.meta.clone()),
        weights: Weights { passing: i64::from(registration.weight), warning: 1 },
        modify_index: index,
        ..ServiceRecord::default()
    }
}

fn applied(items: Vec<TxnItem>) -> TxnApplied {
    let mut applied = TxnApplied::default();
    for item in items {
        match item {
            TxnItem::Node(node) => applied.nodes.push(node_record(&node)),
            TxnItem::Service(node, service) => applied.services.push((node, node_service(&service))),
            TxnItem::Check(record) => applied.checks.push(check(&record, true)),
        }
    }
    applied
}
