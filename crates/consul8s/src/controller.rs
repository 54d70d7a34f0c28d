//! The controller: both worlds, the queue, and what it takes to look at a Service. What its watches tell comes in here; what follows
//! from it is in [`crate::sync`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consul8s_core::claim::Notebook;
use consul8s_core::consul::{Answer, AnswerMeta, HealthQuery, Instance};
use consul8s_core::kube::{KubeNode, KubeService, KubeSlice, ObjectKey};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter, WatchEvent};
use consul8s_core::settings::{Direction, Settings};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster;
use crate::dice::Dice;
use crate::feeds::{self, Demand};
use crate::import::{self, Progress};
use crate::metrics::Metrics;
use crate::neighbours;
use crate::queue::Queue;
use crate::remembered;
use crate::resolve::{Lookups, Resolver};
use crate::stores::World;
use crate::stores::kube::{Changed, Stored};
use crate::sync::writers::Writers;

/// Services looked at side by side: enough to keep both APIs busy, few enough to bound memory and requests in flight.
pub(crate) const WORKERS: usize = 48;

/// Reads at a time that can wait.
const FEW: usize = 4;

/// One controller over one Consul and one cluster.
pub struct Controller<K, C> {
    /// Reads of Kubernetes.
    pub kube: Arc<K>,
    /// Reads of Consul.
    pub consul: Arc<C>,
    /// Settings that planning depends on.
    pub settings: Settings,
    /// Directions that are synced.
    pub directions: BTreeSet<Direction>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Clock,
    /// Where jitter comes from.
    pub dice: Arc<Dice>,
    /// Services to look at.
    pub queue: Queue<ObjectKey>,
    /// How far Services are made from the catalog.
    pub imports: Progress,
    /// For reads that can wait: they must not take all connections from those that can't.
    pub few: Semaphore,
    world: Mutex<World>,
    /// Fresh lists came that nothing is planned on yet.
    pub(crate) lists_came: Notify,
    /// Counts how often everything was to be listed anew.
    relists: watch::Sender<u64>,
    demands: mpsc::UnboundedSender<Demand>,
    demanded: Mutex<Option<mpsc::UnboundedReceiver<Demand>>>,
    pub(crate) lookups: Lookups,
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// A controller that has seen nothing yet.
    pub fn new(
        kube: Arc<K>,
        consul: Arc<C>,
        settings: Settings,
        directions: BTreeSet<Direction>,
        metrics: Arc<Metrics>,
    ) -> Controller<K, C> {
        // Unbounded, but each Service has at most one demand in it, and they are taken out without waiting for anything.
        let (demands, demanded) = mpsc::unbounded_channel();
        let clock = Clock::start();
        let dice = Arc::new(Dice::default());
        Controller {
            world: Mutex::new(World::new(&settings, clock.now())),
            kube,
            consul,
            settings,
            directions,
            metrics,
            clock,
            queue: Queue::drawing(dice.clone()),
            dice,
            imports: Progress::default(),
            few: Semaphore::new(FEW),
            lists_came: Notify::new(),
            relists: watch::Sender::new(0),
            demands,
            demanded: Mutex::new(Some(demanded)),
            lookups: Lookups::default(),
        }
    }

    /// The same, which resolves hostnames in Consul's answers; otherwise they are not published.
    #[must_use]
    pub fn resolving(mut self, resolver: Option<Arc<dyn Resolver>>) -> Controller<K, C> {
        self.lookups = resolver.map(Lookups::with).unwrap_or_default();
        self
    }

    /// The same, by another clock and with other dice: all that makes one run differ from the next.
    #[must_use]
    pub fn replayed(mut self, clock: Clock, dice: Dice) -> Controller<K, C> {
        self.world = Mutex::new(World::new(&self.settings, clock.now()));
        self.dice = Arc::new(dice);
        self.queue = Queue::drawing(self.dice.clone());
        self.clock = clock;
        self
    }

