//! The tasks that keep the stores: one for each watch. Each only takes in what its watch tells and asks for a look at the Services
//! that it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consul8s_consul::watch::{NodeChecks, NodeServices};
use consul8s_consul::{HealthWatch, Watch as ConsulWatch, WatchConfig, WatchNews};
use consul8s_core::consul::HealthQuery;
use consul8s_core::kube::Scope;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, Watch, WatchEvent};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::controller::Controller;
use crate::leader::Leadership;
use crate::sentinel::Sentinels;
use crate::stores::cluster_nodes::Turn;

/// At start, first questions are spread over this much for each thousand watches, so that a big fleet's first answers don't come at once.
const SPREAD_PER_THOUSAND: Duration = Duration::from_millis(300);

/// How often it is looked whether a node is in doubt.
const DOUBTS_EVERY: Duration = Duration::from_millis(500);

/// Watches to start or to stop.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Somebody asks for this service. Questions wait for news this long; asked for again, only that changes.
    Watch(HealthQuery, Duration),
    /// Something may be hidden there that its blocking query doesn't tell: it is asked without waiting, at once.
    LookAnew(HealthQuery),
    /// Nobody asks for it any more.
    Stop(HealthQuery),
    /// Our node of this number is to be watched too.
    Node(usize),
    /// Some Service rests on the Nodes of the cluster now, or none any more.
    ClusterNodes(Turn),
}

/// The watches of Services and slices, one for each namespace in scope, or one for all.
#[must_use]
pub fn namespaces(scope: &Scope) -> Vec<Option<String>> {
    match scope {
        Scope::All { .. } => vec![None],
        Scope::Namespaces(names) => names.iter().cloned().map(Some).collect(),
    }
}

/// Starts the watches of Kubernetes. They end with the set.
pub fn start_kube<K: KubeApi, C: ConsulApi>(tasks: &mut JoinSet<()>, controller: &Arc<Controller<K, C>>) {
    for (number, namespace) in namespaces(&controller.settings.scope).into_iter().enumerate() {
        let of = namespace.clone();
        let services = move |kube: &K| kube.watch_services(of.as_deref());
        tasks.spawn(follow(services, controller.clone(), move |controller, event| {
            controller.services_told(number, event)
        }));
        let slices = move |kube: &K| kube.watch_slices(namespace.as_deref());
        tasks.spawn(follow(slices, controller.clone(), move |controller, event| controller.slices_told(number, event)));
    }
}

/// Follows a watch, and begins another where everything is to be listed anew.
async fn follow<T, K, C, W, F>(begin: impl Fn(&K) -> W + Send, controller: Arc<Controller<K, C>>, take_in: F)
where
    T: Send + 'static,
    K: KubeApi,
    C: ConsulApi,
    W: Watch<T>,
    F: Fn(&Controller<K, C>, WatchEvent<T>) + Send + 'static,
{
    let mut relists = controller.relists();
    let mut watch = begin(&controller.kube);
    loop {
        tokio::select! {
            event = watch.next() => take_in(&controller, event),
            Ok(()) = relists.changed() => watch = begin(&controller.kube),
        }
    }
}

/// Looks at everything whenever a claim to write was gained.
pub async fn follow_leadership<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, leadership: Leadership) {
    let mut gains = leadership.gains();
    loop {
        // One that was gained before anybody followed counts too.
        if gains.count() > 0 {
            // Taken out first: nothing else may be locked while it is.
            let notes = leadership.notebook().borrow().clone();
            controller.leads(&notes);
        }
        gains.changed().await;
    }
}

/// A watch that runs.
struct Running {
    task: AbortHandle,
    wait: watch::Sender<Duration>,
    anew: Arc<Notify>,
}

