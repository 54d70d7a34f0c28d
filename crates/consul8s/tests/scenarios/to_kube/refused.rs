//! Queries that Consul refuses (contract S8): the problem of the Service that asks, told in Consul's words; nobody else notices.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `bad_filter` | only on real servers, as the simulated Consul evaluates no expressions |
//! | `unknown_datacenter` | likewise for a datacenter |
//! | `tenancy_is_passed_on` | Enterprise namespace and partition reach Consul, whose free edition says that it has none; a peer that is unknown has no instances |
//! | `refused_by_consul_after_valid` | the last valid settings stay in force and are followed, also over a restart |

use crate::harness::{Kind, Outcome, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(bad_filter).only(Kind::Real, "the simulated Consul evaluates no filters"),
    scenario!(unknown_datacenter),
    scenario!(tenancy_is_passed_on).only(Kind::Real, "the simulated Consul knows no tenancy"),
    scenario!(refused_by_consul_after_valid),
];

async fn bad_filter(world: &World) -> Outcome {
    refused(world, "consul8s/service.filter", "Service.Meta.color ===", "boolean expression").await
}

async fn unknown_datacenter(world: &World) -> Outcome {
    refused(world, "consul8s/service.datacenter", "nowhere", "No path to datacenter").await
}

async fn refused(world: &World, annotation: &str, value: &str, words: &str) -> Outcome {
    let [theirs] = world.registered_instances("good").await?;
    let [ours] = world.registered_instances("bad").await?;
    world.create_to_kube("good", |_| ()).await?;
    world.create_to_kube("bad", |service| service["metadata"]["annotations"][annotation] = value.into()).await?;
    let program = world.start()?;
    let at = format!("{}:8080", theirs.address);
    world.publishes("good", &[&format!("{at} ready")]).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    eventually("it is told in Consul's words", SOON, async || {
        let log = program.log();
        let told = log.lines().any(|line| line.contains("InvalidAnnotation") && line.contains(words));
        so(told, || log)
    })
    .await?;
    // Consul is well, and says so.
    program.counts("consul8s_staleness_seconds", &[("source", "consul")], |seconds| seconds == 0.0).await?;
    so(!program.log().contains("does not answer as it should"), || program.log())?;
    world.consul.register(&theirs.clone().checked("critical")).await?;
    world.publishes("good", &[&format!("{at} not-ready")]).await?;
    world.kube.annotate("bad", annotation, None).await?;
    world.publishes("bad", &[&format!("{}:8080 ready", ours.address)]).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 0.0).await
}

async fn refused_by_consul_after_valid(world: &World) -> Outcome {
    const DATACENTER: &str = "consul8s/service.datacenter";
    let [first, second] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let [first_at, second_at] = [&first, &second].map(|instance| format!("{}:8080", instance.address));
    let line = |at: &str, state: &str| format!("{at} {state}");
    world.publishes("web", &[&line(&first_at, "ready"), &line(&second_at, "ready")]).await?;
    let recorder = world.record("web").await?;
    world.kube.annotate("web", DATACENTER, Some("nowhere")).await?;
    world.says("web", "False InvalidAnnotation", "No path to datacenter").await?;
    world.says("web", "False InvalidAnnotation", "the last valid settings stay in force").await?;
    world.consul.register(&first.clone().checked("critical")).await?;
    world.publishes("web", &[&line(&first_at, "not-ready"), &line(&second_at, "ready")]).await?;
    program.terminate(std::time::Duration::from_secs(5)).await?;

    world.consul.register(&first).await?;
    let program = world.start()?;
    world.publishes("web", &[&line(&first_at, "ready"), &line(&second_at, "ready")]).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    recorder.always("the second ready", |endpoints| endpoints.contains(&line(&second_at, "ready")))?;
    world.kube.annotate("web", DATACENTER, None).await?;
    world.says("web", "True EndpointsUpdated", "2 of 2 published").await
}

async fn tenancy_is_passed_on(world: &World) -> Outcome {
    for name in ["namespace", "partition", "peer"] {
        world.registered_instances::<1>(name).await?;
        let key = format!("consul8s/service.{name}");
        world.create_to_kube(name, |service| service["metadata"]["annotations"][&key] = "elsewhere".into()).await?;
    }
    let _program = world.start()?;
    for name in ["namespace", "partition"] {
        world.says(name, "False InvalidAnnotation", "Consul Enterprise feature").await?;
    }
    world.says("peer", "True NoHealthyInstances", "").await?;
    for name in ["namespace", "partition", "peer"] {
        let slices = world.kube.slices(name).await?;
        so(crate::harness::view::endpoints(&slices).is_empty(), || format!("{slices:#?}"))?;
    }
    Ok(())
}
