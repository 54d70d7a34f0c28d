//! Both worlds as this process knows them, and what it remembers of each Service. Pure state: it is changed by what watches tell and by
//! what was written, and read for planning.

pub mod cluster;
pub mod cluster_nodes;
pub mod coming;
pub mod denied;
pub mod elsewhere;
pub mod kube;
pub mod lineages;
pub mod names;
pub mod opening;
pub mod original;
pub mod record;
pub mod registry;
pub mod round;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::evidence::UserIntent;
use consul8s_core::guard;
use consul8s_core::intent::{self, Intent};
use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey};
use consul8s_core::neighbours::Neighbours;
use consul8s_core::ports::ApiError;
use consul8s_core::settings::Settings;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::claims::{Claim, Claims};
use consul8s_core::to_consul::ledger::Ledger as Losses;

use crate::feeds;
use cluster::Cluster;
use cluster_nodes::ClusterNodes;
use coming::Coming;
use denied::Denied;
use kube::{Changed, Objects};
use lineages::Lineages;
use names::Names;
use opening::Opening;
use record::{Gone, Record, Told};
use registry::Registry;
use round::Round;
use sources::Sources;

/// Everything known.
pub struct World {
    /// Services in scope.
    pub services: Objects<KubeService>,
    /// EndpointSlices in scope, of every manager.
    pub slices: Objects<KubeSlice>,
    /// The cluster behind the API.
    pub cluster: Cluster,
    /// New registrations that are on their way to our nodes.
    pub coming: Coming,
    /// Whether our token may make our nodes.
    pub denied: Denied,
    /// Nodes of the cluster, while some Service rests on them.
    pub cluster_nodes: ClusterNodes,
    /// Consul services that some Service asks for.
    pub sources: Sources,
    /// Whether Consul counts on from where it was.
    pub lineages: Lineages,
    /// Hostnames in their answers.
    pub names: Names,
    /// Our nodes in Consul.
    pub registry: Registry,
    /// Who has which Consul name and ID.
    pub claims: Claims,
    /// What endpoints left lately, over all Services.
    pub guard: guard::Ledger,
    /// `consul8s/allow-removal` on the Lease, with the round of looks under it.
    pub release: Option<(String, Round)>,
    /// Installations whose slices stand on Services that we should fill.
    pub neighbours: Neighbours,
    /// Services that bear a label of ours outside our scope; none = not known.
    pub out_of_scope: Option<BTreeSet<ObjectKey>>,
    /// How far the first round of looks is.
    pub opening: Opening,
    /// What registrations went lately, over all Services.
    pub losses: Losses,
    /// Why Kubernetes did not answer last, if so.
    pub kube_trouble: Option<ApiError>,
    /// When Kubernetes last told something.
    pub kube_heard: UnixMillis,
    /// Why Consul did not answer last, if so.
    pub consul_trouble: Option<ApiError>,
    /// When Consul last answered.
    pub consul_heard: UnixMillis,
    records: BTreeMap<ObjectKey, Record>,
}

impl World {
    /// Nothing known yet.
    #[must_use]
    pub fn new(settings: &Settings, now: UnixMillis) -> World {
        World {
            services: Objects::new(feeds::namespaces(&settings.scope)),
            slices: Objects::new(feeds::namespaces(&settings.scope)),
            cluster: Cluster::default(),
            coming: Coming::default(),
            denied: Denied::default(),
            cluster_nodes: ClusterNodes::default(),
            sources: Sources::default(),
            lineages: Lineages::default(),
            names: Names::default(),
            registry: Registry::new(&settings.consul_node_name),
            claims: Claims::default(),
            guard: guard::Ledger::default(),
            release: None,
            neighbours: Neighbours::default(),
            out_of_scope: None,
            opening: Opening::default(),
            losses: Losses::default(),
            kube_trouble: None,
            kube_heard: now,
            consul_trouble: None,
            consul_heard: now,
            records: BTreeMap::new(),
        }
    }

    /// Whether every list of Kubernetes was complete once. Nothing is planned before that.
    #[must_use]
    pub fn kube_synced(&self) -> bool {
        self.services.synced() && self.slices.synced()
    }

    /// Whether what was listed may be planned on.
    #[must_use]
    pub fn plannable(&self) -> bool {
        self.kube_synced() && self.cluster.is_proven()
    }

    /// What is remembered of a Service.
    pub fn record(&mut self, key: &ObjectKey) -> &mut Record {
        self.records.entry(key.clone()).or_default()
    }

    /// What is remembered of a Service, if anything.
    #[must_use]
    pub fn remembered(&self, key: &ObjectKey) -> Option<&Record> {
        self.records.get(key)
    }

    /// All that is remembered.
    pub fn records(&self) -> impl Iterator<Item = (&ObjectKey, &Record)> {
        self.records.iter()
    }

