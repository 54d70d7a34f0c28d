//! A world over which time passes: plans, confirming reads and writes, one after the other, without any I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::consul::{Answer, AnswerMeta, HealthQuery, Instance};
use crate::evidence::UserIntent;
use crate::guard::{self, Case, Judged, Ledger, Memory, NodeReading, ServiceReading, SourceState};
use crate::intent::{self, Intent, to_kube::ToKube};
use crate::kube::{AddressType, KubeService, KubeSlice, ObjectKey, SliceSpec};
use crate::packing::{self, SliceChange};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::failover::{self, Candidates, Choice, Chosen};
use crate::to_kube::{self, Mode, Source};

use super::World;

/// Passes of one sync at most: plan, explicit or first read, and what follows from it.
const PASSES: usize = 6;

/// An answer, and when it came.
type Heard = (UnixMillis, Answer<Arc<Vec<Instance>>>);

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
    /// Owner ids of installations that are gone for good.
    pub abandoned: BTreeSet<String>,
    /// Since when the lineage is broken.
    pub broken: Option<UnixMillis>,
    /// Whether the lineage has still to be compared.
    pub uncompared: bool,
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
    /// `FailedOver` so far.
    pub events: Vec<Problem>,
    pub(super) answers: BTreeMap<HealthQuery, Heard>,
    pub(super) started: UnixMillis,
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
            abandoned: BTreeSet::new(),
            broken: None,
            uncompared: false,
            alive: BTreeSet::new(),
            resolved: BTreeMap::new(),
            lease_release: None,
            settings: super::settings(),
            writes: 0,
            reads: 0,
            events: Vec::new(),
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
            Intent::Forbidden(_) => self.withdraw(&service, UserIntent::NotAllowed),
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

    fn fill(&mut self, service: &KubeService, wish: &ToKube, mode: Mode) -> Synced {
        let key = &service.key;
        self.hear(wish);
        let mut all = Vec::new();
        let (mut services_read, mut nodes_read) = (Vec::new(), Vec::new());
        let mut last = None;
        let mut look_again: Option<UnixMillis> = None;
        for _ in 0..PASSES {
            let (judged, changes, chosen) = self.once(service, wish, mode, &services_read, &nodes_read);
            self.apply(&changes);
            all.extend(changes);
            self.events.extend(chosen.event);
            (services_read, nodes_read) = self.read(service, wish, &judged.needs);
            look_again = judged.look_again.into_iter().chain(chosen.look_again).min();
            last = Some(judged);
            if services_read.is_empty() && nodes_read.is_empty() {
                break;
            }
        }
        // A source that doesn't answer is tried again, but not at once.
        let silent = !self.answering || !self.down.is_empty();
        let least = self.now.after(if silent { Duration::from_secs(1) } else { Duration::from_millis(1) });
        match look_again.map(|at| at.max(least)).or(silent.then_some(least)) {
            Some(at) => drop(self.due.insert(key.clone(), at)),
            None => drop(self.due.remove(key)),
        }
        Synced { judged: last, changes: all }
    }

    fn once(
        &mut self,
        service: &KubeService,
        wish: &ToKube,
        mode: Mode,
        services_read: &[ServiceReading],
        nodes_read: &[NodeReading],
    ) -> (Judged, Vec<SliceChange>, Chosen) {
        let none = BTreeSet::new();
        let mut memory = self.memories.remove(&service.key).unwrap_or_default();
        let mut choice = self.choices.remove(&service.key).unwrap_or_default();
        let Stage { settings, resolved, now, .. } = &*self;
        let (settings, resolved, now) = (settings, resolved, *now);
        let slices = self.slices_of(&service.key);
        let queries = wish.queries();
        let sources: Vec<Source<'_>> = queries.iter().map(|query| self.source(query)).collect();
        let candidates =
            Candidates { service, intent: wish, slices: &slices, sources: &sources, resolved, settings, now };
        let chosen = failover::choose(&candidates, &mut choice);
        let source = sources[chosen.index];
        let plan = to_kube::plan(&to_kube::Input {
            service,
            intent: wish,
            mode,
            slices: &slices,
            source,
            resolved,
            abandoned: &self.abandoned,
            memory: &memory,
            settings,
            now,
        });
        let of = |answer: &Answer<_>| SourceState::of(&answer.meta, self.broken);
        let state = SourceState { uncompared: self.uncompared, ..source.answer.map(of).unwrap_or_default() };
        let lease_release = self.lease_release.as_deref();
        let mut ledger = self.ledger.clone();
        let case = Case { plan, service, source: state, services_read, nodes_read, lease_release, settings, now };
        let judged = guard::judge(case, &mut memory, &mut ledger);
        let changes = packing::changes(&packing::Input {
            judged: &judged,
            service,
            intent: wish,
            slices: &slices,
            taken: &none,
            abandoned: &self.abandoned,
            settings,
            trigger: Some(now),
        });
        self.ledger = ledger;
        self.memories.insert(service.key.clone(), memory);
        self.choices.insert(service.key.clone(), choice);
        (judged, changes, chosen)
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
