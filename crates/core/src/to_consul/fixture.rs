//! Both worlds in a text form, for tests: a Consul that knows compare-and-set and nothing else, and as much of Kubernetes as the
//! planner reads. Used by the tests beside the code and by those in `tests/`, hence no path of its own (`krate` is this crate).
//!
//! ```text
//! service shop/web type=LoadBalancer lb=203.0.113.7 port=http:80 @id=web      # `@id` is consul8s/service.id; label=kubernetes
//! slice shop/web ports=http:8080 10.1.0.1,node=n1,pod=web-a 10.1.0.2,unready
//! node n1 ext=198.51.100.1 int=10.0.0.1
//! ```

use std::collections::BTreeMap;

use super::krate::consul::{Check, NodeService, NodeView, ServiceId, TxnApplied, TxnOp};
use super::krate::identity::Identity;
use super::krate::intent::{self, Intent, to_consul::AddressSource, to_consul::ToConsul};
use super::krate::kube::{
    AddressType, Endpoint, Family, Ingress, KubeNode, KubeService, KubeSlice, NodeAddressKind, ObjectKey, Scope,
    ServicePort, ServiceType, SlicePort,
};
use super::krate::names;
use super::krate::settings::Settings;
use super::krate::time::UnixMillis;
use super::krate::to_consul::claims::{Claim, Claims};
use super::krate::to_consul::ledger::Ledger;
use super::krate::to_consul::nodes::{Marks, OurNodes};
use super::krate::to_consul::original::Original;
use super::krate::to_consul::{HeldBecause, Input, Missing, Need, RegistrationChange, RegistrationPlan, Seen, plan};

/// Both worlds, and what a running program would remember.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) services: BTreeMap<ObjectKey, KubeService>,
    pub(crate) slices: BTreeMap<ObjectKey, KubeSlice>,
    pub(crate) cluster_nodes: BTreeMap<String, KubeNode>,
    /// Services that are gone, and how.
    pub(crate) gone: BTreeMap<ObjectKey, How>,
    /// Consul's catalog.
    pub(crate) catalog: BTreeMap<String, NodeView>,
    index: u64,
    pub(crate) now: UnixMillis,
    pub(crate) ledger: Ledger,
    /// What was read of the Python original's nodes.
    originals: BTreeMap<ObjectKey, (Option<NodeView>, Vec<UnixMillis>)>,
    last_valid: BTreeMap<ObjectKey, ToConsul>,
    /// Everything is looked at, and listed, the other way round.
    pub(crate) reversed: bool,
}

/// How a Service is gone.
#[derive(Clone, Default)]
pub(crate) struct How {
    pub(crate) seen: bool,
    pub(crate) reads: Vec<UnixMillis>,
    pub(crate) list: Option<u64>,
    pub(crate) mark: Option<u64>,
}

impl World {
    pub(crate) fn new() -> World {
        let identity = Identity {
            owner: "me".into(),
            cluster: "c1".into(),
            cluster_uid: "c1".into(),
            installation: "default/consul8s".into(),
        };
        World {
            settings: Settings::new(identity, Scope::All { exclude: Vec::new() }),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            cluster_nodes: BTreeMap::new(),
            gone: BTreeMap::new(),
            catalog: BTreeMap::new(),
            index: 10,
            now: UnixMillis(1_000_000),
            ledger: Ledger::default(),
            originals: BTreeMap::new(),
            last_valid: BTreeMap::new(),
            reversed: false,
        }
    }

