//! A world over which time passes: plans, confirming reads and writes, one after the other, without any I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::consul::{Answer, AnswerMeta, HealthQuery, Instance, NodeRecord, NodeService, NodeView};
use crate::guard::{self, Case, Judged, Ledger, Memory, Need, NodeReading, ServiceReading, SourceState};
use crate::intent::{self, Intent, to_kube::ToKube};
use crate::kube::{AddressType, KubeService, KubeSlice, ObjectKey, SliceSpec};
use crate::packing::{self, SliceChange};
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::{self, Mode, Source};

use super::World;

/// Passes of one sync at most: plan, explicit or first read, and what follows from it.
const PASSES: usize = 6;

/// A world with a process in it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Both sides.
    pub world: World,
    /// The time.
    pub now: UnixMillis,
    /// Headers of Consul's answers.
    pub meta: AnswerMeta,
    /// Whether Consul answers; while it doesn't, the last answers stand, and no read is answered.
    pub answering: bool,
    /// Datacenters that don't answer.
    pub down: BTreeSet<String>,
    /// Since when the lineage is broken.
    pub broken: Option<UnixMillis>,
    /// Nodes that are alive without regard to instances; a node that has instances in the world exists too.
    pub alive: BTreeSet<String>,
    /// Addresses of hostnames.
    pub resolved: BTreeMap<String, Vec<IpAddr>>,
    /// `consul8s/allow-removal` on the Lease.
    pub lease_release: Option<String>,
    /// The settings.
    pub settings: Settings,
    /// Writes so far.
    pub writes: usize,
    /// Confirming reads so far.
    pub reads: usize,
    answers: BTreeMap<HealthQuery, (UnixMillis, Answer<Arc<Vec<Instance>>>)>,
    started: UnixMillis,
    memories: BTreeMap<ObjectKey, Memory>,
    choices: BTreeMap<ObjectKey, Choice>,
    yielding: BTreeMap<ObjectKey, UnixMillis>,
    ledger: Ledger,
    due: BTreeMap<ObjectKey, UnixMillis>,
}

/// What one sync of a Service came to.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The last plan, as the guard passed it; none where the Service isn't to be filled.
    pub judged: Option<Judged>,
    /// All writes.
    pub changes: Vec<SliceChange>,
}

impl Stage {
    /// A process that has just started in this world.
    #[must_use]
    pub fn new(world: World) -> Stage {
        let now = UnixMillis(1_800_000_000_000);
        Stage {
            world,
            now,
            meta: AnswerMeta::default(),
            answering: true,
            down: BTreeSet::new(),
            broken: None,
            alive: BTreeSet::new(),
            resolved: BTreeMap::new(),
            lease_release: None,
            settings: super::settings(),
            writes: 0,
            reads: 0,
            answers: BTreeMap::new(),
            started: now,
            memories: BTreeMap::new(),
            choices: BTreeMap::new(),
            yielding: BTreeMap::new(),
            ledger: Ledger::default(),
            due: BTreeMap::new(),
        }
    }

    /// The process stops and starts: what it remembered is gone, the world stands.
    pub fn restart(&mut self) {
        (self.memories, self.answers, self.due, self.choices, self.yielding) = Default::default();
        self.ledger = Ledger::default();
        self.started = self.now;
    }

    /// The process becomes the leader.
    pub fn lead(&mut self) {
        self.memories.values_mut().for_each(Memory::lead);
    }

    /// Syncs every Service once.
    pub fn sync_all(&mut self) -> Vec<Synced> {
        let keys: Vec<ObjectKey> = self.world.services.iter().map(|s| s.key.clone()).collect();
        let synced = keys.iter().map(|key| self.sync(key)).collect();
        self.ledger.complete();
        synced
    }

    /// Syncs one Service until it needs no read that is due now.
    pub fn sync(&mut self, key: &ObjectKey) -> Synced {
        let Some(service) = self.world.services.iter().find(|s| s.key == *key).cloned() else {
            let changes = packing::leftovers(key, &self.slices_of(key), &self.settings.identity);
            self.apply(&changes);
            return Synced { judged: None, changes };
        };
        let none = BTreeSet::new();
        match intent::parse(&service, &self.settings).intent {
            Intent::ToKube(wish) => self.fill(&service, &wish, Mode::Follow),
            Intent::None(why) => self.withdraw(&service, why),
            Intent::ToConsul(_) => self.withdraw(&service, UserIntent::OtherDirection),
            Intent::Frozen(direction) => {
                let slices = self.slices_of(key);
                match to_kube::frozen(&service, direction, &slices, &none, &self.settings) {
                    Some((wish, mode)) => self.fill(&service, &wish, mode),
                    None => Synced { judged: None, changes: Vec::new() },
                }
            }
            Intent::Yield => {
                let since = *self.yielding.entry(key.clone()).or_insert(self.now);
                let slices = self.slices_of(key);
                match to_kube::may_yield(&service, &slices, &none, &self.settings, since, self.now) {
                    Some(at) => {
                        self.due.insert(key.clone(), at);
                        Synced { judged: None, changes: Vec::new() }
                    }
                    None => self.withdraw(&service, UserIntent::Unsupported),
                }
            }
            Intent::Suspended(_) => Synced { judged: None, changes: Vec::new() },
        }
    }

