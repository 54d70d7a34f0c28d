//! `--compatibility=consul-k8s` (contract §4): what HashiCorp's annotations and ours say together.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `consul_k8s_and_ours` | where both are given ours win; a port as a number registers that number; `service-sync` false opts out of `--default-sync` |
//! | `consul_k8s_names_are_said` | its `service-name` counts as saying so for `SharedName` |
//! | `consul_k8s_means_nothing_without_the_flag` | nothing of it is read |

use serde_json::{Value, json};

use crate::harness::{Kube, Outcome, SERVICES, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(consul_k8s_and_ours),
    scenario!(consul_k8s_names_are_said),
    scenario!(consul_k8s_means_nothing_without_the_flag),
];

const FLAGS: [&str; 2] = ["--compatibility", "consul-k8s"];

/// A Service with these annotations and an external IP.
fn service(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "selector": { "app": name }, "externalIPs": ["198.51.100.9"], "ports": [{ "name": "http", "port": 80 }] },
    })
}

async fn consul_k8s_and_ours(world: &World) -> Outcome {
    let (ours, theirs) = (world.own("ours"), world.own("theirs"));
    let both = service(
        "both",
        &json!({
            "consul.hashicorp.com/service-sync": "1",
            "consul.hashicorp.com/service-name": theirs, "consul8s/service.name": ours,
            "consul.hashicorp.com/service-tags": "theirs", "consul8s/service.tags": "ours",
            "consul.hashicorp.com/service-weight": "3", "consul8s/service.weight": "7",
            "consul.hashicorp.com/service-port": "9999",
            "consul.hashicorp.com/service-meta-team": "theirs", "consul8s/service.meta.team": "ours",
        }),
    );
    world.kube.create(SERVICES, &both).await?;
    let named = |name: &str| json!({ "consul8s/service.name": world.own(name) });
    let mut opted_out = named("out");
    opted_out["consul.hashicorp.com/service-sync"] = json!("F");
    for (name, annotations) in [("taken", named("taken")), ("out", opted_out)] {
        world.kube.create(SERVICES, &service(name, &annotations)).await?;
    }
    let _program = world.program().flags(&FLAGS).flags(&["--default-sync"]).start()?;
    // No slices at all for a selector: critical.
    let line = |name: &str, rest: &str| format!("{}.{name} 198.51.100.9:{rest}", world.namespace);
    world.registers(&ours, &[&line("both", "9999 critical tags=ours")]).await?;
    world.registers(&world.own("taken"), &[&line("taken", "80 critical")]).await?;
    let entry = world.registrations(&ours).await?.remove(0)["Service"].clone();
    assert_eq!((&entry["Meta"]["team"], &entry["Weights"]["Passing"]), (&json!("ours"), &json!(7)));
    for name in [theirs, world.own("out")] {
        assert!(world.registrations(&name).await?.is_empty(), "{name}");
    }
    Ok(())
}

async fn consul_k8s_names_are_said(world: &World) -> Outcome {
    let other = format!("{}-other", world.namespace);
    let kube = Kube::in_new_namespace(world.servers.kube_client()?, &other).await?;
    let name = world.own("web");
    let said = |with: &str| service("web", &json!({ "consul.hashicorp.com/service-sync": "true", with: name }));
    world.kube.create(SERVICES, &said("consul.hashicorp.com/service-name")).await?;
    kube.create(SERVICES, &said("consul8s/service.name")).await?;
    let program = world.program().flags(&FLAGS).flags(&["--namespace", &other]).start()?;
    let line = |namespace: &str| format!("{namespace}.web 198.51.100.9:80 critical");
    world.registers(&name, &[&line(&world.namespace), &line(&other)]).await?;
    program.counts("consul8s_problems", &[], |count| count == 0.0).await
}

async fn consul_k8s_means_nothing_without_the_flag(world: &World) -> Outcome {
    let name = world.own("theirs");
    let theirs = json!({ "consul.hashicorp.com/service-sync": "true", "consul.hashicorp.com/service-name": name });
    world.kube.create(SERVICES, &service("theirs", &theirs)).await?;
    world
        .create_to_consul("web", |it| it["metadata"]["annotations"]["consul.hashicorp.com/service-tags"] = json!("x"))
        .await?;
    let program = world.start()?;
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:80 passing", world.namespace)]).await?;
    program.counts("consul8s_queue_depth", &[], |depth| depth == 0.0).await?;
    assert!(world.registrations(&name).await?.is_empty());
    Ok(())
}
