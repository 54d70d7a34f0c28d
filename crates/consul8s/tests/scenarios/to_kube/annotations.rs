//! The annotations of this direction (contract §2), one after the other.
//!
//! | scenario | annotation |
//! | --- | --- |
//! | `ports_by_mapping` | `service.ports`: by name and number of the port; `default`, a number, `meta:KEY`; a name that is to come |
//! | `ports_by_name` | Consul's named ports: by the same name, and by `port:NAME`; instances with different ports get different slices |
//! | `tags_must_all_be_there` | `service.tags` |
//! | `filter_is_consul_s` | `service.filter`; only on real servers, as the simulated Consul evaluates no expressions |
//! | `health_of_choice` | `service.health`: `warning` and `any`; maintenance counts all the same |
//! | `address_by_tag` | `service.tagged_address`, with its port; without the key the `lan` address |
//! | `panic_publishes_all` | `service.panic_threshold` |
//! | `suspend_stops_all` | `suspend`: nothing follows, and all does when it goes |
//! | `hostname_is_left_out` | `--resolve-hostnames=false` |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Instance, Kind, Outcome, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(ports_by_mapping),
    scenario!(ports_by_name),
    scenario!(tags_must_all_be_there),
    scenario!(filter_is_consul_s).only(Kind::Real, "the simulated Consul evaluates no filters"),
    scenario!(health_of_choice),
    scenario!(address_by_tag),
    scenario!(panic_publishes_all),
    scenario!(suspend_stops_all),
    scenario!(hostname_is_left_out),
];

