//! A restart (contract D2, S9): a world in sync is left as it is.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `restart_writes_nothing` | ended and started again: not one write on either side |
//! | `crash_writes_nothing` | the same after a crash |
//! | `idle_writes_nothing` | audits find nothing to do |
//! | `changed_while_it_was_away` | what happened meanwhile is followed after the start |

use std::time::Duration;

use crate::harness::{Outcome, Running, SERVICES, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(restart_writes_nothing),
    scenario!(crash_writes_nothing),
    scenario!(idle_writes_nothing),
    scenario!(changed_while_it_was_away),
];

/// Longer than a start takes with all its first looks, and than the second read of something that is missing.
const QUIET: Duration = Duration::from_secs(8);

/// A world in sync: two Services in each direction, with instances in every state.
async fn in_sync(world: &World) -> Outcome<Running> {
    let [ready, failing] = world.registered_instances("web").await?;
    world.consul.register(&failing.clone().checked("critical")).await?;
    let [lone] = world.registered_instances("lone").await?;
    for name in ["web", "lone"] {
        world.create_to_kube(name, |_| ()).await?;
    }
    for name in ["db", "api"] {
        world.create_to_consul(name, |_| ()).await?;
    }
    let program = world.start()?;
    let web = [format!("{}:8080 ready", ready.address), format!("{}:8080 not-ready", failing.address)];
    world.publishes("web", &[&web[0], &web[1]]).await?;
    world.publishes("lone", &[&format!("{}:8080 ready", lone.address)]).await?;
    for name in ["db", "api"] {
        world
            .registers(&world.own(name), &[&format!("{}.{name} {name}.example.com:80 passing", world.namespace)])
            .await?;
    }
    Ok(program)
}

/// Starts it again and watches that it finds everything in order.
async fn writes_nothing(world: &World, before: &[(String, String)]) -> Outcome {
    let program = world.start()?;
    program.answers("/readyz").await?;
    program.counts("consul8s_services", &[("state", "synced")], |count| count == 4.0).await?;
    tokio::time::sleep(QUIET).await;
    world.unchanged_since(before).await?;
    assert_eq!(program.writes().await?, 0.0, "not even one that changes nothing");
    Ok(())
}

async fn restart_writes_nothing(world: &World) -> Outcome {
    let program = in_sync(world).await?;
    let before = world.versions().await?;
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    writes_nothing(world, &before).await
}

async fn crash_writes_nothing(world: &World) -> Outcome {
    let program = in_sync(world).await?;
    let before = world.versions().await?;
    program.kill().await?;
    writes_nothing(world, &before).await
}

async fn idle_writes_nothing(world: &World) -> Outcome {
    in_sync(world).await?.terminate(Duration::from_secs(5)).await?;
    let program = world.program().flags(&["--interval", "1"]).start()?;
    program.counts("loop_time_seconds_count", &[], |count| count >= 1.0).await?;
    let writes = program.writes().await?;
    world.nothing_changes(QUIET).await?;
    program.counts("loop_time_seconds_count", &[], |count| count >= 5.0).await?;
    assert_eq!(program.writes().await?, writes);
    Ok(())
}

async fn changed_while_it_was_away(world: &World) -> Outcome {
    in_sync(world).await?.terminate(Duration::from_secs(5)).await?;
    let added = world.instance("lone").checked("critical");
    world.consul.register(&added).await?;
    world.kube.annotate("db", "consul8s/service.tags", Some("new")).await?;
    world.kube.annotate("api", "consul8s/service.remove_registration", Some("true")).await?;
    world.kube.delete(SERVICES, "web").await?;
    let _program = world.start()?;
    let lone = world.consul.health(&world.own("lone")).await?;
    assert_eq!(lone.len(), 2);
    world
        .slices_become("the new instance is there", crate::harness::SOON, "lone", |slices| {
            let endpoints = crate::harness::view::endpoints(slices);
            crate::harness::so(endpoints.contains(&format!("{}:8080 not-ready", added.address)), || {
                format!("{endpoints:?}")
            })
        })
        .await?;
    world.registers(&world.own("db"), &[&format!("{}.db db.example.com:80 passing tags=new", world.namespace)]).await?;
    world.registers(&world.own("api"), &[]).await?;
    Ok(())
}
