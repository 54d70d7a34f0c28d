//! What happened while consul8s was down (contract S3, guard.md §1): our slices say on which node each endpoint is, so that what an agent
//! deregistered meanwhile is told from what left without a word.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `deregistered_while_we_were_down` | *Explicit*: by agents that are alive; at once, all of a Service too, and nothing is held |
//! | `deregistered_while_we_crashed` | the same on a node of the catalog whose `serfHealth` is passing, after a crash |
//! | `gone_with_nodes_while_we_were_down` | their nodes are gone as well: one of three after a second read, the last one is held |
//! | `moved_while_we_were_down` | the new port first, then the old one, at once |
//! | `deregistered_between_two_runs` | `-1`, once in a while: the next one removes it, and ends with 0 |
//! | `changed_by_people_while_we_were_down` | another Consul name, no label, a Service gone: at once, also where that leaves nothing |
//! | `wiped_with_a_living_agent` | S10: Consul has forgotten everything, and the node is alive without its instance: held all the same |
//! | `slices_of_an_older_version` | without nodes: not written for that, filled with the next write |

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::holds::holds;
use crate::harness::{
    EVENTS, Instance, LEASES, Outcome, Running, SLICES, SOON, Scenario, World, eventually, scenario, so, text,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(deregistered_while_we_were_down).and_on_an_open_consul(),
    scenario!(deregistered_while_we_crashed),
    scenario!(gone_with_nodes_while_we_were_down),
    scenario!(moved_while_we_were_down),
    scenario!(deregistered_between_two_runs),
    scenario!(changed_by_people_while_we_were_down),
    scenario!(wiped_with_a_living_agent).alone(),
    scenario!(slices_of_an_older_version),
];

/// Well above the time of a few requests, well below the two seconds after which absence is confirmed.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// What is missing after a start is confirmed when all Services have been judged, after two reads 2 s apart, 15 s at most.
const CONFIRMED: Duration = Duration::from_secs(25);

fn line(instance: &Instance) -> String {
    format!("{}:{} ready", instance.address, instance.port)
}

