//! Settings and events that meet (contract §1, §2, §8): each is simple alone.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `names_of_every_kind` | a Consul name may hold what a path or a query of HTTP may not |
//! | `two_services_of_one` | one Consul service, several Services with tags and policies of their own, each followed on its own |
//! | `label_and_type_come_and_go` | without the label ours go at once, with it they come at once; another type of Service changes nothing |
//! | `headless_in_two_families` | both families' slices bear the headless label, and none has a port |
//! | `panic_while_health_flaps` | whatever came in between, the last state is right, and nothing more is written |
//! | `suspended_over_a_restart` | nothing is written; what an agent deregistered meanwhile goes when it is no longer suspended |
//! | `twins` | two instances with one address and port are one endpoint, as healthy as the healthier; when one goes nothing is missing |
//! | `slices_get_smaller` | another `--max-endpoints-per-slice` after a restart: repacked, and no endpoint is ever missing |
//! | `made_again_while_we_were_down` | a Service of the same name with another UID gets slices of its own; those of the other go |
//! | `named_by_another_owner` | S4: a slice that names another owner keeps us away, whatever else it lacks |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::annotations::register_with;
use crate::harness::{
    EVENTS, Instance, Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, list, scenario, so, text,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(names_of_every_kind),
    scenario!(two_services_of_one),
    scenario!(label_and_type_come_and_go),
    scenario!(headless_in_two_families),
    scenario!(panic_while_health_flaps),
    scenario!(suspended_over_a_restart),
    scenario!(twins),
    scenario!(slices_get_smaller),
    scenario!(made_again_while_we_were_down),
    scenario!(named_by_another_owner),
];

/// Well above the time of a few requests, well below the two seconds after which absence is confirmed.
const AT_ONCE: Duration = Duration::from_millis(1500);

fn ready(instance: &Instance) -> String {
    format!("{}:{} ready", instance.address, instance.port)
}

fn annotated(service: &mut Value, key: &str, value: &str) {
    service["metadata"]["annotations"][format!("consul8s/service.{key}")] = json!(value);
}

async fn names_of_every_kind(world: &World) -> Outcome {
    let odd =
        ["sp ace", "sl/ash", "what?", "per%2Fcent", "plus+", "ümlaut", "hash#tag", "amp&x=y", "semi;colon", "qu\"ote"];
    let mut expected = Vec::new();
    for (number, odd) in odd.iter().enumerate() {
        let instance = Instance { service: world.own(odd), ..world.instance("odd") };
        world.consul.register(&instance).await?;
        let name = format!("odd-{number}");
        world.create_to_kube(&name, |service| annotated(service, "name", &world.own(odd))).await?;
        expected.push((name, instance));
    }
    let _program = world.start()?;
    let mut wrong = Vec::new();
    for (name, instance) in &expected {
        wrong.extend(world.publishes(name, &[&ready(instance)]).await.err());
    }
    for (name, instance) in &expected {
        world.consul.register(&instance.clone().checked("critical")).await?;
        let line = format!("{}:8080 not-ready", instance.address);
        wrong.extend(world.publishes(name, &[&line]).await.err());
    }
    so(wrong.is_empty(), || wrong.join("\n"))
}

async fn two_services_of_one(world: &World) -> Outcome {
    let [blue, green] = [world.instance("web").checked("passing"), world.instance("web").checked("warning")];
    for (instance, tags) in [(&blue, json!(["blue"])), (&green, json!(["green", "new"]))] {
        register_with(world, instance, &json!({ "Tags": tags })).await?;
    }
    let own = world.own("web");
    for (name, key, value) in [
        ("all", "health", "warning"),
        ("blue", "tags", "blue"),
        ("green", "tags", "new, green"),
        ("strict", "health", "passing"),
    ] {
        world
            .create_to_kube(name, |service| {
                annotated(service, "name", &own);
                annotated(service, key, value);
            })
            .await?;
    }
    let program = world.start()?;
    let warned = format!("{}:8080 not-ready", green.address);
    world.publishes("all", &[&ready(&blue), &ready(&green)]).await?;
    world.publishes("blue", &[&ready(&blue)]).await?;
    world.publishes("green", &[&warned]).await?;
    world.publishes("strict", &[&ready(&blue), &warned]).await?;
    // They share one question.
    program.counts("consul8s_consul_watches", &[], |count| count <= 2.0).await?;
    world.kube.label("strict", "consul8s_source", None).await?;
    world.kube.delete(SERVICES, "blue").await?;
    world.publishes("strict", &[]).await?;
    register_with(world, &green.clone().checked("passing"), &json!({ "Tags": ["green"] })).await?;
    world.publishes("all", &[&ready(&blue), &ready(&green)]).await?;
    let took = world.publishes("green", &[]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))
}

