//! What is written, and what is not (contract §4 Registration).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `only_differences` | a change of the Service that asks for nothing new writes nothing: not even `consul8s-rv`, which follows the next write |
//! | `one_id_of_two_services` | of two Services with one ID the older has it: `OwnershipConflict`; when it goes, the other gets it |
//! | `named_ports_without_room` | what Consul's 64 pairs of meta have no room for is told: `UnmappedPorts`; the Service is registered |
//! | `addresses_that_are_never_registered` | loopback and link-local ones from a status are left out and told: `AddressRejected` |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, SOON, Scenario, World, eventually, list, remove, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(only_differences),
    scenario!(one_id_of_two_services),
    scenario!(named_ports_without_room),
    scenario!(addresses_that_are_never_registered),
];

async fn only_differences(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let program = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    let entry = async || Outcome::Ok(world.registrations(&name).await?.remove(0)["Service"].clone());
    let before = entry().await?;
    let written = program.writes().await?;
    for n in 0..5 {
        world.kube.label("web", "somebody", Some(&n.to_string())).await?;
        world.kube.annotate("web", "somebody.example.com/s", Some(&n.to_string())).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(entry().await?, before);
    assert_eq!(program.writes().await?, written);
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&name, &[&format!("{line} tags=new")]).await?;
    let version = |service: &Value| text(&service["Meta"]["consul8s-rv"]).parse::<u64>().unwrap_or_default();
    let (old, new) = (version(&before), version(&entry().await?));
    so(old < new, || format!("{old} is not below {new}"))
}

async fn one_id_of_two_services(world: &World) -> Outcome {
    let id = world.own("the-one");
    let with = |service: &mut Value| service["metadata"]["annotations"]["consul8s/service.id"] = json!(id);
    world.create_to_consul("older", with).await?;
    // Kubernetes counts in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.create_to_consul("younger", with).await?;
    let program = world.start()?;
    world.registers(&world.own("older"), &[&format!("{id} older.example.com:80 passing")]).await?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    assert!(world.registrations(&world.own("younger")).await?.is_empty());
    world.kube.delete(SERVICES, "older").await?;
    world.registers(&world.own("younger"), &[&format!("{id} younger.example.com:80 passing")]).await?;
    assert!(world.registrations(&world.own("older")).await?.is_empty());
    program.counts("consul8s_problems", &[], |count| count == 0.0).await
}

async fn named_ports_without_room(world: &World) -> Outcome {
    let many = |service: &mut Value| {
        let port = |n: u16| json!({ "name": format!("p{n}"), "port": 1000 + n });
        service["spec"]["ports"] = (1..=60).map(port).collect();
    };
    world.create_to_consul("web", many).await?;
    let _program = world.start()?;
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:1001 passing", world.namespace)]).await?;
    let meta = world.registrations(&world.own("web")).await?.remove(0)["Service"]["Meta"].clone();
    let pairs = meta.as_object().map_or(0, serde_json::Map::len);
    so(pairs <= 64 && meta["port-p51"] == "1051" && meta["port-p52"].is_null(), || meta.to_string())?;
    eventually("the condition says so", SOON, async || {
        let conditions = list(&world.kube.get(SERVICES, "web").await?["status"]["conditions"]);
        let ours = conditions.iter().find(|it| it["type"] == "consul8s/Synced").cloned().unwrap_or_default();
        let told = ours["reason"] == "UnmappedPorts" && text(&ours["message"]).contains("p52, p53");
        so(told && ours["status"] == "True", || ours.to_string())
    })
    .await
}

async fn addresses_that_are_never_registered(world: &World) -> Outcome {
    let balanced = |service: &mut Value| {
        service["spec"]["type"] = json!("LoadBalancer");
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    world.create_to_consul("web", balanced).await?;
    let addresses = ["127.0.0.1", "169.254.1.1", "203.0.113.7"].map(|ip| json!({ "ip": ip }));
    world.kube.merge_status(SERVICES, "web", &json!({ "loadBalancer": { "ingress": addresses } })).await?;
    let program = world.start()?;
    eventually("the one good address is registered", SOON, async || {
        let found = world.registrations(&world.own("web")).await?;
        let seen: Vec<String> = found.iter().map(|entry| text(&entry["Service"]["Address"])).collect();
        so(seen == ["203.0.113.7"], || format!("{seen:?}"))
    })
    .await?;
    program.counts("consul8s_problems", &[("reason", "AddressRejected")], |count| count == 2.0).await?;
    let dropped = [("direction", "to_consul"), ("reason", "address")];
    program.counts("consul8s_instances_dropped", &dropped, |count| count == 2.0).await
}
