//! `consul8s release` (contract §5): each way to name what is to go, and what it says where nothing does.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `release_names_a_service` | `NAME`, `svc/NAME`, `NS/NAME`, `-n`: that Service alone, by the ids of its holds |
//! | `release_names_a_hold` | hold (a) by its id; an unknown one is refused, and what is held instead is told |
//! | `release_names_a_hold_of_many` | hold (b): a Service's part, then the rest by its id |
//! | `release_all` | by the one Lease; with several it is to be said which |
//! | `release_while_nobody_runs` | `-1` holds (5), a release, and `-1` carries it out (0) |

use std::time::Duration;

use serde_json::json;

use super::holds::{ALLOW, FIVE, Host, held, holds, told_id};
use crate::harness::{LEASES, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(release_names_a_service),
    scenario!(release_names_a_hold),
    scenario!(release_names_a_hold_of_many),
    scenario!(release_all),
    scenario!(release_while_nobody_runs),
];

/// Runs `release` as a person would, and gives its exit code and all that it said.
async fn release(world: &World, words: &[&str]) -> Outcome<(Option<i32>, String)> {
    let command: Vec<&str> = ["release"].iter().chain(words).copied().collect();
    let ended = world.program().bare().finish(&command).await?;
    Ok((ended.code, format!("{}{}", ended.stdout, ended.stderr)))
}

/// It is carried out, and says what.
async fn releases(world: &World, words: &[&str], says: &str) -> Outcome {
    let (code, said) = release(world, words).await?;
    so(code == Some(0) && said.contains(says), || format!("release {words:?}: {code:?}: {said}"))
}

/// It fails, and says why.
async fn refuses(world: &World, words: &[&str], says: &[&str]) -> Outcome {
    let (code, said) = release(world, words).await?;
    let all = says.iter().all(|says| said.contains(says));
    so(code == Some(1) && all, || format!("release {words:?}: {code:?}: {said}, instead of {says:?}"))
}

async fn allowed(world: &World, service: &str) -> Outcome<String> {
    Ok(text(&world.kube.get(SERVICES, service).await?["metadata"]["annotations"][ALLOW]))
}

async fn release_names_a_service(world: &World) -> Outcome {
    let services = ["bare", "kind", "full", "flag"];
    let mut instances = Vec::new();
    for service in services {
        let [only] = world.registered_instances(service).await?;
        world.create_to_kube(service, |_| ()).await?;
        instances.push(only);
    }
    let program = world.start()?;
    let lines: Vec<String> = instances.iter().map(|only| format!("{}:8080 ready", only.address)).collect();
    for (service, line) in services.iter().zip(&lines) {
        world.publishes(service, &[line]).await?;
    }
    refuses(world, &["bare"], &["nothing of Service", "is held"]).await?;
    for only in &instances {
        world.consul.remove_node(&only.node).await?;
    }
    holds(&program, 4.0).await?;
    let namespace = world.namespace.as_str();
    let full = format!("{namespace}/full");
    let ways: [&[&str]; 4] = [&["bare"], &["svc/kind"], &[&full], &["flag", "-n", namespace]];
    for (released, (way, service)) in ways.into_iter().zip(services).enumerate() {
        releases(world, way, &format!("on Service {namespace}/{service}")).await?;
        let took = world.publishes(service, &[]).await?;
        so(took < Duration::from_secs(2), || format!("{service}: it took {took:?}"))?;
        so(allowed(world, service).await?.starts_with("h-"), || format!("{service}: no id"))?;
        for (other, line) in services.iter().zip(&lines).skip(released + 1) {
            world.publishes(other, &[line]).await?;
        }
    }
    holds(&program, 0.0).await?;
    refuses(world, &["bare", "-n", "default"], &["nothing of Service default/bare is held"]).await
}