/// Registers an instance with more about it.
pub(super) async fn register_with(world: &World, instance: &Instance, more: &Value) -> Outcome {
    let Instance { node, node_address, service, id, address, port, check } = instance;
    let mut body = json!({
        "Node": node, "Address": node_address,
        "Service": { "ID": id, "Service": service, "Address": address, "Port": port },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        body["Service"][key] = value.clone();
    }
    if more.get("Ports").is_some() {
        // Consul takes one or the other.
        body["Service"].as_object_mut().and_then(|service| service.remove("Port"));
    }
    if let Some(status) = check {
        let id = instance.check_id();
        body["Checks"] = json!([{ "CheckID": id, "Name": "it works", "ServiceID": instance.id, "Status": status }]);
    }
    world.consul.put("/v1/catalog/register", &body).await?;
    Ok(())
}

fn annotated(service: &mut Value, key: &str, value: &str) {
    service["metadata"]["annotations"][format!("consul8s/service.{key}")] = json!(value);
}

async fn ports_by_mapping(world: &World) -> Outcome {
    let (with, without) = (world.instance("web"), world.instance("web"));
    register_with(world, &with, &json!({ "Meta": { "admin_port": "9901" } })).await?;
    world.consul.register(&without).await?;
    world
        .create_to_kube("web", |service| {
            annotated(service, "ports", "http=default, 81=meta:admin_port, metrics=9100, soon=7000");
            service["spec"]["ports"] = json!([
                { "name": "http", "port": 80 }, { "name": "admin", "port": 81 }, { "name": "metrics", "port": 82 },
            ]);
        })
        .await?;
    let program = world.start()?;
    world
        .slices_become("the mapped ports", SOON, "web", |slices| {
            let ports: Vec<_> = slices.iter().flat_map(|slice| crate::harness::list(&slice["ports"])).collect();
            let number = |name: &str| ports.iter().find(|port| port["name"] == name).map(|port| port["port"].clone());
            let seen = ["http", "admin", "metrics", "soon"].map(number);
            so(seen == [8080, 9901, 9100, 7000].map(|port| Some(json!(port))), || format!("{ports:?}"))
        })
        .await?;
    let slices = world.kube.slices("web").await?;
    let addresses: Vec<Value> = slices.iter().flat_map(|slice| crate::harness::list(&slice["endpoints"])).collect();
    so(addresses.len() == 1 && addresses[0]["addresses"][0] == with.address, || format!("{addresses:?}"))?;
    program.counts("consul8s_instances_dropped", &[("reason", "port")], |count| count == 1.0).await
}

async fn ports_by_name(world: &World) -> Outcome {
    let (one, other) = (world.instance("web"), world.instance("web"));
    for (instance, http) in [(&one, 8080), (&other, 8090)] {
        let ports = json!([
            { "Name": "http", "Port": http, "Default": true }, { "Name": "adm", "Port": 9901, "Default": false },
        ]);
        register_with(world, instance, &json!({ "Ports": ports })).await?;
    }
    world
        .create_to_kube("web", |service| {
            annotated(service, "ports", "admin=port:adm");
            service["spec"]["ports"] = json!([{ "name": "admin", "port": 81 }, { "name": "http", "port": 80 }]);
        })
        .await?;
    let _program = world.start()?;
    world
        .slices_become("two slices", SOON, "web", |slices| {
            let mut seen: Vec<String> = slices.iter().map(described).collect();
            seen.sort();
            let mut wanted =
                [format!("{} admin=9901 http=8080", one.address), format!("{} admin=9901 http=8090", other.address)];
            wanted.sort();
            so(seen == wanted, || format!("{seen:?}"))
        })
        .await?;
    Ok(())
}

/// `ADDRESS… NAME=PORT…`, the ports sorted by name.
fn described(slice: &Value) -> String {
    let endpoints = crate::harness::list(&slice["endpoints"]);
    let addresses = endpoints.iter().map(|endpoint| crate::harness::text(&endpoint["addresses"][0]));
    let mut ports: Vec<String> = crate::harness::list(&slice["ports"])
        .iter()
        .map(|port| format!("{}={}", crate::harness::text(&port["name"]), port["port"]))
        .collect();
    ports.sort();
    addresses.chain(ports).collect::<Vec<_>>().join(" ")
}

async fn tags_must_all_be_there(world: &World) -> Outcome {
    let [both, one, none] = [world.instance("web"), world.instance("web"), world.instance("web")];
    for (instance, tags) in [(&both, json!(["x", "b", "a"])), (&one, json!(["a"])), (&none, json!(null))] {
        register_with(world, instance, &json!({ "Tags": tags })).await?;
    }
    world.create_to_kube("web", |service| annotated(service, "tags", "a, b")).await?;
    let _program = world.start()?;
    let both_ready = format!("{}:8080 ready", both.address);
    world.publishes("web", &[&both_ready]).await?;
    register_with(world, &one, &json!({ "Tags": ["a", "b"] })).await?;
    world.publishes("web", &[&both_ready, &format!("{}:8080 ready", one.address)]).await?;
    // What lost a tag is no longer asked for: no absence, and so at once.
    register_with(world, &both, &json!({ "Tags": ["a"] })).await?;
    register_with(world, &one, &json!({ "Tags": ["b"] })).await?;
    let took = world.publishes("web", &[]).await?;
    so(took < Duration::from_millis(1500), || format!("it took {took:?}"))
}

async fn filter_is_consul_s(world: &World) -> Outcome {
    let [blue, green] = [world.instance("web"), world.instance("web")];
    for (instance, color) in [(&blue, "blue"), (&green, "green")] {
        register_with(world, instance, &json!({ "Meta": { "color": color } })).await?;
    }
    let filter = |color: &str| format!("Service.Meta.color == \"{color}\"");
    world.create_to_kube("web", |service| annotated(service, "filter", &filter("blue"))).await?;
    let _program = world.start()?;
    let [blue_at, green_at] = [&blue, &green].map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&blue_at]).await?;
    world.kube.annotate("web", "consul8s/service.filter", Some(&filter("green"))).await?;
    let took = world.publishes("web", &[&green_at]).await?;
    so(took < Duration::from_secs(2), || format!("what the user changes is no absence, yet it took {took:?}"))?;
    // It turns blue: the answer misses it, but a read without the filter shows it.
    register_with(world, &green, &json!({ "Meta": { "color": "blue" } })).await?;
    world.publishes("web", &[]).await?;
    world.kube.annotate("web", "consul8s/service.filter", None).await?;
    world.publishes("web", &[&blue_at, &green_at]).await?;
    Ok(())
}

async fn health_of_choice(world: &World) -> Outcome {
    let instances = ["passing", "warning", "critical"].map(|status| world.instance("web").checked(status));
    for instance in &instances {
        world.consul.register(instance).await?;
    }
    let drained = world.instance("web").checked("passing");
    world.consul.register(&drained).await?;
    world.consul.set_node_check(&drained, "_node_maintenance", "critical").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let draining = format!("{}:8080 draining", drained.address);
    for (policy, states) in [
        (None, ["ready", "not-ready", "not-ready"]),
        (Some("warning"), ["ready", "ready", "not-ready"]),
        (Some("any"), ["ready", "ready", "ready"]),
        (Some("passing"), ["ready", "not-ready", "not-ready"]),
    ] {
        world.kube.annotate("web", "consul8s/service.health", policy).await?;
        let lines: Vec<String> =
            instances.iter().zip(states).map(|(one, state)| format!("{}:8080 {state}", one.address)).collect();
        world.publishes("web", &[&lines[0], &lines[1], &lines[2], &draining]).await?;
    }
    Ok(())
}

