//! What comes from one side never goes back to it (contract S7): judged instance by instance.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `not_back_into_its_own_cluster` | of one Consul name, only what this cluster did not register itself is published; another cluster's is, HashiCorp's sync's is not |
//! | `not_back_to_consul` | endpoints that a slice of ours holds are not registered, also where somebody changes the label |

use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SLICES, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(not_back_into_its_own_cluster), scenario!(not_back_to_consul)];

async fn not_back_into_its_own_cluster(world: &World) -> Outcome {
    let name = world.own("shared");
    let shared = |service: &mut Value| service["metadata"]["annotations"]["consul8s/service.name"] = json!(name);
    world
        .create_to_consul("out", |service| {
            shared(service);
            service["metadata"]["annotations"]["consul8s/service.address"] = json!("10.77.0.1");
        })
        .await?;
    world.create_to_kube("in", shared).await?;
    let foreign = [
        ("vm", "10.77.0.2", json!({}), json!([])),
        (
            "other-cluster",
            "10.77.0.3",
            json!({ "consul8s-owner": "o", "consul8s-cluster": "c", "external-source": "kubernetes" }),
            json!([]),
        ),
        (
            "hashicorp",
            "10.77.0.4",
            json!({ "external-source": "kubernetes", "external-k8s-ns": "shop" }),
            json!(["k8s"]),
        ),
        // The tag alone, or the meta of a node that is synced by something else, says nothing.
        ("nomad", "10.77.0.5", json!({ "external-source": "nomad" }), json!(["k8s"])),
    ];
    for (node, address, meta, tags) in foreign {
        let body = json!({
            "Node": world.own(node), "Address": address,
            "Service": { "ID": world.own(node), "Service": name, "Address": address, "Port": 80, "Meta": meta, "Tags": tags },
        });
        world.consul.put("/v1/catalog/register", &body).await?;
    }
    let program = world.start()?;
    world.registers(&name, &[&format!("{}.out 10.77.0.1:80 passing", world.namespace)]).await?;
    world.publishes("in", &["10.77.0.2:80 ready", "10.77.0.3:80 ready", "10.77.0.5:80 ready"]).await?;
    let dropped = [("direction", "to_kube"), ("reason", "loop")];
    program.counts("consul8s_instances_dropped", &dropped, |count| count == 2.0).await
}

async fn not_back_to_consul(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    program.kill().await?;
    // The label is changed while nobody looks: our slice stands beside one of pods.
    world.kube.annotate("web", "consul8s/service.address_source", Some("endpoints")).await?;
    world.kube.label("web", "consul8s_source", Some("kubernetes")).await?;
    pods_slice(world, "web", json!([endpoint("10.244.0.1", "n1", true)])).await?;
    let _program = world.start()?;
    let name = world.own("web");
    world.registers(&name, &[&format!("{}.web 10.244.0.1:8080 passing", world.namespace)]).await?;
    eventually("our slice is gone", SOON, async || {
        let slices = world.kube.list(SLICES).await?;
        let ours = slices.iter().filter(|slice| {
            slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "controller.consul8s.io"
        });
        let count = ours.count();
        so(count == 0, || format!("{count} slices of ours"))
    })
    .await
}