async fn label_and_type_come_and_go(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let line = ready(&instance);
    world.publishes("web", &[&line]).await?;
    for (off, on) in [("none", Some("consul")), ("", Some("consul")), ("kubernetes", None)] {
        world.kube.label("web", "consul8s_source", (!off.is_empty()).then_some(off)).await?;
        let took = world
            .slices_become("ours go", SOON, "web", |slices| so(slices.is_empty(), || format!("{slices:#?}")))
            .await?;
        so(took < AT_ONCE, || format!("without {off:?} it took {took:?}"))?;
        world.kube.label("web", "consul8s_source", on).await?;
        world.kube.label("web", "registration", on.is_none().then_some("consul")).await?;
        let took = world.publishes("web", &[&line]).await?;
        so(took < AT_ONCE, || format!("with {on:?} it took {took:?}"))?;
    }
    let before = world.kube.slices("web").await?;
    let writes = program.writes().await?;
    for kind in ["NodePort", "LoadBalancer", "ClusterIP"] {
        world.kube.merge(SERVICES, "web", &json!({ "spec": { "type": kind } })).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.kube.slices("web").await?, before);
    so(program.writes().await? == writes, || "something was written".to_owned())
}

async fn headless_in_two_families(world: &World) -> Outcome {
    let [four] = world.registered_instances("web").await?;
    let six = world.instance("web").checked("passing").at("fd00::99:1", 9090);
    world.consul.register(&six).await?;
    world
        .create_to_kube("web", |service| {
            service["spec"] =
                json!({ "clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"] });
        })
        .await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}: ready", four.address), "[fd00::99:1]: ready"]).await?;
    let slices = world.kube.slices("web").await?;
    let bear = slices.iter().all(|slice| slice["metadata"]["labels"]["service.kubernetes.io/headless"] == "");
    let portless = slices.iter().all(|slice| list(&slice["ports"]).is_empty());
    so(slices.len() == 2 && bear && portless, || format!("{slices:#?}"))?;
    world.consul.remove_service(&six.node, &six.id).await?;
    world.publishes_within(2 * SOON, "web", &[&format!("{}: ready", four.address)]).await?;
    Ok(())
}

async fn panic_while_health_flaps(world: &World) -> Outcome {
    let instances: [Instance; 4] = world.registered_instances("web").await?;
    world.create_to_kube("web", |service| annotated(service, "panic_threshold", "60")).await?;
    let program = world.start()?;
    let lines = |ready: &[bool]| -> Vec<String> {
        let state = |ready: &bool| if *ready { "ready" } else { "not-ready" };
        instances
            .iter()
            .zip(ready)
            .map(|(instance, ready)| format!("{}:8080 {}", instance.address, state(ready)))
            .collect()
    };
    let publishes =
        async |lines: Vec<String>| world.publishes("web", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    publishes(lines(&[true; 4])).await?;
    for round in 0..10 {
        for (number, instance) in instances.iter().enumerate() {
            let status = if (round + number) % 3 == 0 { "critical" } else { "passing" };
            world.consul.register(&instance.clone().checked(status)).await?;
        }
    }
    for instance in &instances[..3] {
        world.consul.register(&instance.clone().checked("critical")).await?;
    }
    world.consul.register(&instances[3]).await?;
    // Of what the panic publishes the conditions other than ready say how it really stands.
    world
        .slices_become("all are ready", SOON, "web", |slices| {
            let all: Vec<Value> = slices.iter().flat_map(|slice| list(&slice["endpoints"])).collect();
            let ready = all.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true).count();
            so(ready == 4, || format!("{all:#?}"))
        })
        .await?;
    world.says("web", "True PanicActive", "1 of 4 instances healthy, fewer than 60%: 3 unhealthy").await?;
    world.consul.register(&instances[0]).await?;
    world.consul.register(&instances[1]).await?;
    publishes(lines(&[true, true, false, true])).await?;
    let writes = program.writes().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    so(program.writes().await? == writes, || "something was written".to_owned())
}

async fn suspended_over_a_restart(world: &World) -> Outcome {
    let [one, two] = [world.instance("web").checked("passing"), world.instance("web").checked("passing")];
    for instance in [&one, &two] {
        world.consul.agent_register(instance).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let lines = [ready(&one), ready(&two)];
    world.publishes("web", &[&lines[0], &lines[1]]).await?;
    world.kube.annotate("web", "consul8s/suspend", Some("true")).await?;
    program.counts("consul8s_services", &[("state", "suspended")], |count| count == 1.0).await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.consul.agent_check(&one, "fail").await?;
    world.consul.agent_deregister(&two).await?;
    let program = world.start()?;
    program.counts("consul8s_services", &[("state", "suspended")], |count| count == 1.0).await?;
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.publishes("web", &[&lines[0], &lines[1]]).await?;
    assert_eq!(program.writes().await?, 0.0);
    world.kube.annotate("web", "consul8s/suspend", None).await?;
    let took = world.publishes("web", &[&format!("{}:8080 not-ready", one.address)]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))
}

