//! What a Service says about its registration (contract §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `load_balancer_address` | an ingress IP or hostname, as the cloud's controller sets it |
//! | `several_addresses` | `service.address` is a list: the first has the plain ID, each further one adds 8 hex digits |
//! | `id_name_port_and_tags` | `service.id`, `.name`, `.port_name`, `.tags`, which are trimmed |
//! | `unknown_port_name` | `PortNameNotFound`: what was registered stands |
//! | `remove_registration` | deregistered and kept so; `false` brings it back |
//! | `no_address` | `NoAddress` of one Service doesn't hurt another |

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, Scenario, World, eventually, remove, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(load_balancer_address),
    scenario!(several_addresses),
    scenario!(id_name_port_and_tags),
    scenario!(unknown_port_name),
    scenario!(remove_registration),
    scenario!(no_address),
];

async fn load_balancer_address(world: &World) -> Outcome {
    let balanced = |service: &mut Value| {
        service["spec"]["type"] = json!("LoadBalancer");
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    world.create_to_consul("web", balanced).await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 1.0).await?;

    let (name, id) = (world.own("web"), format!("{}.web", world.namespace));
    let ingress = |ingress: Value| json!({ "loadBalancer": { "ingress": [ingress] } });
    world.kube.merge_status(SERVICES, "web", &ingress(json!({ "ip": "203.0.113.7" }))).await?;
    world.registers(&name, &[&format!("{id} 203.0.113.7:80 passing")]).await?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 0.0).await?;

    world.kube.merge_status(SERVICES, "web", &ingress(json!({ "hostname": "lb.example.com" }))).await?;
    eventually("registered at the hostname", crate::harness::SOON, async || {
        let services = world.registrations(&name).await?;
        let addresses: Vec<String> = services.iter().map(|entry| text(&entry["Service"]["Address"])).collect();
        so(addresses == ["lb.example.com"], || format!("{addresses:?}"))
    })
    .await
}

async fn several_addresses(world: &World) -> Outcome {
    let several = |service: &mut Value| {
        service["metadata"]["annotations"]["consul8s/service.address"] = json!("10.95.0.1, db.example.com");
    };
    world.create_to_consul("db", several).await?;
    let _program = world.start()?;
    let (name, id) = (world.own("db"), format!("{}.db", world.namespace));
    let found = eventually("two registrations", crate::harness::SOON, async || {
        let mut services = world.registrations(&name).await?;
        services.sort_by_key(|entry| entry["Service"]["ID"].to_string().len());
        let found: Vec<(String, String)> =
            services.iter().map(|entry| (text(&entry["Service"]["ID"]), text(&entry["Service"]["Address"]))).collect();
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await?;
    let [first, (further, address)] = found.as_slice() else { return Err(format!("two registrations: {found:?}")) };
    assert_eq!(*first, (id.clone(), "10.95.0.1".to_owned()));
    assert_eq!(address, "db.example.com");
    let digits = further.strip_prefix(&format!("{id}-")).unwrap_or_default();
    assert!(digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{further:?}");

    world.kube.annotate("db", "consul8s/service.address", Some("10.95.0.1")).await?;
    world.registers(&name, &[&format!("{id} 10.95.0.1:80 passing")]).await?;
    Ok(())
}

async fn id_name_port_and_tags(world: &World) -> Outcome {
    let annotated = |service: &mut Value| {
        service["spec"]["ports"] = json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 9000 }]);
        let annotations = &mut service["metadata"]["annotations"];
        annotations["consul8s/service.id"] = json!("the-one");
        annotations["consul8s/service.port_name"] = json!("admin");
        annotations["consul8s/service.tags"] = json!(" blue , green,, ");
    };
    world.create_to_consul("web", annotated).await?;
    let _program = world.start()?;
    world.registers(&world.own("web"), &["the-one web.example.com:9000 passing tags=blue,green"]).await?;

    let renamed = world.own("renamed");
    world.kube.annotate("web", "consul8s/service.name", Some(&renamed)).await?;
    world.registers(&renamed, &["the-one web.example.com:9000 passing tags=blue,green"]).await?;
    world.registers(&world.own("web"), &[]).await?;
    Ok(())
}

async fn unknown_port_name(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    world.create_to_consul("api", |_| ()).await?;
    let program = world.start()?;
    let web = format!("{}.web web.example.com:80 passing", world.namespace);
    world.registers(&world.own("web"), &[&web]).await?;
    let before = version(world).await?;
    world.kube.annotate("web", "consul8s/service.port_name", Some("nope")).await?;
    program.counts("consul8s_problems", &[("reason", "PortNameNotFound")], |count| count == 1.0).await?;
    // Another Service goes on meanwhile.
    world.kube.annotate("api", "consul8s/service.tags", Some("new")).await?;
    world
        .registers(&world.own("api"), &[&format!("{}.api api.example.com:80 passing tags=new", world.namespace)])
        .await?;
    assert_eq!(version(world).await?, before, "the registration stands");
    world.kube.annotate("web", "consul8s/service.port_name", Some("http")).await?;
    program.counts("consul8s_problems", &[("reason", "PortNameNotFound")], |count| count == 0.0).await
}

/// Version of the registration of `web`.
async fn version(world: &World) -> Outcome<Vec<Value>> {
    let services = world.registrations(&world.own("web")).await?;
    Ok(services.iter().map(|entry| entry["Service"]["ModifyIndex"].clone()).collect())
}

async fn remove_registration(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let _program = world.start()?;
    let (name, registered) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&registered]).await?;
    world.kube.annotate("web", "consul8s/service.remove_registration", Some("TRUE")).await?;
    world.registers(&name, &[]).await?;
    world.nothing_changes(std::time::Duration::from_secs(3)).await?;
    world.registers(&name, &[]).await?;
    world.kube.annotate("web", "consul8s/service.remove_registration", Some("false")).await?;
    world.registers(&name, &[&registered]).await?;
    Ok(())
}

async fn no_address(world: &World) -> Outcome {
    let homeless = |service: &mut Value| remove(&mut service["metadata"]["annotations"], "domainName");
    world.create_to_consul("homeless", homeless).await?;
    world.create_to_consul("web", |_| ()).await?;
    let program = world.start()?;
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:80 passing", world.namespace)]).await?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 1.0).await?;
    so(program.log().contains("NoAddress"), || "NoAddress is not in the log".to_owned())?;
    let registered = world.registrations(&world.own("homeless")).await?;
    so(registered.is_empty(), || format!("registered: {registered:#?}"))
}
