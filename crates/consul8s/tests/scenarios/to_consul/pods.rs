//! Address source `endpoints`, in its corners (contract §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `host_network_pods` | one IP and different ports: two instances, each with its own check |
//! | `one_address_in_two_slices` | one instance, ready where either says so |
//! | `scaled_to_zero` | pods leave at once, that is no problem, and they come back |
//! | `an_endpoint_says_who_it_is` | pod, node and zone in the meta; without targetRef the Service |

use serde_json::{Value, json};

use super::addresses::endpoint;
use crate::harness::{Outcome, SLICES, Scenario, World, remove, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(host_network_pods),
    scenario!(one_address_in_two_slices),
    scenario!(scaled_to_zero),
    scenario!(an_endpoint_says_who_it_is),
];

async fn create(world: &World) -> Outcome {
    let of_pods = |service: &mut Value| {
        service["spec"]["selector"] = json!({ "app": "web" });
        service["metadata"]["annotations"]["consul8s/service.address_source"] = json!("endpoints");
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    world.create_to_consul("web", of_pods).await?;
    Ok(())
}

async fn slice(world: &World, name: &str, port: u16, endpoints: Value) -> Outcome {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "pods.example.com" },
        },
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
    });
    world.kube.create(SLICES, &slice).await?;
    Ok(())
}

/// Addresses and states; IDs may be any.
async fn registers(world: &World, wanted: &[&str]) -> Outcome {
    crate::harness::eventually(&format!("{wanted:?}"), crate::harness::SOON, async || {
        let entries = world.registrations(&world.own("web")).await?;
        let lines = entries.iter().map(crate::harness::view::registration);
        let mut found: Vec<String> =
            lines.filter_map(|line| line.split_once(' ').map(|(_, rest)| rest.to_owned())).collect();
        found.sort();
        crate::harness::so(found == wanted, || format!("{found:?}"))
    })
    .await
}

async fn host_network_pods(world: &World) -> Outcome {
    create(world).await?;
    slice(world, "one", 8080, json!([endpoint("10.1.0.1", "n1", true)])).await?;
    slice(world, "two", 8081, json!([endpoint("10.1.0.1", "n1", false)])).await?;
    let _program = world.start()?;
    registers(world, &["10.1.0.1:8080 passing", "10.1.0.1:8081 critical"]).await?;
    world.kube.edit(SLICES, "two", |slice| slice["endpoints"] = json!([endpoint("10.1.0.1", "n1", true)])).await?;
    registers(world, &["10.1.0.1:8080 passing", "10.1.0.1:8081 passing"]).await?;
    world.kube.delete(SLICES, "one").await?;
    registers(world, &["10.1.0.1:8081 passing"]).await
}

async fn one_address_in_two_slices(world: &World) -> Outcome {
    create(world).await?;
    slice(world, "one", 8080, json!([endpoint("10.1.0.1", "n1", false)])).await?;
    slice(world, "two", 8080, json!([endpoint("10.1.0.1", "n1", true)])).await?;
    let _program = world.start()?;
    registers(world, &["10.1.0.1:8080 passing"]).await?;
    world.kube.delete(SLICES, "two").await?;
    registers(world, &["10.1.0.1:8080 critical"]).await
}

async fn scaled_to_zero(world: &World) -> Outcome {
    create(world).await?;
    slice(world, "one", 8080, json!([endpoint("10.1.0.1", "n1", true), endpoint("10.1.0.2", "n1", true)])).await?;
    let program = world.start()?;
    registers(world, &["10.1.0.1:8080 passing", "10.1.0.2:8080 passing"]).await?;
    world.kube.edit(SLICES, "one", |slice| slice["endpoints"] = json!([])).await?;
    registers(world, &[]).await?;
    program
        .counts("consul8s_services", &[("direction", "to_consul"), ("state", "synced")], |count| count == 1.0)
        .await?;
    program.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    world.kube.edit(SLICES, "one", |slice| slice["endpoints"] = json!([endpoint("10.1.0.3", "n1", true)])).await?;
    registers(world, &["10.1.0.3:8080 passing"]).await
}

async fn an_endpoint_says_who_it_is(world: &World) -> Outcome {
    create(world).await?;
    let nameless = json!({ "addresses": ["10.1.0.9"], "conditions": { "ready": true } });
    slice(world, "one", 8080, json!([endpoint("10.1.0.1", "n1", true), nameless])).await?;
    let _program = world.start()?;
    registers(world, &["10.1.0.1:8080 passing", "10.1.0.9:8080 passing"]).await?;
    for entry in world.registrations(&world.own("web")).await? {
        let meta = &entry["Service"]["Meta"];
        let said = ["ref-kind", "ref-name", "node-name", "topology-zone"]
            .map(|key| meta[format!("external-k8s-{key}")].as_str().unwrap_or("-").to_owned());
        let wanted = if entry["Service"]["Address"] == "10.1.0.1" {
            ["Pod", "pod-10-1-0-1", "n1", "z1"]
        } else {
            ["Service", "web", "-", "-"]
        };
        assert_eq!(said, wanted, "{meta:#}");
    }
    Ok(())
}
