//! No request is lost.
//!
//! | scenario | what happens under load |
//! | --- | --- |
//! | `rolling_replacement` | every instance is replaced, one after the other, by the agent that has them; the old ones live 15 s longer |
//! | `replaced_all_at_once` | new instances on new nodes come, the old nodes leave without a word |
//! | `instance_moves_its_port` | the only instance changes its port |
//! | `maintenance_drains` | an instance goes into maintenance: others answer; then the other one does: both go on answering, for want of better ones |
//! | `upgraded` | consul8s is asked to end and started again, while one instance replaces another |
//! | `killed_and_restarted` | consul8s is killed and started again, while one instance comes; then two leave |
//! | `consul_away` | Consul is away for 15 s, in the middle of which consul8s is started again |
//! | `taken_over_from_the_original` | the Python original's `Endpoints`, mirrored by Kubernetes, are taken over |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::backend::GRACE;
use crate::harness::{ENDPOINTS, Outcome, SLICES, SOON, Scenario, World, eventually, scenario, so};
use crate::load::Load;
use crate::scene::{self, Member, Scene};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(rolling_replacement),
    scenario!(replaced_all_at_once),
    scenario!(instance_moves_its_port),
    scenario!(maintenance_drains),
    scenario!(upgraded),
    scenario!(killed_and_restarted),
    scenario!(consul_away),
    scenario!(taken_over_from_the_original),
];

/// How long the load goes on when everything has happened.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// How long consul8s is down.
const DOWN: Duration = Duration::from_secs(1);
/// How long Consul is away.
const AWAY: Duration = Duration::from_secs(15);

/// The load goes on for a moment, then ends; none of it may have been lost.
pub(crate) async fn nothing_lost(world: &World, load: Load) -> Outcome {
    sleep(AFTERWARDS).await;
    println!("{}: {}", world.namespace, load.ends_without_loss().await?);
    Ok(())
}

/// Those who left got their last request long before they ended: otherwise it was luck.
fn left_in_time(load: &Load, left: &[(String, Instant)]) -> Outcome {
    for (name, asked) in left {
        let last = load.last_by(name, Instant::now()).ok_or_else(|| format!("{name} never answered"))?;
        so(last < *asked + GRACE - Duration::from_secs(1), || {
            format!("{name} answered {:?} after it left", last - *asked)
        })?;
    }
    Ok(())
}

async fn rolling_replacement(world: &World) -> Outcome {
    let scene = Scene::open(world, |_| ()).await?;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(scene.joins().await?.0);
    }
    let load = scene.load(80).await?;
    let begun = Instant::now();
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), begun).await?;
    }
    let (mut left, mut new) = (Vec::new(), Vec::new());
    for old in members {
        // As deployments do: the new one is there, then the old one goes.
        new.push(scene.joins().await?);
        left.push(scene.leaves(old).await?);
    }
    for (Member { backend, .. }, asked) in &new {
        load.answered_by(&backend.name(), *asked).await?;
    }
    for (name, _) in &left {
        load.quiet_from(name).await?;
    }
    left_in_time(&load, &left)?;
    nothing_lost(world, load).await
}

async fn replaced_all_at_once(world: &World) -> Outcome {
    let scene = Scene::open(world, |_| ()).await?;
    let mut old = Vec::new();
    for _ in 0..3 {
        let member = scene.member().await?;
        world.consul.register(&member.instance).await?;
        old.push(member);
    }
    let load = scene.load(80).await?;
    for Member { backend, .. } in &old {
        load.answered_by(&backend.name(), Instant::now()).await?;
    }
    let mut new = Vec::new();
    for _ in 0..3 {
        let member = scene.member().await?;
        world.consul.register(&member.instance).await?;
        new.push(member);
    }
    let mut left = Vec::new();
    for Member { backend, instance } in old {
        left.push((backend.name(), Instant::now()));
        world.consul.remove_node(&instance.node).await?;
        backend.retire();
    }
    for (name, _) in &left {
        load.quiet_from(name).await?;
    }
    left_in_time(&load, &left)?;
    nothing_lost(world, load).await
}

async fn instance_moves_its_port(world: &World) -> Outcome {
    let scene = Scene::open(world, |_| ()).await?;
    let (Member { backend, instance }, _) = scene.joins().await?;
    let load = scene.load(80).await?;
    let moved = backend.beside(9090).await?;
    let left = (backend.name(), Instant::now());
    let there = instance.clone().at(&instance.address, 9090);
    world.consul.agent_register(&there).await?;
    backend.retire();
    load.answered_by(&moved.name(), left.1).await?;
    load.quiet_from(&left.0).await?;
    left_in_time(&load, &[left])?;
    nothing_lost(world, load).await
}