    /// What the last look at a Service found.
    #[must_use]
    pub fn told(&self, key: &ObjectKey) -> Option<&Told> {
        self.records.get(key)?.told.as_ref()
    }

    /// This process becomes the one that writes.
    pub fn lead(&mut self) {
        for record in self.records.values_mut() {
            record.memory.lead();
            // What was known of it may be another's doing by now.
            record.original = consul8s_core::adopt::Memory::default();
        }
    }

    /// Forgets a Service of which nothing is left anywhere.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.records.remove(key);
        self.guard.forget(key);
    }

    /// Every Service that exists, or of which something of ours stands on either side, or of which something is remembered.
    #[must_use]
    pub fn all_keys(&self) -> BTreeSet<ObjectKey> {
        let services = self.services.iter().map(|service| service.key.clone());
        let slices = self.slices.iter().filter_map(|slice| slice.service());
        let registered = self.registry.nodes().keys().cloned();
        services.chain(slices).chain(registered).chain(self.records.keys().cloned()).collect()
    }

    /// Takes note of Services that came, changed or left: how they left, what they claim now, and what they would lose. Losses are noted
    /// for all of a list before the first of them is planned: only then do losses that come together show as such. Gives other
    /// Services for which a claim changed.
    pub fn note(
        &mut self,
        changed: &Changed<KubeService>,
        settings: &Settings,
        now: UnixMillis,
    ) -> BTreeSet<ObjectKey> {
        for service in &changed.seen_deleted {
            self.record(&service.key).gone = Some(Gone::Seen);
        }
        for service in &changed.missing {
            self.record(&service.key).gone.get_or_insert_with(Gone::missing);
        }
        let mut others = BTreeSet::new();
        for key in &changed.concerns {
            others.extend(self.claim(key, settings));
            self.note_loss(key, settings, now);
        }
        others
    }

    /// A read by name found no such Service. It may never have been seen here: what stands for it may be a late write of a process that
    /// is gone.
    pub fn read_absent(&mut self, key: &ObjectKey, now: UnixMillis) {
        if self.services.get(key).is_some() {
            return;
        }
        if let Gone::Missing { reads, .. } = self.record(key).gone.get_or_insert_with(Gone::missing) {
            reads.push(now);
        }
    }

    /// What stands in Consul is known anew: takes note of registrations whose Services are missing or no longer ask for them, and of what
    /// Services claim by what stands for them.
    pub fn note_standing(&mut self, settings: &Settings, now: UnixMillis) {
        let keys: Vec<ObjectKey> = self.registry.nodes().keys().cloned().collect();
        for key in keys {
            if self.services.get(&key).is_none() {
                self.record(&key).gone.get_or_insert_with(Gone::missing);
            }
            self.claim(&key, settings);
            self.note_loss(&key, settings, now);
        }
    }

    /// What a Service asks for, with the last valid wish where it can't be understood now.
    fn claim(&mut self, key: &ObjectKey, settings: &Settings) -> BTreeSet<ObjectKey> {
        let Some(service) = self.services.get(key).cloned() else {
            if let Some(record) = self.records.get_mut(key) {
                // Should another come under this name, it is another.
                record.last_valid = None;
            }
            return self.claims.set(key, None);
        };
        let intent = intent::parse(&service, settings).intent;
        let record = self.record(key);
        record.gone = None;
        if matches!(intent, Intent::ToConsul(_) | Intent::ToKube(_)) {
            record.last_valid = Some(intent.clone());
        }
        let last_valid = match &record.last_valid {
            Some(Intent::ToConsul(wish)) => Some(wish.clone()),
            _ => None,
        };
        let marks = settings.marks();
        let standing = self.registry.nodes().standing(key, &marks);
        let claim = Claim::of(&service, &intent, last_valid.as_ref(), &standing);
        self.claims.set(key, claim)
    }

    fn note_loss(&mut self, key: &ObjectKey, settings: &Settings, now: UnixMillis) {
        let lost = match self.services.get(key) {
            None => !matches!(self.records.get(key).and_then(|r| r.gone.as_ref()), Some(Gone::Seen)),
            Some(service) => matches!(intent::parse(service, settings).intent, Intent::None(UserIntent::Unlabelled)),
        };
        if lost {
            let marks = settings.marks();
            let standing = self.registry.nodes().standing(key, &marks).len();
            self.losses.note(key, standing, now);
        }
    }

    /// Consul answered.
    pub fn consul_answers(&mut self, now: UnixMillis) {
        self.consul_heard = now;
        if self.consul_trouble.take().is_some() {
            tracing::info!("Consul answers again");
        }
    }

    /// Consul did not answer as it should. Told once; what is published stays.
    pub fn consul_fails(&mut self, error: &ApiError) {
        if self.consul_trouble.replace(error.clone()).is_none() {
            tracing::warn!(%error, "Consul does not answer as it should; what stands stays, and it is asked again");
        }
    }
}
