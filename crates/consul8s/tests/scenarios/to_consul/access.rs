//! What `consul8s acl-policy` prints is enough, on a Consul that denies everything else.
//!
//! All scenarios of `to_consul` play with it; here is that nothing at all is refused, and what one direction alone may not.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `least_policy` | both directions, the original's node, `purge`: all with the printed policy, and nothing is refused |
//! | `a_node_that_is_hidden` | a token that can neither make nor see our node: `ConsulPermissionDenied`, once for all; nothing looks absent; with its rights it goes on |
//! | `least_policy_to_kube` | the policy of one direction can't write: that is told, and nothing is lost |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    EVENTS, Kind, Outcome, Running, SERVICES, SOON, Scenario, World, eventually, list, scenario, so, text,
};

/// The simulated Consul knows no access control.
const REAL: &str = "only a real Consul has access control";

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(least_policy).only(Kind::Real, REAL),
    scenario!(least_policy_to_kube).only(Kind::Real, REAL),
    scenario!(a_node_that_is_hidden).only(Kind::Real, REAL),
];

async fn least_policy(world: &World) -> Outcome {
    let [instance] = world.registered_instances("api").await?;
    let name = world.own("web");
    let originals = format!("kubernetes-{name}");
    let body = json!({
        "Node": originals, "Address": "web.example.com",
        "Service": { "ID": name, "Service": name, "Address": "web.example.com", "Port": 80 },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    world.create_to_kube("api", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    let running = world.start()?;
    world.publishes("api", &[&format!("{}:8080 ready", instance.address)]).await?;
    let line = format!("{}.web web.example.com:80 passing", world.namespace);
    world.registers(&name, &[&line]).await?;
    eventually("the original's node goes", SOON, async || {
        let nodes = list(&world.consul.get("/v1/catalog/nodes").await?);
        so(nodes.iter().all(|node| text(&node["Node"]) != originals), || format!("{nodes:?}"))
    })
    .await?;
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&name, &[&format!("{line} tags=new")]).await?;
    running.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    world.create_to_consul("db", |_| ()).await?;
    world.kube.delete(SERVICES, "web").await?;
    world.registers(&name, &[]).await?;
    world.registers(&world.own("db"), &[&format!("{}.db db.example.com:80 passing", world.namespace)]).await?;
    so(!running.log().contains("ermission"), || running.log())?;
    running.terminate(Duration::from_secs(5)).await?;
    let purged = world.program().finish(&["purge", "--yes"]).await?;
    assert_eq!(purged.code, Some(0), "{purged:?}");
    let ours = world.our_nodes().await?;
    so(ours.is_empty(), || format!("{ours:?}"))
}

async fn least_policy_to_kube(world: &World) -> Outcome {
    let [instance] = world.registered_instances("api").await?;
    world.create_to_kube("api", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    let flags = |direction| ["--direction", direction];
    let one = world.allowed(world.program().flags(&flags("to_kube"))).await?;
    let running = one.clone().start()?;
    let ready = format!("{}:8080 ready", instance.address);
    world.publishes("api", &[&ready]).await?;
    running.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    running.terminate(Duration::from_secs(5)).await?;
    // With more to do than it may, it says so and nothing is lost.
    let _running = world.program().flags(&flags("to_consul")).with_rights_of(&one).start()?;
    told(world, "web", "ConsulPermissionDenied").await?;
    assert!(world.consul.health(&world.own("web")).await?.is_empty());
    world.publishes("api", &[&ready]).await?;
    Ok(())
}

/// Rules for every service and for no node.
const NO_NODE: &str = r#"service_prefix "" { policy = "write" }"#;

/// Waits until the condition of a Service has this reason.
async fn told(world: &World, service: &str, reason: &str) -> Outcome {
    eventually(&format!("the condition of {service} says {reason}"), SOON, async || {
        let conditions = list(&world.kube.get(SERVICES, service).await?["status"]["conditions"]);
        let ours = conditions.iter().find(|condition| condition["type"] == "consul8s/Synced").cloned();
        let ours = ours.unwrap_or_default();
        so(ours["reason"] == reason, || ours.to_string())
    })
    .await
}

/// One Event on the Lease says so, none on Services, and the log says so a few times.
async fn told_once(world: &World, running: &Running) -> Outcome {
    // Longer than it takes to try again and again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let events = world.kube.list(EVENTS).await?;
    let of = |kind: &str| {
        let ours = |event: &&Value| event["reason"] == "ConsulPermissionDenied" && event["regarding"]["kind"] == kind;
        events.iter().filter(ours).count()
    };
    so(of("Lease") == 1 && of("Service") == 0, || format!("{events:#?}"))?;
    let lines = running.log().lines().filter(|line| line.contains("WARN")).count();
    so(lines < 6, || format!("{lines} lines: {}", running.log()))
}

async fn a_node_that_is_hidden(world: &World) -> Outcome {
    let names = ["web", "db", "api"];
    let line = |name: &str| format!("{}.{name} {name}.example.com:80 passing", world.namespace);
    for name in names {
        world.create_to_consul(name, |_| ()).await?;
    }
    let blind = world.consul.token_for(&world.own("blind"), NO_NODE).await?;
    // One that it may not make.
    let running = world.program().env("CONSUL_HTTP_TOKEN", &blind).start()?;
    for name in names {
        told(world, name, "ConsulPermissionDenied").await?;
    }
    told_once(world, &running).await?;
    running.terminate(Duration::from_secs(5)).await?;
    assert!(world.our_nodes().await?.is_empty());
    let once = world.program().env("CONSUL_HTTP_TOKEN", &blind).finish(&["-1"]).await?;
    assert_eq!(once.code, Some(1), "{once:?}");

    let running = world.start()?;
    for name in names {
        world.registers(&world.own(name), &[&line(name)]).await?;
        told(world, name, "Registered").await?;
    }
    running.terminate(Duration::from_secs(5)).await?;
    // One that it can't see: it must not look absent.
    for event in world.kube.list(EVENTS).await? {
        world.kube.delete(EVENTS, &text(&event["metadata"]["name"])).await?;
    }
    let before = world.registrations(&world.own("web")).await?;
    let running = world.program().env("CONSUL_HTTP_TOKEN", &blind).start()?;
    for name in names {
        told(world, name, "ConsulPermissionDenied").await?;
    }
    told_once(world, &running).await?;
    assert_eq!(world.registrations(&world.own("web")).await?, before);
    // Given its rights, it goes on by itself.
    let printed = world.program().finish(&["acl-policy"]).await?;
    world.consul.set_policy(&world.own("blind"), &printed.stdout).await?;
    for name in names {
        told(world, name, "Registered").await?;
    }
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&world.own("web"), &[&format!("{} tags=new", line("web"))]).await?;
    Ok(())
}
