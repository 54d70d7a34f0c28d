//! Changes of the store, each with the index rows it moves. An identical write moves none.

use super::catalog::Catalog;
use super::record::{CheckRecord, Node, ServiceRecord};
use super::rules::{self, Refused, refuse};

impl Catalog {
    pub(super) fn ensure_node(&mut self, mut node: Node) {
        let index = self.next_index();
        let old = self.nodes.get(&node.name).map(|entry| &entry.record);
        if old.is_some_and(|old| node.same_as(old)) {
            return;
        }
        node.create_index = old.map_or(index, |old| old.create_index);
        node.modify_index = index;
        self.rows.nodes.touch(index);
        self.rows.node.insert(node.name.clone(), index);
        let entry = self.nodes.entry(node.name.clone()).or_default();
        for service in entry.services.values() {
            self.rows.instance(&service.name, index);
        }
        entry.record = node;
    }

    pub(super) fn ensure_service(&mut self, node: &str, mut service: ServiceRecord) -> Result<(), Refused> {
        let index = self.next_index();
        if service.id.is_empty() {
            service.id.clone_from(&service.name);
        }
        let Some(entry) = self.nodes.get_mut(node) else { return refuse("Missing node registration") };
        rules::check_meta(node, &service)?;
        let old = entry.services.get(&service.id);
        if old.is_some_and(|old| service.same_as(old)) {
            return Ok(());
        }
        let left = old.filter(|old| !old.name.eq_ignore_ascii_case(&service.name)).map(|old| old.name.clone());
        service.create_index = old.map_or(index, |old| old.create_index);
        service.modify_index = index;
        self.rows.service_of(node, index);
        self.rows.instance(&service.name, index);
        entry.services.insert(service.id.clone(), service);
        if let Some(left) = left {
            self.left_name(&left, index);
        }
        Ok(())
    }

    /// An instance no longer bears this name. (After a rename a real server shows two indexes, one to those who wait and an
    /// older one to those who ask; here both see the new one.)
    fn left_name(&mut self, name: &str, index: u64) {
        if self.has_service(name) {
            self.rows.instance(name, index);
        } else {
            self.rows.extinct(name, index);
        }
    }

    /// Writes a check whose node, and instance if any, exist; it takes over the instance's name and tags of this moment.
    pub(super) fn ensure_check(&mut self, mut check: CheckRecord) -> Result<(), Refused> {
        let index = self.next_index();
        if check.status.is_empty() {
            check.status = "critical".into();
        }
        let Some(entry) = self.nodes.get_mut(&check.node) else { return refuse("Missing node registration") };
        if !check.service_id.is_empty() {
            let Some(service) = entry.services.get(&check.service_id) else {
                return refuse("Missing service registration");
            };
            check.service_name.clone_from(&service.name);
            check.service_tags.clone_from(&service.tags);
        }
        let old = entry.checks.get(&check.id);
        if old.is_some_and(|old| check.same_as(old)) {
            return Ok(());
        }
        check.create_index = old.map_or(index, |old| old.create_index);
        check.modify_index = index;
        let before = old.map_or(check.status.clone(), |old| old.status.clone());
        self.rows.check(&check.node, [&before, &check.status], index);
        entry.checks.insert(check.id.clone(), check.clone());
        self.health_of(&check, index);
        Ok(())
    }

    /// A check counts for its instance, one of the node for all instances there.
    fn health_of(&mut self, check: &CheckRecord, index: u64) {
        let Some(entry) = self.nodes.get(&check.node) else { return };
        for service in entry.services.values() {
            if check.service_id.is_empty() || check.service_id == service.id {
                self.rows.health(&service.name, index);
            }
        }
    }

    pub(super) fn delete_service(&mut self, node: &str, id: &str) {
        let index = self.next_index();
        let Some(entry) = self.nodes.get(node) else { return };
        if !entry.services.contains_key(id) {
            return;
        }
        let checks: Vec<String> =
            entry.checks.values().filter(|check| check.service_id == id).map(|check| check.id.clone()).collect();
        for check in checks {
            self.delete_check(node, &check);
        }
        let Some(service) = self.nodes.get_mut(node).and_then(|entry| entry.services.remove(id)) else { return };
        self.rows.service_of(node, index);
        self.rows.checks.index = index;
        self.left_name(&service.name, index);
    }

    pub(super) fn delete_check(&mut self, node: &str, id: &str) {
        let index = self.next_index();
        let Some(check) = self.nodes.get_mut(node).and_then(|entry| entry.checks.remove(id)) else { return };
        self.rows.check(node, [&check.status, &check.status], index);
        if check.service_id.is_empty() {
            self.rows.services.index = index;
        }
        self.health_of(&check, index);
    }

    pub(super) fn delete_node(&mut self, node: &str) {
        let index = self.next_index();
        let Some(entry) = self.nodes.get(node) else { return };
        let services: Vec<String> = entry.services.keys().cloned().collect();
        let checks: Vec<String> = entry.checks.keys().cloned().collect();
        for service in services {
            self.delete_service(node, &service);
        }
        for check in checks {
            self.delete_check(node, &check);
        }
        self.nodes.remove(node);
        self.rows.nodes.touch(index);
        self.rows.node.remove(node);
        self.rows.node_checks.remove(node);
        self.rows.node_extinction = index;
    }
}
