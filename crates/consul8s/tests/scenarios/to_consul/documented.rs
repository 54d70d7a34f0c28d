//! The original's manifest as its documentation has it.
//!
//! | scenario | contract |
//! | --- | --- |
//! | `documented_manifest_to_consul` | §4 registration: node and its meta, service meta, the one check |

use serde_json::json;

use crate::harness::{Outcome, SERVICES, Scenario, World, list, scenario, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(documented_manifest_to_consul).and_on_an_open_consul()];

async fn documented_manifest_to_consul(world: &World) -> Outcome {
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "svc-foo",
            "labels": { "name": "foo", "consul8s_source": "kubernetes", "dns": "route53" },
            "annotations": { "consul8s/service.name": "foo", "domainName": "foo.example.com" },
        },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    let service = world.kube.create(SERVICES, &manifest).await?;
    let _program = world.start()?;
    let id = format!("{}.svc-foo", world.namespace);
    world.registers("foo", &[&format!("{id} foo.example.com:80 passing")]).await?;

    let registered = world.registrations("foo").await?;
    let [entry] = registered.as_slice() else { return Err(format!("one registration: {registered:#?}")) };
    let (node, cluster) = (&entry["Node"], world.kube.cluster_uid().await?);
    let owner = text(&node["Meta"]["consul8s-owner"]);
    assert_eq!(node["Node"], format!("consul8s-{owner}"));
    assert_eq!(node["Meta"]["consul8s-cluster-uid"], cluster);
    assert_eq!(node["Meta"]["consul8s-installation"], format!("{0}/{0}", world.namespace));

    let meta = &entry["Service"]["Meta"];
    for (key, value) in [
        ("external-source", "kubernetes"),
        ("external-k8s-ns", world.namespace.as_str()),
        ("external-k8s-ref-kind", "Service"),
        ("external-k8s-ref-name", "svc-foo"),
        ("consul8s-owner", owner.as_str()),
        ("consul8s-cluster", cluster.as_str()),
        ("port-http", "80"),
    ] {
        assert_eq!(meta[key], value, "{key} in {meta:#}");
    }
    assert_eq!(meta["consul8s-uid"], service["metadata"]["uid"]);
    assert!(text(&meta["consul8s-rv"]).parse::<u64>().is_ok(), "{meta:#}");

    let checks = list(&entry["Checks"]);
    let [check] = checks.as_slice() else { return Err(format!("one check: {checks:#?}")) };
    assert_eq!(check["Name"], "consul8s:readiness");
    assert_eq!(check["CheckID"], format!("consul8s:readiness:{id}"));
    Ok(())
}
