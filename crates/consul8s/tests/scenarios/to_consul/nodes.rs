//! Address source `node_port`: the nodes that host an endpoint (contract §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `node_ports` | the nodes that host an endpoint, under the Service's node port; the address of a node is followed, and whether it is Ready; nodes out of load balancing, gone, and no longer hosting |
//! | `a_node_says_who_it_is` | its name and zone in the meta, and its name in the ID of a further one |
//! | `node_ports_after_a_restart` | nothing leaves before the nodes are known |

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, remove, scenario, so, view};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(node_ports).and_on_an_open_consul(),
    scenario!(a_node_says_who_it_is),
    scenario!(node_ports_after_a_restart),
];

pub(super) const NODES: &str = "/api/v1/nodes";

pub(super) async fn create_node(world: &World, name: &str, internal: &str, external: Option<&str>) -> Outcome {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    world.kube.ask(Method::POST, NODES, Some(&node)).await?;
    set_status(world, name, internal, external, true).await
}

pub(super) async fn set_status(
    world: &World,
    name: &str,
    internal: &str,
    external: Option<&str>,
    ready: bool,
) -> Outcome {
    let mut addresses = vec![json!({ "type": "InternalIP", "address": internal })];
    addresses.extend(external.map(|address| json!({ "type": "ExternalIP", "address": address })));
    let ready = if ready { "True" } else { "Unknown" };
    let conditions = json!([{ "type": "Ready", "status": ready, "reason": "test", "message": "", "lastTransitionTime": "2026-11-24T00:00:00Z",
                 "lastHeartbeatTime": "2026-11-24T00:00:00Z" }]);
    let status = json!({ "status": { "addresses": addresses, "conditions": conditions } });
    world.kube.ask(Method::PATCH, &format!("{NODES}/{name}/status"), Some(&status)).await?;
    Ok(())
}

/// Creates a Service of type NodePort whose pods run on these nodes; gives its node port.
pub(super) async fn create_service(world: &World, nodes: &[&str]) -> Outcome<Value> {
    let of_nodes = |service: &mut Value| {
        service["spec"]["type"] = json!("NodePort");
        service["spec"]["selector"] = json!({ "app": "web" });
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    let service = world.create_to_consul("web", of_nodes).await?;
    let endpoints: Vec<Value> =
        nodes.iter().enumerate().map(|(n, node)| endpoint(&format!("10.244.0.{}", n + 1), node, true)).collect();
    pods_slice(world, "web", json!(endpoints)).await?;
    Ok(service["spec"]["ports"][0]["nodePort"].clone())
}

/// Waits until addresses and states of the registrations are these; IDs may be any.
pub(super) async fn registers(world: &World, wanted: &[String]) -> Outcome {
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    eventually(&format!("{wanted:?}"), SOON, async || {
        let entries = world.registrations(&world.own("web")).await?;
        let mut found: Vec<String> = entries.iter().map(view::registration).collect();
        found
            .iter_mut()
            .for_each(|line| *line = line.split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap_or_default());
        found.sort();
        so(found == wanted, || format!("{found:?}"))
    })
    .await
}

async fn node_ports(world: &World) -> Outcome {
    let [one, two, three] = ["n1", "n2", "n3"].map(|name| world.own(name));
    create_node(world, &one, "10.1.0.1", None).await?;
    create_node(world, &two, "10.1.0.2", Some("203.0.113.2")).await?;
    create_node(world, &three, "10.1.0.3", None).await?;
    let port = create_service(world, &[&one, &two]).await?;
    let program = world.start()?;
    let passing = |address: &str| format!("{address}:{port} passing");
    registers(world, &[passing("10.1.0.1"), passing("203.0.113.2")]).await?;

    let ids = async || {
        let mut ids: Vec<String> = world
            .registrations(&world.own("web"))
            .await?
            .iter()
            .map(|entry| entry["Service"]["ID"].to_string())
            .collect();
        ids.sort();
        Outcome::Ok(ids)
    };
    let before = ids().await?;
    set_status(world, &one, "10.1.0.9", None, true).await?;
    registers(world, &[passing("10.1.0.9"), passing("203.0.113.2")]).await?;
    assert_eq!(ids().await?, before, "a node keeps its ID when its address changes");

    set_status(world, &one, "10.1.0.9", None, false).await?;
    registers(world, &[format!("10.1.0.9:{port} critical"), passing("203.0.113.2")]).await?;
    set_status(world, &one, "10.1.0.9", None, true).await?;
    registers(world, &[passing("10.1.0.9"), passing("203.0.113.2")]).await?;

    world.kube.annotate("web", "consul8s/service.node_address", Some("internal")).await?;
    registers(world, &[passing("10.1.0.2"), passing("10.1.0.9")]).await?;

    let label = |value: Value| json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": value } } });
    world.kube.ask(Method::PATCH, &format!("{NODES}/{two}"), Some(&label(json!("true")))).await?;
    registers(world, &[passing("10.1.0.9")]).await?;
    world.kube.ask(Method::PATCH, &format!("{NODES}/{two}"), Some(&label(Value::Null))).await?;
    registers(world, &[passing("10.1.0.2"), passing("10.1.0.9")]).await?;

    let moved = json!([endpoint("10.244.0.2", &two, true), endpoint("10.244.0.3", &three, true)]);
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = moved).await?;
    registers(world, &[passing("10.1.0.2"), passing("10.1.0.3")]).await?;
    world.kube.ask(Method::DELETE, &format!("{NODES}/{three}"), None).await?;
    registers(world, &[passing("10.1.0.2")]).await?;

    // Nobody needs them any more, and then somebody does again.
    world.kube.annotate("web", "consul8s/service.address_source", Some("external_ip")).await?;
    registers(world, &[]).await?;
    set_status(world, &two, "10.1.0.22", None, true).await?;
    world.kube.annotate("web", "consul8s/service.address_source", None).await?;
    registers(world, &[passing("10.1.0.22")]).await?;
    world.kube.delete(SERVICES, "web").await?;
    registers(world, &[]).await?;
    so(!program.log().contains("panicked"), || program.log())
}

