//! What an import tells (contract §3, §6), and rows of §3 that the other files leave.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `told_of_the_import` | `ServiceCreated`, `NameConflict` and `ServiceRemoved` are Events of the import, once, also over a restart |
//! | `port_of_most_instances` | without `ports` one port `default` with the number that most instances have; `trafficDistribution` |
//! | `names_too_long` | longer than 63: `NameConflict`; upper case, `_` and ends |
//! | `the_older_import_wins` | of two imports that want one name, the older has it |
//! | `stays_while_an_endpoint_is_held` | beyond `--import-removal-delay`, as long as the guard holds an endpoint of it |
//! | `let_go_when_absent` | `Orphan`, and the service leaves the catalog: the Service stays, without our marks |

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{define, has_services, has_services_within, import, services, stands};
use crate::harness::{EVENTS, IMPORTS, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(told_of_the_import),
    scenario!(port_of_most_instances),
    scenario!(names_too_long),
    scenario!(the_older_import_wins),
    scenario!(stays_while_an_endpoint_is_held),
    scenario!(let_go_when_absent),
];

/// What was told of an import, sorted: `TYPE REASON: NOTE`.
async fn told(world: &World, uid: &str) -> Outcome<Vec<String>> {
    let events = world.kube.list(EVENTS).await?;
    let of_it = events.iter().filter(|event| {
        let about = &event["regarding"];
        about["kind"] == "ConsulImport" && about["apiVersion"] == "consul8s.io/v1alpha1" && about["uid"] == uid
    });
    let mut told: Vec<String> = of_it
        .map(|event| format!("{} {}: {}", text(&event["type"]), text(&event["reason"]), text(&event["note"])))
        .collect();
    told.sort();
    Ok(told)
}

async fn told_becomes(world: &World, uid: &str, wanted: &[&str]) -> Outcome {
    eventually(&format!("told of the import: {wanted:#?}"), 3 * SOON, async || {
        let told = told(world, uid).await?;
        let same = told.len() == wanted.len() && told.iter().zip(wanted).all(|(told, wanted)| told.starts_with(wanted));
        so(same, || format!("{told:#?}"))
    })
    .await
}

async fn told_of_the_import(world: &World) -> Outcome {
    define(world).await?;
    for service in ["web", "api", "taken"] {
        world.registered_instances::<1>(service).await?;
    }
    let [web, api, taken] = ["web", "api", "taken"].map(|name| world.own(name));
    world
        .kube
        .create(SERVICES, &json!({ "metadata": { "name": taken }, "spec": { "ports": [{ "port": 80 }] } }))
        .await?;
    let program = world.start()?;
    let made = import(world, "all", json!({ "selector": { "names": [web, api, taken] } })).await?;
    let uid = text(&made["metadata"]["uid"]);
    stands(world, "all", "3/2/1 Ready=False NameConflict").await?;
    let created = format!(
        "Normal ServiceCreated: created Service {api} for Consul service {api}; created Service {web} for Consul service {web}"
    );
    let conflict =
        format!("Warning NameConflict: 1 of 3 selected services got no Service for want of a name: {taken}: ");
    told_becomes(world, &uid, &[&created, &conflict]).await?;
    program.counts("consul8s_problems", &[("reason", "NameConflict")], |count| count == 1.0).await?;
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "NameConflict")], |count| count == 1.0).await?;
    sleep(Duration::from_secs(4)).await;
    told_becomes(world, &uid, &[&created, &conflict]).await?;
    // Nobody wants that name any more, nor the Service.
    world.kube.merge(IMPORTS, "all", &json!({ "spec": { "selector": { "names": [web] } } })).await?;
    let removed = format!("Normal ServiceRemoved: deleted Service {api}: its ConsulImport no longer selects its name");
    told_becomes(world, &uid, &[&created, &removed, &conflict]).await?;
    program.counts("consul8s_problems", &[("reason", "NameConflict")], |count| count == 0.0).await?;
    // Also of one that is on its way out.
    world.kube.delete(IMPORTS, "all").await?;
    has_services(world, &[&taken]).await?;
    let last = format!("Normal ServiceRemoved: deleted Service {web}: its ConsulImport is deleted");
    told_becomes(world, &uid, &[&created, &removed, &last, &conflict]).await
}