async fn twins(world: &World) -> Outcome {
    let [first] = world.registered_instances("web").await?;
    let twin = world.instance("web").checked("critical").at(&first.address, first.port);
    world.consul.register(&twin).await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&ready(&first)]).await?;
    let recorder = world.record("web").await?;
    program.counts("consul8s_instances_dropped", &[("reason", "duplicate")], |count| count == 1.0).await?;
    world.consul.register(&twin.clone().checked("passing")).await?;
    world.consul.register(&first.clone().checked("critical")).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.consul.remove_node(&first.node).await?;
    program.counts("consul8s_instances_dropped", &[("reason", "duplicate")], |count| count == 0.0).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    recorder.always("one endpoint, ready", |endpoints| endpoints == [ready(&first)])
}

async fn slices_get_smaller(world: &World) -> Outcome {
    let instances: [Instance; 7] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let mut lines: Vec<String> = instances.iter().map(ready).collect();
    lines.sort();
    world.publishes("web", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let there = |slices: &[Value]| -> Vec<usize> {
        let mut sizes: Vec<usize> = slices.iter().map(|slice| list(&slice["endpoints"]).len()).collect();
        sizes.sort_unstable();
        sizes
    };
    let recorder = world.record("web").await?;
    for (most, wanted) in [("3", vec![1, 3, 3]), ("100", vec![1, 3, 3])] {
        let program = world.program().flags(&["--max-endpoints-per-slice", most]).start()?;
        program.counts("consul8s_services", &[("state", "synced")], |count| count == 1.0).await?;
        let right = |slices: &[Value]| so(there(slices) == wanted, || format!("{:?}", there(slices)));
        world.slices_become("they are packed anew", SOON, "web", right).await?;
        program.terminate(Duration::from_secs(5)).await?;
    }
    recorder.always("all seven", |endpoints| {
        let distinct: std::collections::BTreeSet<&String> = endpoints.iter().collect();
        distinct.into_iter().eq(&lines)
    })
}

async fn made_again_while_we_were_down(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_kube("gone", |service| annotated(service, "name", &world.own("web"))).await?;
    let program = world.start()?;
    let line = ready(&instance);
    world.publishes("web", &[&line]).await?;
    world.publishes("gone", &[&line]).await?;
    let before = world.kube.slices("web").await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.kube.delete(SERVICES, "gone").await?;
    let made = world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world
        .slices_become("only slices of the new one", SOON, "web", |slices| {
            let of_new =
                slices.iter().all(|slice| slice["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]);
            let others = slices.iter().all(|slice| slice["metadata"]["uid"] != before[0]["metadata"]["uid"]);
            so(of_new && others && crate::harness::view::endpoints(slices) == [line.clone()], || format!("{slices:#?}"))
        })
        .await?;
    world
        .slices_become("nothing is left of the other", SOON, "gone", |slices| {
            so(slices.is_empty(), || format!("{slices:#?}"))
        })
        .await?;
    Ok(())
}

async fn named_by_another_owner(world: &World) -> Outcome {
    world.registered_instances::<1>("web").await?;
    let service = world.create_to_kube("web", |_| ()).await?;
    for owner_references in [
        json!([]),
        json!([{ "apiVersion": "v1", "kind": "Service", "name": "web", "uid": service["metadata"]["uid"] }]),
    ] {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "of-another", "ownerReferences": owner_references,
                "labels": { "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "controller.consul8s.io" },
                "annotations": { "consul8s/owner": "somebody", "consul8s/installation": "elsewhere/consul8s" },
            },
            "endpoints": [{ "addresses": ["10.96.0.66"], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
        });
        let theirs = world.kube.create(SLICES, &slice).await?;
        let program = world.start()?;
        program.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
        let told = async || {
            let events = world.kube.list(EVENTS).await?;
            let told = events.iter().filter(|event| event["reason"] == "OwnershipConflict");
            let notes: Vec<String> = told.map(|event| text(&event["note"])).collect();
            so(notes.iter().any(|note| note.contains("elsewhere/consul8s (owner id somebody)")), || {
                format!("{notes:?}")
            })
        };
        eventually("the conflict is told", SOON, told).await?;
        let slices = world.kube.slices("web").await?;
        let version = |slice: &Value| slice["metadata"]["resourceVersion"].clone();
        so(slices.len() == 1 && version(&slices[0]) == version(&theirs), || format!("{slices:#?}"))?;
        let gone = Instant::now();
        world.kube.delete(SLICES, "of-another").await?;
        world.publishes_ready("web").await?;
        so(gone.elapsed() < SOON, || "it took long".to_owned())?;
        program.terminate(Duration::from_secs(5)).await?;
        world.kube.label("web", "consul8s_source", Some("none")).await?;
        world.program().finish(&["-1"]).await?;
        world.kube.label("web", "consul8s_source", Some("consul")).await?;
    }
    Ok(())
}