    /// Watches and syncs until `stop`. Writes with `writers`; without them nothing can be written.
    ///
    /// A panic in any of its tasks ends it with that panic: half a controller is worse than a restarted one.
    pub async fn run<W: KubeWriter>(self: Arc<Self>, writers: Option<Arc<Writers<W>>>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        feeds::start_kube(&mut tasks, &self);
        tasks.spawn(cluster::follow(self.clone(), writers.as_ref().map(|writers| writers.leadership().clone())));
        if let Some(writers) = &writers {
            tasks.spawn(feeds::follow_leadership(self.clone(), writers.leadership().clone()));
            tasks.spawn(remembered::follow(self.clone(), writers.leadership().clone()));
        }
        if let Some(demanded) = lock(&self.demanded).take() {
            tasks.spawn(feeds::run_demanded(self.clone(), demanded));
        }
        tasks.spawn(import::run(self.clone(), writers.clone()));
        tasks.spawn(neighbours::follow_leases(self.clone()));
        tasks.spawn(neighbours::count_out_of_scope(self.clone()));
        if let Some(looking) = self.lookups.start(&self) {
            tasks.spawn(looking);
        }
        if self.directions.contains(&Direction::ToConsul) {
            tasks.spawn(feeds::read_doubtful(self.clone()));
            self.watch_nodes();
        }
        let slots = Arc::new(Semaphore::new(WORKERS));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => resume(ended),
                (key, slot) = self.next(&slots) => {
                    let (controller, writers) = (self.clone(), writers.clone());
                    tasks.spawn(async move {
                        let ended = controller.sync(&key, writers.as_deref()).await;
                        controller.queue.done(key, ended);
                        drop(slot);
                    });
                }
            }
        }
        // What is being written may end; nothing new begins.
        let _ = tokio::time::timeout(crate::run::GRACE, slots.acquire_many(WORKERS as u32)).await;
        // Whoever waits for this to end may then take the servers away.
        tasks.shutdown().await;
    }

    async fn next(&self, slots: &Arc<Semaphore>) -> (ObjectKey, tokio::sync::OwnedSemaphorePermit) {
        // The semaphore is never closed, so a slot always comes.
        loop {
            if let Ok(slot) = slots.clone().acquire_owned().await {
                return (self.queue.next().await, slot);
            }
        }
    }

    /// This process writes from now on: another did until now, and left these notes, so everything is looked at with that in mind.
    pub fn leads(&self, notes: &Notebook) {
        let mut world = self.world();
        world.lead();
        world.continue_holds(&notes.held);
        let keys = if world.kube_synced() { world.all_keys() } else { BTreeSet::new() };
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    /// Both worlds. Held for pure work only, never over a wait.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Asks for a watch to be started or stopped.
    pub fn demand(&self, demand: Demand) {
        // It fails only when the controller has ended.
        let _ = self.demands.send(demand);
    }

    /// Name of our node number `number`, from 0.
    #[must_use]
    pub fn node_name(&self, number: usize) -> String {
        self.world().registry.name(number)
    }

    /// A watch of Services told something.
    pub fn services_told(&self, watch: usize, event: WatchEvent<KubeService>) {
        self.trouble_of_kube(&event);
        let mut world = self.world();
        self.note_list(&mut world, &event);
        let was_synced = world.kube_synced();
        let mut changed = world.services.take_in(watch, event);
        let others = world.note(&changed, &self.settings, self.clock.now());
        changed.concerns.extend(others);
        self.follow(world, was_synced, &changed);
        self.imports.services_changed();
    }

    /// A watch of slices told something.
    pub fn slices_told(&self, watch: usize, event: WatchEvent<KubeSlice>) {
        self.trouble_of_kube(&event);
        let mut world = self.world();
        self.note_list(&mut world, &event);
        let was_synced = world.kube_synced();
        let changed = world.slices.take_in(watch, event);
        self.follow(world, was_synced, &changed);
    }

    /// The watch of the cluster's Nodes told something.
    pub fn cluster_nodes_told(&self, watch: u64, event: WatchEvent<KubeNode>) {
        let mut world = self.world();
        let concerns = world.cluster_nodes.take_in(watch, event);
        self.look_at(world, concerns);
    }

    /// Nothing is planned on a fresh list until it is known whose it is.
    fn note_list<T: Stored>(&self, world: &mut World, event: &WatchEvent<T>) {
        match event {
            WatchEvent::Listed(_) => {
                world.cluster.listed();
                self.lists_came.notify_one();
            }
            WatchEvent::Applied(object) | WatchEvent::Deleted(object) => world.cluster.told_of(object.version()),
            WatchEvent::Failed(_) => {}
        }
    }

    /// Has everything of Kubernetes listed anew.
    pub(crate) fn list_anew(&self) {
        self.relists.send_modify(|count| *count += 1);
    }

    /// Follows when everything is to be listed anew.
    pub(crate) fn relists(&self) -> watch::Receiver<u64> {
        self.relists.subscribe()
    }

    fn trouble_of_kube<T>(&self, event: &WatchEvent<T>) {
        let now = self.clock.now();
        let mut world = self.world();
        match event {
            WatchEvent::Failed(error) => {
                if world.kube_trouble.replace(error.clone()).is_none() {
                    tracing::warn!(%error, "Kubernetes does not answer; what stands stays, and it is asked again");
                }
            }
            _ => {
                world.kube_heard = now;
                if world.kube_trouble.take().is_some() {
                    tracing::info!("Kubernetes answers again");
                }
            }
        }
    }

    fn follow<T>(&self, mut world: MutexGuard<'_, World>, was_synced: bool, changed: &Changed<T>) {
        let now = tokio::time::Instant::now();
        if !world.kube_synced() {
            // Nothing is planned on half a list; when it is whole, everything is looked at.
            return;
        }
        let keys = if was_synced { changed.concerns.clone() } else { world.all_keys() };
        for key in &keys {
            world.record(key).changed_at.get_or_insert(now);
        }
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
        if !was_synced {
            // Imports wait for whole lists, too, and are otherwise told of Services only.
            self.imports.services_changed();
        }
    }

    /// A watch of a Consul service has news.
    pub fn source_told(&self, query: &HealthQuery, answer: Answer<Arc<Vec<Instance>>>, lineage_broken: bool) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        let Some(source) = world.sources.get_mut(query) else { return };
        source.heard = now;
        source.trouble = None;
        if lineage_broken {
            tracing::warn!(service = %query, index = answer.meta.index, "Consul counts from a lower index: it was restored or wiped; what it no longer shows is held");
            source.broken = Some(now);
        }
        source.answer = Some(answer);
        self.look(world, query);
    }

    /// A watch of a Consul service had a good answer without news.
    pub fn source_confirmed(&self, query: &HealthQuery, meta: AnswerMeta) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        let Some(source) = world.sources.get_mut(query) else { return };
        source.heard = now;
        let was_trouble = source.trouble.take().is_some();
        let Some(answer) = &mut source.answer else { return };
        // What an answer hides may change without its content.
        let was_hidden = (answer.meta.filtered, answer.meta.anonymous_under_deny);
        let news = was_trouble || was_hidden != (meta.filtered, meta.anonymous_under_deny);
        answer.meta = meta;
        if news {
            self.look(world, query);
        }
    }

    /// A watch of a Consul service got no answer that can be believed.
    pub fn source_failed(&self, query: &HealthQuery, error: &ApiError) {
        let mut world = self.world();
        // That one query is refused, such as for its filter, says nothing about the rest.
        if error.kind != ErrorKind::Invalid {
            world.consul_fails(error);
        }
        let Some(source) = world.sources.get_mut(query) else { return };
        let before = source.trouble.replace(error.clone());
        if before.is_none_or(|before| before.kind != error.kind) {
            tracing::debug!(service = %query, %error, "no answer");
            self.look(world, query);
        }
    }

    fn look(&self, world: MutexGuard<'_, World>, query: &HealthQuery) {
        let keys = world.sources.services_of(query);
        self.look_at(world, keys);
    }

    pub(crate) fn look_at(&self, mut world: MutexGuard<'_, World>, keys: impl IntoIterator<Item = ObjectKey>) {
        let now = tokio::time::Instant::now();
        let keys: Vec<ObjectKey> = keys.into_iter().collect();
        for key in &keys {
            world.record(key).changed_at.get_or_insert(now);
        }
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }
}

fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the program, so what it left behind is never read.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
