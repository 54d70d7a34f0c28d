//! What the guard holds (contract S3, guard.md), and how it is let go.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `a_hold_is_told_once` | Event and condition, in the words of the contract, also over a restart; another hold is another Event |
//! | `released_by_its_id` | hold (a), with its id on the Service |
//! | `released_by_true` | once: it must be taken away before it counts again |
//! | `released_on_the_lease` | the same for all Services; it is taken away when it was used |
//! | `wiped_while_we_were_down` | S10: the Lease remembers how far Consul had counted |
//! | `held_over_a_restart` | the hold goes on, and ends when it would have ended |
//! | `a_host_of_many_services` | hold (b): each alone would go, together they stay, until they come back |
//! | `token_that_sees_less` | a token that lost rights, and none at all: nothing goes, and the condition says why |

use std::time::Duration;

use consul8s_testbed::ConsulOptions;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{
    EVENTS, Instance, Kind, LEASES, Outcome, Running, SERVICES, SOON, Scenario, World, eventually, list, scenario, so,
    text,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(a_hold_is_told_once),
    scenario!(released_by_its_id),
    scenario!(released_by_true),
    scenario!(released_on_the_lease),
    scenario!(wiped_while_we_were_down).alone(),
    scenario!(held_over_a_restart),
    scenario!(a_host_of_many_services),
    scenario!(token_that_sees_less).only(Kind::Real, "the simulated Consul has no tokens with policies"),
];

const HELD: (&str, &[(&str, &str)]) = ("consul8s_removals_held", &[("direction", "to_kube")]);
pub(super) const ALLOW: &str = "consul8s/allow-removal";

pub(super) async fn holds(program: &Running, count: f64) -> Outcome {
    program.counts(HELD.0, HELD.1, |held| held == count).await
}

/// A Service whose only instance has gone, and whose endpoint is held.
pub(super) async fn held(world: &World, flags: &[&str]) -> Outcome<(Running, Instance, String)> {
    let [only] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.program().flags(flags).start()?;
    let line = format!("{}:8080 ready", only.address);
    world.publishes("web", &[&line]).await?;
    world.consul.remove_node(&only.node).await?;
    holds(&program, 1.0).await?;
    Ok((program, only, line))
}

/// Another process, which leads as soon as it has started.
pub(super) async fn restarted(world: &World, program: Running) -> Outcome<Running> {
    program.terminate(Duration::from_secs(5)).await?;
    let program = world.start()?;
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    program.counts("consul8s_endpoints", &[], |endpoints| endpoints > 0.0).await?;
    Ok(program)
}

/// The id of the hold, as the warning tells it.
pub(super) async fn told_id(program: &Running) -> Outcome<String> {
    eventually("a hold with an id", SOON, async || {
        let log = program.log();
        let line = log.lines().rev().find(|line| line.contains("RemovalHeld")).ok_or("no RemovalHeld")?;
        let from = line.find("(h-").ok_or_else(|| line.to_owned())? + 1;
        Ok(line[from..].chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '-').collect())
    })
    .await
}

/// What was told of holds over `web`.
async fn told_of_holds(world: &World) -> Outcome<Vec<String>> {
    let events = world.kube.list(EVENTS).await?;
    let of_holds =
        events.iter().filter(|event| event["reason"] == "RemovalHeld" && event["regarding"]["name"] == "web");
    Ok(of_holds.map(|event| format!("{} {}", text(&event["type"]), text(&event["note"]))).collect())
}

