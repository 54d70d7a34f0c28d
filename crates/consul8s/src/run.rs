//! `run` and `-1`: connect, say who we are, listen, sync. Every task of the program is started here or in [`Controller::run`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use consul8s_consul::{Batcher, Client, ClientConfig};
use consul8s_core::claim::Timing;
use consul8s_core::duration;
use consul8s_core::kube::Scope;
use consul8s_core::ports::{ApiError, ConsulApi, KubeApi};
use consul8s_core::settings::Direction;
use consul8s_kube::{Connection, Kube, LeaseClient, SliceWriter};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Shown};
use crate::audit;
use crate::clock::BootClock;
use crate::commands::Exit;
use crate::config::Options;
use crate::controller::Controller;
use crate::counted::Counted;
use crate::descriptors;
use crate::leader::{Election, Fenced, Keeper, Leadership, Post};
use crate::metrics::{Metrics, Snapshot};
use crate::once;
use crate::sync::writers::Writers;
use crate::teller::{Mailbox, Teller};

/// How long writes in flight may take to end after a signal; well within the 5 s that the contract gives.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long what is left to tell may take after a signal, while writes in flight end.
const TELL_REST_WITHIN: Duration = Duration::from_secs(1);
/// How long `-1` waits until all is told.
const TELL_ONCE_WITHIN: Duration = Duration::from_secs(10);

/// Pause between attempts to reach the API server at start.
const RETRY: Duration = Duration::from_secs(1);

/// `run`, and `-1`.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Exit> {
    let connection = options.access.connect().await?;
    let metrics = Arc::new(Metrics::new());
    let front = Arc::new(Front { metrics: metrics.clone(), controller: OnceLock::new() });
    listen(&options, &front, &stop).await?;

    let kube = Arc::new(Kube::new(&connection));
    let waiting = || announce(&options, &connection, "known when Kubernetes answers", None);
    let Some(uid) = cluster_uid(&*kube, options.run_once, &stop, waiting).await? else { return Ok(Exit::Done) };
    let settings = options.settings(&uid, &connection.namespace);
    announce(&options, &connection, &settings.identity.owner, Some(&settings.consul_node_name));
    // Only now, since what it has to say comes after that line.
    let listeners = [options.admin, options.metrics].into_iter().flatten().filter(|_| !options.run_once).count();
    let max_connections = descriptors::connections(options.consul.max_connections, listeners);
    let client = Client::new(ClientConfig { max_connections, ..options.consul.clone() });
    let consul = Arc::new(Counted::new(client.clone(), metrics.clone()));
    if !options.run_once {
        tokio::spawn(greet_consul(consul.clone(), stop.clone()));
    }

    let controller = Controller::new(kube, consul, settings, options.directions.clone(), metrics);
    let controller = Arc::new(controller.resolving(options.resolver()));
    // Set once, here.
    let _ = front.controller.set(controller.clone());
    if options.observes() {
        observe(&options, controller, stop).await
    } else {
        work(&options, &connection, &client, controller, stop).await
    }
}

/// `--policy observe`: everything runs, and nothing that could write is made: no writer of either side, no Lease, nobody who tells.
async fn observe<K: KubeApi, C: ConsulApi>(
    options: &Options,
    controller: Arc<Controller<K, C>>,
    stop: CancellationToken,
) -> anyhow::Result<Exit> {
    tracing::info!("--policy observe: nothing is written; what would be counts in consul8s_pending_changes");
    let no_writers: Option<Arc<Writers<SliceWriter>>> = None;
    if options.run_once {
        return once::run(controller, no_writers, stop).await.map(|outcome| outcome.exit());
    }
    let audits = tokio::spawn(audit::run(controller.clone(), options.interval));
    controller.run(no_writers, stop).await;
    audits.abort();
    tracing::info!("ended on a signal");
    Ok(Exit::Done)
}

/// The other policies.
async fn work<K: KubeApi, C: ConsulApi>(
    options: &Options,
    connection: &Connection,
    client: &Client,
    controller: Arc<Controller<K, C>>,
    stop: CancellationToken,
) -> anyhow::Result<Exit> {
    let writer = Counted::new(client.writer(), controller.metrics.clone());
    let (leadership, keeper) = keeper(options, connection, &controller)?;
    let (batcher, driver) = Batcher::new(Arc::new(Fenced::new(writer, leadership.clone())));
    tokio::spawn(driver.run());
    let mailbox = Arc::new(Mailbox::default());
    let lease = options.lease(&connection.namespace);
    let teller = consul8s_kube::Teller::new(connection, &options.holder);
    let teller = Teller::new(controller.clone(), teller, mailbox.clone(), leadership.clone(), lease);
    let writers = Arc::new(Writers::new(SliceWriter::new(connection), batcher, leadership).telling(mailbox));
    let mut post = Post::take(keeper);
    let done = stop.child_token();
    let telling = teller.run(done.clone(), if options.run_once { TELL_ONCE_WITHIN } else { TELL_REST_WITHIN });
    let work = async {
        let _done = done.drop_guard();
        if options.run_once {
            return once::run(controller, Some(writers), stop).await.map(|outcome| outcome.exit());
        }
        let audits = tokio::spawn(audit::run(controller.clone(), options.interval));
        controller.run(Some(writers), stop).await;
        audits.abort();
        tracing::info!("ended on a signal; what stands stays");
        Ok(Exit::Done)
    };
    let (exit, ()) = post.during(async { tokio::join!(work, telling) }).await;
    post.leave().await;
    exit
}