async fn publishes_all(world: &World, service: &str, instances: &[&Instance]) -> Outcome {
    let lines: Vec<String> = instances.iter().map(|instance| line(instance)).collect();
    world.publishes(service, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(())
}

/// Starts it, and waits until it leads; gives when that was seen.
async fn leading(world: &World) -> Outcome<(Running, Instant)> {
    let program = world.start()?;
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    Ok((program, Instant::now()))
}

/// Nothing was ever held, as far as anybody was told.
async fn nothing_was_held(world: &World, program: &Running) -> Outcome {
    holds(program, 0.0).await?;
    let events = world.kube.list(EVENTS).await?;
    let told: Vec<String> =
        events.iter().filter(|event| event["reason"] == "RemovalHeld").map(|event| text(&event["note"])).collect();
    so(told.is_empty() && !program.log().contains("RemovalHeld"), || format!("{told:#?}\n{}", program.log()))
}

async fn deregistered_while_we_were_down(world: &World) -> Outcome {
    let [one, two, three] = std::array::from_fn(|_| world.instance("web").checked("passing"));
    let (lone, steady) = (world.instance("lone"), world.instance("steady"));
    for instance in [&one, &two, &three, &lone, &steady] {
        world.consul.agent_register(instance).await?;
    }
    for service in ["web", "lone", "steady"] {
        world.create_to_kube(service, |_| ()).await?;
    }
    let program = world.start()?;
    publishes_all(world, "web", &[&one, &two, &three]).await?;
    publishes_all(world, "lone", &[&lone]).await?;
    publishes_all(world, "steady", &[&steady]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    for instance in [&one, &two, &three, &lone] {
        world.consul.agent_deregister(instance).await?;
    }
    let (program, since) = leading(world).await?;
    world.publishes("web", &[]).await?;
    world.publishes("lone", &[]).await?;
    let took = since.elapsed();
    so(took < AT_ONCE, || format!("it took {took:?}"))?;
    publishes_all(world, "steady", &[&steady]).await?;
    nothing_was_held(world, &program).await
}

async fn deregistered_while_we_crashed(world: &World) -> Outcome {
    let [first, second] = world.registered_instances("web").await?;
    for instance in [&first, &second] {
        world.consul.set_node_check(instance, "serfHealth", "passing").await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    publishes_all(world, "web", &[&first, &second]).await?;
    program.kill().await?;
    for instance in [&first, &second] {
        world.consul.remove_service(&instance.node, &instance.id).await?;
    }
    // The Lease of one that crashed has to run out.
    let program = world.start()?;
    eventually("it leads", 2 * SOON, async || {
        let leads = program.scrape().await?.count("consul8s_leader", &[]);
        so(leads == 1.0, || leads.to_string())
    })
    .await?;
    let took = world.publishes("web", &[]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))?;
    nothing_was_held(world, &program).await
}

async fn gone_with_nodes_while_we_were_down(world: &World) -> Outcome {
    let [one, two, three] = world.registered_instances("web").await?;
    let [lone] = world.registered_instances("lone").await?;
    for service in ["web", "lone"] {
        world.create_to_kube(service, |_| ()).await?;
    }
    let program = world.start()?;
    publishes_all(world, "web", &[&one, &two, &three]).await?;
    publishes_all(world, "lone", &[&lone]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    for instance in [&three, &lone] {
        world.consul.remove_node(&instance.node).await?;
    }
    let recorder = world.record("web").await?;
    let (program, since) = leading(world).await?;
    let gone = recorder.reaches(CONFIRMED, &[&line(&one), &line(&two)]).await?;
    so(gone - since >= Duration::from_secs(1), || format!("gone after {:?}, before a second read", gone - since))?;
    holds(&program, 1.0).await?;
    publishes_all(world, "lone", &[&lone]).await
}

async fn moved_while_we_were_down(world: &World) -> Outcome {
    let before = world.instance("web").checked("passing");
    world.consul.agent_register(&before).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    publishes_all(world, "web", &[&before]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let after = before.clone().at(&before.address, 9090);
    world.consul.agent_register(&after).await?;
    let recorder = world.record("web").await?;
    let (program, since) = leading(world).await?;
    publishes_all(world, "web", &[&after]).await?;
    let took = since.elapsed();
    so(took < AT_ONCE, || format!("it took {took:?}"))?;
    recorder.always("one ready", |endpoints| endpoints.iter().any(|endpoint| endpoint.ends_with(" ready")))?;
    nothing_was_held(world, &program).await
}

async fn deregistered_between_two_runs(world: &World) -> Outcome {
    let [one, two] = std::array::from_fn(|_| world.instance("web").checked("passing"));
    for instance in [&one, &two] {
        world.consul.agent_register(instance).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let run = async |code: i32| {
        let finished = world.program().finish(&["-1"]).await?;
        so(finished.code == Some(code), || format!("{finished:?}"))
    };
    run(0).await?;
    publishes_all(world, "web", &[&one, &two]).await?;
    for instance in [&one, &two] {
        world.consul.agent_deregister(instance).await?;
    }
    run(0).await?;
    let seen = crate::harness::view::endpoints(&world.kube.slices("web").await?);
    so(seen.is_empty(), || format!("{seen:?}"))?;
    // Without its node it is another matter.
    let [lone] = world.registered_instances("web").await?;
    run(0).await?;
    world.consul.remove_node(&lone.node).await?;
    run(5).await?;
    publishes_all(world, "web", &[&lone]).await
}

async fn changed_by_people_while_we_were_down(world: &World) -> Outcome {
    let mut instances = Vec::new();
    for service in ["renamed", "emptied", "unlabelled", "deleted"] {
        let [instance] = world.registered_instances(service).await?;
        world.create_to_kube(service, |_| ()).await?;
        instances.push(instance);
    }
    let [other] = world.registered_instances("other").await?;
    let program = world.start()?;
    for (service, instance) in ["renamed", "emptied", "unlabelled", "deleted"].into_iter().zip(&instances) {
        publishes_all(world, service, &[instance]).await?;
    }
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.annotate("renamed", "consul8s/service.name", Some(&world.own("other"))).await?;
    world.kube.annotate("emptied", "consul8s/service.name", Some(&world.own("nobody"))).await?;
    world.kube.label("unlabelled", "consul8s_source", None).await?;
    world.kube.delete(crate::harness::SERVICES, "deleted").await?;
    let (program, since) = leading(world).await?;
    publishes_all(world, "renamed", &[&other]).await?;
    world.publishes("emptied", &[]).await?;
    world.publishes("unlabelled", &[]).await?;
    let took = since.elapsed();
    so(took < AT_ONCE, || format!("it took {took:?}"))?;
    // Whether a Service is gone or only missing from a list has to be asked.
    world.publishes("deleted", &[]).await?;
    nothing_was_held(world, &program).await
}

async fn wiped_with_a_living_agent(world: &World) -> Outcome {
    // Consul has counted further than it will have after the wipe.
    for _ in 0..60 {
        world.consul.register(&world.instance("other")).await?;
    }
    let instance = world.instance("web").checked("passing");
    world.consul.agent_register(&instance).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    publishes_all(world, "web", &[&instance]).await?;
    eventually("the Lease says how far Consul has counted", SOON, async || {
        let lease = world.kube.get(LEASES, &world.namespace).await?;
        so(!lease["metadata"]["annotations"]["consul8s/lineage"].is_null(), || format!("{lease:#}"))
    })
    .await?;
    program.terminate(Duration::from_secs(5)).await?;
    // The agent of the server has lost its own memory as well.
    world.servers.wipe_consul().await?;
    world.servers.start_consul().await?;
    let recorder = world.record("web").await?;
    for _ in 0..2 {
        let program = world.start()?;
        holds(&program, 1.0).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        holds(&program, 1.0).await?;
        program.terminate(Duration::from_secs(5)).await?;
    }
    let program = world.start()?;
    holds(&program, 1.0).await?;
    world.consul.agent_register(&instance).await?;
    holds(&program, 0.0).await?;
    recorder.always("ready", |endpoints| endpoints == [line(&instance)])?;
    // It is known again: what its agent says counts at once.
    world.consul.agent_deregister(&instance).await?;
    let took = world.publishes("web", &[]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))
}

async fn slices_of_an_older_version(world: &World) -> Outcome {
    const NODES: &str = "consul8s/nodes";
    let [steady, failing] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    publishes_all(world, "web", &[&steady, &failing]).await?;
    let says = async |wanted: Option<&str>| {
        let right = |slices: &[serde_json::Value]| {
            let nodes = slices.first().map(|slice| slice["metadata"]["annotations"][NODES].clone());
            so(nodes.as_ref().and_then(|nodes| nodes.as_str()) == wanted, || format!("{slices:#?}"))
        };
        world.slices_become("what the slice says of nodes", SOON, "web", right).await
    };
    let wanted = [&steady, &failing].map(|instance| format!("{} {}", instance.address, instance.node)).join("\n");
    says(Some(&wanted)).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let [slice] = <[_; 1]>::try_from(world.kube.slices("web").await?).map_err(|slices| format!("{slices:#?}"))?;
    let without = json!({ "metadata": { "annotations": { NODES: null } } });
    world.kube.merge(SLICES, &text(&slice["metadata"]["name"]), &without).await?;
    let before = world.versions().await?;
    let (program, _) = leading(world).await?;
    program.counts("consul8s_services", &[("state", "synced")], |count| count == 1.0).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.unchanged_since(&before).await?;
    says(None).await?;
    world.consul.register(&failing.clone().checked("critical")).await?;
    says(Some(&wanted)).await?;
    so(program.writes().await? == 1.0, || "one write does both".to_owned())
}
