//! Warnings, which stop nothing (contract §1, §2): the Service is filled all the same, and its condition says what its author should know.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `warned_and_filled` | `UnknownAnnotation` with the nearest key, a key of the other direction, `UnmappedPorts`, `LocalTrafficPolicy`, `ForeignEndpoints`; each goes when it is mended |

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, SLICES, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(warned_and_filled)];

/// Name of the Service, what is odd about it, the warning, a part of its message, and what mends it.
type Row = (&'static str, Value, &'static str, &'static str, Value);

fn rows() -> Vec<Row> {
    let annotation = |key: &str, value: Option<&str>| json!({ "metadata": { "annotations": { key: value } } });
    let ports = json!({ "spec": { "ports": [{ "name": "http", "port": 80 }, { "name": "admin", "port": 81 }] } });
    vec![
        (
            "unknown",
            annotation("consul8s/service.tag", Some("a")),
            "UnknownAnnotation",
            "annotation consul8s/service.tag does not exist; nearest: consul8s/service.tags",
            annotation("consul8s/service.tag", None),
        ),
        (
            "other-direction",
            annotation("consul8s/service.weight", Some("2")),
            "UnknownAnnotation",
            "belongs to the other direction",
            annotation("consul8s/service.weight", None),
        ),
        (
            "unmapped",
            ports,
            "UnmappedPorts",
            "say which with consul8s/service.ports",
            annotation("consul8s/service.ports", Some("http=default,admin=default")),
        ),
        (
            "local",
            json!({ "spec": { "internalTrafficPolicy": "Local" } }),
            "LocalTrafficPolicy",
            "internalTrafficPolicy: Local drops all traffic",
            json!({ "spec": { "internalTrafficPolicy": "Cluster" } }),
        ),
    ]
}

async fn warned_and_filled(world: &World) -> Outcome {
    let mut addresses = Vec::new();
    for (name, odd, ..) in rows() {
        let [instance] = world.registered_instances(name).await?;
        world.create_to_kube(name, |_| ()).await?;
        world.kube.merge(SERVICES, name, &odd).await?;
        addresses.push(instance.address);
    }
    let [shared] = world.registered_instances("shared").await?;
    world.create_to_kube("shared", |_| ()).await?;
    world.kube.create(SLICES, &foreign()).await?;
    let program = world.start()?;
    for ((name, _, reason, holds, mends), address) in rows().into_iter().zip(&addresses) {
        world.says(name, &format!("True {reason}"), holds).await?;
        program.counts("consul8s_problems", &[("reason", reason)], |count| count >= 1.0).await?;
        let numbers = if name == "unmapped" { "8080,8080" } else { "8080" };
        world.publishes(name, &[&format!("{address}:{numbers} ready")]).await?;
        world.kube.merge(SERVICES, name, &mends).await?;
        world.says(name, "True EndpointsUpdated", "1 of 1 published").await?;
    }
    world.says("shared", "True ForeignEndpoints", "share the traffic").await?;
    let theirs = "10.96.0.66:80 (ready, serving, terminating) = (Some(true), None, None)";
    world.publishes("shared", &[&format!("{}:8080 ready", shared.address), theirs]).await?;
    world.kube.delete(SLICES, "of-another-manager").await?;
    world.says("shared", "True EndpointsUpdated", "1 of 1 published").await
}

fn foreign() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "of-another-manager",
            "labels": {
                "kubernetes.io/service-name": "shared",
                "endpointslice.kubernetes.io/managed-by": "somebody.example.com",
            },
        },
        "endpoints": [{ "addresses": ["10.96.0.66"], "conditions": { "ready": true } }],
        "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
    })
}
