//! Repairs, and where they end (contract S11).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `no_war_over_a_registration` | what is changed back after three repairs is left alone: `OwnershipConflict`, which says what was changed; others go on |
//! | `our_node_deleted` | all that stood on it is back within 5 s |

use std::time::Duration;

use serde_json::json;

use crate::harness::{Outcome, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(no_war_over_a_registration), scenario!(our_node_deleted)];

const REPAIRED: Duration = Duration::from_secs(5);

async fn no_war_over_a_registration(world: &World) -> Outcome {
    let program = world.start()?;
    for name in ["web", "db"] {
        world.create_to_consul(name, |_| ()).await?;
    }
    let line = |name: &str| format!("{}.{name} {name}.example.com:80 passing", world.namespace);
    world.registers(&world.own("web"), &[&line("web")]).await?;
    world.registers(&world.own("db"), &[&line("db")]).await?;
    let entry = world.registrations(&world.own("web")).await?.remove(0);
    let (node, service) = (&entry["Node"], &entry["Service"]);
    let body = json!({
        "Node": node["Node"], "Address": node["Address"], "SkipNodeUpdate": true,
        "Service": {
            "ID": service["ID"], "Service": service["Service"], "Meta": service["Meta"], "Weights": service["Weights"],
            "Address": "elsewhere.example.com", "Port": 80,
        },
    });
    for _ in 0..3 {
        world.consul.put("/v1/catalog/register", &body).await?;
        world.registers_within(REPAIRED, &world.own("web"), &[&line("web")]).await?;
    }
    world.consul.put("/v1/catalog/register", &body).await?;
    program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    tokio::time::sleep(REPAIRED).await;
    let stands = world.consul.service(&text(&node["Node"]), &text(&service["ID"])).await?;
    assert_eq!(stands["Address"], "elsewhere.example.com", "it is left alone");
    let message = program.log();
    so(message.contains("elsewhere.example.com"), || format!("it doesn't say what was changed: {message}"))?;
    // Another Service is still repaired.
    world.consul.remove_service(&text(&node["Node"]), &format!("{}.db", world.namespace)).await?;
    world.registers_within(REPAIRED, &world.own("db"), &[&line("db")]).await?;
    Ok(())
}

async fn our_node_deleted(world: &World) -> Outcome {
    let _program = world.start()?;
    let names = ["web", "db", "api"];
    let line = |name: &str| format!("{}.{name} {name}.example.com:80 passing", world.namespace);
    for name in names {
        world.create_to_consul(name, |_| ()).await?;
        world.registers(&world.own(name), &[&line(name)]).await?;
    }
    let node = text(&world.registrations(&world.own("web")).await?[0]["Node"]["Node"]);
    world.consul.remove_node(&node).await?;
    eventually("all are back", REPAIRED, async || {
        for name in names {
            let found = world.registrations(&world.own(name)).await?;
            so(found.len() == 1, || format!("{name}: {found:?}"))?;
        }
        Ok(())
    })
    .await
}
