//! What people are told (contract §6): Events on transitions, and the condition `consul8s/Synced`.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `condition_and_events` | either direction: the condition counts, one Event says what was done; and then nothing more |
//! | `problem_comes_and_goes` | a Warning and `False`, then `True` again; what it says to do helps |
//! | `condition_of_others_stays` | a Service that is no longer ours loses our condition, and no other |
//! | `told_once_over_restarts` | a restart and a crash tell nothing again |
//! | `once_tells_and_plan_does_not` | `-1` ends when all is told; `plan` tells nothing |
//! | `consul_away_is_told_of_the_lease` | what concerns all Services is one Event, of the Lease |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{EVENTS, Outcome, SERVICES, SOON, Scenario, World, eventually, list, scenario, so, text};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario!(condition_and_events),
        scenario!(problem_comes_and_goes),
        scenario!(condition_of_others_stays),
        scenario!(told_once_over_restarts),
        scenario!(once_tells_and_plan_does_not),
        scenario!(consul_away_is_told_of_the_lease).alone(),
    ]
}

/// The condition of a Service, `STATUS REASON: MESSAGE`; empty where there is none.
async fn condition(world: &World, service: &str) -> Outcome<String> {
    let service = world.kube.get(SERVICES, service).await?;
    let conditions = list(&service["status"]["conditions"]);
    let ours = conditions.iter().find(|condition| condition["type"] == "consul8s/Synced");
    let said = |it: &Value| format!("{} {}: {}", text(&it["status"]), text(&it["reason"]), text(&it["message"]));
    Ok(ours.map(said).unwrap_or_default())
}

async fn condition_becomes(world: &World, service: &str, wanted: &str) -> Outcome {
    eventually(&format!("{service} says {wanted:?}"), SOON, async || {
        let said = condition(world, service).await?;
        so(said == wanted, || format!("{said:?}"))
    })
    .await
}

/// What was told of objects of this kind, sorted: `NAME TYPE REASON: NOTE`.
async fn told(world: &World, kind: &str) -> Outcome<Vec<String>> {
    let events = world.kube.list(EVENTS).await?;
    let said = |it: &Value| {
        let [name, kind] = [&it["regarding"]["name"], &it["type"]].map(text);
        format!("{name} {kind} {}: {}", text(&it["reason"]), text(&it["note"]))
    };
    let mut told: Vec<String> = events.iter().filter(|it| it["regarding"]["kind"] == kind).map(said).collect();
    told.sort();
    Ok(told)
}

async fn told_becomes(world: &World, kind: &str, wanted: &[&str]) -> Outcome {
    eventually(&format!("told of {kind}s: {wanted:#?}"), SOON, async || {
        let told = told(world, kind).await?;
        so(told == wanted, || format!("{told:#?}"))
    })
    .await
}

fn whereabouts(world: &World, service: &str) -> String {
    let namespace = &world.namespace;
    format!("see them: kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={service}")
}

/// Two Services, one in each direction, that are in sync.
async fn prepare(world: &World) -> Outcome {
    world.registered_instances::<2>("web").await?;
    world.consul.register(&world.instance("web").checked("critical")).await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    Ok(())
}

/// What is to be told of them.
async fn all_is_told(world: &World) -> Outcome {
    let published = "2 of 3 published; 1 left out: critical";
    let registered = format!("1 of 1 registered as {}", world.own("db"));
    condition_becomes(world, "web", &format!("True EndpointsUpdated: {published}; {}", whereabouts(world, "web")))
        .await?;
    condition_becomes(world, "db", &format!("True Registered: {registered}")).await?;
    let node = world.consul.health(&world.own("db")).await?;
    let node = node.first().map(|entry| text(&entry["Node"]["Node"])).unwrap_or_default();
    let db = format!("db Normal Registered: {registered}: {}.db@{node}", world.namespace);
    told_becomes(world, "Service", &[&db, &format!("web Normal EndpointsUpdated: {published}")]).await
}

/// Versions of all that is told.
async fn versions(world: &World) -> Outcome<Vec<String>> {
    let mut versions = Vec::new();
    for resource in [SERVICES, EVENTS] {
        let version =
            |object: &Value| text(&object["metadata"]["name"]) + " " + &text(&object["metadata"]["resourceVersion"]);
        versions.extend(world.kube.list(resource).await?.iter().map(version));
    }
    versions.sort();
    Ok(versions)
}

async fn condition_and_events(world: &World) -> Outcome {
    prepare(world).await?;
    let _program = world.program().flags(&["--interval", "1"]).start()?;
    all_is_told(world).await?;
    let before = versions(world).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(versions(world).await?, before, "that is all");
    Ok(())
}