async fn a_hold_is_told_once(world: &World) -> Outcome {
    let (program, only, line) = held(world, &["--removal-hold", "20s"]).await?;
    let id = told_id(&program).await?;
    let begins =
        format!("holding 1 of 1 endpoints that left Consul without a word ({id}, 20s): they stay ready until 20");
    let ends = format!("Z; release with: consul8s release {}/web", world.namespace);
    let is_it = |note: &str| note.starts_with(&begins) && note.contains(&ends);
    let once = async || {
        let told = told_of_holds(world).await?;
        let [one] = told.as_slice() else { return Err(format!("{told:#?}")) };
        so(one.strip_prefix("Warning ").is_some_and(&is_it), || one.clone())
    };
    eventually("it is told", SOON, once).await?;
    eventually("the condition says so", SOON, async || {
        let service = world.kube.get(SERVICES, "web").await?;
        let ours = list(&service["status"]["conditions"]).into_iter().find(|it| it["type"] == "consul8s/Synced");
        let ours = ours.unwrap_or_default();
        let right = ours["status"] == "False" && ours["reason"] == "RemovalHeld" && is_it(&text(&ours["message"]));
        so(right, || format!("{ours:#}"))
    })
    .await?;
    program.terminate(Duration::from_secs(5)).await?;
    let program = world.program().flags(&["--removal-hold", "20s"]).start()?;
    holds(&program, 1.0).await?;
    sleep(Duration::from_secs(4)).await;
    once().await?;
    // It ends by itself, and the next one is another.
    world.publishes_within(2 * SOON, "web", &[]).await?;
    world.consul.register(&only).await?;
    world.publishes("web", &[&line]).await?;
    world.consul.remove_node(&only.node).await?;
    holds(&program, 1.0).await?;
    eventually("the next hold is told too", 3 * SOON, async || {
        let told = told_of_holds(world).await?;
        let another = told.iter().filter(|note| !note.contains(&id)).count();
        so(told.len() == 2 && another == 1, || format!("{told:#?}"))
    })
    .await
}

async fn released_by_its_id(world: &World) -> Outcome {
    let (program, _, line) = held(world, &[]).await?;
    let id = told_id(&program).await?;
    world.kube.annotate("web", ALLOW, Some("h-000000")).await?;
    sleep(Duration::from_secs(3)).await;
    world.publishes("web", &[&line]).await?;
    world.kube.annotate("web", ALLOW, Some(&id)).await?;
    let took = world.publishes("web", &[]).await?;
    so(took < Duration::from_secs(2), || format!("it took {took:?}"))?;
    holds(&program, 0.0).await
}

async fn released_by_true(world: &World) -> Outcome {
    let (program, only, line) = held(world, &[]).await?;
    world.kube.annotate("web", ALLOW, Some("true")).await?;
    world.publishes("web", &[]).await?;
    // It stands there still, and has been used.
    world.consul.register(&only).await?;
    world.publishes("web", &[&line]).await?;
    let program = restarted(world, program).await?;
    world.consul.remove_node(&only.node).await?;
    holds(&program, 1.0).await?;
    sleep(Duration::from_secs(3)).await;
    world.publishes("web", &[&line]).await?;
    world.kube.annotate("web", ALLOW, None).await?;
    sleep(Duration::from_secs(1)).await;
    world.kube.annotate("web", ALLOW, Some("true")).await?;
    world.publishes("web", &[]).await?;
    holds(&program, 0.0).await
}

async fn released_on_the_lease(world: &World) -> Outcome {
    let (program, ..) = held(world, &[]).await?;
    let annotate = json!({ "metadata": { "annotations": { ALLOW: "true" } } });
    world.kube.merge(LEASES, &world.namespace, &annotate).await?;
    world.publishes("web", &[]).await?;
    holds(&program, 0.0).await?;
    eventually("it is taken away", SOON, async || {
        let lease = world.kube.get(LEASES, &world.namespace).await?;
        so(lease["metadata"]["annotations"][ALLOW].is_null(), || format!("{lease:#}"))
    })
    .await
}

async fn wiped_while_we_were_down(world: &World) -> Outcome {
    // Consul has counted further than it will have after the wipe.
    for _ in 0..40 {
        world.consul.register(&world.instance("other")).await?;
    }
    let [steady, lost] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let [steady_at, lost_at] = [&steady, &lost].map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&steady_at, &lost_at]).await?;
    let marked = async |other_than: &str| {
        eventually("the Lease says how far Consul has counted", SOON, async || {
            let lease = world.kube.get(LEASES, &world.namespace).await?;
            let mark = &lease["metadata"]["annotations"]["consul8s/lineage"];
            so(!mark.is_null() && *mark != other_than, || format!("{lease:#}"))?;
            Ok(crate::harness::text(mark))
        })
        .await
    };
    let mark = marked("").await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.servers.wipe_consul().await?;
    world.servers.start_consul().await?;
    world.consul.register(&steady).await?;

    let recorder = world.record("web").await?;
    let program = world.start()?;
    holds(&program, 1.0).await?;
    marked(&mark).await?;
    // Longer than any absence needs that is only confirmed, and over another restart, which finds the new mark.
    sleep(Duration::from_secs(15)).await;
    program.terminate(Duration::from_secs(5)).await?;
    let program = world.start()?;
    holds(&program, 1.0).await?;
    sleep(Duration::from_secs(15)).await;
    holds(&program, 1.0).await?;
    recorder.always("both ready", |endpoints| endpoints == [steady_at.clone(), lost_at.clone()])?;
    world.consul.register(&lost).await?;
    holds(&program, 0.0).await?;
    recorder.always("both ready", |endpoints| endpoints == [steady_at.clone(), lost_at.clone()])
}

