//! What the Lease remembers for all processes of this installation, put to use: how far Consul had counted (contract S10), what a
//! person lets go of everywhere (`consul8s/allow-removal`), and which registrations are held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::claim::HeldNote;
use consul8s_core::consul::Read;
use consul8s_core::guard::HoldId;
use consul8s_core::import::CatalogQuery;
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ConsulApi, ErrorKind, KubeApi};
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::ledger::MassHold;

use crate::controller::Controller;
use crate::leader::Leadership;
use crate::stores::World;
use crate::stores::lineages::Datacenter;
use crate::stores::round::Round;

/// How often the indexes are read: what is noted of them is that old at most when Consul is lost with all that runs.
const EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether a datacenter is unknown, or a round is over.
const SOON: Duration = Duration::from_millis(200);
/// How long a release for all is in force at most: a Service whose writes fail for ever must not keep it so, and with it let go whatever
/// is held next.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);
/// What the agent's own datacenter is called on the Lease: a word that no datacenter can be called.
const AGENTS: &str = "(agent)";

/// Follows the notebook, as long as the program runs.
pub async fn follow<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, leadership: Leadership) {
    controller.world().lineages.compare();
    let mut gains = leadership.gains();
    let mut last = None;
    loop {
        if leadership.claim().is_some() {
            let due = last.is_none_or(|last: tokio::time::Instant| last.elapsed() >= EVERY);
            if due {
                last = Some(tokio::time::Instant::now());
            }
            controller.compare_lineages(&leadership, due).await;
            controller.follow_release(&leadership);
            controller.note_held(&leadership);
        }
        tokio::select! {
            biased;
            () = gains.changed() => last = None,
            () = tokio::time::sleep(SOON) => {}
        }
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Compares the index of each datacenter in use with what the Lease says; of those that are known only when it is time.
    async fn compare_lineages(&self, leadership: &Leadership, all: bool) {
        // Before the reads: what another noted meanwhile may be newer than what they show.
        let marks = leadership.notebook().borrow().lineage.clone();
        let datacenters: BTreeMap<Datacenter, BTreeSet<ObjectKey>> = {
            let world = self.world();
            let mut in_use = world.sources.datacenters();
            for datacenter in self.imports.datacenters() {
                in_use.entry(datacenter).or_default();
            }
            in_use.into_iter().filter(|(datacenter, _)| all || world.lineages.is_unknown(datacenter)).collect()
        };
        for (datacenter, services) in datacenters {
            let query = CatalogQuery { datacenter: datacenter.clone(), ..CatalogQuery::default() };
            let index = match self.consul.services(&query, Read::Consistent).await {
                Ok(answer) if answer.meta.index > 0 => answer.meta.index,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, "how far Consul has counted is not known");
                    if datacenter.is_none() && !matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Invalid) {
                        // A server that has lost its leader leaves blocking queries waiting; this is how that shows.
                        self.world().consul_fails(&error);
                    }
                    continue;
                }
            };
            if datacenter.is_none() {
                let now = self.clock.now();
                self.world().consul_answers(now);
            }
            let name = datacenter.as_deref().unwrap_or(AGENTS);
            self.compare_lineage(&datacenter, index, marks.get(name).copied(), services);
            leadership.note(|notes| notes.saw(name, index));
        }
        if !self.imports.is_settled() {
            // What is made from the catalog has still to take it in.
            return;
        }
        for (datacenter, index) in self.world().lineages.settled() {
            leadership.note(|notes| notes.restarted(datacenter.as_deref().unwrap_or(AGENTS), index));
        }
    }

    fn compare_lineage(&self, datacenter: &Datacenter, index: u64, mark: Option<u64>, services: BTreeSet<ObjectKey>) {
        let mut world = self.world();
        let before = world.lineages.broken(datacenter);
        if !world.lineages.saw(datacenter, index, mark, services.clone(), self.clock.now()) {
            return;
        }
        if world.lineages.broken(datacenter) != before {
            let datacenter = datacenter.as_deref().unwrap_or("of the agent");
            tracing::warn!(
                datacenter,
                index,
                known = mark,
                "Consul counts from a lower index than the Lease remembers: it was restored or wiped; what it no longer shows is held"
            );
        }
        drop(world);
        self.imports.lineage_changed(datacenter);
        services.into_iter().for_each(|key| self.queue.add(key));
    }

    /// Takes up a release for all, has everything looked at under it, and then takes it away.
    fn follow_release(&self, leadership: &Leadership) {
        let wanted = leadership.notebook().borrow().allow_removal.clone();
        let mut world = self.world();
        if !world.kube_synced() {
            return;
        }
        if world.release.as_ref().map(|(text, _)| text) != wanted.as_ref() {
            let keys = world.all_keys();
            world.release = wanted.map(|text| {
                tracing::info!(%text, "lets go, for all Services, what consul8s/allow-removal on the Lease names");
                (text, Round::begin(keys.clone(), self.clock.now()))
            });
            drop(world);
            keys.into_iter().for_each(|key| self.queue.add(key));
        } else if let Some((text, round)) = &world.release
            && (round.is_over() || round.age(self.clock.now()) >= FOLLOWED_WITHIN)
        {
            let text = text.clone();
            drop(world);
            leadership.note(|notes| notes.used(&text));
        }
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Has the Lease say which registrations are held, as soon as that is known: their Services may be gone.
    pub(crate) fn note_held(&self, leadership: &Leadership) {
        let mut world = self.world();
        if !world.kube_synced() || !world.registry.synced() || self.queue.depth() > 0 {
            return;
        }
        if world.losses.is_opening() {
            return;
        }
        world.losses.opened();
        let held = world.registrations_held();
        drop(world);
        if leadership.notebook().borrow().held != held {
            leadership.note(|notes| notes.held(held));
        }
    }
}

impl World {
    /// Which registrations are held, by hold.
    fn registrations_held(&self) -> BTreeMap<HoldId, HeldNote> {
        let mut held: BTreeMap<HoldId, HeldNote> = BTreeMap::new();
        let told = self.records().filter_map(|(_, record)| record.told.as_ref());
        let mass = self.losses.noted();
        for (id, count) in told.filter_map(|told| told.registrations_held.as_ref()) {
            let since = mass.as_ref().filter(|mass| mass.id == *id).map(|mass| mass.since);
            let note = held.entry(id.clone()).or_insert(HeldNote { registrations: 0, since });
            note.registrations += *count;
        }
        held
    }

    /// This process writes now; what another held before stays held under the same id, and not longer for it.
    pub fn continue_holds(&mut self, noted: &BTreeMap<HoldId, HeldNote>) {
        let mass = noted.iter().find_map(|(id, note)| {
            let hold = MassHold { id: id.clone(), since: note.since? };
            Some((hold, note.registrations))
        });
        if let Some((hold, registrations)) = mass {
            self.losses.continues(hold, registrations);
        }
    }

    /// A look at a Service, which began at `begun`, has ended and all that it wanted to write is written; `answered` says whether its
    /// source had anything to say.
    pub fn looked(&mut self, service: &ObjectKey, begun: UnixMillis, answered: bool) {
        if answered {
            self.lineages.looked(service, begun);
        }
        if let Some((_, round)) = &mut self.release {
            round.looked(service, begun);
        }
    }
}
