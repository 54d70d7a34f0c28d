//! How endpoints are laid into slices, and Services that can't have any (contract §2).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `many_instances` | at most 100 endpoints in a slice; a change of one instance writes one slice |
//! | `service_made_again` | fresh slices with the new Service's UID; none with the old one stays |
//! | `service_with_selector` | `SelectorPresent`: no slice of ours; others go on |
//! | `bad_annotation` | `InvalidAnnotation`: nothing is added, others go on |

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, SOON, Scenario, World, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(many_instances),
    scenario!(service_made_again),
    scenario!(service_with_selector),
    scenario!(bad_annotation),
];

async fn many_instances(world: &World) -> Outcome {
    const COUNT: usize = 250;
    let rack = world.instance("web");
    let node = json!({ "Node": rack.node, "Address": rack.node_address });
    world.consul.put("/v1/catalog/register", &node).await?;
    let service = |number: &usize| {
        let address = format!("10.97.{}.{}", number / 250, 1 + number % 250);
        let service = json!({ "ID": format!("{}-{number}", rack.service), "Service": rack.service, "Address": address, "Port": 8080 });
        json!({ "Service": { "Verb": "set", "Node": rack.node, "Service": service } })
    };
    let numbers: Vec<usize> = (0..COUNT).collect();
    // A transaction has 128 operations at most.
    for some in numbers.chunks(125) {
        world.consul.put("/v1/txn", &some.iter().map(service).collect::<Value>()).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let ready = |slices: &[Value], wanted: usize| {
        let endpoints = slices.iter().flat_map(|slice| list(&slice["endpoints"]));
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count();
        so(ready == wanted, || format!("{ready} ready endpoints in {} slices", slices.len()))
    };
    world.slices_become("250 ready", SOON, "web", |slices| ready(slices, COUNT)).await?;
    let before = versions(world).await?;
    so(before.len() >= 3, || format!("{} slices", before.len()))?;
    for slice in world.kube.slices("web").await? {
        let size = list(&slice["endpoints"]).len();
        so(size <= 100, || format!("{size} endpoints in a slice"))?;
    }
    let writes = program.writes().await?;

    let check =
        json!({ "CheckID": "one", "Name": "one", "ServiceID": format!("{}-77", rack.service), "Status": "critical" });
    let body = json!({ "Node": rack.node, "Address": rack.node_address, "SkipNodeUpdate": true, "Checks": [check] });
    world.consul.put("/v1/catalog/register", &body).await?;
    world.slices_become("249 ready", SOON, "web", |slices| ready(slices, COUNT - 1)).await?;
    let after = versions(world).await?;
    let changed = after.iter().filter(|entry| before.get(entry.0) != Some(entry.1)).count();
    assert_eq!((changed, after.len()), (1, before.len()), "one slice changes, the others stay");
    program.counts("consul8s_writes_total", &[], |count| count == writes + 1.0).await
}

async fn versions(world: &World) -> Outcome<BTreeMap<String, String>> {
    let slices = world.kube.slices("web").await?;
    let version = |slice: &Value| (text(&slice["metadata"]["name"]), text(&slice["metadata"]["resourceVersion"]));
    Ok(slices.iter().map(version).collect())
}

async fn service_made_again(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let ready = format!("{}:8080 ready", instance.address);
    world.publishes("web", &[&ready]).await?;
    world.kube.delete(SERVICES, "web").await?;
    let again = world.create_to_kube("web", |_| ()).await?;
    let uid = &again["metadata"]["uid"];
    world
        .slices_become("one slice, of the new Service", SOON, "web", |slices| {
            let owners: Vec<&Value> =
                slices.iter().map(|slice| &slice["metadata"]["ownerReferences"][0]["uid"]).collect();
            so(owners == [uid], || format!("slices of {owners:?} for {uid}"))
        })
        .await?;
    world.publishes("web", &[&ready]).await?;
    Ok(())
}

async fn service_with_selector(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.registered_instances::<1>("selecting").await?;
    world.create_to_kube("selecting", |service| service["spec"]["selector"] = json!({ "app": "web" })).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    has_a_problem_of_its_own(world, &program, "SelectorPresent", "selecting").await
}

async fn bad_annotation(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.registered_instances::<1>("bad").await?;
    let bad = |service: &mut Value| service["metadata"]["annotations"]["consul8s/service.name"] = json!("");
    world.create_to_kube("bad", bad).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    has_a_problem_of_its_own(world, &program, "InvalidAnnotation", "bad").await
}

/// The problem shows in metric and log, and the Service has no slice of ours.
async fn has_a_problem_of_its_own(
    world: &World,
    program: &crate::harness::Running,
    reason: &str,
    service: &str,
) -> Outcome {
    program.counts("consul8s_problems", &[("reason", reason)], |count| count == 1.0).await?;
    let log = program.log();
    so(log.contains(reason) && log.contains(service), || format!("{reason} of {service} is not in the log"))?;
    let slices = world.kube.slices(service).await?;
    let managed_by = "endpointslice.kubernetes.io/managed-by";
    let ours = slices.iter().any(|slice| slice["metadata"]["labels"][managed_by] == "controller.consul8s.io");
    so(!ours, || format!("{service} has slices of ours: {slices:#?}"))
}
