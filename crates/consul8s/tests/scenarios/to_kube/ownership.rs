//! Whose slices are whose (contract S4), and what becomes of ours when somebody else edits them.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `endpoint_taken_out` | it comes back |
//! | `endpoint_put_in` | *NeverWanted*: it goes at once |
//! | `label_taken_off` | a label of the Service comes back on the slice |
//! | `bound_to_another_service` | without its `kubernetes.io/service-name` the Service's endpoints are published again |
//! | `slice_deleted` | it comes back |
//! | `slice_that_is_going` | a name that a terminating slice holds is passed over, and its endpoints count for nothing |
//! | `left_alone_after_three_repairs` | S11: what is changed back again and again is left alone, and said |
//! | `another_installation` | `OwnershipConflict`: a Service that it fills is left to it |
//! | `slices_of_others` | another manager's and a look-alike's slices are never touched |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Outcome, SLICES, Scenario, World, items, remove, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(endpoint_taken_out),
    scenario!(endpoint_put_in),
    scenario!(label_taken_off),
    scenario!(bound_to_another_service),
    scenario!(slice_deleted),
    scenario!(slice_that_is_going),
    scenario!(left_alone_after_three_repairs),
    scenario!(another_installation),
    scenario!(slices_of_others),
];

/// Within this time drift is repaired.
const REPAIRED: Duration = Duration::from_secs(5);

/// A Service `web` with two endpoints and its only slice.
async fn published(world: &World) -> Outcome<([String; 2], Value)> {
    let instances: [_; 2] = world.registered_instances("web").await?;
    let mut labelled = |service: &mut Value| service["metadata"]["labels"]["team"] = json!("shop");
    world.create_to_kube("web", &mut labelled).await?;
    let ready = instances.map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&ready[0], &ready[1]]).await?;
    let slice = world.kube.slices("web").await?.pop().ok_or("no slice")?;
    Ok((ready, slice))
}

/// Edits the slice of `web` as somebody else would, and waits until its endpoints are again as they were.
async fn edited(world: &World, change: impl FnOnce(&mut Value)) -> Outcome<(String, Value)> {
    let _program = world.start()?;
    let (ready, slice) = published(world).await?;
    let name = text(&slice["metadata"]["name"]);
    let edited = world.kube.edit(SLICES, &name, change).await?;
    let version = &edited["metadata"]["resourceVersion"];
    let repaired = |slices: &[Value]| {
        let same = slices.iter().any(|slice| slice["metadata"]["resourceVersion"] == *version);
        let endpoints = crate::harness::view::endpoints(slices);
        so(!same && endpoints == ready, || format!("{endpoints:?} in {slices:#?}"))
    };
    world.slices_become("the slice is repaired", REPAIRED, "web", repaired).await?;
    Ok((name, slice))
}

async fn endpoint_taken_out(world: &World) -> Outcome {
    edited(world, |slice| drop(items(&mut slice["endpoints"]).pop())).await?;
    Ok(())
}

async fn endpoint_put_in(world: &World) -> Outcome {
    let stranger =
        json!({ "addresses": ["10.96.66.66"], "conditions": { "ready": true, "serving": true, "terminating": false } });
    edited(world, |slice| items(&mut slice["endpoints"]).push(stranger)).await?;
    Ok(())
}

async fn label_taken_off(world: &World) -> Outcome {
    let (name, before) = edited(world, |slice| remove(&mut slice["metadata"]["labels"], "team")).await?;
    let after = world.kube.get(SLICES, &name).await?;
    assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);
    Ok(())
}

async fn bound_to_another_service(world: &World) -> Outcome {
    edited(world, |slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!("another")).await?;
    Ok(())
}

async fn slice_deleted(world: &World) -> Outcome {
    let _program = world.start()?;
    let (ready, slice) = published(world).await?;
    world.kube.delete(SLICES, &text(&slice["metadata"]["name"])).await?;
    let repaired = |slices: &[Value]| {
        let same = slices.iter().any(|now| now["metadata"]["uid"] == slice["metadata"]["uid"]);
        so(!same && crate::harness::view::endpoints(slices) == ready, || format!("{slices:#?}"))
    };
    world.slices_become("the slice comes back", REPAIRED, "web", repaired).await?;
    Ok(())
}

