//! Holds over many registrations, over time (contract §4 Removal; guard.md (b)).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `a_mass_hold_ends_by_time` | after `--mass-removal-hold`, counted on over a restart under the same id; `-1` then ends with 0 |
//! | `kept_while_it_was_away` | `on_delete: keep` outlives a Service that was deleted while nobody looked |

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::{LEASES, Launch, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(a_mass_hold_ends_by_time), scenario!(kept_while_it_was_away)];

/// Long enough for a program to be ended and started again within it.
const HOLD: Duration = Duration::from_secs(25);

const FOUR: [&str; 4] = ["one", "two", "three", "four"];

fn program(world: &World) -> Launch {
    world.program().flags(&["--mass-removal-hold", "25s"])
}

async fn left(world: &World) -> Outcome<Vec<usize>> {
    let mut left = Vec::new();
    for name in FOUR {
        left.push(world.registrations(&world.own(name)).await?.len());
    }
    Ok(left)
}

async fn left_becomes(world: &World, limit: Duration, wanted: [usize; 4]) -> Outcome {
    eventually(&format!("{wanted:?} are left"), limit, async || {
        let seen = left(world).await?;
        so(seen == wanted, || format!("{seen:?}"))
    })
    .await
}

/// The hold that the Lease tells of: its id.
async fn on_the_lease(world: &World) -> Outcome<String> {
    eventually("the Lease says what is held", SOON, async || {
        let held = text(&world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"]["consul8s/held"]);
        let (id, rest) = held.split_once('=').unwrap_or_default();
        so(rest.starts_with("6@"), || held.clone())?;
        Ok(id.to_owned())
    })
    .await
}

async fn a_mass_hold_ends_by_time(world: &World) -> Outcome {
    for name in FOUR {
        let addresses = format!("{name}-a.example.com,{name}-b.example.com");
        world.create_to_consul(name, |it| it["metadata"]["annotations"]["domainName"] = json!(addresses)).await?;
    }
    let running = program(world).start()?;
    left_becomes(world, SOON, [2; 4]).await?;
    running.terminate(Duration::from_secs(5)).await?;
    for name in &FOUR[..3] {
        world.kube.delete(SERVICES, name).await?;
    }
    let begun = Instant::now();
    let running = program(world).start()?;
    let id = on_the_lease(world).await?;
    running.terminate(Duration::from_secs(5)).await?;
    let once = program(world).finish(&["-1"]).await?;
    assert_eq!(once.code, Some(5), "{once:?}");
    let running = program(world).start()?;
    running.counts("consul8s_removals_held", &[("direction", "to_consul")], |held| held == 6.0).await?;
    assert_eq!(on_the_lease(world).await?, id, "it goes on under its id");
    assert_eq!(left(world).await?, [2; 4]);
    running.terminate(Duration::from_secs(5)).await?;
    tokio::time::sleep_until(begun + HOLD + Duration::from_secs(2)).await;
    assert_eq!(left(world).await?, [2; 4]);
    let once = program(world).finish(&["-1"]).await?;
    assert_eq!(once.code, Some(0), "its time was over: {once:?}");
    left_becomes(world, Duration::from_secs(1), [0, 0, 0, 2]).await?;
    eventually("the Lease is clean", SOON, async || {
        let annotations = world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"].clone();
        so(annotations["consul8s/held"].is_null(), || annotations.to_string())
    })
    .await
}

async fn kept_while_it_was_away(world: &World) -> Outcome {
    let keep = |service: &mut serde_json::Value| {
        service["metadata"]["annotations"]["consul8s/service.on_delete"] = json!("keep");
    };
    world.create_to_consul("one", keep).await?;
    world.create_to_consul("two", |_| ()).await?;
    let running = world.start()?;
    left_becomes(world, SOON, [1, 1, 0, 0]).await?;
    running.terminate(Duration::from_secs(5)).await?;
    for name in ["one", "two"] {
        world.kube.delete(SERVICES, name).await?;
    }
    let _running = world.start()?;
    left_becomes(world, SOON, [1, 0, 0, 0]).await
}