async fn release_names_a_hold(world: &World) -> Outcome {
    let (program, _, line) = held(world, &[]).await?;
    let id = told_id(&program).await?;
    let of_web = format!("{id} (1 endpoint of {}/web)", world.namespace);
    refuses(world, &["h-000000"], &["there is no hold h-000000; held: ", &of_web]).await?;
    refuses(world, &["other"], &["nothing of Service", &of_web]).await?;
    let (code, said) = release(world, &[]).await?;
    so(code == Some(64), || format!("{code:?}: {said}"))?;
    let (code, said) = release(world, &["a/b/c"]).await?;
    so(code == Some(1) && said.contains("svc/NAME"), || format!("{code:?}: {said}"))?;
    world.publishes("web", &[&line]).await?;
    releases(world, &[&id], &format!("released {id}")).await?;
    world.publishes("web", &[]).await?;
    holds(&program, 0.0).await?;
    // The reason is told of the Service.
    eventually("RemovalReleased is told", SOON, async || {
        let events = world.kube.list(crate::harness::EVENTS).await?;
        let told = events.iter().any(|event| {
            event["reason"] == "RemovalReleased"
                && event["regarding"]["name"] == "web"
                && text(&event["note"]).contains(&id)
        });
        so(told, || format!("{} Events", events.len()))
    })
    .await
}

async fn release_names_a_hold_of_many(world: &World) -> Outcome {
    let host = Host::of_five(world).await?;
    world.consul.remove_node(&host.node).await?;
    holds(&host.program, 5.0).await?;
    let id = told_id(&host.program).await?;
    releases(world, &[FIVE[0]], &id).await?;
    world.publishes(FIVE[0], &host.without(0)).await?;
    holds(&host.program, 4.0).await?;
    let all: Vec<&str> = host.lines[1].iter().map(String::as_str).collect();
    world.publishes(FIVE[1], &all).await?;
    releases(world, &[&id], "for all that it holds").await?;
    for (number, service) in FIVE.iter().enumerate() {
        world.publishes(service, &host.without(number)).await?;
    }
    holds(&host.program, 0.0).await?;
    lease_is_clean(world).await
}

async fn lease_is_clean(world: &World) -> Outcome {
    eventually("the release is taken off the Lease", SOON, async || {
        let lease = world.kube.get(LEASES, &world.namespace).await?;
        so(lease["metadata"]["annotations"][ALLOW].is_null(), || format!("{lease:#}"))
    })
    .await
}

async fn release_all(world: &World) -> Outcome {
    let (program, _, line) = held(world, &[]).await?;
    let id = told_id(&program).await?;
    // Another installation has a Lease of the same name.
    let elsewhere = world.kube.elsewhere("default");
    let lease =
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": world.namespace } });
    elsewhere.create(LEASES, &lease).await?;
    let both = format!("default/{0}, {0}/{0}", world.namespace);
    refuses(world, &["--all"], &["several Leases", &both, "--lease-namespace"]).await?;
    refuses(world, &["--all", "--lease-namespace", "default"], &["nothing is held", &id]).await?;
    refuses(world, &["--all", "--lease-namespace", "kube-system"], &["there is no Lease"]).await?;
    world.publishes("web", &[&line]).await?;
    elsewhere.delete(LEASES, &world.namespace).await?;
    releases(world, &["--all"], "released all that is held").await?;
    world.publishes("web", &[]).await?;
    holds(&program, 0.0).await?;
    lease_is_clean(world).await?;
    so(allowed(world, "web").await?.is_empty(), || "nothing is written on the Service".to_owned())?;
    refuses(world, &["--all"], &["nothing is held"]).await
}

async fn release_while_nobody_runs(world: &World) -> Outcome {
    let [only] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let once = async |wanted: i32| {
        let ended = world.program().finish(&["-1"]).await?;
        so(ended.code == Some(wanted), || format!("{ended:#?}"))
    };
    once(0).await?;
    let line = format!("{}:8080 ready", only.address);
    for way in [&["web"][..], &["--all"]] {
        world.consul.remove_node(&only.node).await?;
        once(5).await?;
        world.publishes("web", &[&line]).await?;
        releases(world, way, "released").await?;
        once(0).await?;
        world.publishes("web", &[]).await?;
        world.consul.register(&only).await?;
        once(0).await?;
        world.publishes("web", &[&line]).await?;
    }
    lease_is_clean(world).await
}