    fn withdraw(&mut self, service: &KubeService, why: UserIntent) -> Synced {
        let slices = self.slices_of(&service.key);
        let changes = packing::withdraw(service, &slices, &BTreeSet::new(), &self.settings.identity, why);
        self.apply(&changes);
        self.memories.remove(&service.key);
        self.ledger.forget(&service.key);
        self.due.remove(&service.key);
        Synced { judged: None, changes }
    }

    /// Lets time pass: each Service is synced whenever it asked to be looked at again.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some((key, at)) = self.due.iter().min_by_key(|(_, at)| **at).map(|(key, at)| (key.clone(), *at)) {
            if at > end {
                break;
            }
            // Never twice at one moment: a read that isn't answered is tried again later.
            self.now = self.now.max(at).after(Duration::from_millis(1));
            self.sync(&key);
        }
        self.now = self.now.max(end);
    }

    /// Ready addresses of a Service as its slices show them, sorted.
    #[must_use]
    pub fn ready(&self, key: &ObjectKey) -> Vec<String> {
        let slices = self.slices_of(key);
        let endpoints = slices.iter().filter(|s| !s.deleting).flat_map(|s| &s.endpoints);
        let mut ready: Vec<String> = endpoints.filter(|e| e.ready).map(|e| e.address.clone()).collect();
        ready.sort();
        ready
    }

    /// All slices of a Service.
    #[must_use]
    pub fn slices_of(&self, key: &ObjectKey) -> Vec<&KubeSlice> {
        self.world.slices.iter().filter(|slice| slice.service().as_ref() == Some(key)).collect()
    }

    fn fill(&mut self, service: &KubeService, wish: &ToKube) -> Synced {
        let key = &service.key;
        if self.answering {
            let body = self.answer(&wish.query);
            self.answers.insert(key.clone(), Answer { meta: self.meta.clone(), body: body.into() });
            self.heard.insert(key.clone(), self.now);
        }
        let mut all = Vec::new();
        let (mut services_read, mut nodes_read) = (Vec::new(), Vec::new());
        let mut last = None;
        for _ in 0..PASSES {
            let (judged, changes) = self.once(service, wish, &services_read, &nodes_read);
            self.apply(&changes);
            all.extend(changes);
            (services_read, nodes_read) = self.read(service, wish, &judged.needs);
            last = Some(judged);
            if services_read.is_empty() && nodes_read.is_empty() {
                break;
            }
        }
        match last.as_ref().and_then(|judged| judged.look_again) {
            Some(at) => drop(self.due.insert(key.clone(), at.max(self.now.after(Duration::from_millis(1))))),
            None => drop(self.due.remove(key)),
        }
        if !self.answering {
            self.due.insert(key.clone(), self.now.after(Duration::from_secs(1)));
        }
        Synced { judged: last, changes: all }
    }

    fn once(
        &mut self,
        service: &KubeService,
        wish: &ToKube,
        services_read: &[ServiceReading],
        nodes_read: &[NodeReading],
    ) -> (Judged, Vec<SliceChange>) {
        let none = BTreeSet::new();
        let mut memory = self.memories.remove(&service.key).unwrap_or_default();
        let slices: Vec<&KubeSlice> =
            self.world.slices.iter().filter(|slice| slice.service().as_ref() == Some(&service.key)).collect();
        let answer = self.answers.get(&service.key);
        let plan = to_kube::plan(&to_kube::Input {
            service,
            intent: wish,
            mode: Mode::Follow,
            slices: &slices,
            source: Source {
                query: &wish.query,
                answer,
                heard: self.heard.get(&service.key).copied().unwrap_or(self.started),
            },
            resolved: &self.resolved,
            abandoned: &none,
            memory: &memory,
            settings: &self.settings,
            now: self.now,
        });
        let source = answer.map_or_else(SourceState::default, |answer| SourceState::of(&answer.meta, self.broken));
        let case = Case {
            plan,
            service,
            source,
            services_read,
            nodes_read,
            lease_release: self.lease_release.as_deref(),
            settings: &self.settings,
            now: self.now,
        };
        let judged = guard::judge(case, &mut memory, &mut self.ledger);
        self.memories.insert(service.key.clone(), memory);
        let changes = packing::changes(&packing::Input {
            judged: &judged,
            service,
            intent: wish,
            slices: &slices,
            taken: &none,
            abandoned: &none,
            settings: &self.settings,
            trigger: Some(self.now),
        });
        (judged, changes)
    }

    /// What Consul shows: names without regard to case, as it does.
    fn answer(&self, query: &HealthQuery) -> Vec<Instance> {
        let named = self.world.instances.iter().filter(|i| i.name.eq_ignore_ascii_case(&query.name));
        // The one filter expression that worlds know: `Service.Meta.version == X`.
        let version = query.filter.as_deref().and_then(|filter| filter.strip_prefix("Service.Meta.version == "));
        named.filter(|i| version.is_none_or(|v| i.meta.get("version").is_some_and(|m| m == v))).cloned().collect()
    }

    /// Answers the reads that are due.
    fn read(
        &mut self,
        service: &KubeService,
        wish: &ToKube,
        needs: &[Need],
    ) -> (Vec<ServiceReading>, Vec<NodeReading>) {
        let (mut services, mut nodes) = (Vec::new(), Vec::new());
        let due: Vec<&Need> = needs.iter().filter(|need| self.answering && need.not_before() <= self.now).collect();
        self.reads += due.len();
        for need in due {
            match need {
                Need::ServiceRead { query, .. } => {
                    let answer = Answer { meta: self.meta.clone(), body: self.answer(query) };
                    let (settings, resolved) = (&self.settings, &self.resolved);
                    services.push(ServiceReading::of(service, wish, settings, resolved, query, self.now, &answer));
                }
                Need::NodeRead { node, .. } => nodes.push(self.read_node(node)),
            }
        }
        (services, nodes)
    }

    fn read_node(&self, node: &str) -> NodeReading {
        let on_node: Vec<&Instance> = self.world.instances.iter().filter(|i| i.node == node).collect();
        let exists = self.alive.contains(node) || !on_node.is_empty();
        let view = exists.then(|| NodeView {
            node: NodeRecord { name: node.to_owned(), ..NodeRecord::default() },
            services: on_node
                .iter()
                .map(|i| {
                    (i.id.clone(), NodeService { id: i.id.clone(), name: i.name.clone(), ..NodeService::default() })
                })
                .collect(),
            checks: BTreeMap::new(),
        });
        let reading = NodeReading::of(
            node,
            self.now,
            &Answer { meta: self.meta.clone(), body: view },
            &Answer { meta: self.meta.clone(), body: Vec::new() },
        );
        NodeReading { alive: self.alive.contains(node), ..reading }
    }

    /// Carries out changes as the API server would, preconditions included.
    ///
    /// # Panics
    /// When a precondition fails: the plan rested on this very world.
    pub fn apply(&mut self, changes: &[SliceChange]) {
        for change in changes {
            self.writes += 1;
            let version = format!("v{}", self.writes);
            let at = self.world.slices.iter().position(|slice| slice.key == *change.key());
            match (change, at) {
                (SliceChange::Create(spec), None) => {
                    let uid = format!("uid-{version}");
                    self.world.slices.push(written(spec, uid, version));
                }
                (SliceChange::Update { uid, resource_version, spec, .. }, Some(at)) => {
                    let slice = &mut self.world.slices[at];
                    assert_eq!((&slice.uid, &slice.resource_version), (uid, resource_version));
                    *slice = written(spec, uid.clone(), version);
                }
                (SliceChange::Delete { uid, resource_version, .. }, Some(at)) => {
                    let slice = self.world.slices.remove(at);
                    assert_eq!((&slice.uid, &slice.resource_version), (uid, resource_version));
                }
                (change, at) => panic!("{change} meets {at:?}"),
            }
        }
    }
}

fn written(spec: &SliceSpec, uid: String, resource_version: String) -> KubeSlice {
    let SliceSpec { key, family, labels, annotations, owner, endpoints, ports, trigger: _ } = spec.clone();
    KubeSlice {
        key,
        uid,
        resource_version,
        deleting: false,
        labels,
        annotations,
        owners: vec![owner],
        address_type: AddressType::Ip(family),
        endpoints,
        ports,
    }
}
