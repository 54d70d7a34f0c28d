//! D4: the ports of a Service change.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `port_added` | no request to the other port is lost |
//! | `port_named` | nor to the port that had no name so far, and must get one beside another, when its name stands in `consul8s/service.ports` beforehand |
//! | `port_renumbered` | the new number answers within 300 ms, and loses nothing from then on; the old one ends |
//! | `port_renamed` | none is lost when the new name stands in `consul8s/service.ports` beforehand |
//! | `port_renamed_unannounced` | some are lost, but only for a moment |

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, list, scenario, so};
use crate::load::{Load, ask};
use crate::lossless::nothing_lost;
use crate::scene::{Member, Scene};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(port_added),
    scenario!(port_named),
    scenario!(port_renumbered),
    scenario!(port_renamed),
    scenario!(port_renamed_unannounced),
];

/// Contract: a changed number answers within this time.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Two members, so that nothing hangs on one; and clients of port 80.
async fn busy(world: &World) -> Outcome<(Scene<'_>, [Member; 2], Load)> {
    busy_with(world, |_| ()).await
}

/// The same, with the Service as `change` wants it.
async fn busy_with(world: &World, change: impl FnOnce(&mut Value)) -> Outcome<(Scene<'_>, [Member; 2], Load)> {
    let scene = Scene::open(world, change).await?;
    let members = [scene.joins().await?.0, scene.joins().await?.0];
    let load = scene.load(80).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), Instant::now()).await?;
    }
    Ok((scene, members, load))
}

/// Sets the ports of the Service; gives the moment just before.
async fn set_ports(world: &World, ports: &Value) -> Outcome<Instant> {
    let asked = Instant::now();
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "ports": ports } })).await?;
    Ok(asked)
}

/// Waits until our slices have a port of this name, or none has.
async fn publishes(world: &World, name: &str, wanted: bool) -> Outcome {
    eventually(&format!("{name} is published: {wanted}"), SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let named = |slice: &Value| list(&slice["ports"]).iter().any(|port| port["name"] == name);
        so(slices.iter().any(named) == wanted, || format!("{slices:#?}"))
    })
    .await
}

async fn first_answer(scene: &Scene<'_>, port: u16, since: Instant) -> Outcome<Duration> {
    let to = SocketAddr::new(scene.ip, port);
    eventually(&format!("{to} answers"), SOON, async || {
        let request = ask(to).await;
        request.answer.map(|_| request.ended - since)
    })
    .await
}

async fn port_added(world: &World) -> Outcome {
    let (scene, members, load) = busy(world).await?;
    let ports = json!([{ "name": "http", "port": 80 }, { "name": "more", "port": 81 }]);
    let asked = set_ports(world, &ports).await?;
    let took = first_answer(&scene, 81, asked).await?;
    println!("{}: the new port answers after {} ms", world.namespace, took.as_millis());
    let more = scene.load(81).await?;
    for Member { backend, .. } in &members {
        more.answered_by(&backend.name(), asked).await?;
    }
    nothing_lost(world, more).await?;
    nothing_lost(world, load).await
}

async fn port_named(world: &World) -> Outcome {
    let unnamed = |service: &mut Value| service["spec"]["ports"] = json!([{ "port": 80 }]);
    let (scene, members, load) = busy_with(world, unnamed).await?;
    world.kube.annotate("web", "consul8s/service.ports", Some("80=default,http=default,more=default")).await?;
    publishes(world, "http", true).await?;
    let asked = set_ports(world, &json!([{ "name": "http", "port": 80 }, { "name": "more", "port": 81 }])).await?;
    first_answer(&scene, 81, asked).await?;
    world.kube.annotate("web", "consul8s/service.ports", None).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    nothing_lost(world, load).await
}

async fn port_renumbered(world: &World) -> Outcome {
    let (scene, members, load) = busy(world).await?;
    println!("{}: {}", world.namespace, load.ends_without_loss().await?);
    let asked = set_ports(world, &json!([{ "name": "http", "port": 8000 }])).await?;
    let took = first_answer(&scene, 8000, asked).await?;
    println!("{}: the new number answers after {} ms", world.namespace, took.as_millis());
    so(took <= AT_ONCE, || format!("only after {took:?}"))?;
    let load = scene.load(8000).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    eventually("the old number ends", SOON, async || {
        let request = ask(SocketAddr::new(scene.ip, 80)).await;
        so(request.answer.is_err(), || format!("{request:?}"))
    })
    .await?;
    nothing_lost(world, load).await
}

async fn port_renamed(world: &World) -> Outcome {
    let (_scene, members, load) = busy(world).await?;
    world.kube.annotate("web", "consul8s/service.ports", Some("http=default,web=default")).await?;
    publishes(world, "web", true).await?;
    let asked = set_ports(world, &json!([{ "name": "web", "port": 80 }])).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    world.kube.annotate("web", "consul8s/service.ports", None).await?;
    publishes(world, "http", false).await?;
    nothing_lost(world, load).await
}

async fn port_renamed_unannounced(world: &World) -> Outcome {
    let (_scene, members, load) = busy(world).await?;
    let asked = set_ports(world, &json!([{ "name": "web", "port": 80 }])).await?;
    publishes(world, "web", true).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    let gap = load.gap().unwrap_or_default();
    println!("{}: requests were lost for {} ms", world.namespace, gap.as_millis());
    so(gap <= AT_ONCE, || format!("for {gap:?}"))
}
