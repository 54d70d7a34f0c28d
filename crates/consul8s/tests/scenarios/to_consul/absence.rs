//! What is only missing, and what goes together with much else (contract §4 Removal).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `deleted_while_it_was_away` | missing from a fresh list: removed after two reads by name, and not before |
//! | `unlabelled_while_it_was_away` | an object that no longer asks is evidence after a restart too; so is the scope |
//! | `many_labels_lost_at_once` | from the third Service and the fifth registration on they are held; the id on a Service releases its part, the Lease the rest |
//! | `many_missing_at_once` | the same for what is missing after a restart; `-1` ends with 5 |
//! | `many_deleted_at_once` | deleting is no accident |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{LEASES, Outcome, Running, SERVICES, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(deleted_while_it_was_away).and_on_an_open_consul(),
    scenario!(unlabelled_while_it_was_away),
    scenario!(many_labels_lost_at_once),
    scenario!(many_missing_at_once),
    scenario!(many_deleted_at_once),
];

fn line(world: &World, name: &str) -> String {
    format!("{}.{name} {name}.example.com:80 passing", world.namespace)
}

async fn registered(world: &World, names: &[&str]) -> Outcome {
    for name in names {
        world.create_to_consul(name, |_| ()).await?;
    }
    for name in names {
        world.registers(&world.own(name), &[&line(world, name)]).await?;
    }
    Ok(())
}

async fn deleted_while_it_was_away(world: &World) -> Outcome {
    let program = world.start()?;
    registered(world, &["web", "db"]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.delete(SERVICES, "web").await?;
    let started = Instant::now();
    let _program = world.start()?;
    world.registers_within(SOON, &world.own("web"), &[]).await?;
    let took = started.elapsed();
    so(took >= Duration::from_secs(2), || format!("after {took:?}: it can't have been read twice"))?;
    world.registers(&world.own("db"), &[&line(world, "db")]).await?;
    Ok(())
}

async fn unlabelled_while_it_was_away(world: &World) -> Outcome {
    let program = world.start()?;
    registered(world, &["web", "db"]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.label("web", "consul8s_source", None).await?;
    let program = world.start()?;
    world.registers(&world.own("web"), &[]).await?;
    world.registers(&world.own("db"), &[&line(world, "db")]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    // The same installation, and another scope.
    let elsewhere = ["--all-namespaces", "--exclude-namespace", &world.namespace];
    let _program = world.program().without_scope().flags(&elsewhere).start()?;
    world.registers(&world.own("db"), &[]).await?;
    Ok(())
}

/// Four Services of two addresses each.
async fn eight(world: &World) -> Outcome {
    for n in 0..4 {
        let two = |service: &mut Value| {
            service["metadata"]["annotations"]["consul8s/service.address"] = json!(format!("10.98.{n}.1,10.98.{n}.2"));
        };
        world.create_to_consul(&format!("s{n}"), two).await?;
    }
    left(world, |left| left == [2, 2, 2, 2]).await?;
    Ok(())
}

/// Waits until so many registrations of each Service are left.
async fn left(world: &World, right: impl Fn(&[usize]) -> bool) -> Outcome<Vec<usize>> {
    eventually("registrations that are left", SOON, async || {
        let mut left = Vec::new();
        for n in 0..4 {
            left.push(world.registrations(&world.own(&format!("s{n}"))).await?.len());
        }
        so(right(&left), || format!("{left:?}"))?;
        Ok(left)
    })
    .await
}

async fn held(program: &Running, count: f64) -> Outcome {
    program.counts("consul8s_removals_held", &[("direction", "to_consul")], |held| held == count).await
}

async fn many_labels_lost_at_once(world: &World) -> Outcome {
    let program = world.start()?;
    eight(world).await?;
    // One after the other, as a bad deployment does it: the third is one too many.
    for n in 0..4 {
        world.kube.label(&format!("s{n}"), "consul8s_source", None).await?;
        if n < 2 {
            left(world, |left| left[n] == 0).await?;
        }
    }
    held(&program, 4.0).await?;
    left(world, |left| left == [0, 0, 2, 2]).await?;
    let log = program.log();
    let id = log.split("consul8s release ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    so(id.starts_with("h-"), || format!("no id of a hold in {log}"))?;
    world.kube.annotate("s2", "consul8s/allow-removal", Some(id)).await?;
    left(world, |left| left == [0, 0, 0, 2]).await?;
    held(&program, 2.0).await?;
    // What asks again is no longer held.
    world.kube.label("s3", "consul8s_source", Some("kubernetes")).await?;
    held(&program, 0.0).await?;
    left(world, |left| left == [0, 0, 0, 2]).await?;
    Ok(())
}

async fn many_missing_at_once(world: &World) -> Outcome {
    let program = world.start()?;
    eight(world).await?;
    program.terminate(Duration::from_secs(5)).await?;
    for n in 0..3 {
        world.kube.delete(SERVICES, &format!("s{n}")).await?;
    }
    let once = world.program().finish(&["-1"]).await?;
    assert_eq!(once.code, Some(5), "{}", once.stderr);
    left(world, |left| left == [2, 2, 2, 2]).await?;
    let program = world.start()?;
    held(&program, 6.0).await?;
    left(world, |left| left == [2, 2, 2, 2]).await?;
    let release = json!({ "metadata": { "annotations": { "consul8s/allow-removal": "true" } } });
    world.kube.merge(LEASES, &world.namespace, &release).await?;
    left(world, |left| left == [0, 0, 0, 2]).await?;
    held(&program, 0.0).await?;
    eventually("the release is taken away", SOON, async || {
        let annotations = world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"].clone();
        so(annotations["consul8s/allow-removal"].is_null(), || annotations.to_string())
    })
    .await
}

async fn many_deleted_at_once(world: &World) -> Outcome {
    let program = world.start()?;
    eight(world).await?;
    for n in 0..4 {
        world.kube.delete(SERVICES, &format!("s{n}")).await?;
    }
    left(world, |left| left == [0, 0, 0, 0]).await?;
    held(&program, 0.0).await
}