async fn port_of_most_instances(world: &World) -> Outcome {
    define(world).await?;
    for port in [9090, 8080, 8080] {
        let mut instance = world.instance("web").checked("passing");
        instance.port = port;
        world.consul.register(&instance).await?;
    }
    let name = world.own("web");
    let _program = world.start()?;
    let template = json!({ "spec": { "trafficDistribution": "PreferSameZone" } });
    import(world, "all", json!({ "selector": { "names": [name] }, "template": template })).await?;
    has_services(world, &[&name]).await?;
    let spec = world.kube.get(SERVICES, &name).await?["spec"].clone();
    assert_eq!(spec["ports"].as_array().map(Vec::len), Some(1), "{spec:#}");
    let port = &spec["ports"][0];
    assert_eq!((&port["name"], &port["port"]), (&json!("default"), &json!(8080)));
    assert_eq!((&spec["type"], &spec["trafficDistribution"]), (&json!("ClusterIP"), &json!("PreferSameZone")));
    assert!(spec["selector"].is_null(), "{spec:#}");
    Ok(())
}

async fn names_too_long(world: &World) -> Outcome {
    define(world).await?;
    let (long, odd) = ("x".repeat(64), format!("_Odd.Name_{}_", world.namespace));
    for service in [&long, &odd] {
        let mut instance = world.instance("any").checked("passing");
        (instance.service, instance.id) = (service.clone(), world.own(service));
        world.consul.register(&instance).await?;
    }
    let _program = world.start()?;
    import(world, "all", json!({ "selector": { "names": [long, odd] } })).await?;
    stands(world, "all", "2/1/1 Ready=False NameConflict").await?;
    has_services(world, &[&format!("odd-name-{}", world.namespace)]).await?;
    let conflict = world.kube.get(IMPORTS, "all").await?["status"]["conditions"][1].clone();
    assert_eq!((&conflict["type"], &conflict["status"]), (&json!("Conflict"), &json!("True")), "{conflict:#}");
    so(text(&conflict["message"]).contains("longer than 63"), || format!("{conflict:#}"))
}

async fn the_older_import_wins(world: &World) -> Outcome {
    define(world).await?;
    let [web] = world.registered_instances("web").await?;
    let name = world.own("web");
    let spec = json!({ "selector": { "prefix": name } });
    // By name the younger one comes first.
    let older = import(world, "z-older", spec.clone()).await?;
    sleep(Duration::from_millis(1100)).await;
    import(world, "a-younger", spec).await?;
    let _program = world.start()?;
    has_services(world, &[&name]).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", web.address)]).await?;
    let service = world.kube.get(SERVICES, &name).await?;
    assert_eq!(service["metadata"]["annotations"]["consul8s/import-uid"], older["metadata"]["uid"]);
    stands(world, "z-older", "1/1/0 Ready=True Synced").await?;
    stands(world, "a-younger", "1/0/0 Ready=True Synced").await
}

async fn stays_while_an_endpoint_is_held(world: &World) -> Outcome {
    const HOLD: Duration = Duration::from_secs(12);
    define(world).await?;
    let [only] = world.registered_instances("web").await?;
    let name = world.own("web");
    let program = world.program().flags(&["--import-removal-delay", "2s", "--removal-hold", "12s"]).start()?;
    import(world, "all", json!({ "selector": { "names": [name] } })).await?;
    let line = format!("{}:8080 ready", only.address);
    world.publishes(&name, &[&line]).await?;
    world.consul.remove_node(&only.node).await?;
    program.counts("consul8s_removals_held", &[("direction", "to_kube")], |held| held == 1.0).await?;
    sleep(HOLD / 2).await;
    assert_eq!(services(world).await?, std::slice::from_ref(&name));
    world.publishes(&name, &[&line]).await?;
    // The hold ends, its endpoint goes, and then the Service.
    has_services_within(world, Duration::from_secs(90), &[]).await?;
    stands(world, "all", "0/0/0 Ready=True Synced").await
}

async fn let_go_when_absent(world: &World) -> Outcome {
    define(world).await?;
    let [only] = world.registered_instances("web").await?;
    let name = world.own("web");
    let _program = world.program().flags(&["--import-removal-delay", "2s", "--removal-hold", "2s"]).start()?;
    import(world, "all", json!({ "selector": { "names": [name] }, "deletionPolicy": "Orphan" })).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", only.address)]).await?;
    world.consul.remove_service(&only.node, &only.id).await?;
    eventually("it is let go", Duration::from_secs(90), async || {
        let meta = world.kube.get(SERVICES, &name).await?["metadata"].clone();
        let marked = !meta["annotations"]["consul8s/import-uid"].is_null();
        so(!marked, || format!("{meta:#}"))
    })
    .await?;
    stands(world, "all", "0/0/0 Ready=True Synced").await?;
    let meta = world.kube.get(SERVICES, &name).await?["metadata"].clone();
    assert_eq!((&meta["labels"]["consul8s_source"], &meta["deletionTimestamp"]), (&json!("consul"), &json!(null)));
    Ok(())
}
