//! The original's manifest as its documentation has it, and which labels ask for what.
//!
//! | scenario | contract |
//! | --- | --- |
//! | `documented_manifest_to_kube` | §2 slices: ports, labels, annotations, ownerReference, deterministic name |
//! | `label_of_the_prose` | §1 `registration: consul` |
//! | `labels_of_others` | §1 other values of `registration` are somebody else's; no label, nothing |
//! | `source_none` | §1 `consul8s_source: none` leaves it alone; S3 user intent acts at once |
//! | `label_removed` | the same for the label that goes |

use serde_json::json;

use crate::harness::{Outcome, SERVICES, Scenario, World, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(documented_manifest_to_kube),
    scenario!(label_of_the_prose),
    scenario!(labels_of_others),
    scenario!(source_none),
    scenario!(label_removed),
];

async fn documented_manifest_to_kube(world: &World) -> Outcome {
    for number in 1..=2 {
        let instance = world.instance("vm").at(&format!("10.20.0.{number}"), 8080);
        let of_foo = crate::harness::Instance { service: "foo".to_owned(), ..instance };
        world.consul.register(&of_foo).await?;
    }
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "svc-foo",
            "labels": { "name": "foo", "consul8s_source": "consul" },
            "annotations": { "consul8s/service.name": "foo" },
        },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    let service = world.kube.create(SERVICES, &manifest).await?;
    let _program = world.start()?;
    world.publishes("svc-foo", &["10.20.0.1:8080 ready", "10.20.0.2:8080 ready"]).await?;

    let slices = world.kube.slices("svc-foo").await?;
    let [slice] = slices.as_slice() else { return Err(format!("one slice is enough: {slices:#?}")) };
    assert_eq!(slice["addressType"], "IPv4");
    let port = &slice["ports"][0];
    assert_eq!((&port["name"], &port["port"], &port["protocol"]), (&json!("http"), &json!(8080), &json!("TCP")));
    let meta = &slice["metadata"];
    assert!(text(&meta["name"]).starts_with("svc-foo-"), "{meta:#}");
    for (key, value) in [
        ("endpointslice.kubernetes.io/managed-by", "controller.consul8s.io"),
        ("kubernetes.io/service-name", "svc-foo"),
        ("name", "foo"),
        ("consul8s_source", "consul"),
    ] {
        assert_eq!(meta["labels"][key], value, "{meta:#}");
    }
    let owner = &meta["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("Service"), &json!("svc-foo")));
    assert_eq!(owner["uid"], service["metadata"]["uid"]);
    let annotations = &meta["annotations"];
    assert!(!text(&annotations["consul8s/owner"]).is_empty(), "{meta:#}");
    assert_eq!(annotations["consul8s/installation"], format!("{0}/{0}", world.namespace));
    let time = text(&annotations["endpoints.kubernetes.io/last-change-trigger-time"]);
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time:?} is no time");
    Ok(())
}

async fn label_of_the_prose(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    let _program = world.start()?;
    let labels = json!({ "registration": "consul" });
    world.create_to_kube("web", |service| service["metadata"]["labels"] = labels).await?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    Ok(())
}

async fn labels_of_others(world: &World) -> Outcome {
    let others = [
        ("true", json!({ "registration": "true" })),
        ("upper", json!({ "registration": "Consul" })),
        ("none", json!({ "name": "none" })),
    ];
    for (name, labels) in others.clone() {
        world.registered_instances::<1>(name).await?;
        world.create_to_kube(name, |service| service["metadata"]["labels"] = labels).await?;
    }
    let [instance] = world.registered_instances("ours").await?;
    world.create_to_kube("ours", |_| ()).await?;
    let program = world.start()?;
    world.publishes("ours", &[&format!("{}:8080 ready", instance.address)]).await?;
    for (name, _) in others {
        let slices = world.kube.slices(name).await?;
        so(slices.is_empty(), || format!("{name} has slices: {slices:#?}"))?;
    }
    program.counts("number_of_consul_sourced_services", &[], |count| count == 1.0).await
}

async fn source_none(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    world.kube.label("web", "consul8s_source", Some("none")).await?;
    has_no_slices(world).await
}

async fn label_removed(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    world.kube.label("web", "consul8s_source", None).await?;
    has_no_slices(world).await
}

async fn has_no_slices(world: &World) -> Outcome {
    let limit = std::time::Duration::from_secs(5);
    world
        .slices_become("our slices go", limit, "web", |slices| so(slices.is_empty(), || format!("{slices:#?}")))
        .await?;
    Ok(())
}
