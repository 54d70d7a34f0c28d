//! Services that another installation fills (contract §2, "Refused").
//!
//! | scenario | promise |
//! | --- | --- |
//! | `taken_over_from_one_that_is_gone` | its Lease expired more than ten minutes ago: its slices become ours, and at no moment is an endpoint missing |
//! | `left_to_one_that_lives` | its Lease is renewed, or was only just: nothing is added |

use std::time::Duration;

use consul8s_core::time::UnixMillis;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{LEASES, Outcome, SLICES, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(taken_over_from_one_that_is_gone), scenario!(left_to_one_that_lives)];

/// A Lease must be seen to stand still for half a minute, whatever it says.
const TAKEN_OVER: Duration = Duration::from_secs(90);

/// A Lease that was last renewed so many seconds ago.
async fn lease(world: &World, seconds_ago: u64) -> Outcome {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(|why| why.to_string())?;
    let renewed =
        UnixMillis::default().after(now - Duration::from_secs(seconds_ago)).rfc3339().replace('Z', ".000000Z");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "theirs" },
        "spec": { "holderIdentity": "them", "leaseDurationSeconds": 15, "renewTime": renewed },
    });
    world.kube.create(LEASES, &lease).await?;
    Ok(())
}

/// A slice of theirs for a Service of ours, with one endpoint.
fn theirs(world: &World, service: &Value, address: &str) -> Value {
    let meta = &service["metadata"];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "web-0123456789-1",
            "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "controller.consul8s.io",
            },
            "annotations": { "consul8s/owner": "them", "consul8s/installation": format!("{}/theirs", world.namespace) },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Service", "name": "web", "uid": meta["uid"] }],
        },
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true, "serving": true, "terminating": false } }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

async fn prepared(world: &World, seconds_ago: u64) -> Outcome<[String; 2]> {
    let instances: [_; 2] = world.registered_instances("web").await?;
    lease(world, seconds_ago).await?;
    let service = world.create_to_kube("web", |_| ()).await?;
    world.kube.create(SLICES, &theirs(world, &service, &instances[0].address)).await?;
    Ok(instances.map(|instance| format!("{}:8080 ready", instance.address)))
}

async fn taken_over_from_one_that_is_gone(world: &World) -> Outcome {
    let [first, second] = prepared(world, 3600).await?;
    let record = world.record("web").await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    world.publishes_within(TAKEN_OVER, "web", &[&first, &second]).await?;
    record.always("the first ready", |endpoints| endpoints.contains(&first))?;
    world.says("web", "True EndpointsUpdated", "2 of 2 published").await?;
    let slices = world.kube.slices("web").await?;
    let of_them = |slice: &&Value| slice["metadata"]["annotations"]["consul8s/owner"] == "them";
    so(!slices.iter().any(|slice| of_them(&slice)), || format!("{slices:#?}"))
}

async fn left_to_one_that_lives(world: &World) -> Outcome {
    let [first, _] = prepared(world, 300).await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    sleep(Duration::from_secs(50)).await;
    assert_eq!(program.writes().await?, 0.0);
    world.publishes("web", &[&first]).await?;
    Ok(())
}