    /// Changes the worlds as the text says.
    pub(crate) fn set(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let (verb, what) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let words: Vec<&str> = words.collect();
            match verb {
                "service" => {
                    let service = service(what, &words);
                    self.gone.remove(&service.key);
                    self.services.insert(service.key.clone(), service);
                }
                "deleted" => self.lose(what, How { seen: true, ..How::default() }),
                "missing" => self.lose(what, missing(&words)),
                "slice" => {
                    let slice = slice(what, &words);
                    self.slices.insert(slice.key.clone(), slice);
                }
                "noslice" => self.slices.retain(|at, _| *at != key(what)),
                "node" => drop(self.cluster_nodes.insert(what.to_owned(), node(what, &words))),
                "nonode" => drop(self.cluster_nodes.remove(what)),
                "later" => self.now = UnixMillis(self.now.0 + what.parse::<u64>().expect("milliseconds")),
                "restart" => {
                    (self.ledger, self.last_valid, self.originals) =
                        (Ledger::default(), BTreeMap::new(), BTreeMap::new());
                }
                "release" => self.ledger.release(if what == "all" { None } else { Some(key(what)) }.as_ref()),
                "consul" => self.catalog_entry(what, &words),
                "flag" => self.flag(what, words.first().copied().unwrap_or_default()),
                _ => panic!("no such line: {line}"),
            }
        }
    }

    fn lose(&mut self, what: &str, how: How) {
        let key = key(what);
        self.services.remove(&key);
        self.gone.insert(key, how);
    }

    /// `NODE [ID=NAME,ADDRESS,PORT[,KEY:VALUE]…]… [#META:VALUE]… [at=ADDRESS]`: what somebody else writes into the catalog.
    fn catalog_entry(&mut self, node: &str, words: &[&str]) {
        self.index += 1;
        let index = self.index;
        let view = self.catalog.entry(node.to_owned()).or_default();
        if view.node.name.is_empty() {
            (view.node.name, view.node.modify_index) = (node.to_owned(), index);
        }
        for word in words {
            if let Some((key, value)) = word.strip_prefix('#').and_then(|pair| pair.split_once(':')) {
                view.node.meta.insert(key.to_owned(), value.to_owned());
                view.node.modify_index = index;
                continue;
            }
            let (id, rest) = word.split_once('=').expect("ID=NAME,ADDRESS,PORT");
            if id == "at" {
                view.node.address = rest.to_owned();
                continue;
            }
            let parts: Vec<&str> = rest.split(',').collect();
            let meta = parts[3..].iter().filter_map(|pair| pair.split_once(':'));
            let service = NodeService {
                id: id.to_owned(),
                name: parts[0].to_owned(),
                address: parts[1].to_owned(),
                port: parts[2].parse().expect("a port"),
                tags: Vec::new(),
                meta: meta.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
                weight: 1,
                modify_index: index,
            };
            view.services.insert(id.to_owned(), service);
        }
    }

    fn flag(&mut self, flag: &str, value: &str) {
        match flag {
            "take-over" => self.settings.take_over = true,
            "default-sync" => self.settings.default_sync = true,
            "consul-k8s" => self.settings.consul_k8s = true,
            "name-template" => self.settings.name_template = value.to_owned(),
            "default-tags" => self.settings.default_tags = list(value),
            "default-address-source" => {
                self.settings.default_address_source = AddressSource::parse(value).expect("source")
            }
            "namespace" => self.settings.scope = Scope::Namespaces(list(value)),
            "owner" => self.settings.identity.owner = value.to_owned(),
            "cluster-uid" => self.settings.identity.cluster_uid = value.to_owned(),
            _ => panic!("no such flag: {flag}"),
        }
    }

    /// Our nodes, as reading until nothing new appears would show them.
    pub(crate) fn our_nodes(&self) -> OurNodes {
        let mut nodes = OurNodes::new(self.settings.consul_node_name.clone());
        loop {
            let unread: Vec<String> = nodes.to_read().into_iter().filter(|name| nodes.get(name).is_none()).collect();
            let found: Vec<&NodeView> = unread.iter().filter_map(|name| self.catalog.get(name)).collect();
            if found.is_empty() {
                return nodes;
            }
            found.into_iter().for_each(|view| nodes.set(view.clone()));
        }
    }

    /// Everything that is to be looked at.
    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        let nodes = self.our_nodes();
        let mut keys: Vec<ObjectKey> =
            self.services.keys().chain(nodes.keys()).chain(self.gone.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        if self.reversed {
            keys.reverse();
        }
        keys
    }

    fn intents(&mut self) -> (BTreeMap<ObjectKey, Intent>, Claims) {
        let mut claims = Claims::default();
        let nodes = self.our_nodes();
        let marks = Marks { identity: &self.settings.identity, take_over: self.settings.take_over };
        let mut intents = BTreeMap::new();
        for (key, service) in &self.services {
            let intent = intent::parse(service, &self.settings).intent;
            if let Intent::ToConsul(wish) = &intent {
                self.last_valid.insert(key.clone(), wish.clone());
            }
            let standing = nodes.standing(key, &marks);
            claims.set(key, Claim::of(service, &intent, self.last_valid.get(key), &standing));
            intents.insert(key.clone(), intent);
        }
        (intents, claims)
    }

    /// What is wrong with the annotations of a Service.
    pub(crate) fn problems(&self, key: &ObjectKey) -> Vec<String> {
        let parsed = self.services.get(key).map(|service| intent::parse(service, &self.settings));
        parsed.into_iter().flat_map(|parsed| parsed.problems).map(|problem| problem.to_string()).collect()
    }

    /// The plan for one Service.
    pub(crate) fn plan(&mut self, key: &ObjectKey) -> RegistrationPlan {
        let (intents, claims) = self.intents();
        let how = self.gone.get(key).cloned().unwrap_or_default();
        let seen = match (self.services.get(key), intents.get(key)) {
            (Some(service), Some(intent)) => Seen::There { service, intent, last_valid: self.last_valid.get(key) },
            _ if how.seen => Seen::Deleted,
            _ => Seen::Missing(Missing { reads: &how.reads, list_version: how.list, mark: how.mark }),
        };
        let mut slices: Vec<&KubeSlice> = self.slices.values().collect();
        let mut cluster_nodes: Vec<&KubeNode> = self.cluster_nodes.values().collect();
        if self.reversed {
            slices.reverse();
            cluster_nodes.reverse();
        }
        let made = plan(&Input {
            key,
            seen,
            slices: &slices,
            cluster_nodes: &cluster_nodes,
            nodes: &self.our_nodes(),
            claims: &claims,
            elsewhere: &[],
            original: match self.originals.get(key) {
                None => Original::Unread,
                Some((None, _)) => Original::Absent,
                Some((Some(view), empty)) => Original::Read { view, empty },
            },
            ledger: &self.ledger,
            settings: &self.settings,
            now: self.now,
        });
        self.ledger.note(key, made.loss, self.now);
        if let Some(held) = made.held.as_ref().filter(|held| held.why == HeldBecause::Mass) {
            self.ledger.held(key, &held.hold);
        }
        made
    }

    /// Plans and applies everything until nothing is left to do, and says what was done.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..10 {
            let before = done.len();
            let mut reads = 0;
            for key in self.keys() {
                let made = self.plan(&key);
                done.extend(made.changes.iter().map(ToString::to_string));
                done.extend(made.empty_original.iter().map(ToString::to_string));
                reads += made.needs.len();
                self.carry_out(&key, made);
            }
            if done.len() == before && reads == 0 {
                return done;
            }
        }
        panic!("it does not settle: {done:#?}");
    }

    fn carry_out(&mut self, key: &ObjectKey, made: RegistrationPlan) {
        for change in &made.changes {
            self.apply(change);
            if let RegistrationChange::Deregister { node, .. } = change {
                self.ledger.done(key, self.now);
                if !node.starts_with(&self.settings.consul_node_name) {
                    self.originals.remove(key);
                }
            }
        }
        if let Some(node) = made.empty_original {
            self.catalog.remove(node.name());
            self.originals.remove(key);
        }
        for need in made.needs {
            match need {
                Need::ReadService { key, at } => {
                    self.now = self.now.max(at);
                    let now = self.now;
                    self.gone.entry(key).or_default().reads.push(now);
                }
                Need::ReadOriginal { node, at } => {
                    self.now = self.now.max(at);
                    let view = self.catalog.get(&node).cloned();
                    let empty = view.as_ref().is_some_and(|view| view.services.is_empty());
                    let known = self.originals.entry(key.clone()).or_default();
                    known.0 = view;
                    known.1.extend(empty.then_some(self.now));
                }
            }
        }
    }

    /// One change in one transaction; panics where Consul would refuse it.
    pub(crate) fn apply(&mut self, change: &RegistrationChange) {
        let applied = self.transaction(&change.ops()).unwrap_or_else(|why| panic!("{why}: {change}"));
        drop(applied);
    }

    /// All of it, or nothing.
    pub(crate) fn transaction(&mut self, ops: &[TxnOp]) -> Result<TxnApplied, String> {
        let mut catalog = self.catalog.clone();
        let mut applied = TxnApplied::default();
        self.index += 1;
        for op in ops {
            commit(&mut catalog, op, self.index, &mut applied)?;
        }
        self.catalog = catalog;
        Ok(applied)
    }
}

