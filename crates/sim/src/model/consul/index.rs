//! Index rows: which number an answer carries, and which change wakes a blocking query.
//!
//! Consul keeps two things apart, and so does this: the *index* of an answer, which may be coarser than what was asked for, and
//! the *watch*, which fires only for what was asked for. A blocking query returns when its watch fires and the index is above
//! the one it brought. So a foreign change can move an index without waking anybody; the next query with the old index then
//! returns at once.

use std::collections::BTreeMap;

/// The index of an answer, and the Raft index at which its watch last fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// `X-Consul-Index`.
    pub index: u64,
    /// Last change of what was asked for.
    pub touched: u64,
}

impl Stamp {
    /// Index and watch move together.
    pub(super) fn both(index: u64) -> Stamp {
        Stamp { index, touched: index }
    }

    pub(super) fn touch(&mut self, index: u64) {
        *self = Stamp::both(index);
    }
}

/// Row of one service name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServiceRow {
    /// Last change of an instance, of its node or of a check that counts for it.
    pub(super) index: u64,
    /// Last change of an instance or of its node; what `/v1/catalog/service` watches.
    pub(super) registered: u64,
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) nodes: Stamp,
    pub(super) services: Stamp,
    pub(super) checks: Stamp,
    /// By name in lower case, for names with instances, and for those whose last instance went by a rename.
    pub(super) service: BTreeMap<String, ServiceRow>,
    /// By node name: its record and its services.
    pub(super) node: BTreeMap<String, u64>,
    /// By node name: its checks.
    pub(super) node_checks: BTreeMap<String, u64>,
    /// By state: checks that entered, left or changed within it.
    pub(super) status: BTreeMap<String, u64>,
    /// When a service name last lost its last instance.
    pub(super) service_extinction: Option<u64>,
    /// When a node was last removed.
    pub(super) node_extinction: u64,
}

impl Rows {
    /// An instance of `name` came or changed, or its node did.
    pub(super) fn instance(&mut self, name: &str, index: u64) {
        self.service.insert(name.to_lowercase(), ServiceRow { index, registered: index });
    }

    /// A check of an instance of `name` came, changed or went.
    pub(super) fn health(&mut self, name: &str, index: u64) {
        self.service.entry(name.to_lowercase()).or_default().index = index;
    }

    /// `name` has no instance any more.
    pub(super) fn extinct(&mut self, name: &str, index: u64) {
        self.service.remove(&name.to_lowercase());
        self.service_extinction = Some(index);
    }

    /// A check on `node` came, changed or went; `states` are those before and after.
    pub(super) fn check(&mut self, node: &str, states: [&str; 2], index: u64) {
        self.checks.touch(index);
        self.node_checks.insert(node.to_owned(), index);
        for state in states {
            self.status.insert(state.to_owned(), index);
        }
    }

    /// A service on `node` came, changed or went.
    pub(super) fn service_of(&mut self, node: &str, index: u64) {
        self.services.touch(index);
        self.nodes.index = index;
        self.node.insert(node.to_owned(), index);
    }

    /// Index and watch of `/v1/health/service/NAME`. Without instances the index is coarse and nothing but an instance wakes.
    pub(super) fn health_service(&self, name: &str, exists: bool) -> Stamp {
        let row = self.service.get(&name.to_lowercase());
        match row {
            Some(row) if exists => Stamp::both(row.index),
            _ => Stamp { index: self.absent_service(), touched: 0 },
        }
    }

    /// Index and watch of `/v1/catalog/service/NAME`.
    pub(super) fn catalog_service(&self, name: &str, exists: bool) -> Stamp {
        let row = self.service.get(&name.to_lowercase());
        match row {
            Some(row) if exists => Stamp { index: row.index, touched: row.registered },
            _ => Stamp { index: self.absent_service(), touched: 0 },
        }
    }

    fn absent_service(&self) -> u64 {
        let tables = self.nodes.index.max(self.services.index).max(self.checks.index);
        self.service_extinction.unwrap_or(tables)
    }

    /// Index and watch of `/v1/catalog/node-services/NODE`.
    pub(super) fn node_services(&self, node: &str) -> Stamp {
        match self.node.get(node) {
            Some(index) => Stamp::both(*index),
            None => Stamp { index: self.node_extinction.max(1), touched: self.node_extinction },
        }
    }

    /// Index and watch of `/v1/health/node/NODE`. A node without checks is woken by any check.
    pub(super) fn health_node(&self, node: &str) -> Stamp {
        let touched = self.node_checks.get(node).copied().unwrap_or(self.checks.touched);
        Stamp { index: self.checks.index, touched }
    }

    /// Index and watch of `/v1/health/state/STATE`.
    pub(super) fn health_state(&self, state: &str) -> Stamp {
        if state == "any" {
            return self.checks;
        }
        Stamp { index: self.checks.index, touched: self.status.get(state).copied().unwrap_or(0) }
    }
}
