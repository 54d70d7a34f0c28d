//! Which namespaces count (contract §1, "Scope"). They play alone, as they look at more than their own namespace.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `without_flags_it_is_default` | the namespace `default` alone, as for the original; labelled Services elsewhere are counted and named |
//! | `all_but_those_excluded` | `-A` with `--exclude-namespace` |

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Outcome, SLICES, SOON, Scenario, World, eventually, items, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(without_flags_it_is_default).alone(), scenario!(all_but_those_excluded).alone()];

/// A Service in the namespace `default` that is to be filled from the Consul service `own(service)`.
async fn in_default(world: &World, service: &str) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": service, "labels": { "consul8s_source": "consul" },
            "annotations": { "consul8s/service.name": world.own(service) },
        },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    world.kube.ask(Method::POST, "/api/v1/namespaces/default/services", Some(&object)).await?;
    Ok(())
}

/// How many ready endpoints a Service of the namespace `default` has.
async fn ready_in_default(world: &World, service: &str) -> Outcome<usize> {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
    );
    let mut list = world.kube.ask(Method::GET, &path, None).await?;
    let slices = std::mem::take(items(&mut list["items"]));
    let ready = |slice: &Value| {
        let endpoints = crate::harness::list(&slice["endpoints"]);
        endpoints.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
    };
    Ok(slices.iter().map(ready).sum())
}

async fn filled_in_default(world: &World, service: &str) -> Outcome {
    eventually(&format!("default/{service} is filled"), SOON, async || {
        let ready = ready_in_default(world, service).await?;
        so(ready == 1, || ready.to_string())
    })
    .await
}

async fn without_flags_it_is_default(world: &World) -> Outcome {
    for service in ["here", "there"] {
        world.registered_instances::<1>(service).await?;
    }
    in_default(world, "here").await?;
    world.create_to_kube("there", |_| ()).await?;
    let program = world.program().without_scope().start()?;
    filled_in_default(world, "here").await?;
    program.counts("consul8s_services_out_of_scope", &[], |count| count == 1.0).await?;
    let named = format!("labelled Services out of scope: 1, which are left alone: {}/there;", world.namespace);
    so(program.log().contains(&named), || program.log())?;
    let slices = world.kube.list(SLICES).await?;
    so(slices.is_empty(), || format!("{slices:#?}"))
}

async fn all_but_those_excluded(world: &World) -> Outcome {
    let [instance] = world.registered_instances("here").await?;
    world.registered_instances::<1>("there").await?;
    in_default(world, "there").await?;
    world.create_to_kube("here", |_| ()).await?;
    let flags = ["--all-namespaces", "--exclude-namespace", "default"];
    let program = world.program().without_scope().flags(&flags).start()?;
    world.publishes("here", &[&format!("{}:8080 ready", instance.address)]).await?;
    program.counts("consul8s_services_out_of_scope", &[], |count| count == 1.0).await?;
    assert_eq!(ready_in_default(world, "there").await?, 0);
    program.terminate(std::time::Duration::from_secs(5)).await?;
    let _program = world.program().without_scope().flags(&["-A"]).start()?;
    filled_in_default(world, "there").await
}
