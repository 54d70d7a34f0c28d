//! Reads, each with the stamp of the endpoint it stands for.

use std::collections::BTreeMap;

use super::catalog::Catalog;
use super::index::Stamp;
use super::record::{CheckRecord, Node, ServiceRecord};

impl Catalog {
    /// Instances of a service with their nodes and the checks that count for them, the node's first. The name's case is ignored.
    #[must_use]
    pub fn health_service(&self, name: &str) -> Vec<(&Node, &ServiceRecord, Vec<&CheckRecord>)> {
        let mut found = Vec::new();
        for entry in self.nodes.values() {
            for service in entry.services.values().filter(|service| same_name(&service.name, name)) {
                let of_node = entry.checks.values().filter(|check| check.service_id.is_empty());
                let of_service = entry.checks.values().filter(|check| check.service_id == service.id);
                found.push((&entry.record, service, of_node.chain(of_service).collect()));
            }
        }
        found
    }

    /// Stamp of [`Catalog::health_service`].
    #[must_use]
    pub fn health_service_stamp(&self, name: &str) -> Stamp {
        self.rows.health_service(name, self.has_service(name))
    }

    /// Stamp of the same list without health, `/v1/catalog/service/NAME`.
    #[must_use]
    pub fn catalog_service_stamp(&self, name: &str) -> Stamp {
        self.rows.catalog_service(name, self.has_service(name))
    }

    /// All service names with the tags of their instances.
    #[must_use]
    pub fn services(&self) -> (Stamp, BTreeMap<String, Vec<String>>) {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for service in self.nodes.values().flat_map(|entry| entry.services.values()) {
            let tags = names.entry(service.name.clone()).or_default();
            for tag in service.tags.iter().flatten() {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
        }
        (self.rows.services, names)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> (Stamp, Vec<&Node>) {
        (self.rows.nodes, self.nodes.values().map(|entry| &entry.record).collect())
    }

    /// A node with its services, by ID.
    #[must_use]
    pub fn node_services(&self, node: &str) -> (Stamp, Option<(&Node, Vec<&ServiceRecord>)>) {
        let found = self.nodes.get(node).map(|entry| (&entry.record, entry.services.values().collect()));
        (self.rows.node_services(node), found)
    }

    /// All checks of a node, by ID.
    #[must_use]
    pub fn node_checks(&self, node: &str) -> (Stamp, Vec<&CheckRecord>) {
        let checks = self.nodes.get(node).map(|entry| entry.checks.values().collect()).unwrap_or_default();
        (self.rows.health_node(node), checks)
    }

    /// All checks in one state, or in `any`.
    #[must_use]
    pub fn checks_in(&self, state: &str) -> (Stamp, Vec<&CheckRecord>) {
        let all = self.nodes.values().flat_map(|entry| entry.checks.values());
        (self.rows.health_state(state), all.filter(|check| state == "any" || check.status == state).collect())
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).map(|entry| &entry.record)
    }

    /// One instance.
    #[must_use]
    pub fn service(&self, node: &str, id: &str) -> Option<&ServiceRecord> {
        self.nodes.get(node)?.services.get(id)
    }

    /// One check.
    #[must_use]
    pub fn check(&self, node: &str, id: &str) -> Option<&CheckRecord> {
        self.nodes.get(node)?.checks.get(id)
    }

    pub(super) fn has_service(&self, name: &str) -> bool {
        self.nodes.values().any(|entry| entry.services.values().any(|service| same_name(&service.name, name)))
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
