//! `purge`: removes what this installation has registered in Consul. Shows only, unless it is told to.

mod desk;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use consul8s_consul::Client;
use consul8s_core::consul::TxnOp;
use consul8s_core::empty_node::EmptyNode;
use consul8s_core::identity::Identity;
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ConsulApi, KubeApi};
use consul8s_core::purge::{self, Purge, Whose};
use consul8s_core::settings::Settings;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::nodes::OurNodes;
use consul8s_kube::{Connection, Kube};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::cli::PurgeArgs;
use crate::clock::Clock;
use crate::commands::Exit;
use crate::config::Options;
use crate::out;
use crate::sync::whole_node;
use desk::Desk;

/// How often it is begun anew where somebody else writes too.
const ROUNDS: usize = 5;
/// How long the cluster may take to say who it is, where the owner id says it too.
const CLUSTER_WITHIN: Duration = Duration::from_secs(5);

/// Whose registrations, and under which nodes.
struct Target {
    owner: String,
    node: String,
    /// None where the cluster can't be asked.
    cluster: Option<(Identity, Connection)>,
}

impl Target {
    fn whose(&self) -> Whose<'_> {
        match &self.cluster {
            Some((identity, _)) => Whose::Identity(identity),
            None => Whose::Owner(&self.owner),
        }
    }
}

/// Shows or removes it.
///
/// # Errors
/// One of the two sides does not answer, or another process holds the Lease.
pub async fn run(options: Options, args: PurgeArgs, stop: CancellationToken) -> anyhow::Result<Exit> {
    let client = Client::new(options.consul.clone());
    let target = target(&options).await?;
    let found = purge::plan(&read(&client, &target).await?, target.whose());
    show(&found, &target, args.yes);
    if found.blocked.is_some() {
        return Ok(Exit::Failure);
    }
    if !args.yes || found.is_empty() {
        return Ok(Exit::Done);
    }
    let connection = target.cluster.as_ref().map(|(_, connection)| connection);
    let (desk, post) = Desk::open(&options, connection, &client)?;
    let work = async {
        desk.ready().await.context("may not write, so nothing was removed")?;
        tokio::select! {
            done = remove(&client, &target, &desk) => done,
            () = stop.cancelled() => anyhow::bail!("ended on a signal before it was done; it may be started again"),
        }
    };
    let done = match post {
        None => work.await,
        Some(mut post) => {
            let done = post.during(work).await;
            post.leave().await;
            done
        }
    };
    done.map(|()| Exit::Done)
}

async fn target(options: &Options) -> anyhow::Result<Target> {
    let asked = tokio::time::timeout(CLUSTER_WITHIN, cluster(options)).await;
    let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {CLUSTER_WITHIN:?}")));
    match (asked, options.owner_id()) {
        (Ok((settings, connection)), _) => Ok(Target {
            owner: settings.identity.owner.clone(),
            node: settings.consul_node_name,
            cluster: Some((settings.identity, connection)),
        }),
        (Err(error), Some(owner)) => {
            tracing::warn!(
                "Kubernetes cannot be asked, so that only the owner id counts, and no Lease is taken: {error:#}"
            );
            let node = options.node_name_alone().unwrap_or_else(|| Settings::node_name(owner));
            Ok(Target { owner: owner.to_owned(), node, cluster: None })
        }
        (Err(error), None) => {
            Err(error.context("cannot tell whose registrations to remove; without Kubernetes give --owner-id"))
        }
    }
}

async fn cluster(options: &Options) -> anyhow::Result<(Settings, Connection)> {
    let connection = options.access.connect().await?;
    let uid = Kube::new(&connection).cluster_uid().await?;
    Ok((options.settings(&uid, &connection.namespace), connection))
}