async fn problem_comes_and_goes(world: &World) -> Outcome {
    world.registered_instances::<1>("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let well = format!("True EndpointsUpdated: 1 of 1 published; {}", whereabouts(world, "web"));
    condition_becomes(world, "web", &well).await?;
    world.kube.annotate("web", "consul8s/service.helth", Some("any")).await?;
    eventually("a warning", SOON, async || {
        let said = condition(world, "web").await?;
        so(said.starts_with("True UnknownAnnotation: ") && said.contains("consul8s/service.health"), || said)
    })
    .await?;
    world.kube.annotate("web", "consul8s/service.ports", Some("http")).await?;
    eventually("a problem", SOON, async || {
        let said = condition(world, "web").await?;
        so(said.starts_with("False InvalidAnnotation: ") && said.ends_with("; also: UnknownAnnotation"), || said)
    })
    .await?;
    for key in ["consul8s/service.ports", "consul8s/service.helth"] {
        world.kube.annotate("web", key, None).await?;
    }
    // It has changed a few times within a minute, so that this one may have to wait.
    eventually("all is well again", 2 * SOON, async || {
        let said = condition(world, "web").await?;
        so(said == well, || said)
    })
    .await?;
    let warnings: Vec<String> =
        told(world, "Service").await?.into_iter().filter(|it| it.contains(" Warning ")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    Ok(())
}

async fn condition_of_others_stays(world: &World) -> Outcome {
    prepare(world).await?;
    let theirs = json!({ "type": "example.com/Other", "status": "True", "reason": "Theirs", "message": "",
                         "lastTransitionTime": "2026-11-18T11:06:40Z" });
    for service in ["web", "db"] {
        world.kube.merge_status(SERVICES, service, &json!({ "conditions": [theirs] })).await?;
    }
    let _program = world.start()?;
    all_is_told(world).await?;
    for service in ["web", "db"] {
        world.kube.label(service, "consul8s_source", Some("none")).await?;
        condition_becomes(world, service, "").await?;
        let left = list(&world.kube.get(SERVICES, service).await?["status"]["conditions"]);
        assert_eq!(left, std::slice::from_ref(&theirs), "{service}");
    }
    Ok(())
}

async fn told_once_over_restarts(world: &World) -> Outcome {
    prepare(world).await?;
    world.create_to_kube("bad", |it| it["metadata"]["annotations"]["consul8s/service.ports"] = json!("http")).await?;
    let program = world.start()?;
    eventually("all is told", SOON, async || {
        let (web, db, bad) =
            (condition(world, "web").await?, condition(world, "db").await?, condition(world, "bad").await?);
        let all = web.starts_with("True ") && db.starts_with("True ") && bad.starts_with("False InvalidAnnotation");
        so(all, || format!("{web:?} {db:?} {bad:?}"))
    })
    .await?;
    // What is told of a Service is told before its condition is written.
    let before = versions(world).await?;
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    let program = world.start()?;
    program.counts("consul8s_services", &[("state", "synced")], |count| count == 2.0).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(versions(world).await?, before, "nothing was told again");
    Ok(())
}

async fn once_tells_and_plan_does_not(world: &World) -> Outcome {
    prepare(world).await?;
    let before = versions(world).await?;
    assert_eq!(world.program().finish(&["plan"]).await?.code, Some(0));
    assert_eq!(versions(world).await?, before);
    assert_eq!(world.program().finish(&["-1"]).await?.code, Some(0));
    assert_eq!(told(world, "Service").await?.len(), 2);
    assert!(condition(world, "web").await?.starts_with("True EndpointsUpdated: 2 of 3 published"));
    let before = versions(world).await?;
    assert_eq!(world.program().finish(&["-1"]).await?.code, Some(0));
    assert_eq!(versions(world).await?, before, "once is enough");
    Ok(())
}

async fn consul_away_is_told_of_the_lease(world: &World) -> Outcome {
    prepare(world).await?;
    let _program = world.start()?;
    all_is_told(world).await?;
    let before = versions(world).await?;
    world.servers.stop_consul().await;
    eventually("it is told of the Lease", 2 * SOON, async || {
        let told = told(world, "Lease").await?;
        let one = told.len() == 1 && told[0].starts_with(&format!("{} Warning ConsulUnavailable: ", world.namespace));
        so(one, || format!("{told:#?}"))
    })
    .await?;
    let lease = world.kube.list(EVENTS).await?.into_iter().find(|it| it["regarding"]["kind"] == "Lease");
    assert!(lease.is_some_and(|it| it["regarding"]["uid"].is_string()), "kubectl describe finds it by the uid");
    world.servers.start_consul().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after: Vec<String> = versions(world).await?;
    let touched: Vec<&String> = before.iter().filter(|version| !after.contains(version)).collect();
    assert!(touched.is_empty() && after.len() == before.len() + 1, "nothing else: {touched:#?}");
    Ok(())
}