async fn slice_that_is_going(world: &World) -> Outcome {
    let _program = world.start()?;
    let (ready, slice) = published(world).await?;
    let name = text(&slice["metadata"]["name"]);
    world.kube.merge(SLICES, &name, &json!({ "metadata": { "finalizers": ["example.com/wait"] } })).await?;
    world.kube.delete(SLICES, &name).await?;
    let living = |slices: &[Value]| -> Vec<Value> {
        slices.iter().filter(|slice| slice["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    };
    let passed_over = |slices: &[Value]| {
        let living = living(slices);
        let other = living.iter().all(|slice| slice["metadata"]["name"] != *name);
        so(other && crate::harness::view::endpoints(&living) == ready, || format!("{slices:#?}"))
    };
    world.slices_become("another slice stands", REPAIRED, "web", passed_over).await?;
    world.kube.merge(SLICES, &name, &json!({ "metadata": { "finalizers": null } })).await?;
    world.publishes("web", &[&ready[0], &ready[1]]).await?;
    Ok(())
}

async fn left_alone_after_three_repairs(world: &World) -> Outcome {
    let program = world.start()?;
    let (_, slice) = published(world).await?;
    let name = text(&slice["metadata"]["name"]);
    let off = |slice: &mut Value| remove(&mut slice["metadata"]["labels"], "team");
    for _ in 0..3 {
        world.kube.edit(SLICES, &name, off).await?;
        let repaired = |slices: &[Value]| {
            so(slices.iter().all(|slice| slice["metadata"]["labels"]["team"] == "shop"), || format!("{slices:#?}"))
        };
        world.slices_become("the slice is repaired", REPAIRED, "web", repaired).await?;
    }
    let edited = world.kube.edit(SLICES, &name, off).await?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    tokio::time::sleep(REPAIRED).await;
    assert_eq!(world.kube.get(SLICES, &name).await?, edited);
    Ok(())
}

async fn another_installation(world: &World) -> Outcome {
    let _first = world.start()?;
    published(world).await?;
    let before = world.versions().await?;
    let second = world.program().lease("another").flags(&["--direction", "to_kube"]).start()?;
    second.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(second.writes().await?, 0.0);
    world.unchanged_since(&before).await
}

async fn slices_of_others(world: &World) -> Outcome {
    let foreign = |name: &str, manager: &str, annotations: Value| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "annotations": annotations,
                "labels": { "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": manager },
            },
            "endpoints": [{ "addresses": ["10.96.0.66"], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
        })
    };
    let others = [
        foreign("of-another-manager", "somebody.example.com", json!({})),
        foreign("look-alike", "controller.consul8s.io", json!({ "consul8s/owner": "0123456789" })),
        foreign("without-owner", "controller.consul8s.io", json!({})),
    ];
    let mut before = Vec::new();
    for slice in &others {
        before.push(world.kube.create(SLICES, slice).await?);
    }
    let [first] = world.registered_instances("web").await?;
    let [quiet] = world.registered_instances("quiet").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_kube("quiet", |_| ()).await?;
    let program = world.start()?;
    world.publishes("quiet", &[&format!("{}:8080 ready", quiet.address)]).await?;
    // A change, a withdrawal and an end, each a reason to clean up.
    world.consul.register(&first.clone().checked("critical")).await?;
    world.consul.register(&quiet.clone().checked("critical")).await?;
    world.publishes("quiet", &[&format!("{}:8080 not-ready", quiet.address)]).await?;
    world.kube.label("web", "consul8s_source", Some("none")).await?;
    world.kube.label("quiet", "consul8s_source", Some("none")).await?;
    world
        .slices_become("ours go", REPAIRED, "quiet", |slices| so(slices.is_empty(), || format!("{slices:#?}")))
        .await?;
    let left =
        world.slices_become("theirs stay", REPAIRED, "web", |slices| so(slices.len() == 3, || format!("{slices:#?}")));
    left.await?;
    drop(program);
    for slice in before {
        let now = world.kube.get(SLICES, &text(&slice["metadata"]["name"])).await?;
        assert_eq!(now, slice);
    }
    Ok(())
}
