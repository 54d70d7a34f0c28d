//! Which instances are taken, and at which address (contract §2; S8: a bad one affects itself alone).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `service_address_else_node_address` | `Service.Address`, else `Node.Address` |
//! | `both_families` | IPv4 and IPv6 in slices of their own, by the Service's `ipFamilies` |
//! | `ipv6_only` | an IPv6 Service gets no IPv4 endpoint |
//! | `bad_instances_are_left_out_alone` | never published addresses and impossible ports are dropped and counted, the rest stays |
//! | `ranges_of_choice` | `--deny-cidr` and `--allow-cidr` |
//! | `our_own_come_back` | S7: what this cluster registered is not published in it |
//! | `name_byte_for_byte` | an instance whose name differs in case is not taken, though Consul mixes them |

use serde_json::json;

use crate::harness::{Instance, Outcome, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(service_address_else_node_address),
    scenario!(both_families),
    scenario!(ipv6_only),
    scenario!(bad_instances_are_left_out_alone),
    scenario!(ranges_of_choice),
    scenario!(our_own_come_back),
    scenario!(name_byte_for_byte),
];

async fn service_address_else_node_address(world: &World) -> Outcome {
    let with = world.instance("web").at("10.98.0.1", 8080);
    let without = world.instance("web").at("", 8080);
    for instance in [&with, &without] {
        world.consul.register(instance).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world.publishes("web", &["10.98.0.1:8080 ready", &format!("{}:8080 ready", without.node_address)]).await?;
    Ok(())
}

async fn both_families(world: &World) -> Outcome {
    world.consul.register(&world.instance("web").at("10.98.0.2", 8080)).await?;
    world.consul.register(&world.instance("web").at("FD00:0:0::98:2", 8080)).await?;
    let dual = |service: &mut serde_json::Value| {
        service["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
        service["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    };
    world.create_to_kube("web", dual).await?;
    let _program = world.start()?;
    world.publishes("web", &["10.98.0.2:8080 ready", "[fd00::98:2]:8080 ready"]).await?;
    let mut types: Vec<String> =
        world.kube.slices("web").await?.iter().map(|slice| slice["addressType"].to_string()).collect();
    types.sort();
    assert_eq!(types, ["\"IPv4\"", "\"IPv6\""]);
    Ok(())
}

async fn ipv6_only(world: &World) -> Outcome {
    world.consul.register(&world.instance("web").at("10.98.0.3", 8080)).await?;
    world.consul.register(&world.instance("web").at("fd00::98:3", 8080)).await?;
    let single = |service: &mut serde_json::Value| {
        service["spec"]["ipFamilyPolicy"] = json!("SingleStack");
        service["spec"]["ipFamilies"] = json!(["IPv6"]);
    };
    world.create_to_kube("web", single).await?;
    let program = world.start()?;
    world.publishes("web", &["[fd00::98:3]:8080 ready"]).await?;
    let family = [("direction", "to_kube"), ("reason", "family")];
    program.counts("consul8s_instances_dropped", &family, |count| count == 1.0).await
}

async fn bad_instances_are_left_out_alone(world: &World) -> Outcome {
    let [good] = world.registered_instances("web").await?;
    let bad = [
        ("127.0.0.1", 8080),
        ("169.254.169.254", 8080),
        ("::ffff:127.0.0.1", 8080),
        ("224.0.0.1", 8080),
        ("10.98.0.4", 0),
        ("10.98.0.5", 70_000),
    ];
    let bad: Vec<Instance> = bad.iter().map(|(address, port)| world.instance("web").at(address, *port)).collect();
    for instance in &bad {
        world.consul.register(instance).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let good = format!("{}:8080 ready", good.address);
    world.publishes("web", &[&good]).await?;
    for (reason, number) in [("address", 4.0), ("port", 2.0)] {
        let dropped = [("direction", "to_kube"), ("reason", reason)];
        program.counts("consul8s_instances_dropped", &dropped, |count| count == number).await?;
    }
    // Mended one by one, they come.
    let mut published = vec![good];
    for (number, instance) in bad.into_iter().enumerate() {
        let address = format!("10.98.1.{number}");
        world.consul.register(&instance.at(&address, 8080)).await?;
        published.push(format!("{address}:8080 ready"));
        world.publishes("web", &published.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

async fn ranges_of_choice(world: &World) -> Outcome {
    for (address, name) in [("10.98.2.1", "web"), ("10.98.2.200", "web"), ("10.98.3.1", "web")] {
        world.consul.register(&world.instance(name).at(address, 8080)).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let denied = [("direction", "to_kube"), ("reason", "denied")];
    let program = world.program().flags(&["--deny-cidr", "10.98.2.128/25,10.98.3.0/24"]).start()?;
    world.publishes("web", &["10.98.2.1:8080 ready"]).await?;
    program.counts("consul8s_instances_dropped", &denied, |count| count == 2.0).await?;
    world.says("web", "True AddressRejected", "10.98.2.200 (denied)").await?;
    program.terminate(std::time::Duration::from_secs(5)).await?;
    // What is denied is denied, also within what is allowed.
    let flags = ["--allow-cidr", "10.98.2.0/24", "--deny-cidr", "10.98.2.1"];
    let program = world.program().flags(&flags).start()?;
    world.publishes("web", &["10.98.2.200:8080 ready"]).await?;
    program.counts("consul8s_instances_dropped", &denied, |count| count == 2.0).await
}

async fn our_own_come_back(world: &World) -> Outcome {
    let [theirs] = world.registered_instances("db").await?;
    world.create_to_consul("db", |_| ()).await?;
    let service = |object: &mut serde_json::Value| {
        object["metadata"]["name"] = json!("reader");
    };
    world.create_to_kube("db", service).await?;
    let program = world.start()?;
    world.registers(&world.own("db"), &[&format!("{}.db db.example.com:80 passing", world.namespace)]).await?;
    world.publishes("reader", &[&format!("{}:8080 ready", theirs.address)]).await?;
    let own = [("direction", "to_kube"), ("reason", "loop")];
    program.counts("consul8s_instances_dropped", &own, |count| count == 1.0).await
}

async fn name_byte_for_byte(world: &World) -> Outcome {
    let [ours] = world.registered_instances("web").await?;
    let loud = world.instance("web");
    world.consul.register(&Instance { service: loud.service.to_uppercase(), ..loud }).await?;
    let both = world.consul.health(&ours.service).await?;
    assert_eq!(both.len(), 2, "Consul doesn't mix them: {both:#?}");
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", ours.address)]).await?;
    let dropped = [("direction", "to_kube"), ("reason", "name")];
    program.counts("consul8s_instances_dropped", &dropped, |count| count == 1.0).await
}