fn commit(
    catalog: &mut BTreeMap<String, NodeView>,
    op: &TxnOp,
    index: u64,
    applied: &mut TxnApplied,
) -> Result<(), String> {
    let fence = |stands: Option<u64>, read: u64, what: &str| match stands.unwrap_or(0) == read {
        true => Ok(()),
        false => Err(format!("{what}: index is stale")),
    };
    match op {
        TxnOp::SetNode { node, index: read } => {
            fence(catalog.get(&node.name).map(|view| view.node.modify_index), *read, &node.name)?;
            let view = catalog.entry(node.name.clone()).or_default();
            view.node = node.clone();
            view.node.modify_index = index;
            applied.nodes.push(view.node.clone());
        }
        TxnOp::SetService { registration, index: read } => {
            let view = catalog.get_mut(&registration.node).ok_or("no such node")?;
            let stands = view.services.get(registration.id.as_str());
            fence(stands.map(|service| service.modify_index), *read, registration.id.as_str())?;
            let mut service = NodeService {
                id: registration.id.as_str().to_owned(),
                name: registration.name.clone(),
                address: registration.address.clone(),
                port: i64::from(registration.port),
                tags: registration.tags.clone(),
                meta: registration.meta.clone(),
                weight: i64::from(registration.weight),
                modify_index: *read,
            };
            // An identical write moves no index.
            if stands != Some(&service) {
                service.modify_index = index;
            }
            view.services.insert(service.id.clone(), service.clone());
            applied.services.push((registration.node.clone(), service));
        }
        TxnOp::SetCheck { registration, index: read } => {
            let view = catalog.get_mut(&registration.node).ok_or("no such node")?;
            let id = registration.id.check_id();
            fence(view.checks.get(&id).map(|check| check.modify_index), *read, &id)?;
            let check = Check {
                node: registration.node.clone(),
                id: id.clone(),
                name: names::CHECK_NAME.to_owned(),
                service_id: registration.id.as_str().to_owned(),
                status: registration.status,
                output: registration.output.clone(),
                modify_index: index,
            };
            view.checks.insert(id, check.clone());
            applied.checks.push(check);
        }
        TxnOp::DeleteService { node, id, name, index: read } => {
            let view = catalog.get_mut(node).ok_or("no such node")?;
            let stands = view.services.get(id.as_str()).ok_or("no such service")?;
            fence(Some(stands.modify_index), *read, id.as_str())?;
            assert_eq!(stands.name, *name, "deleted under another name");
            delete(view, id);
        }
    }
    Ok(())
}

