//! Whose registrations are whose (contract S5), and what becomes of ours when somebody else changes them.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `edited_registration` | repaired within 5 s |
//! | `deleted_registration` | the same |
//! | `failed_check` | a readiness check that somebody else sets is set right |
//! | `foreign_service_of_our_id` | `OwnershipConflict`: on our node, with the ID we would give, it stays theirs |
//! | `agents_services_of_the_same_name` | never touched |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, Scenario, World, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(edited_registration).and_on_an_open_consul(),
    scenario!(deleted_registration),
    scenario!(failed_check),
    scenario!(foreign_service_of_our_id),
    scenario!(agents_services_of_the_same_name),
];

/// Within this time drift is repaired.
const REPAIRED: Duration = Duration::from_secs(5);

/// Registers a Service `web`; gives its entry in Consul, and how it looks.
async fn registered(world: &World) -> Outcome<(Value, String)> {
    world.create_to_consul("web", |_| ()).await?;
    let line = format!("{}.web web.example.com:80 passing", world.namespace);
    world.registers(&world.own("web"), &[&line]).await?;
    let entry = world.registrations(&world.own("web")).await?.pop().ok_or("no registration")?;
    Ok((entry, line))
}

async fn edited_registration(world: &World) -> Outcome {
    let _program = world.start()?;
    let (entry, line) = registered(world).await?;
    let (node, service) = (&entry["Node"], &entry["Service"]);
    let body = json!({
        "Node": node["Node"], "Address": node["Address"], "SkipNodeUpdate": true,
        "Service": {
            "ID": service["ID"], "Service": service["Service"], "Meta": service["Meta"],
            "Address": "evil.example.com", "Port": 81, "Tags": ["edited"],
        },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    world.registers_within(REPAIRED, &world.own("web"), &[&line]).await?;
    Ok(())
}

async fn deleted_registration(world: &World) -> Outcome {
    let _program = world.start()?;
    let (entry, line) = registered(world).await?;
    world.consul.remove_service(&text(&entry["Node"]["Node"]), &text(&entry["Service"]["ID"])).await?;
    world.registers_within(REPAIRED, &world.own("web"), &[&line]).await?;
    Ok(())
}

async fn failed_check(world: &World) -> Outcome {
    let _program = world.start()?;
    let (entry, line) = registered(world).await?;
    let (node, id) = (&entry["Node"], text(&entry["Service"]["ID"]));
    let check = json!({
        "CheckID": format!("consul8s:readiness:{id}"), "Name": "consul8s:readiness", "ServiceID": id, "Status": "critical",
    });
    let body = json!({ "Node": node["Node"], "Address": node["Address"], "SkipNodeUpdate": true, "Checks": [check] });
    world.consul.put("/v1/catalog/register", &body).await?;
    world.registers_within(REPAIRED, &world.own("web"), &[&line]).await?;
    Ok(())
}

async fn foreign_service_of_our_id(world: &World) -> Outcome {
    let program = world.start()?;
    let (entry, _) = registered(world).await?;
    let node = text(&entry["Node"]["Node"]);
    let id = format!("{}.taken", world.namespace);
    let body = json!({
        "Node": node, "Address": entry["Node"]["Address"], "SkipNodeUpdate": true,
        "Service": { "ID": id, "Service": world.own("theirs"), "Address": "10.94.0.1", "Port": 1234 },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    let theirs = world.consul.service(&node, &id).await?;
    world.create_to_consul("taken", |_| ()).await?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    world.kube.delete(SERVICES, "taken").await?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 0.0).await?;
    assert_eq!(world.consul.service(&node, &id).await?, theirs);
    Ok(())
}

async fn agents_services_of_the_same_name(world: &World) -> Outcome {
    let theirs = world.instance("web").checked("passing");
    world.consul.agent_register(&theirs).await?;
    let _program = world.start()?;
    let (_, line) = registered(world).await?;
    let find = async || {
        let entries = world.consul.health(&theirs.service).await?;
        let found = entries.into_iter().find(|entry| entry["Service"]["ID"] == theirs.id);
        found.ok_or_else(|| format!("{} is gone", theirs.id))
    };
    let before = find().await?;
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&world.own("web"), &[&format!("{line} tags=new")]).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.registers(&world.own("web"), &[]).await?;
    let after = find().await?;
    so(after["Service"] == before["Service"], || format!("{before:#} became {after:#}"))
}
