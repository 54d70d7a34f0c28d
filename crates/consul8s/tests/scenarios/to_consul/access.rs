//! What `consul8s acl-policy` prints is enough, on a Consul that denies everything else.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `least_policy` | both directions, the original's node, `purge`: all with the printed policy |
//! | `least_policy_to_kube` | the policy of one direction can't write |

use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use serde_json::{Value, json};

use crate::harness::{Kind, Outcome, SERVICES, SOON, Scenario, World, eventually, list, scenario, so, text, view};

/// The simulated Consul knows no access control.
const REAL: &str = "only a real Consul has access control";

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(least_policy).only(Kind::Real, REAL), scenario!(least_policy_to_kube).only(Kind::Real, REAL)];

async fn consul() -> Outcome<Consul> {
    let options = ConsulOptions { acl: true, ..ConsulOptions::default() };
    Consul::start(options).await.map_err(|why| why.to_string())
}

async fn put(consul: &Consul, path: &str, body: &Value) -> Outcome<Value> {
    let reply = consul.put(path, body).await.map_err(|why| why.to_string())?;
    so(reply.is_ok(), || format!("PUT {path}: {} {}", reply.status, reply.body))?;
    Ok(reply.json())
}

async fn get(consul: &Consul, path: &str) -> Outcome<Value> {
    let reply = consul.get(path).await.map_err(|why| why.to_string())?;
    so(reply.is_ok(), || format!("GET {path}: {} {}", reply.status, reply.body))?;
    Ok(reply.json())
}

/// A token with exactly what the command prints for these flags.
async fn token(world: &World, consul: &Consul, flags: &[&str]) -> Outcome<String> {
    let printed = world.program().flags(flags).finish(&["acl-policy"]).await?;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    put(consul, "/v1/acl/policy", &json!({ "Name": "consul8s", "Rules": printed.stdout })).await?;
    let token = put(consul, "/v1/acl/token", &json!({ "Policies": [{ "Name": "consul8s" }] })).await?;
    Ok(text(&token["SecretID"]))
}

async fn instances(consul: &Consul, name: &str) -> Outcome<Vec<String>> {
    let mut lines: Vec<String> =
        list(&get(consul, &format!("/v1/health/service/{name}")).await?).iter().map(view::registration).collect();
    lines.sort();
    Ok(lines)
}

async fn least_policy(world: &World) -> Outcome {
    let consul = consul().await?;
    let token = token(world, &consul, &[]).await?;
    let program = || world.program().consul(consul.http_addr()).env("CONSUL_HTTP_TOKEN", &token);
    let source = json!({
        "Node": "vm-1", "Address": "10.60.0.1",
        "Service": { "ID": "api-1", "Service": world.own("api"), "Address": "10.60.0.1", "Port": 8080 },
    });
    put(&consul, "/v1/catalog/register", &source).await?;
    let name = world.own("web");
    let originals = json!({
        "Node": format!("kubernetes-{name}"), "Address": "web.example.com",
        "Service": { "ID": name, "Service": name, "Address": "web.example.com", "Port": 80 },
    });
    put(&consul, "/v1/catalog/register", &originals).await?;
    world.create_to_kube("api", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    let running = program().start()?;
    world.publishes("api", &["10.60.0.1:8080 ready"]).await?;
    let line = format!("{}.web web.example.com:80 passing", world.namespace);
    eventually("registered, and the original's taken over", SOON, async || {
        let seen = instances(&consul, &name).await?;
        so(seen == std::slice::from_ref(&line), || format!("{seen:?}"))?;
        let nodes = list(&get(&consul, "/v1/catalog/nodes").await?);
        so(nodes.iter().all(|node| !text(&node["Node"]).starts_with("kubernetes-")), || format!("{nodes:?}"))
    })
    .await?;
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    eventually("changed", SOON, async || {
        let seen = instances(&consul, &name).await?;
        so(seen == [format!("{line} tags=new")], || format!("{seen:?}"))
    })
    .await?;
    running.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    world.create_to_consul("db", |_| ()).await?;
    world.kube.delete(SERVICES, "web").await?;
    eventually("deregistered", SOON, async || {
        let (web, db) = (instances(&consul, &name).await?, instances(&consul, &world.own("db")).await?);
        so(web.is_empty() && db.len() == 1, || format!("{web:?} {db:?}"))
    })
    .await?;
    so(!running.log().contains("Permission denied"), || running.log())?;
    running.terminate(Duration::from_secs(5)).await?;
    let purged = program().finish(&["purge", "--yes"]).await?;
    assert_eq!(purged.code, Some(0), "{purged:?}");
    let nodes = list(&get(&consul, "/v1/catalog/nodes").await?);
    so(nodes.iter().all(|node| !text(&node["Node"]).starts_with("consul8s-")), || format!("{nodes:?}"))
}

async fn least_policy_to_kube(world: &World) -> Outcome {
    let consul = consul().await?;
    let token = token(world, &consul, &["--direction", "to_kube"]).await?;
    let source = json!({
        "Node": "vm-1", "Address": "10.60.0.1",
        "Service": { "ID": "api-1", "Service": world.own("api"), "Address": "10.60.0.1", "Port": 8080 },
    });
    put(&consul, "/v1/catalog/register", &source).await?;
    world.create_to_kube("api", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    let flags = |direction| ["--direction", direction];
    let program = || world.program().consul(consul.http_addr()).env("CONSUL_HTTP_TOKEN", &token);
    let running = program().flags(&flags("to_kube")).start()?;
    world.publishes("api", &["10.60.0.1:8080 ready"]).await?;
    running.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    running.terminate(Duration::from_secs(5)).await?;
    // With more to do than it may, it says so and nothing is lost.
    let running = program().flags(&flags("to_consul")).start()?;
    eventually("it says so", SOON, async || {
        let log = running.log();
        so(log.contains("Permission denied"), || log.clone())
    })
    .await?;
    assert!(instances(&consul, &world.own("web")).await?.is_empty());
    world.publishes("api", &["10.60.0.1:8080 ready"]).await?;
    Ok(())
}