fn delete(view: &mut NodeView, id: &ServiceId) {
    view.services.remove(id.as_str());
    view.checks.retain(|_, check| check.service_id != id.as_str());
}

pub(crate) fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').expect("NAMESPACE/NAME");
    ObjectKey::new(namespace, name)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn service(what: &str, words: &[&str]) -> KubeService {
    let mut service = KubeService {
        key: key(what),
        uid: format!("uid-{what}"),
        resource_version: "100".into(),
        labels: [(names::LABEL_SOURCE.to_owned(), "kubernetes".to_owned())].into(),
        ..KubeService::default()
    };
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if let Some(annotation) = name.strip_prefix('@') {
            let ours =
                !annotation.contains(['/', '.']) && annotation != names::DOMAIN_NAME || annotation.starts_with("meta.");
            let annotation = if ours { format!("consul8s/service.{annotation}") } else { annotation.to_owned() };
            service.annotations.insert(annotation, value.replace('+', " "));
            continue;
        }
        match name {
            "type" => service.service_type = service_type(value),
            "port" => service.ports.push(service_port(value)),
            "lb" => service.load_balancer = list(value).into_iter().map(ingress).collect(),
            "ext" => service.external_ips = list(value),
            "cluster" => service.cluster_ips = list(value),
            "headless" => service.headless = true,
            "selector" => drop(service.selector.insert("app".into(), "x".into())),
            "created" => service.created = UnixMillis(value.parse().expect("a number")),
            "uid" => service.uid = value.into(),
            "rv" => service.resource_version = value.into(),
            "deleting" => service.deleting = true,
            "label" => drop(service.labels.insert(names::LABEL_SOURCE.to_owned(), value.to_owned())),
            "nolabel" => service.labels.clear(),
            _ => panic!("no such word: {word}"),
        }
    }
    service
}

