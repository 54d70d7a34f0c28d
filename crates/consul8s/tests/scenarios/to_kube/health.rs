//! Health → conditions (contract §2, S1): a check changes what an endpoint says of itself, never whether it is there.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `health_flips` | passing is ready, warning and critical are not, and back; the endpoint is never dropped |
//! | `node_checks_count` | the worst of the instance's own checks and its node's |
//! | `no_check_is_passing` | no check = passing |
//! | `instance_in_maintenance` | not ready, serving, terminating |
//! | `node_in_maintenance` | the same for all on the node |
//! | `publish_not_ready_addresses` | makes every `ready` true |

use serde_json::json;

use crate::harness::{Outcome, SOON, Scenario, World, list, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(health_flips),
    scenario!(node_checks_count),
    scenario!(no_check_is_passing),
    scenario!(instance_in_maintenance),
    scenario!(node_in_maintenance),
    scenario!(publish_not_ready_addresses),
];

async fn health_flips(world: &World) -> Outcome {
    let [steady] = world.registered_instances("web").await?;
    let flipping = world.instance("web").checked("passing");
    world.consul.agent_register(&flipping).await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let (steady, at) = (format!("{}:8080 ready", steady.address), format!("{}:8080", flipping.address));
    world.publishes("web", &[&steady, &format!("{at} ready")]).await?;
    let recorder = world.record("web").await?;
    for (report, state) in
        [("warn", "not-ready"), ("fail", "not-ready"), ("pass", "ready"), ("fail", "not-ready"), ("pass", "ready")]
    {
        world.consul.agent_check(&flipping, report).await?;
        world.publishes("web", &[&steady, &format!("{at} {state}")]).await?;
    }
    recorder
        .always("both there, and the steady one ready", |endpoints| endpoints.len() == 2 && endpoints.contains(&steady))
}

async fn node_checks_count(world: &World) -> Outcome {
    let [one, other] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let (at, other) = (format!("{}:8080", one.address), format!("{}:8080 ready", other.address));
    world.publishes("web", &[&format!("{at} ready"), &other]).await?;
    for (status, state) in [("critical", "not-ready"), ("passing", "ready"), ("warning", "not-ready")] {
        world.consul.set_node_check(&one, "disk", status).await?;
        world.publishes("web", &[&format!("{at} {state}"), &other]).await?;
    }
    world.consul.remove_node_check(&one, "disk").await?;
    world.publishes("web", &[&format!("{at} ready"), &other]).await?;
    Ok(())
}

async fn no_check_is_passing(world: &World) -> Outcome {
    let instance = world.instance("web");
    world.consul.register(&instance).await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    Ok(())
}

async fn instance_in_maintenance(world: &World) -> Outcome {
    let [steady] = world.registered_instances("web").await?;
    let upgraded = world.instance("web").checked("passing");
    world.consul.agent_register(&upgraded).await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let (steady, at) = (format!("{}:8080 ready", steady.address), format!("{}:8080", upgraded.address));
    world.publishes("web", &[&steady, &format!("{at} ready")]).await?;
    world.consul.agent_maintenance(&upgraded, true).await?;
    world.publishes("web", &[&steady, &format!("{at} draining")]).await?;
    world.consul.agent_maintenance(&upgraded, false).await?;
    world.publishes("web", &[&steady, &format!("{at} ready")]).await?;
    Ok(())
}

async fn node_in_maintenance(world: &World) -> Outcome {
    let [steady, upgraded] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let (steady, at) = (format!("{}:8080 ready", steady.address), format!("{}:8080", upgraded.address));
    world.publishes("web", &[&steady, &format!("{at} ready")]).await?;
    // What an agent writes for `consul maint -enable`.
    world.consul.set_node_check(&upgraded, "_node_maintenance", "critical").await?;
    world.publishes("web", &[&steady, &format!("{at} draining")]).await?;
    world.consul.remove_node_check(&upgraded, "_node_maintenance").await?;
    world.publishes("web", &[&steady, &format!("{at} ready")]).await?;
    Ok(())
}

async fn publish_not_ready_addresses(world: &World) -> Outcome {
    world.registered_instances::<1>("web").await?;
    world.consul.register(&world.instance("web").checked("critical")).await?;
    world.create_to_kube("web", |service| service["spec"]["publishNotReadyAddresses"] = json!(true)).await?;
    let _program = world.start()?;
    world
        .slices_become("both ready", SOON, "web", |slices| {
            let endpoints: Vec<_> = slices.iter().flat_map(|slice| list(&slice["endpoints"])).collect();
            let all = endpoints.iter().all(|endpoint| endpoint["conditions"]["ready"] == true);
            so(all && endpoints.len() == 2, || format!("{endpoints:#?}"))
        })
        .await?;
    Ok(())
}