async fn held_over_a_restart(world: &World) -> Outcome {
    const HOLD: Duration = Duration::from_secs(30);
    let begun = Instant::now();
    let (program, _, line) = held(world, &["--removal-hold", "30s"]).await?;
    // What stands on our slices says since when.
    let marked = |slices: &[Value]| {
        let marks = slices.iter().filter(|slice| !slice["metadata"]["annotations"]["consul8s/absent-since"].is_null());
        so(marks.count() == 1, || format!("{slices:#?}"))
    };
    world.slices_become("the hold is noted", SOON, "web", marked).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let recorder = world.record("web").await?;
    sleep(HOLD.saturating_sub(begun.elapsed()).saturating_sub(Duration::from_secs(8))).await;
    let program = world.program().flags(&["--removal-hold", "30s"]).start()?;
    holds(&program, 1.0).await?;
    recorder.always("ready", |endpoints| endpoints == [line.clone()])?;
    world.publishes_within(HOLD, "web", &[]).await?;
    let after = begun.elapsed();
    so(after >= HOLD && after < HOLD + Duration::from_secs(20), || format!("gone after {after:?}"))
}

/// Five Services with four instances each, of which the first of each is on one host, and a program that has them published since long.
pub(super) struct Host {
    pub(super) program: Running,
    /// The name of its node.
    pub(super) node: String,
    /// What is on it.
    pub(super) instances: Vec<Instance>,
    /// What each Service publishes, with it.
    pub(super) lines: Vec<Vec<String>>,
}

pub(super) const FIVE: [&str; 5] = ["one", "two", "three", "four", "five"];

impl Host {
    pub(super) async fn of_five(world: &World) -> Outcome<Host> {
        let mut host: Option<Instance> = None;
        let (mut instances, mut lines) = (Vec::new(), Vec::new());
        for service in FIVE {
            let of_service: [Instance; 4] = std::array::from_fn(|_| world.instance(service));
            let mut published: Vec<String> = Vec::new();
            for (number, mut instance) in of_service.into_iter().enumerate() {
                published.push(format!("{}:8080 ready", instance.address));
                if number == 0 {
                    let host = host.get_or_insert_with(|| instance.clone());
                    (instance.node, instance.node_address) = (host.node.clone(), host.node_address.clone());
                    instances.push(instance.clone());
                }
                world.consul.register(&instance).await?;
            }
            world.create_to_kube(service, |_| ()).await?;
            published.sort();
            lines.push(published);
        }
        let program = world.start()?;
        let node = host.ok_or("no host")?.node;
        let mut host = Host { program, node, instances, lines };
        host.is_published(world).await?;
        // What stands when we start counts as ready since long; what came in the last ten minutes would make up for a loss.
        host.program = restarted(world, host.program).await?;
        host.is_published(world).await?;
        Ok(host)
    }

    async fn is_published(&self, world: &World) -> Outcome {
        for (service, lines) in FIVE.iter().zip(&self.lines) {
            let wanted: Vec<&str> = lines.iter().map(String::as_str).collect();
            world.publishes(service, &wanted).await?;
        }
        Ok(())
    }

    /// What a Service publishes without it.
    pub(super) fn without(&self, service: usize) -> Vec<&str> {
        let gone = format!("{}:8080 ready", self.instances[service].address);
        self.lines[service].iter().filter(|line| **line != gone).map(String::as_str).collect()
    }
}

