//! The catalog itself, and the two classic writes: register and deregister.

use std::collections::BTreeMap;

use super::index::Rows;
use super::record::{CheckRecord, Node, ServiceRecord};
use super::rules::{self, Refused, refuse};

/// A Consul datacenter as a value. Every write that reaches Raft costs an index, whether it changes something or not.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) datacenter: String,
    /// Name of the node that answers: a server with its own agent.
    pub(super) server: String,
    pub(super) raft: u64,
    /// Grows when the state is replaced as a whole; queries in flight return then.
    pub(super) lineage: u64,
    pub(super) nodes: BTreeMap<String, NodeEntry>,
    pub(super) rows: Rows,
}

/// A node with what is registered on it.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeEntry {
    pub(super) record: Node,
    pub(super) services: BTreeMap<String, ServiceRecord>,
    pub(super) checks: BTreeMap<String, CheckRecord>,
}

/// Body of `PUT /v1/catalog/register`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// The node; its indexes are ignored.
    pub node: Node,
    /// Leave an existing node as it is.
    pub skip_node_update: bool,
    /// An instance, if any; its indexes are ignored. Without ID it gets its name as one.
    pub service: Option<ServiceRecord>,
    /// Checks; without ID they get their name as one, without state they are `critical`.
    pub checks: Vec<CheckRecord>,
}

impl Catalog {
    /// A fresh datacenter with one server, which is registered with its service `consul` and a passing `serfHealth`.
    #[must_use]
    pub fn new(datacenter: &str, server: &str) -> Catalog {
        let mut catalog = Catalog {
            datacenter: datacenter.to_owned(),
            server: server.to_owned(),
            // A real server has spent about a dozen entries on itself before it is ready.
            raft: 11,
            lineage: 0,
            nodes: BTreeMap::new(),
            rows: Rows::default(),
        };
        let node = Node { name: server.to_owned(), address: "127.0.0.1".into(), ..Node::default() };
        let consul =
            ServiceRecord { id: "consul".into(), name: "consul".into(), port: 8300, ..ServiceRecord::default() };
        let serf = CheckRecord {
            id: "serfHealth".into(),
            name: "Serf Health Status".into(),
            status: "passing".into(),
            output: "Agent alive and reachable".into(),
            ..CheckRecord::default()
        };
        let own = Registration { node, service: Some(consul), checks: vec![serf], ..Registration::default() };
        // A registration without names of others cannot be refused; a server without itself would only be an emptier world.
        let _ = catalog.register(own);
        catalog
    }

    /// Forgets everything but the server itself, as after the loss of its data: indexes start again from below.
    pub fn wipe(&mut self) {
        let lineage = self.lineage + 1;
        *self = Catalog { lineage, ..Catalog::new(&self.datacenter, &self.server) };
    }

    /// Becomes what it once was, as after the restore of a snapshot: indexes go on from below.
    pub fn restore(&mut self, snapshot: Catalog) {
        let lineage = self.lineage + 1;
        *self = Catalog { lineage, ..snapshot };
    }

    /// Name of the datacenter.
    #[must_use]
    pub fn datacenter(&self) -> &str {
        &self.datacenter
    }

    /// Name of the node whose agent answers.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The last Raft index.
    #[must_use]
    pub fn raft_index(&self) -> u64 {
        self.raft
    }

    /// Which life of the state this is: another number after a [`Catalog::wipe`].
    #[must_use]
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// Registers a node, and with it an instance and checks; all or nothing.
    ///
    /// # Errors
    /// In Consul's words, with nothing changed.
    pub fn register(&mut self, mut wanted: Registration) -> Result<(), Refused> {
        rules::check_node(&wanted.node)?;
        if wanted.node.address.is_empty() && !wanted.skip_node_update {
            return refuse("Must provide address if SkipNodeUpdate is not set");
        }
        if let Some(service) = &mut wanted.service {
            rules::check_service(service)?;
        }
        let node = wanted.node.name.clone();
        for check in &mut wanted.checks {
            if check.id.is_empty() {
                check.id.clone_from(&check.name);
            }
            rules::check_check(check, &node)?;
            check.node.clone_from(&node);
        }
        let mut next = self.clone();
        let done = next.apply_registration(wanted);
        self.commit(next, done)
    }

    fn apply_registration(&mut self, wanted: Registration) -> Result<(), Refused> {
        let Registration { node, skip_node_update, service, checks } = wanted;
        let name = node.name.clone();
        if !(skip_node_update && self.nodes.contains_key(&name)) {
            self.ensure_node(node);
        }
        if let Some(service) = service {
            self.ensure_service(&name, service)
                .map_err(|Refused(why)| Refused(format!("failed inserting service: {why}")))?;
        }
        for check in checks {
            let service_id = &check.service_id;
            if !service_id.is_empty() && self.service(&name, service_id).is_none() {
                return refuse(format!("Unknown service ID '{service_id}' for check ID '{}'", check.id));
            }
            self.ensure_check(check)?;
        }
        Ok(())
    }

    /// Takes over a changed copy, or only the Raft entry that its refusal cost.
    pub(super) fn commit<T, E>(&mut self, mut next: Catalog, done: Result<T, E>) -> Result<T, E> {
        next.raft += 1;
        match done {
            Ok(_) => *self = next,
            Err(_) => self.raft = next.raft,
        }
        done
    }

    /// Index of the write under way.
    pub(super) fn next_index(&self) -> u64 {
        self.raft + 1
    }

    /// Removes an instance with its checks. What is not there is removed already.
    pub fn deregister_service(&mut self, node: &str, id: &str) {
        self.delete_service(node, id);
        self.raft += 1;
    }

    /// Removes a check. What is not there is removed already.
    pub fn deregister_check(&mut self, node: &str, id: &str) {
        self.delete_check(node, id);
        self.raft += 1;
    }

    /// Removes a node with all that is registered on it. What is not there is removed already.
    pub fn deregister_node(&mut self, node: &str) {
        self.delete_node(node);
        self.raft += 1;
    }
}