/// All our nodes, by consistent reads: those up to the first that doesn't exist, whoever has them, and beyond it those of our owner id, as
/// somebody may have deleted one in between.
async fn read(client: &Client, target: &Target) -> anyhow::Result<OurNodes> {
    let listed = client.nodes_with_meta(names::NODE_OWNER, &target.owner).await;
    let listed = listed.context("cannot list the nodes in Consul that are ours")?;
    let mut nodes = OurNodes::new(&target.node);
    loop {
        let ours = listed.iter().filter(|name| nodes.ordinal(name).is_some()).cloned();
        let all: BTreeSet<String> = nodes.to_read().into_iter().chain(ours).collect();
        let unread: Vec<String> = all.into_iter().filter(|name| nodes.get(name).is_none()).collect();
        let mut found = false;
        for name in unread {
            let (view, _) =
                whole_node(client, &name).await.with_context(|| format!("cannot read Consul node {name}"))?;
            found |= view.is_some();
            view.into_iter().for_each(|view| nodes.set(view));
        }
        if !found {
            return Ok(nodes);
        }
    }
}

fn show(purge: &Purge, target: &Target, yes: bool) {
    let Purge { registrations, nodes, foreign, blocked } = purge;
    for change in registrations {
        out::line(format_args!("{change}"));
    }
    for node in nodes {
        out::line(format_args!("remove node {node}, once it is empty"));
    }
    for what in foreign {
        out::line(format_args!("stays, and its node with it: {what} was registered by somebody else"));
    }
    if let Some(problem) = blocked {
        out::line(format_args!("{problem}"));
    }
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let (r, n) = (registrations.len(), nodes.len());
    let so = if yes || purge.is_empty() { "" } else { "; shown only: --yes removes them" };
    out::line(format_args!(
        "owner {}: {r} registration{} and {n} node{} to remove{so}",
        target.owner,
        plural(r),
        plural(n)
    ));
}

/// Removes all of it; begun anew where somebody else writes too.
async fn remove(client: &Client, target: &Target, desk: &Desk) -> anyhow::Result<()> {
    let mut last: Option<ApiError> = None;
    for _ in 0..ROUNDS {
        let found = purge::plan(&read(client, target).await?, target.whose());
        if let Some(problem) = found.blocked {
            anyhow::bail!("{problem}");
        }
        if found.is_empty() {
            tracing::info!(owner = %target.owner, "nothing of it is left");
            return Ok(());
        }
        let writes = found.registrations.iter().map(|change| async move {
            desk.write(change, change.ops()).await.inspect(|()| tracing::info!("{change}"))
        });
        last = join_all(writes).await.into_iter().filter_map(Result::err).next_back();
        if last.is_none() {
            last = remove_nodes(client, desk, &found.nodes).await?;
        }
    }
    let why = last.map_or_else(|| "somebody else registers it again".to_owned(), |error| error.to_string());
    anyhow::bail!("something of it is left: {why}")
}

/// Removes nodes once two consistent reads have shown them empty.
async fn remove_nodes<C: ConsulApi>(consul: &C, desk: &Desk, names: &[String]) -> anyhow::Result<Option<ApiError>> {
    let clock = Clock::start();
    let mut last = None;
    let mut first_reads: Vec<(String, Vec<UnixMillis>)> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    while !first_reads.is_empty() {
        let mut unproven = Vec::new();
        let mut wait: Option<UnixMillis> = None;
        for (name, mut empty) in std::mem::take(&mut first_reads) {
            let (Some(view), _) = whole_node(consul, &name).await? else { continue };
            if !view.services.is_empty() {
                // Somebody registers there; the next round sees who.
                continue;
            }
            empty.push(clock.now());
            match EmptyNode::shown(&view, &empty, clock.now()) {
                Ok(node) => match desk.write(&node, vec![TxnOp::RemoveNode(node.clone())]).await {
                    Ok(()) => tracing::info!("{node}"),
                    Err(error) => last = Some(error),
                },
                Err(at) => {
                    wait = wait.max(Some(at));
                    unproven.push((name, empty));
                }
            }
        }
        if let Some(at) = wait {
            tokio::time::sleep_until(clock.instant(at)).await;
        }
        first_reads = unproven;
    }
    Ok(last)
}