/// Runs the watches that are asked for.
pub async fn run_demanded<K: KubeApi, C: ConsulApi>(
    controller: Arc<Controller<K, C>>,
    mut demands: mpsc::UnboundedReceiver<Demand>,
) {
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::<HealthQuery, Running>::new();
    let mut cluster_nodes: Option<AbortHandle> = None;
    let mut sentinels = Sentinels::new(&controller.directions);
    loop {
        tokio::select! {
            biased;
            demand = demands.recv() => match demand {
                None => return,
                Some(Demand::Watch(query, wait)) => {
                    if let Some(running) = running.get(&query) {
                        running.wait.send_replace(wait);
                        continue;
                    }
                    sentinels.post(&mut tasks, &controller, &query.datacenter);
                    let delay = SPREAD_PER_THOUSAND.mul_f64(running.len() as f64 / 1000.0).mul_f64(controller.dice.unit());
                    let (wait, waits) = watch::channel(wait);
                    let anew = Arc::new(Notify::new());
                    let task = tasks.spawn(health(controller.clone(), query.clone(), delay, waits, anew.clone()));
                    running.insert(query, Running { task, wait, anew });
                }
                Some(Demand::LookAnew(query)) => {
                    if let Some(running) = running.get(&query) {
                        running.anew.notify_one();
                    }
                }
                Some(Demand::Stop(query)) => {
                    if let Some(running) = running.remove(&query) {
                        running.task.abort();
                    }
                }
                Some(Demand::ClusterNodes(turn)) => {
                    if let Some(old) = cluster_nodes.take() {
                        old.abort();
                    }
                    if let Turn::Start(watch) = turn {
                        cluster_nodes = Some(tasks.spawn(follow(K::watch_nodes, controller.clone(), move |controller, event| {
                            controller.cluster_nodes_told(watch, event);
                        })));
                    }
                }
                Some(Demand::Node(number)) => {
                    let name = controller.node_name(number);
                    tasks.spawn(node_services(controller.clone(), number, name.clone()));
                    tasks.spawn(node_checks(controller.clone(), number, name));
                }
            },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    // A watch that died would leave its Services behind in silence: end, and be started again.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

async fn health<K: KubeApi, C: ConsulApi>(
    controller: Arc<Controller<K, C>>,
    query: HealthQuery,
    delay: Duration,
    mut wait: watch::Receiver<Duration>,
    anew: Arc<Notify>,
) {
    tokio::time::sleep(delay).await;
    let config = WatchConfig { wait: *wait.borrow_and_update(), seed: controller.dice.seed() };
    let mut watch = HealthWatch::new(controller.consul.clone(), query.clone(), &config);
    loop {
        let news = tokio::select! {
            biased;
            news = watch.next() => news,
            Ok(()) = wait.changed() => {
                watch.set_wait(*wait.borrow_and_update());
                continue;
            }
            () = anew.notified() => {
                watch.look_anew();
                continue;
            }
        };
        match news {
            WatchNews::Admitted { answer, lineage_broken } => controller.source_told(&query, answer, lineage_broken),
            WatchNews::Confirmed(meta) => controller.source_confirmed(&query, meta),
            WatchNews::Failed(error) => controller.source_failed(&query, &error),
            WatchNews::Rejected(why) => {
                controller.source_failed(&query, &ApiError::new(ErrorKind::Server, why.to_string()));
            }
        }
    }
}

/// Reads nodes of ours anew of which Consul tells less than we know, as long as it is polled.
pub async fn read_doubtful<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>) {
    loop {
        tokio::time::sleep(DOUBTS_EVERY).await;
        controller.read_doubtful().await;
    }
}

async fn node_services<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, number: usize, name: String) {
    let config = WatchConfig { seed: controller.dice.seed(), ..WatchConfig::default() };
    let mut watch = ConsulWatch::new(controller.consul.clone(), NodeServices(name), &config);
    loop {
        match watch.next().await {
            WatchNews::Admitted { answer, lineage_broken } => {
                controller.node_services_told(number, &answer, lineage_broken)
            }
            WatchNews::Confirmed(meta) => controller.node_services_confirmed(number, &meta),
            WatchNews::Failed(error) => controller.node_failed(number, &error),
            WatchNews::Rejected(why) => {
                controller.node_failed(number, &ApiError::new(ErrorKind::Server, why.to_string()))
            }
        }
    }
}

async fn node_checks<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, number: usize, name: String) {
    let config = WatchConfig { seed: controller.dice.seed(), ..WatchConfig::default() };
    let mut watch = ConsulWatch::new(controller.consul.clone(), NodeChecks(name), &config);
    loop {
        match watch.next().await {
            WatchNews::Admitted { answer, lineage_broken } => {
                controller.node_checks_told(number, &answer, lineage_broken)
            }
            WatchNews::Confirmed(meta) => controller.node_checks_confirmed(number, &meta),
            WatchNews::Failed(error) => controller.node_failed(number, &error),
            WatchNews::Rejected(why) => {
                controller.node_failed(number, &ApiError::new(ErrorKind::Server, why.to_string()))
            }
        }
    }
}