fn keeper<K: KubeApi, C: ConsulApi>(
    options: &Options,
    connection: &Connection,
    controller: &Controller<K, C>,
) -> anyhow::Result<(Leadership, Keeper<LeaseClient>)> {
    let lease = options.lease(&connection.namespace);
    let election = Election {
        me: options.holder.clone(),
        lease: lease.to_string(),
        elect: options.leader_elect,
        timing: Timing::default(),
        boot: BootClock::Machine,
        clock: controller.clock,
    };
    Ok(Keeper::new(LeaseClient::new(connection, lease)?, election, controller.metrics.clone()))
}

/// The UID of `kube-system`, which says which cluster this is. Waits for the API server, unless it is for once; `waiting` is called
/// before the first word about that. None = told to stop.
pub(crate) async fn cluster_uid<K: KubeApi>(
    kube: &K,
    once: bool,
    stop: &CancellationToken,
    waiting: impl Fn(),
) -> anyhow::Result<Option<String>> {
    let mut told: Option<ApiError> = None;
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            asked = kube.cluster_uid() => asked,
        };
        let error = match asked {
            Ok(uid) => return Ok(Some(uid)),
            Err(error) => error,
        };
        if once {
            return Err(error).context("cannot read the identity of the cluster");
        }
        if told.is_none() {
            waiting();
        }
        if told.as_ref().is_none_or(|told| told.what != error.what) {
            tracing::warn!(%error, "waiting for Kubernetes");
        }
        told = Some(error);
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(RETRY.mul_f64(0.5 + rand::random::<f64>())) => {}
        }
    }
}

/// Says whether Consul is there, as soon as that is known.
async fn greet_consul<C: ConsulApi>(consul: Arc<C>, stop: CancellationToken) {
    let mut told = false;
    loop {
        match consul.leader().await {
            Ok(leader) if !leader.is_empty() => {
                tracing::info!(%leader, "Consul answers");
                return;
            }
            Ok(_) if !told => tracing::warn!("waiting for Consul: it answers, but has no leader"),
            Err(error) if !told => tracing::warn!(%error, "waiting for Consul"),
            _ => {}
        }
        told = true;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// The first line: scope, context, Consul and owner.
pub(crate) fn announce(options: &Options, connection: &Connection, owner: &str, node: Option<&str>) {
    let scope = match &options.scope {
        Scope::All { exclude } if exclude.is_empty() => "all namespaces".to_owned(),
        Scope::All { exclude } => format!("all namespaces but {}", exclude.join(", ")),
        Scope::Namespaces(names) => names.join(", "),
    };
    let directions: Vec<&str> = options.directions.iter().copied().map(Direction::as_str).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %scope,
        directions = %directions.join(","),
        context = %connection.context,
        kubernetes = %connection.server,
        consul = %addresses(&options.consul),
        owner,
        node,
        policy = options.policy().as_str(),
        interval = %duration::print(options.interval),
        "consul8s"
    );
}

fn addresses(consul: &ClientConfig) -> String {
    consul.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

async fn listen<K: KubeApi, C: ConsulApi>(
    options: &Options,
    front: &Arc<Front<K, C>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if options.run_once {
        return Ok(());
    }
    if let Some(address) = options.admin {
        let listener = admin::bind(address, "--admin-address").await?;
        tokio::spawn(admin::serve_admin(listener, front.clone(), stop.clone()));
    }
    if let Some(address) = options.metrics {
        let listener = admin::bind(address, "--metrics-address").await?;
        tokio::spawn(admin::serve_metrics(listener, front.clone(), stop.clone()));
    }
    Ok(())
}

/// What the listeners show: the controller, once there is one.
struct Front<K, C> {
    metrics: Arc<Metrics>,
    controller: OnceLock<Arc<Controller<K, C>>>,
}

impl<K: KubeApi, C: ConsulApi> Shown for Front<K, C> {
    fn metrics(&self) -> String {
        let snapshot = self.controller.get().map_or_else(Snapshot::default, |controller| controller.snapshot());
        self.metrics.encode(&snapshot)
    }

    fn not_live(&self) -> Option<String> {
        // A panic in any task ends the process, and a runtime that is stuck does not answer here.
        None
    }

    fn not_ready(&self) -> Option<String> {
        match self.controller.get() {
            Some(controller) if controller.world().kube_synced() => None,
            Some(_) => Some("the lists of Kubernetes are not complete yet".to_owned()),
            None => Some("Kubernetes has not answered yet".to_owned()),
        }
    }
}
