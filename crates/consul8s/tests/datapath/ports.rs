//! D4: the ports of a Service change.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `port_added` | no request to the other port is lost |
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

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(port_added), scenario!(port_renumbered), scenario!(port_renamed), scenario!(port_renamed_unannounced)];

/// Contract: a changed number answers within this time.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Two members, so that nothing hangs on one; and clients of port 80.
async fn busy<'a>(world: &'a World) -> Outcome<(Scene<'a>, [Member; 2], Load)> {
    let scene = Scene::open(world, |_| ()).await?;
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
    eventually("the new name is published too", SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let named = |slice: &Value| list(&slice["ports"]).iter().any(|port| port["name"] == "web");
        so(slices.iter().any(named), || format!("{slices:#?}"))
    })
    .await?;
    let asked = set_ports(world, &json!([{ "name": "web", "port": 80 }])).await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    world.kube.annotate("web", "consul8s/service.ports", None).await?;
    eventually("the old name is gone", SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let named = |slice: &Value| list(&slice["ports"]).iter().any(|port| port["name"] == "http");
        so(!slices.iter().any(named), || format!("{slices:#?}"))
    })
    .await?;
    nothing_lost(world, load).await
}

async fn port_renamed_unannounced(world: &World) -> Outcome {
    let (_scene, members, load) = busy(world).await?;
    let asked = set_ports(world, &json!([{ "name": "web", "port": 80 }])).await?;
    eventually("the new name is published", SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let named = |slice: &Value| list(&slice["ports"]).iter().any(|port| port["name"] == "web");
        so(slices.iter().any(named), || format!("{slices:#?}"))
    })
    .await?;
    for Member { backend, .. } in &members {
        load.answered_by(&backend.name(), asked).await?;
    }
    let gap = load.gap().unwrap_or_default();
    println!("{}: requests were lost for {} ms", world.namespace, gap.as_millis());
    so(gap <= AT_ONCE, || format!("for {gap:?}"))
}
