//! What the guard holds (contract S3, guard.md), and how it is let go.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `released_by_its_id` | hold (a), with its id on the Service |
//! | `released_by_true` | once: it must be taken away before it counts again |
//! | `held_over_a_restart` | the hold goes on, and ends when it would have ended |
//! | `a_host_of_many_services` | hold (b): each alone would go, together they stay, until they come back |

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{Instance, Outcome, Running, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(released_by_its_id),
    scenario!(released_by_true),
    scenario!(held_over_a_restart),
    scenario!(a_host_of_many_services),
];

const HELD: (&str, &[(&str, &str)]) = ("consul8s_removals_held", &[("direction", "to_kube")]);
const ALLOW: &str = "consul8s/allow-removal";

async fn holds(program: &Running, count: f64) -> Outcome {
    program.counts(HELD.0, HELD.1, |held| held == count).await
}

/// A Service whose only instance has gone, and whose endpoint is held.
async fn held(world: &World, flags: &[&str]) -> Outcome<(Running, Instance, String)> {
    let [only] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.program().flags(flags).start()?;
    let line = format!("{}:8080 ready", only.address);
    world.publishes("web", &[&line]).await?;
    world.consul.remove_node(&only.node).await?;
    holds(&program, 1.0).await?;
    Ok((program, only, line))
}

/// Another process, which leads as soon as it has started.
async fn restarted(world: &World, program: Running) -> Outcome<Running> {
    program.terminate(Duration::from_secs(5)).await?;
    let program = world.start()?;
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    program.counts("consul8s_endpoints", &[], |endpoints| endpoints > 0.0).await?;
    Ok(program)
}

/// The id of the hold, as the warning tells it.
async fn told_id(program: &Running) -> Outcome<String> {
    eventually("a hold with an id", SOON, async || {
        let log = program.log();
        let line = log.lines().rev().find(|line| line.contains("RemovalHeld")).ok_or("no RemovalHeld")?;
        let from = line.find("(h-").ok_or_else(|| line.to_owned())? + 1;
        Ok(line[from..].chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '-').collect())
    })
    .await
}

async fn released_by_its_id(world: &World) -> Outcome {
    let (program, _, line) = held(world, &[]).await?;
    let id = told_id(&program).await?;
    world.kube.annotate("web", ALLOW, Some("h-000000")).await?;
    sleep(Duration::from_secs(3)).await;
    world.publishes("web", &[&line]).await?;
    world.kube.annotate("web", ALLOW, Some(&id)).await?;
    let took = world.publishes("web", &[]).await?;
    so(took < Duration::from_secs(2), || format!("it took {took:?}"))?;
    holds(&program, 0.0).await
}

async fn released_by_true(world: &World) -> Outcome {
    let (program, only, line) = held(world, &[]).await?;
    world.kube.annotate("web", ALLOW, Some("true")).await?;
    world.publishes("web", &[]).await?;
    // It stands there still, and has been used.
    world.consul.register(&only).await?;
    world.publishes("web", &[&line]).await?;
    let program = restarted(world, program).await?;
    world.consul.remove_node(&only.node).await?;
    holds(&program, 1.0).await?;
    sleep(Duration::from_secs(3)).await;
    world.publishes("web", &[&line]).await?;
    world.kube.annotate("web", ALLOW, None).await?;
    sleep(Duration::from_secs(1)).await;
    world.kube.annotate("web", ALLOW, Some("true")).await?;
    world.publishes("web", &[]).await?;
    holds(&program, 0.0).await
}

async fn held_over_a_restart(world: &World) -> Outcome {
    const HOLD: Duration = Duration::from_secs(30);
    let begun = Instant::now();
    let (program, _, line) = held(world, &["--removal-hold", "30s"]).await?;
    // What stands on our slices says since when.
    let marked = |slices: &[Value]| {
        let marks = slices.iter().filter(|slice| !slice["metadata"]["annotations"]["consul8s/absent-since"].is_null());
        so(marks.count() == 1, || format!("{slices:#?}"))
    };
    world.slices_become("the hold is noted", SOON, "web", marked).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let recorder = world.record("web").await?;
    sleep(HOLD.saturating_sub(begun.elapsed()).saturating_sub(Duration::from_secs(8))).await;
    let program = world.program().flags(&["--removal-hold", "30s"]).start()?;
    holds(&program, 1.0).await?;
    recorder.always("ready", |endpoints| endpoints == [line.clone()])?;
    world.publishes_within(HOLD, "web", &[]).await?;
    let after = begun.elapsed();
    so(after >= HOLD && after < HOLD + Duration::from_secs(20), || format!("gone after {after:?}"))
}

async fn a_host_of_many_services(world: &World) -> Outcome {
    // Four instances of each, the first of each on one host.
    let services = ["one", "two", "three", "four", "five"];
    let mut host: Option<Instance> = None;
    let (mut lost, mut lines) = (Vec::new(), Vec::new());
    for service in services {
        let instances: [Instance; 4] = std::array::from_fn(|_| world.instance(service));
        let mut of_service: Vec<String> = Vec::new();
        for (number, mut instance) in instances.into_iter().enumerate() {
            of_service.push(format!("{}:8080 ready", instance.address));
            if number == 0 {
                let host = host.get_or_insert_with(|| instance.clone());
                (instance.node, instance.node_address) = (host.node.clone(), host.node_address.clone());
                lost.push(instance.clone());
            }
            world.consul.register(&instance).await?;
        }
        world.create_to_kube(service, |_| ()).await?;
        of_service.sort();
        lines.push(of_service);
    }
    let program = world.start()?;
    for (service, lines) in services.iter().zip(&lines) {
        let wanted: Vec<&str> = lines.iter().map(String::as_str).collect();
        world.publishes(service, &wanted).await?;
    }
    // What stands when we start counts as ready since long; what came in the last ten minutes would make up for a loss.
    let program = restarted(world, program).await?;
    let mut recorders = Vec::new();
    for (service, lines) in services.iter().zip(&lines) {
        let wanted: Vec<&str> = lines.iter().map(String::as_str).collect();
        world.publishes(service, &wanted).await?;
        recorders.push(world.record(service).await?);
    }
    world.consul.remove_node(&host.ok_or("no host")?.node).await?;
    holds(&program, 5.0).await?;
    // One of four would have gone by now.
    sleep(Duration::from_secs(15)).await;
    holds(&program, 5.0).await?;
    for instance in &lost {
        world.consul.register(instance).await?;
    }
    holds(&program, 0.0).await?;
    for (recorder, lines) in recorders.iter().zip(&lines) {
        recorder.always("all four ready", |endpoints| endpoints == lines.as_slice())?;
    }
    Ok(())
}