async fn address_by_tag(world: &World) -> Outcome {
    let [tagged, portless, plain] = [world.instance("web"), world.instance("web"), world.instance("web")];
    let wan = |port: u16| json!({ "TaggedAddresses": { "wan": { "Address": "198.51.100.7", "Port": port } } });
    register_with(world, &tagged, &wan(30080)).await?;
    let other =
        json!({ "TaggedAddresses": { "wan": { "Address": "198.51.100.8" }, "virtual": { "Address": "240.0.0.1" } } });
    register_with(world, &portless, &other).await?;
    world.consul.register(&plain).await?;
    world.create_to_kube("web", |service| annotated(service, "tagged_address", "wan")).await?;
    let _program = world.start()?;
    let plain_at = format!("{}:8080 ready", plain.address);
    world.publishes("web", &["198.51.100.7:30080 ready", "198.51.100.8:8080 ready", &plain_at]).await?;
    world.kube.annotate("web", "consul8s/service.tagged_address", Some("lan")).await?;
    let [tagged, portless] = [&tagged, &portless].map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&tagged, &portless, &plain_at]).await?;
    Ok(())
}

async fn panic_publishes_all(world: &World) -> Outcome {
    let instances: [_; 3] = world.registered_instances("web").await?;
    let drained = world.instance("web").checked("passing");
    world.consul.register(&drained).await?;
    world.consul.set_node_check(&drained, "_node_maintenance", "critical").await?;
    world.create_to_kube("web", |service| annotated(service, "panic_threshold", "50")).await?;
    let program = world.start()?;
    let [first, second, third] = instances.each_ref().map(|instance| format!("{}:8080", instance.address));
    let draining = format!("{}:8080 draining", drained.address);
    let line = |at: &str, state: &str| format!("{at} {state}");
    world.consul.register(&instances[0].clone().checked("critical")).await?;
    let two = [line(&first, "not-ready"), line(&second, "ready"), line(&third, "ready"), draining.clone()];
    world.publishes("web", &[&two[0], &two[1], &two[2], &two[3]]).await?;
    world.consul.register(&instances[1].clone().checked("critical")).await?;
    world
        .slices_become("all but the draining one are ready", SOON, "web", |slices| {
            let all: Vec<Value> = slices.iter().flat_map(|slice| crate::harness::list(&slice["endpoints"])).collect();
            let ready = all.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true).count();
            so((ready, all.len()) == (3, 4), || format!("{all:#?}"))
        })
        .await?;
    program.counts("consul8s_services", &[("state", "panic")], |count| count == 1.0).await?;
    program.counts("consul8s_problems", &[("reason", "PanicActive")], |count| count == 1.0).await?;
    world.consul.register(&instances[1]).await?;
    world.publishes("web", &[&two[0], &two[1], &two[2], &two[3]]).await?;
    Ok(())
}

async fn suspend_stops_all(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let at = format!("{}:8080", instance.address);
    world.publishes("web", &[&format!("{at} ready")]).await?;
    world.kube.annotate("web", "consul8s/suspend", Some("true")).await?;
    program.counts("consul8s_services", &[("state", "suspended")], |count| count == 1.0).await?;
    let writes = program.writes().await?;
    world.consul.register(&instance.clone().checked("critical")).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(program.writes().await?, writes, "it was written while suspended");
    world.kube.annotate("web", "consul8s/suspend", None).await?;
    world.publishes("web", &[&format!("{at} not-ready")]).await?;
    Ok(())
}

async fn hostname_is_left_out(world: &World) -> Outcome {
    let [good] = world.registered_instances("web").await?;
    let named = world.instance("web").at("db.example.com", 5432);
    world.consul.register(&named).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.program().flags(&["--resolve-hostnames=false"]).start()?;
    world.publishes("web", &[&format!("{}:8080 ready", good.address)]).await?;
    program.counts("consul8s_instances_dropped", &[("reason", "unresolvable")], |count| count == 1.0).await?;
    eventually("it is in sync", SOON, async || {
        let text = program.scrape().await?.count("consul8s_services", &[("state", "synced")]);
        so(text == 1.0, || text.to_string())
    })
    .await
}
