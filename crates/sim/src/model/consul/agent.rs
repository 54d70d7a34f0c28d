//! What people do to machines: instances come, fail, move and go, nodes and instances are put into maintenance.
//!
//! A real agent keeps its own list and pushes it into the catalog; here the catalog is the only list.

use std::collections::BTreeMap;

use consul8s_core::consul::{CheckStatus, Instance};
use consul8s_core::few::Few;

use super::catalog::{Catalog, Registration};
use super::record::{CheckRecord, Node, ServiceRecord};
use super::rules::{Refused, refuse};

impl Catalog {
    /// Registers an instance with its node and its checks, as `core` values. Without ID it gets its name as one. Empty maps and
    /// lists are left out, as a careful client does. A check without `service_id` is the node's.
    ///
    /// # Errors
    /// In Consul's words, with nothing changed.
    pub fn put_instance(&mut self, instance: &Instance) -> Result<(), Refused> {
        let node = Node {
            name: instance.node.clone(),
            address: instance.node_address.clone(),
            meta: filled(&instance.node_meta),
            tagged_addresses: filled(&instance.node_tagged_addresses),
            ..Node::default()
        };
        let id = if instance.id.is_empty() { &instance.name } else { &instance.id };
        let service = ServiceRecord {
            id: id.clone(),
            name: instance.name.clone(),
            kind: instance.kind.clone(),
            tags: (!instance.tags.is_empty()).then(|| instance.tags.clone()),
            address: instance.address.clone(),
            port: instance.port,
            ports: (!instance.ports.is_empty()).then(|| instance.ports.clone()),
            tagged_addresses: filled(&instance.tagged_addresses),
            meta: filled(&instance.meta),
            locality: instance.zone.clone().map(|zone| (String::new(), zone)),
            ..ServiceRecord::default()
        };
        let checks = instance.checks.iter().map(|check| CheckRecord {
            id: check.id.clone(),
            name: if check.name.is_empty() { check.id.clone() } else { check.name.clone() },
            status: check.status.to_string(),
            output: check.output.clone(),
            service_id: check.service_id.clone(),
            ..CheckRecord::default()
        });
        self.register(Registration {
            node,
            service: Some(service),
            checks: checks.collect(),
            ..Registration::default()
        })
    }

    /// Sets state and output of a check that exists.
    ///
    /// # Errors
    /// There is no such check.
    pub fn set_check(&mut self, node: &str, id: &str, status: CheckStatus, output: &str) -> Result<(), Refused> {
        let Some(old) = self.check(node, id) else {
            return refuse(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."));
        };
        let check = CheckRecord { status: status.to_string(), output: output.to_owned(), ..old.clone() };
        let mut next = self.clone();
        let done = next.ensure_check(check);
        self.commit(next, done)
    }

    /// Moves an instance that exists to another port.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn move_port(&mut self, node: &str, id: &str, port: i64) -> Result<(), Refused> {
        let Some(old) = self.service(node, id) else { return refuse(unknown_service(id)) };
        let service = ServiceRecord { port, ..old.clone() };
        let mut next = self.clone();
        let done = next.ensure_service(node, service);
        self.commit(next, done)
    }

    /// Puts an instance into maintenance with a reason, or takes it out again with none.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn service_maintenance(&mut self, node: &str, id: &str, reason: Option<&str>) -> Result<(), Refused> {
        if self.service(node, id).is_none() {
            return refuse(unknown_service(id));
        }
        let check = format!("_service_maintenance:{id}");
        self.maintenance(node, &check, "Service Maintenance Mode", id, reason)
    }

    /// Puts a node into maintenance with a reason, or takes it out again with none.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node_maintenance(&mut self, node: &str, reason: Option<&str>) -> Result<(), Refused> {
        self.maintenance(node, "_node_maintenance", "Node Maintenance Mode", "", reason)
    }

    fn maintenance(&mut self, node: &str, id: &str, name: &str, of: &str, reason: Option<&str>) -> Result<(), Refused> {
        let Some(reason) = reason else {
            self.deregister_check(node, id);
            return Ok(());
        };
        let check = CheckRecord {
            node: node.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            status: "critical".into(),
            notes: reason.to_owned(),
            service_id: of.to_owned(),
            kind: "maintenance".into(),
            ..CheckRecord::default()
        };
        let mut next = self.clone();
        let done = next.ensure_check(check);
        self.commit(next, done)
    }
}

fn unknown_service(id: &str) -> String {
    format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.")
}

fn filled<V: Clone>(map: &Few<V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then(|| map.into())
}
