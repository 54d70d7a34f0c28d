//! Taking over from the Python original (contract §2), whose `Endpoints` object Kubernetes mirrors into a slice of its own.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `taken_over_without_a_gap` | the object is left alone until ours stand with a ready endpoint; at no moment is the union of all slices without one; given back when the Service stops being ours |
//! | `taken_over_and_given_back` | label and annotation come and go, in both worlds; a restart in between knows what to give back |
//! | `an_idle_object` | one without ready addresses is taken over without waiting for a ready endpoint of ours |
//! | `endpoints_of_others` | an object of another shape is never touched, nor is any with `--adopt-endpoints=false` |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{ENDPOINTS, Kind, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(taken_over_without_a_gap).only(Kind::Real, "the simulated Kubernetes mirrors nothing"),
    scenario!(taken_over_and_given_back),
    scenario!(an_idle_object),
    scenario!(endpoints_of_others),
];

const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Mirroring takes about a third of a second.
const MIRRORED: Duration = Duration::from_secs(10);
/// Long enough for the program to have done what it should not.
const A_WHILE: Duration = Duration::from_secs(2);

/// As the original writes it: named and labelled like the Service, nobody's.
fn original(service: &str, addresses: &[&str]) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    let subset = json!({ "addresses": addresses, "ports": [{ "name": "http", "port": 8080 }] });
    let subsets = if addresses.is_empty() { json!([]) } else { json!([subset]) };
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": service, "labels": { "name": service } },
        "subsets": subsets,
    })
}

/// A Service that nobody fills but the original.
async fn of_the_original(world: &World, addresses: &[&str]) -> Outcome {
    let unlabelled = |service: &mut Value| service["metadata"]["labels"] = json!({ "name": "web" });
    world.create_to_kube("web", unlabelled).await?;
    world.kube.create(ENDPOINTS, &original("web", addresses)).await?;
    Ok(())
}

fn marked(object: &Value) -> bool {
    object["metadata"]["labels"][SKIP] == "true" && object["metadata"]["annotations"]["consul8s/adopted"].is_string()
}

fn untouched(object: &Value) -> bool {
    object["metadata"]["labels"][SKIP].is_null() && object["metadata"]["annotations"]["consul8s/adopted"].is_null()
}

async fn becomes(world: &World, what: &str, right: fn(&Value) -> bool) -> Outcome {
    eventually(&format!("the Endpoints object is {what}"), SOON, async || {
        let object = world.kube.get(ENDPOINTS, "web").await?;
        so(right(&object), || object["metadata"].to_string())
    })
    .await
}

/// How the mirroring controller's endpoints read: it sets nothing but `ready`.
fn mirrored(address: &str) -> String {
    format!("{address}:8080 (ready, serving, terminating) = (Some(true), None, None)")
}

async fn taken_over_without_a_gap(world: &World) -> Outcome {
    let old = mirrored("10.99.1.1");
    of_the_original(world, &["10.99.1.1"]).await?;
    world.publishes_within(MIRRORED, "web", &[&old]).await?;
    let record = world.record("web").await?;
    let program = world.start()?;
    world.kube.label("web", "consul8s_source", Some("consul")).await?;
    sleep(A_WHILE).await;
    world.publishes("web", &[&old]).await?;

    let instance = world.instance("web").checked("critical");
    world.consul.register(&instance).await?;
    let unready = format!("{}:8080 not-ready", instance.address);
    world.publishes("web", &[&old, &unready]).await?;
    sleep(A_WHILE).await;
    becomes(world, "left alone while ours has no ready endpoint", untouched).await?;

    world.consul.register(&instance.clone().checked("passing")).await?;
    let ready = format!("{}:8080 ready", instance.address);
    world.publishes_within(MIRRORED, "web", &[&ready]).await?;
    becomes(world, "taken over", marked).await?;
    sleep(A_WHILE).await;
    world.publishes("web", &[&ready]).await?;
    let is_ready = |line: &String| line.ends_with(" ready") || line.contains("= (Some(true)");
    record.always("one endpoint is ready", |endpoints| endpoints.iter().any(is_ready))?;

    world.kube.label("web", "consul8s_source", None).await?;
    becomes(world, "given back", untouched).await?;
    world.publishes_within(MIRRORED, "web", &[&old]).await?;
    drop(program);
    Ok(())
}

async fn taken_over_and_given_back(world: &World) -> Outcome {
    of_the_original(world, &["10.99.1.1"]).await?;
    world.registered_instances::<1>("web").await?;
    world.kube.label("web", "consul8s_source", Some("consul")).await?;
    let program = world.start()?;
    becomes(world, "taken over", marked).await?;
    let object = world.kube.get(ENDPOINTS, "web").await?;
    assert_eq!(object["metadata"]["labels"]["name"], "web");
    sleep(A_WHILE).await;
    assert_eq!(world.kube.get(ENDPOINTS, "web").await?, object, "once is enough");
    program.kill().await?;

    // While nobody looks.
    world.kube.label("web", "consul8s_source", None).await?;
    let _program = world.start()?;
    becomes(world, "given back", untouched).await?;
    let gone = async || {
        let slices = world.kube.slices("web").await?;
        let ours = |slice: &&Value| {
            slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "controller.consul8s.io"
        };
        so(slices.iter().find(ours).is_none(), || format!("{slices:#?}"))
    };
    eventually("our slices go", SOON, gone).await
}

async fn an_idle_object(world: &World) -> Outcome {
    of_the_original(world, &[]).await?;
    world.consul.register(&world.instance("web").checked("critical")).await?;
    world.kube.label("web", "consul8s_source", Some("consul")).await?;
    let _program = world.start()?;
    becomes(world, "taken over", marked).await
}

async fn endpoints_of_others(world: &World) -> Outcome {
    for name in ["plain", "owned", "kept"] {
        let service = world.create_to_kube(name, |_| ()).await?;
        let mut object = original(name, &["10.99.1.1"]);
        match name {
            "plain" => object["metadata"]["labels"] = json!({ "app": "plain" }),
            "owned" => {
                let uid = &service["metadata"]["uid"];
                object["metadata"]["ownerReferences"] =
                    json!([{ "apiVersion": "v1", "kind": "Service", "name": name, "uid": uid }]);
            }
            _ => {}
        }
        world.kube.create(ENDPOINTS, &object).await?;
        world.registered_instances::<1>(name).await?;
    }
    world.kube.annotate("kept", "consul8s/suspend", Some("true")).await?;
    let program = world.start()?;
    for name in ["plain", "owned"] {
        published(world, name).await?;
    }
    sleep(A_WHILE).await;
    drop(program);
    world.kube.annotate("kept", "consul8s/suspend", None).await?;
    let _program = world.program().flags(&["--adopt-endpoints=false"]).start()?;
    published(world, "kept").await?;
    sleep(A_WHILE).await;
    for name in ["plain", "owned", "kept"] {
        assert!(untouched(&world.kube.get(ENDPOINTS, name).await?), "{name}");
        assert!(world.kube.get(SERVICES, name).await.is_ok());
    }
    Ok(())
}

/// Ours stand with a ready endpoint.
async fn published(world: &World, name: &str) -> Outcome {
    let ready = |slices: &[Value]| {
        let endpoints = crate::harness::view::endpoints(slices);
        so(endpoints.iter().any(|line| line.ends_with(" ready")), || format!("{endpoints:?}"))
    };
    world.slices_become(&format!("{name} is published"), SOON, name, ready).await?;
    Ok(())
}
