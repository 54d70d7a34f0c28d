//! `rules:` (contract §1).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `rules_for_names` | both directions: deny wins, only what `allow` names, `NotAllowed` names the rule |
//! | `rule_acts_at_once` | a new rule takes away what stands, also of a Service that is frozen or suspended, and at once |
//! | `rule_for_imports` | a ConsulImport creates no Service for a refused name |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{EVENTS, IMPORTS, Outcome, SERVICES, SOON, Scenario, World, eventually, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(rules_for_names), scenario!(rule_acts_at_once), scenario!(rule_for_imports)];

/// Waits until the condition of a Service says that a rule forbids it, and gives its message.
async fn refused(world: &World, service: &str) -> Outcome<String> {
    eventually(&format!("{service} is not allowed"), SOON, async || {
        let found = world.kube.get(SERVICES, service).await?;
        let condition = list(&found["status"]["conditions"]).into_iter().find(|one| one["type"] == "consul8s/Synced");
        let condition = condition.unwrap_or_default();
        so(condition["status"] == "False" && condition["reason"] == "NotAllowed", || condition.to_string())?;
        Ok(text(&condition["message"]))
    })
    .await
}

async fn rules_for_names(world: &World) -> Outcome {
    for service in ["web", "payments", "api"] {
        world.registered_instances::<1>(service).await?;
        world.create_to_kube(service, |_| ()).await?;
    }
    for service in ["db", "vault"] {
        world.create_to_consul(service, |_| ()).await?;
    }
    let file = world.file(
        "rules.yaml",
        &format!(
            "rules:\n\
             - namespaces: [somebody-else]\n  to_kube: {{deny: ['*']}}\n\
             - namespaces: ['{}*']\n  to_kube: {{allow: ['web*', 'pay*'], deny: 'PAYMENTS*'}}\n  to_consul: {{deny: ['vault-*']}}\n\
             - to_kube: {{allow: []}}\n",
            world.namespace
        ),
    )?;
    let program = world.program().flags(&["--config", &file]).start()?;
    world.publishes_ready("web").await?;
    let registered = format!("{}.db db.example.com:80 passing", world.namespace);
    world.registers(&world.own("db"), &[&registered]).await?;
    for (service, parts) in [
        ("payments", &["rule 2", "to_kube.deny", "PAYMENTS*"][..]),
        ("api", &["rule 2", "to_kube.allow", "web*"]),
        ("vault", &["rule 2", "to_consul.deny", "vault-*"]),
    ] {
        let message = refused(world, service).await?;
        parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} in {message}"));
    }
    assert!(world.kube.slices("payments").await?.is_empty() && world.kube.slices("api").await?.is_empty());
    assert!(world.registrations(&world.own("vault")).await?.is_empty());
    program.counts("consul8s_problems", &[("reason", "NotAllowed")], |count| count == 3.0).await?;
    program
        .counts("consul8s_services", &[("direction", "to_consul"), ("state", "problem")], |count| count == 1.0)
        .await?;
    eventually("an Event tells of it", SOON, async || {
        let events = world.kube.list(EVENTS).await?;
        let told = |event: &Value| event["reason"] == "NotAllowed" && event["regarding"]["name"] == "payments";
        so(events.iter().any(told), || format!("{} Events", events.len()))
    })
    .await?;
    // Another name is another matter, at once.
    world.kube.annotate("payments", "consul8s/service.name", Some(&world.own("web"))).await?;
    world.publishes_ready("payments").await?;
    world.kube.annotate("web", "consul8s/service.name", Some(&world.own("payments"))).await?;
    world.publishes("web", &[]).await?;
    Ok(())
}

async fn rule_acts_at_once(world: &World) -> Outcome {
    let (to_kube, to_consul) = (["web", "frozen", "suspended"], ["db", "frozen-db", "suspended-db"]);
    for service in to_kube {
        world.registered_instances::<1>(service).await?;
        world.create_to_kube(service, |_| ()).await?;
    }
    for service in to_consul {
        world.create_to_consul(service, |_| ()).await?;
    }
    let program = world.start()?;
    for service in to_kube {
        world.publishes_ready(service).await?;
    }
    for service in to_consul {
        let line = format!("{0}.{service} {service}.example.com:80 passing", world.namespace);
        world.registers(&world.own(service), &[&line]).await?;
    }
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.annotate("frozen", "consul8s/service.health", Some("fine")).await?;
    world.kube.annotate("frozen-db", "consul8s/service.weight", Some("heavy")).await?;
    for service in ["suspended", "suspended-db"] {
        world.kube.annotate(service, "consul8s/suspend", Some("true")).await?;
    }
    let file = world.file("rules.yaml", "defaultRule: deny\n")?;
    let _program = world.program().flags(&["--config", &file]).start()?;
    let limit = Duration::from_secs(10);
    for service in to_kube {
        eventually(&format!("{service} is withdrawn"), limit, async || {
            let slices = world.kube.slices(service).await?;
            so(slices.is_empty(), || format!("{slices:#?}"))
        })
        .await?;
    }
    for service in to_consul {
        world.registers_within(limit, &world.own(service), &[]).await?;
    }
    for service in ["web", "suspended"] {
        let message = refused(world, service).await?;
        so(message.contains("defaultRule"), || message.clone())?;
    }
    Ok(())
}

async fn rule_for_imports(world: &World) -> Outcome {
    crate::import::define(world).await?;
    for service in ["web", "payments"] {
        world.registered_instances::<1>(service).await?;
    }
    let names = [world.own("web"), world.own("payments")];
    crate::import::import(world, "all", json!({ "selector": { "names": names } })).await?;
    let file = world.file("rules.yaml", "rules: [{to_kube: {deny: 'payments-*'}}]\n")?;
    let _program = world.program().flags(&["--config", &file]).start()?;
    let ready = eventually("it says that one is not allowed", SOON, async || {
        let import = world.kube.get(IMPORTS, "all").await?;
        let ready = list(&import["status"]["conditions"]).into_iter().find(|one| one["type"] == "Ready");
        let ready = ready.unwrap_or_default();
        so(ready["reason"] == "NotAllowed", || import["status"].to_string())?;
        Ok(text(&ready["message"]))
    })
    .await?;
    so(ready.contains("rule 1") && ready.contains("payments"), || ready.clone())?;
    world.publishes_ready(&world.own("web")).await?;
    let services = world.kube.list(SERVICES).await?;
    let names: Vec<String> = services.iter().map(|service| text(&service["metadata"]["name"])).collect();
    so(!names.contains(&world.own("payments")), || format!("{names:?}"))
}