fn service_type(text: &str) -> ServiceType {
    match text {
        "NodePort" => ServiceType::NodePort,
        "LoadBalancer" => ServiceType::LoadBalancer,
        "ExternalName" => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    }
}

/// `NAME:PORT[:NODEPORT]`
fn service_port(text: &str) -> ServicePort {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    let mut number = || parts.next().map(|text| text.parse().expect("a port"));
    ServicePort { name, port: number().unwrap_or_default(), node_port: number(), ..ServicePort::default() }
}

fn ingress(text: String) -> Ingress {
    match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => Ingress { ip: Some(text), hostname: None },
        false => Ingress { ip: None, hostname: Some(text) },
    }
}

/// `NS/SERVICE[/SUFFIX] [by=MANAGER] [fqdn] [ports=NAME:PORT,…] ENDPOINT…`
fn slice(what: &str, words: &[&str]) -> KubeSlice {
    let mut parts = what.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (namespace, service, suffix) = (part(), part(), part());
    let mut slice = KubeSlice {
        key: ObjectKey::new(namespace, if suffix.is_empty() { service.clone() } else { format!("{service}/{suffix}") }),
        uid: "s".into(),
        resource_version: "1".into(),
        deleting: false,
        labels: [(names::LABEL_SERVICE_NAME.to_owned(), service)].into(),
        annotations: BTreeMap::new(),
        owners: Vec::new(),
        address_type: AddressType::Ip(Family::V4),
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("by", manager)) => drop(slice.labels.insert(names::LABEL_MANAGED_BY.to_owned(), manager.to_owned())),
            Some(("ports", ports)) => slice.ports = list(ports).iter().map(|text| slice_port(text)).collect(),
            None if *word == "fqdn" => slice.address_type = AddressType::Fqdn,
            _ => slice.endpoints.push(endpoint(word)),
        }
    }
    slice
}

fn slice_port(text: &str) -> SlicePort {
    let (name, number) = text.split_once(':').expect("NAME:PORT");
    SlicePort { name: name.to_owned(), port: number.parse().ok(), ..SlicePort::default() }
}

/// `ADDRESS[,node=N][,pod=P][,zone=Z][,unready][,terminating]`
fn endpoint(text: &str) -> Endpoint {
    let mut parts = text.split(',');
    let address = parts.next().unwrap_or_default().to_owned();
    let mut endpoint = Endpoint { address, ready: true, serving: true, ..Endpoint::default() };
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("node", name) => endpoint.node_name = Some(name.to_owned()),
            ("pod", name) => endpoint.target = Some(format!("Pod/{name}")),
            ("zone", name) => endpoint.zone = Some(name.to_owned()),
            ("unready", _) => (endpoint.ready, endpoint.serving) = (false, false),
            ("terminating", _) => (endpoint.ready, endpoint.terminating) = (false, true),
            _ => panic!("no such word: {part}"),
        }
    }
    endpoint
}

fn node(name: &str, words: &[&str]) -> KubeNode {
    let mut node = KubeNode { name: name.to_owned(), ready: true, ..KubeNode::default() };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("ext", ip) => node.addresses.push((NodeAddressKind::External, ip.to_owned())),
            ("int", ip) => node.addresses.push((NodeAddressKind::Internal, ip.to_owned())),
            ("zone", zone) => drop(node.labels.insert(names::LABEL_ZONE.to_owned(), zone.to_owned())),
            ("excluded", _) => drop(node.labels.insert(names::LABEL_EXCLUDE_NODE.to_owned(), String::new())),
            ("tainted", _) => node.taints.push(names::TAINT_TO_BE_DELETED.to_owned()),
            ("notready", at) => {
                (node.ready, node.ready_changed) = (false, UnixMillis(at.parse().unwrap_or_default()));
            }
            _ => panic!("no such word: {word}"),
        }
    }
    node
}

/// `[reads=MS,…] [list=N] [mark=N]`
fn missing(words: &[&str]) -> How {
    let mut how = How::default();
    for word in words {
        match word.split_once('=').expect("KEY=VALUE") {
            ("reads", times) => {
                how.reads = list(times).iter().map(|at| UnixMillis(at.parse().expect("a time"))).collect()
            }
            ("list", version) => how.list = version.parse().ok(),
            ("mark", version) => how.mark = version.parse().ok(),
            _ => panic!("no such word: {word}"),
        }
    }
    how
}
