//! Nothing happens (contract D2, L1): then nothing is written.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `two_idle_replicas` | 30 s with a leader and a standby that audit every 5 s: the API server's own log has no write of theirs but that of the Lease, and in Consul nothing of theirs has another `ModifyIndex` |

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::harness::{Kind, LEASES, Outcome, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(two_idle_replicas).only(Kind::Real, "the proof is in the API server's own log")];

const IDLE: Duration = Duration::from_secs(30);
/// After the last change people are told of it, which is a write.
const TOLD: Duration = Duration::from_secs(5);
/// Of each direction.
const SERVICES: usize = 5;
/// The longest time that all may take.
const LIMIT: Duration = Duration::from_secs(60);

async fn two_idle_replicas(world: &World) -> Outcome {
    for number in 0..SERVICES {
        world.registered_instances::<2>(&format!("web-{number}")).await?;
        world.create_to_kube(&format!("web-{number}"), |_| ()).await?;
        world.create_to_consul(&format!("db-{number}"), |_| ()).await?;
    }
    let start = || world.program().flags(&["--interval", "5"]).start();
    let (first, second) = (start()?, start()?);
    for program in [&first, &second] {
        let all = 2.0 * SERVICES as f64;
        program.counts("consul8s_services", &[("state", "synced")], |synced| synced == all).await?;
    }
    quiet(world).await?;

    let (before, writes) = (world.versions().await?, writes(world).await?);
    let renewals = lease_version(world).await?;
    sleep(IDLE).await;
    let later = self::writes(world).await?;
    so(later == writes, || format!("written while nothing happened: {:#?}", &later[writes.len()..]))?;
    world.unchanged_since(&before).await?;
    let renewed = lease_version(world).await?;
    so(renewed != renewals, || "the Lease was not even renewed".to_owned())
}

/// Waits until people have been told all.
async fn quiet(world: &World) -> Outcome {
    let mut before = writes(world).await?.len();
    eventually("nothing more is written", LIMIT, async || {
        sleep(TOLD).await;
        let now = writes(world).await?.len();
        so(std::mem::replace(&mut before, now) == now, || format!("{now} writes so far"))
    })
    .await
}

/// What the program has written in this namespace, but for its Lease: a line each.
async fn writes(world: &World) -> Outcome<Vec<String>> {
    let events = world.servers.audit_events().await?;
    let ours = |event: &&Value| {
        let of_us = event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("consul8s"));
        let object = &event["objectRef"];
        let reads = matches!(event["verb"].as_str(), Some("get" | "list" | "watch"));
        of_us && !reads && object["namespace"] == world.namespace.as_str() && object["resource"] != LEASES.plural
    };
    Ok(events
        .iter()
        .filter(ours)
        .map(|event| format!("{} {}", text(&event["verb"]), text(&event["requestURI"])))
        .collect())
}

async fn lease_version(world: &World) -> Outcome<String> {
    Ok(text(&world.kube.get(LEASES, &world.namespace).await?["metadata"]["resourceVersion"]))
}
