//! Which Services are registered (contract §1): suspended ones, and what `--default-sync` takes.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `suspended_registration` | `consul8s/suspend`: nothing changes, the check neither; deleting the Service still deregisters |
//! | `default_sync` | what has a selector or a load balancer; never `default/kubernetes`, `kube-system`, nor what we fill |

use std::time::Duration;

use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SERVICES, SLICES, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(suspended_registration), scenario!(default_sync)];

async fn suspended_registration(world: &World) -> Outcome {
    world.create_to_consul("web", |service| service["spec"]["selector"] = json!({ "app": "web" })).await?;
    pods_slice(world, "web", json!([endpoint("10.244.0.1", "n1", true)])).await?;
    let program = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80", world.namespace));
    world.registers(&name, &[&format!("{line} passing")]).await?;
    world.kube.annotate("web", "consul8s/suspend", Some("true")).await?;
    program.counts("consul8s_services", &[("state", "suspended")], |count| count == 1.0).await?;
    let before = world.registrations(&name).await?;
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    let unready = json!([endpoint("10.244.0.1", "n1", false)]);
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = unready).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.registrations(&name).await?, before, "nothing is done about it");
    world.kube.annotate("web", "consul8s/suspend", Some("false")).await?;
    world.registers(&name, &[&format!("{line} critical tags=new")]).await?;
    world.kube.annotate("web", "consul8s/suspend", Some("TRUE")).await?;
    program.counts("consul8s_services", &[("state", "suspended")], |count| count == 1.0).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.registers(&name, &[]).await?;
    Ok(())
}

async fn default_sync(world: &World) -> Outcome {
    let create = async |name: &str, change: fn(&mut Value)| {
        let bare = |service: &mut Value| {
            service["metadata"] = json!({ "name": service["metadata"]["name"] });
            change(service);
        };
        world.create_to_consul(name, bare).await
    };
    create("selects", |service| service["spec"]["selector"] = json!({ "app": "web" })).await?;
    create("balanced", |service| service["spec"]["type"] = json!("LoadBalancer")).await?;
    create("neither", |_| ()).await?;
    create("external", |service| {
        service["spec"] =
            json!({ "type": "ExternalName", "externalName": "x.example.com", "selector": { "app": "web" } });
    })
    .await?;
    let [instance] = world.registered_instances("filled").await?;
    world.create_to_kube("filled", |_| ()).await?;
    // What another cluster's part is, is nobody's: a Service of its own there, which goes with the scenario.
    let system = world.kube.elsewhere("kube-system");
    let dns = world.own("dns");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": dns },
        "spec": { "selector": { "app": "dns" }, "ports": [{ "port": 53 }] },
    });
    system.create(SERVICES, &service).await?;
    let flags = ["--namespace", "default,kube-system", "--default-sync", "--default-address-source", "cluster_ip"];
    let template = format!("{{name}}-{}", world.namespace);
    let program = world.program().flags(&flags).flags(&["--name-template", &template]).start()?;
    world.publishes("filled", &[&format!("{}:8080 ready", instance.address)]).await?;
    for name in ["selects", "balanced"] {
        let address =
            world.kube.get(SERVICES, name).await?["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        let state = if name == "selects" { "critical" } else { "passing" };
        world.registers(&world.own(name), &[&format!("{}.{name} {address}:80 {state}", world.namespace)]).await?;
    }
    program.counts("consul8s_queue_depth", &[], |depth| depth == 0.0).await?;
    let others = ["neither", "external", "filled", "kubernetes"].map(|name| world.own(name));
    for name in others.iter().chain([&world.own(&dns)]) {
        let found = world.registrations(name).await?;
        so(found.is_empty(), || format!("{name}: {found:#?}"))?;
    }
    program.terminate(Duration::from_secs(5)).await?;
    system.delete(SERVICES, &dns).await
}
