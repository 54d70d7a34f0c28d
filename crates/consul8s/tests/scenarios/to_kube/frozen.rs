//! Settings that can't be understood (contract, "frozen"): the last valid ones stay in force and go on being followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `frozen_over_a_restart` | they are kept on our slices, and what comes and goes meanwhile follows them |
//! | `never_understood` | where none are known nothing is added; what stands becomes not ready with its check |
//! | `labels_that_contradict` | the same for the labels |

use crate::harness::{Outcome, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(frozen_over_a_restart), scenario!(never_understood), scenario!(labels_that_contradict)];

const HEALTH: &str = "consul8s/service.health";

async fn frozen_over_a_restart(world: &World) -> Outcome {
    let first = world.instance("web").checked("critical");
    world.consul.register(&first).await?;
    world.create_to_kube("web", |service| service["metadata"]["annotations"][HEALTH] = "any".into()).await?;
    let program = world.start()?;
    let first = format!("{}:8080 ready", first.address);
    world.publishes("web", &[&first]).await?;
    let recorder = world.record("web").await?;
    world.kube.annotate("web", HEALTH, Some("fine")).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    let second = world.instance("web").checked("critical");
    world.consul.register(&second).await?;
    let second = format!("{}:8080 ready", second.address);
    world.publishes("web", &[&first, &second]).await?;

    program.terminate(std::time::Duration::from_secs(5)).await?;
    let third = world.instance("web").checked("warning");
    world.consul.register(&third).await?;
    let third = format!("{}:8080 ready", third.address);
    let program = world.start()?;
    world.publishes("web", &[&first, &second, &third]).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    recorder.always("the first ready", |endpoints| endpoints.contains(&first))?;

    world.kube.annotate("web", HEALTH, Some("passing")).await?;
    let lines = [first, second, third].map(|line| line.replace(" ready", " not-ready"));
    world.publishes("web", &[&lines[0], &lines[1], &lines[2]]).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 0.0).await
}

async fn never_understood(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |service| service["metadata"]["annotations"][HEALTH] = "fine".into()).await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let slices = world.kube.slices("web").await?;
    so(crate::harness::view::endpoints(&slices).is_empty(), || format!("{slices:#?}"))?;
    world.kube.annotate("web", HEALTH, None).await?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    Ok(())
}

async fn labels_that_contradict(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let at = format!("{}:8080", instance.address);
    world.publishes("web", &[&format!("{at} ready")]).await?;
    world.kube.label("web", "consul8s_source", Some("nomad")).await?;
    program.counts("consul8s_problems", &[("reason", "UnknownSource")], |count| count == 1.0).await?;
    world.consul.register(&instance.clone().checked("critical")).await?;
    world.publishes("web", &[&format!("{at} not-ready")]).await?;
    world.kube.label("web", "consul8s_source", Some("consul")).await?;
    world.consul.register(&instance).await?;
    world.publishes("web", &[&format!("{at} ready")]).await?;
    Ok(())
}