/// Two members, and clients who know both.
async fn two_members(scene: &Scene<'_>) -> Outcome<([Member; 2], Load)> {
    let members = [scene.joins().await?.0, scene.joins().await?.0];
    let load = scene.load(80).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), Instant::now()).await?;
    }
    Ok((members, load))
}

async fn maintenance_drains(world: &World) -> Outcome {
    let scene = Scene::open(world, |_| ()).await?;
    let ([first, second], load) = two_members(&scene).await?;
    world.consul.agent_maintenance(&first.instance, true).await?;
    load.quiet_from(&first.backend.name()).await?;
    let asked = Instant::now();
    world.consul.agent_maintenance(&second.instance, true).await?;
    // kube-proxy takes what is draining, but serves, when nothing is ready.
    load.answered_by(&first.backend.name(), asked).await?;
    load.answered_by(&second.backend.name(), asked).await?;
    let asked = Instant::now();
    world.consul.agent_maintenance(&first.instance, false).await?;
    load.answered_by(&first.backend.name(), asked).await?;
    load.quiet_from(&second.backend.name()).await?;
    nothing_lost(world, load).await
}

async fn upgraded(world: &World) -> Outcome {
    let mut scene = Scene::open(world, |_| ()).await?;
    let ([first, _second], load) = two_members(&scene).await?;
    scene.terminates().await?;
    let (new, asked) = scene.joins().await?;
    let left = scene.leaves(first).await?;
    scene.starts()?;
    load.answered_by(&new.backend.name(), asked).await?;
    load.quiet_from(&left.0).await?;
    left_in_time(&load, &[left])?;
    nothing_lost(world, load).await
}

async fn killed_and_restarted(world: &World) -> Outcome {
    let mut scene = Scene::open(world, |_| ()).await?;
    let ([first, second], load) = two_members(&scene).await?;
    scene.crashes().await?;
    let (new, asked) = scene.joins().await?;
    sleep(DOWN).await;
    scene.starts()?;
    // It stands by until the Lease of the one that was killed has run out.
    load.answered_by(&new.backend.name(), asked).await?;
    let left = [scene.leaves(first).await?, scene.leaves(second).await?];
    for (name, _) in &left {
        load.quiet_from(name).await?;
    }
    left_in_time(&load, &left)?;
    nothing_lost(world, load).await
}

async fn consul_away(world: &World) -> Outcome {
    let mut scene = Scene::open(world, |_| ()).await?;
    let mut members = Vec::new();
    for _ in 0..2 {
        let member = scene.member().await?;
        world.consul.register(&member.instance).await?;
        members.push(member);
    }
    let load = scene.load(80).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), Instant::now()).await?;
    }
    world.servers.stop_consul().await;
    sleep(AWAY / 2).await;
    scene.terminates().await?;
    scene.starts()?;
    sleep(AWAY / 2).await;
    world.servers.start_consul().await?;
    let (new, asked) = scene.joins().await?;
    load.answered_by(&new.backend.name(), asked).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    nothing_lost(world, load).await
}

/// As the original writes it: named and labelled like the Service, nobody's.
fn original(member: &Member) -> Value {
    let address = member.backend.address;
    let subset =
        json!({ "addresses": [{ "ip": address.ip() }], "ports": [{ "name": "http", "port": address.port() }] });
    let metadata = json!({ "name": "web", "labels": { "name": "web" } });
    json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset] })
}

async fn taken_over_from_the_original(world: &World) -> Outcome {
    let member = scene::member(world).await?;
    world.consul.agent_register(&member.instance).await?;
    world.kube.create(ENDPOINTS, &original(&member)).await?;
    let unlabelled = |service: &mut Value| service["metadata"]["labels"] = json!({ "name": "web" });
    let scene = Scene::open(world, unlabelled).await?;
    // So far by way of the mirrored slice.
    let load = scene.load(80).await?;
    world.kube.label("web", "consul8s_source", Some("consul")).await?;
    eventually("only our slices are left", SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let manager = |slice: &Value| slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"].clone();
        so(slices.iter().all(|slice| manager(slice) == "controller.consul8s.io"), || format!("{slices:#?}"))
    })
    .await?;
    let (new, asked) = scene.joins().await?;
    load.answered_by(&new.backend.name(), asked).await?;
    load.answered_by(&member.backend.name(), asked).await?;
    nothing_lost(world, load).await
}