async fn a_host_of_many_services(world: &World) -> Outcome {
    let host = Host::of_five(world).await?;
    let mut recorders = Vec::new();
    for service in FIVE {
        recorders.push(world.record(service).await?);
    }
    world.consul.remove_node(&host.node).await?;
    holds(&host.program, 5.0).await?;
    // One of four would have gone by now.
    sleep(Duration::from_secs(15)).await;
    holds(&host.program, 5.0).await?;
    for instance in &host.instances {
        world.consul.register(instance).await?;
    }
    holds(&host.program, 0.0).await?;
    for (recorder, lines) in recorders.iter().zip(&host.lines) {
        recorder.always("all four ready", |endpoints| endpoints == lines.as_slice())?;
    }
    Ok(())
}

/// What a token may read of these nodes and of every service.
fn rules(nodes: &[&Instance]) -> String {
    let nodes = nodes.iter().map(|instance| format!("node \"{}\" {{ policy = \"read\" }}\n", instance.node));
    nodes.chain(["service_prefix \"\" { policy = \"read\" }".to_owned()]).collect()
}

async fn token_that_sees_less(world: &World) -> Outcome {
    let told = |why: consul8s_testbed::TestbedError| why.to_string();
    let options = ConsulOptions { acl: true, ..ConsulOptions::default() };
    let consul = consul8s_testbed::Consul::start(options).await.map_err(told)?;
    let put = async |path: &str, body: Value| -> Outcome<Value> {
        let reply = consul.put(path, &body).await.map_err(|why| why.to_string())?;
        if reply.is_ok() { Ok(reply.json()) } else { Err(format!("{path}: {} {}", reply.status, reply.body)) }
    };
    let instances: [Instance; 3] = std::array::from_fn(|_| world.instance("web"));
    let register = async |instance: &Instance, tag: &str| {
        let Instance { node, node_address, service, id, address, port, .. } = instance;
        let service = json!({ "ID": id, "Service": service, "Address": address, "Port": port, "Tags": [tag] });
        put("/v1/catalog/register", json!({ "Node": node, "Address": node_address, "Service": service })).await
    };
    for instance in &instances {
        register(instance, "new").await?;
    }
    let [first, second, third] = &instances;
    let policy = |rules: String| json!({ "Name": "consul8s", "Rules": rules });
    let made = put("/v1/acl/policy", policy(rules(&[first, second, third]))).await?;
    let path = format!("/v1/acl/policy/{}", crate::harness::text(&made["ID"]));
    let token = put("/v1/acl/token", json!({ "Policies": [{ "Name": "consul8s" }] })).await?;
    let token = crate::harness::text(&token["SecretID"]);
    world.create_to_kube("web", |_| ()).await?;
    let launch = || world.program().consul(consul.http_addr());
    let program = launch().env("CONSUL_HTTP_TOKEN", &token).start()?;
    let lines = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
    let all: Vec<&str> = lines.iter().map(String::as_str).collect();
    world.publishes("web", &all).await?;
    let recorder = world.record("web").await?;

    // What a token may see wakes no question, and one that is out is answered as it was asked: so something changes, until it shows.
    let becomes = async |policy: Value, denied: f64, word: &str| {
        put(&path, policy).await?;
        let mut changes = 0;
        eventually(&format!("{denied} Services without permission"), 2 * SOON, async || {
            changes += 1;
            register(first, &format!("{word}-{changes}")).await?;
            sleep(Duration::from_millis(500)).await;
            let seen = program.scrape().await?.count("consul8s_problems", &[("reason", "ConsulPermissionDenied")]);
            so(seen == denied, || seen.to_string())
        })
        .await
    };
    becomes(policy(rules(&[first])), 1.0, "narrow").await?;
    holds(&program, 2.0).await?;
    becomes(policy(rules(&[first, second, third])), 0.0, "wide").await?;
    holds(&program, 0.0).await?;
    program.terminate(Duration::from_secs(5)).await?;

    // Nobody's token at all, and the anonymous one sees one of three.
    put(&path, policy(rules(&[first]))).await?;
    put("/v1/acl/token/00000000-0000-0000-0000-000000000002", json!({ "Policies": [{ "Name": "consul8s" }] })).await?;
    let program = launch().start()?;
    program.counts("consul8s_problems", &[("reason", "ConsulPermissionDenied")], |count| count == 1.0).await?;
    holds(&program, 2.0).await?;
    sleep(Duration::from_secs(20)).await;
    holds(&program, 2.0).await?;
    recorder.always("all three ready", |endpoints| endpoints == lines)
}
