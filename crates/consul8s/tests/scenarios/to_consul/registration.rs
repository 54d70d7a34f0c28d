//! What a registration holds, and which Services are registered (contract §1, §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `weight_and_meta` | passing weight, meta of the user, named ports |
//! | `flags_for_all` | `--default-sync`, `--name-template`, `--default-tags`, `--default-address-source` |
//! | `consul_k8s_annotations` | `--compatibility=consul-k8s` |
//! | `kept_on_delete` | `on_delete: keep`: the registration outlives the Service, and is taken back |
//! | `one_name_from_two_namespaces` | `SharedName`: the older keeps it, unless both say so |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Kube, Outcome, SERVICES, Scenario, World, remove, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(weight_and_meta),
    scenario!(flags_for_all),
    scenario!(consul_k8s_annotations),
    scenario!(kept_on_delete),
    scenario!(one_name_from_two_namespaces),
];

async fn weight_and_meta(world: &World) -> Outcome {
    let annotated = |service: &mut Value| {
        service["spec"]["ports"] = json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 9000 }]);
        service["metadata"]["annotations"]["consul8s/service.weight"] = json!("7");
        service["metadata"]["annotations"]["consul8s/service.meta.version"] = json!("1.2");
    };
    world.create_to_consul("web", annotated).await?;
    let program = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    let service = world.registrations(&name).await?.remove(0)["Service"].clone();
    assert_eq!(service["Weights"]["Passing"], 7);
    for (key, value) in [("version", "1.2"), ("port-http", "80"), ("port-admin", "9000")] {
        assert_eq!(service["Meta"][key], value, "{key}");
    }
    // A bad value: what stands stands.
    world.kube.annotate("web", "consul8s/service.weight", Some("0")).await?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    assert_eq!(world.registrations(&name).await?.remove(0)["Service"], service);
    Ok(())
}

async fn flags_for_all(world: &World) -> Outcome {
    let plain = |service: &mut Value| {
        service["metadata"] = json!({ "name": service["metadata"]["name"] });
        service["spec"]["selector"] = json!({ "app": "web" });
    };
    world.create_to_consul("web", plain).await?;
    let named = |service: &mut Value| {
        plain(service);
        service["metadata"]["labels"] = json!({ "consul8s_source": "none" });
    };
    world.create_to_consul("left-alone", named).await?;
    let without_selector = |service: &mut Value| {
        plain(service);
        remove(&mut service["spec"], "selector");
    };
    world.create_to_consul("no-selector", without_selector).await?;
    super::addresses::pods_slice(world, "web", json!([super::addresses::endpoint("10.244.0.1", "n1", true)])).await?;
    let flags = "--default-sync --name-template {name}-of-{namespace}-in-{cluster} --default-tags k,,t --default-address-source endpoints";
    let program = world.program().flags(&flags.split(' ').collect::<Vec<_>>()).start()?;
    let cluster = world.kube.cluster_uid().await?;
    let name = |service: &str| format!("{service}-of-{}-in-{cluster}", world.namespace);
    world.registers(&name("web"), &[&format!("{}.web 10.244.0.1:8080 passing tags=k,t", world.namespace)]).await?;
    for other in ["left-alone", "no-selector"] {
        assert!(world.registrations(&name(other)).await?.is_empty(), "{other}");
    }
    // Without the flag it is nobody's.
    program.terminate(Duration::from_secs(5)).await?;
    let _program = world.start()?;
    world.registers(&name("web"), &[]).await?;
    Ok(())
}

async fn consul_k8s_annotations(world: &World) -> Outcome {
    let theirs = |service: &mut Value| {
        service["metadata"] = json!({
            "name": "web",
            "annotations": {
                "consul.hashicorp.com/service-sync": "T",
                "consul.hashicorp.com/service-name": format!(" {} ", world.own("web")),
                "consul.hashicorp.com/service-port": "admin",
                "consul.hashicorp.com/service-tags": r"a\,b,c",
                "consul.hashicorp.com/service-meta-team": "red",
                "consul.hashicorp.com/service-weight": "3",
            },
        });
        service["spec"]["externalIPs"] = json!(["198.51.100.9"]);
        service["spec"]["ports"] = json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 9000 }]);
    };
    world.create_to_consul("web", theirs).await?;
    let _program = world.program().flags(&["--compatibility", "consul-k8s"]).start()?;
    let line = format!("{}.web 198.51.100.9:9000 passing tags=a,b,c", world.namespace);
    world.registers(&world.own("web"), &[&line]).await?;
    let service = world.registrations(&world.own("web")).await?.remove(0)["Service"].clone();
    assert_eq!(service["Tags"], json!(["a,b", "c"]));
    assert_eq!((&service["Meta"]["team"], &service["Weights"]["Passing"]), (&json!("red"), &json!(3)));
    world.kube.annotate("web", "consul.hashicorp.com/service-sync", Some("false")).await?;
    world.registers(&world.own("web"), &[]).await?;
    Ok(())
}

async fn kept_on_delete(world: &World) -> Outcome {
    let keep = |service: &mut Value| service["metadata"]["annotations"]["consul8s/service.on_delete"] = json!("keep");
    world.create_to_consul("web", keep).await?;
    world.create_to_consul("other", |_| ()).await?;
    let _program = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.kube.delete(SERVICES, "other").await?;
    world.registers(&world.own("other"), &[]).await?;
    world.registers(&name, &[&line]).await?;
    // Made again, it takes it back.
    world
        .create_to_consul("web", |service| service["metadata"]["annotations"]["consul8s/service.tags"] = json!("back"))
        .await?;
    world.registers(&name, &[&format!("{line} tags=back")]).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.registers(&name, &[]).await?;
    Ok(())
}

async fn one_name_from_two_namespaces(world: &World) -> Outcome {
    let other = format!("{}-other", world.namespace);
    let kube = Kube::in_new_namespace(world.servers.kube_client()?, &other).await?;
    // Both get the name that the template makes.
    let unnamed = |service: &mut Value| remove(&mut service["metadata"]["annotations"], "consul8s/service.name");
    let (mut first, name) = (Value::Null, world.own("web"));
    world
        .create_to_consul(&name, |service| {
            unnamed(service);
            first = service.clone();
        })
        .await?;
    // Kubernetes counts in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    kube.create(SERVICES, &first).await?;
    let program = world.program().flags(&["--namespace", &other]).start()?;
    let of = |namespace: &str| format!("{namespace}.{name} {name}.example.com:80 passing");
    world.registers(&name, &[&of(&world.namespace)]).await?;
    program.counts("consul8s_problems", &[("reason", "SharedName")], |count| count == 1.0).await?;
    world.kube.annotate(&name, "consul8s/service.name", Some(&name)).await?;
    kube.annotate(&name, "consul8s/service.name", Some(&name)).await?;
    world.registers(&name, &[&of(&world.namespace), &of(&other)]).await?;
    program.counts("consul8s_problems", &[("reason", "SharedName")], |count| count == 0.0).await
}