/// What stands in Consul, each with its version.
async fn in_consul(world: &World) -> Outcome<Vec<(String, String)>> {
    let versions = world.versions().await?;
    let of_kubernetes = |name: &str| name.starts_with("services ") || name.starts_with("endpointslices ");
    Ok(versions.into_iter().filter(|(name, _)| !of_kubernetes(name)).collect())
}

async fn a_node_says_who_it_is(world: &World) -> Outcome {
    let [one, two] = ["n1", "n2"].map(|name| world.own(name));
    create_node(world, &one, "10.1.0.1", None).await?;
    create_node(world, &two, "10.1.0.2", None).await?;
    for (node, zone) in [(&one, "z1"), (&two, "z2")] {
        let label = json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone } } });
        world.kube.ask(Method::PATCH, &format!("{NODES}/{node}"), Some(&label)).await?;
    }
    let port = create_service(world, &[&one, &two]).await?;
    let _program = world.start()?;
    registers(world, &[format!("10.1.0.1:{port} passing"), format!("10.1.0.2:{port} passing")]).await?;
    for entry in world.registrations(&world.own("web")).await? {
        let meta = &entry["Service"]["Meta"];
        let (node, zone) = if entry["Service"]["Address"] == "10.1.0.1" { (&one, "z1") } else { (&two, "z2") };
        for (key, value) in [
            ("external-k8s-node-name", node.as_str()),
            ("external-k8s-topology-zone", zone),
            ("external-k8s-ref-kind", "Service"),
            ("external-k8s-ref-name", "web"),
        ] {
            assert_eq!(meta[key], value, "{key} in {meta:#}");
        }
    }
    Ok(())
}

async fn node_ports_after_a_restart(world: &World) -> Outcome {
    let one = world.own("n1");
    create_node(world, &one, "10.1.0.1", None).await?;
    let port = create_service(world, &[&one]).await?;
    let passing = format!("10.1.0.1:{port} passing");
    let program = world.start()?;
    registers(world, std::slice::from_ref(&passing)).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let before = in_consul(world).await?;
    let program = world.start()?;
    program.counts("consul8s_services", &[("state", "synced")], |count| count == 1.0).await?;
    assert_eq!(in_consul(world).await?, before);
    // Once more for `-1`, which ends only when it knows.
    program.terminate(Duration::from_secs(5)).await?;
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(in_consul(world).await?, before);
    Ok(())
}
