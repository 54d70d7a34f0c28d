//! Consul's HTTP face, over an in-memory connection.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

mod common;

use std::time::Duration;

use common::{Client, settle};
use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_sim::{ConsulWorld, Hidden};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

fn instance(node: &str, id: &str, name: &str, port: i64) -> Instance {
    let check = Check {
        node: String::new(),
        id: format!("{id}:check"),
        name: String::new(),
        service_id: id.into(),
        status: CheckStatus::Passing,
        output: "fine".into(),
        modify_index: 0,
    };
    Instance {
        node: node.into(),
        node_address: "10.0.0.1".into(),
        id: id.into(),
        name: name.into(),
        port,
        checks: vec![check],
        ..Instance::default()
    }
}

fn world() -> ConsulWorld {
    let world = ConsulWorld::new();
    world.write(|catalog| catalog.put_instance(&instance("vm-1", "foo-1", "foo", 8080))).unwrap();
    world
}

#[tokio::test]
async fn health_has_the_real_ones_shape_and_headers() {
    let mut client = Client::consul(&world()).await;
    let reply = client.get("/v1/health/service/FOO?stale&max_stale=10s").await;
    let expected = json!([{
        "Node": {"ID": "", "Node": "vm-1", "Address": "10.0.0.1", "Datacenter": "dc1", "TaggedAddresses": null,
                 "Meta": null, "CreateIndex": 13, "ModifyIndex": 13},
        "Service": {"ID": "foo-1", "Service": "foo", "Tags": [], "Address": "", "Meta": null, "Port": 8080,
                    "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false,
                    "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "PeerName": "",
                    "CreateIndex": 13, "ModifyIndex": 13},
        "Checks": [{"Node": "vm-1", "CheckID": "foo-1:check", "Name": "foo-1:check", "Status": "passing", "Notes": "",
                    "Output": "fine", "ServiceID": "foo-1", "ServiceName": "foo", "ServiceTags": [], "Type": "",
                    "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {}, "CreateIndex": 13,
                    "ModifyIndex": 13}],
    }]);
    assert_eq!((reply.status, reply.json()), (200, expected));
    for (header, value) in [
        ("X-Consul-Index", "13"),
        ("X-Consul-KnownLeader", "true"),
        ("X-Consul-LastContact", "0"),
        ("X-Consul-Effective-Consistency", "stale"),
        ("X-Consul-Query-Backend", "blocking-query"),
        ("X-Consul-Default-Acl-Policy", "allow"),
        ("X-Consul-Results-Filtered-By-ACLs", ""),
    ] {
        assert_eq!(reply.header(header), value, "{header}");
    }
    let indented = client.get("/v1/health/service/FOO?stale&max_stale=10s&pretty").await;
    assert_eq!((indented.json(), indented.index()), (reply.json(), 13));
    assert!(indented.text.lines().count() > 20 && indented.text.ends_with("]\n"), "{}", indented.text);
    let polled = client.get("/v1/health/service/foo?index=1").await;
    assert_eq!(
        (polled.header("X-Consul-Query-Backend"), polled.header("X-Consul-KnownLeader")),
        ("streaming", "false")
    );
}

#[tokio::test]
async fn wrong_requests_get_the_real_ones_words() {
    let mut client = Client::consul(&world()).await;
    for (path, status, text) in [
        ("/v1/health/service/foo?index=x", 400, "Invalid index"),
        ("/v1/health/service/foo?index=1&wait=abc", 400, "Invalid wait time"),
        ("/v1/health/service/foo?max_stale=x", 400, "Invalid max_stale value \"x\""),
        (
            "/v1/health/service/foo?stale&consistent",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("/v1/health/service/foo?dc=nope", 500, "No path to datacenter"),
        ("/v1/health/service/foo?filter=x", 500, "Failed to create boolean expression evaluator: "),
        ("/v1/health/service/", 400, "Missing service name"),
        ("/v1/nope", 404, "Invalid URL path: not a recognized HTTP API endpoint"),
    ] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.text.starts_with(text), "{path}: {}", reply.text);
    }
    let reply = client.put("/v1/health/service/foo", "").await;
    assert_eq!((reply.status, reply.text.as_str()), (405, "method PUT not allowed"));
    assert_eq!(client.put("/v1/catalog/register", "garbage").await.status, 400);
    assert_eq!(client.put("/v1/txn", "garbage").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_its_service_alone() {
    let world = world();
    let mut client = Client::consul(&world).await;
    let index = client.get("/v1/health/service/foo").await.index();
    let path = format!("/v1/health/service/foo?index={index}&wait=60s");
    let poll = tokio::spawn(async move { (client.get(&path).await, Instant::now()) });
    settle().await;
    world.write(|catalog| catalog.put_instance(&instance("vm-2", "bar-1", "bar", 1))).unwrap();
    settle().await;
    assert!(!poll.is_finished());
    world.write(|catalog| catalog.set_check("vm-1", "foo-1:check", CheckStatus::Critical, "down")).unwrap();
    let woken = Instant::now();
    let (reply, at) = poll.await.unwrap();
    assert_eq!((reply.json()[0]["Checks"][0]["Status"].clone(), at), (json!("critical"), woken));
    assert!(reply.index() > index);
}

#[tokio::test(start_paused = true)]
async fn a_poll_ends_with_its_wait_and_an_index_from_the_future_makes_it_deaf() {
    let world = world();
    let mut client = Client::consul(&world).await;
    let start = Instant::now();
    let reply = client.get("/v1/health/service/foo?index=13&wait=1.5s").await;
    assert_eq!((start.elapsed(), reply.json().as_array().unwrap().len()), (Duration::from_millis(1_500), 1));
    let later = world.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        later.write(|catalog| catalog.move_port("vm-1", "foo-1", 9)).unwrap();
    });
    let start = Instant::now();
    let deaf = client.get("/v1/health/service/foo?index=9999&wait=20s").await;
    assert_eq!((start.elapsed(), deaf.json()[0]["Service"]["Port"].clone()), (Duration::from_secs(20), json!(9)));
    let start = Instant::now();
    client.get("/v1/health/service/foo?index=14&wait=3h").await;
    assert_eq!(start.elapsed(), Duration::from_secs(600), "capped");
    let start = Instant::now();
    client.get("/v1/health/service/foo?index=14").await;
    assert_eq!(start.elapsed(), Duration::from_secs(300), "default");
}

#[tokio::test]
async fn register_reads_the_catalog_and_refuses_in_its_words() {
    let world = ConsulWorld::new();
    let mut client = Client::consul(&world).await;
    let long = "x".repeat(513);
    let pairs: Value =
        (0..65).map(|number| (format!("k{number}"), json!(""))).collect::<serde_json::Map<_, _>>().into();
    let with = |service: Value| json!({"Node": "n", "Address": "1.1.1.1", "Service": service});
    let bad = |meta: Value| with(json!({"Service": "x", "Meta": meta}));
    let table = [
        (json!({"Node": "", "Address": "1.1.1.1"}), "Must provide node"),
        (json!({"Node": "n"}), "Must provide address if SkipNodeUpdate is not set"),
        (with(json!({"ID": "x"})), "Must provide service name (Service.Service) when service ID is provided"),
        (with(json!({"Service": "x", "Address": "0.0.0.0"})), "Invalid service address"),
        (with(json!({"Service": "x", "Address": "::"})), "Invalid service address"),
        (bad(json!({"consul-a": ""})), "Key prefix 'consul-' is reserved for internal use"),
        (bad(json!({"a.b": ""})), "Key contains invalid characters"),
        (bad(json!({"": ""})), "Key cannot be blank"),
        (bad(json!({"k": long})), "Value is too long (limit: 512 characters)"),
        (bad(json!({"k".repeat(129): ""})), "Key is too long (limit: 128 characters)"),
        (bad(pairs), "cannot contain more than 64 key/value pairs"),
        (
            with(json!({"Service": "x", "Port": 1, "Ports": [{"Name": "a", "Port": 2}]})),
            "Cannot set both Port and Ports",
        ),
        (
            json!({"Node": "n", "Address": "1", "Check": {"Name": "z", "ServiceID": "no"}}),
            "Unknown service ID 'no' for check ID 'z'",
        ),
        (
            json!({"Node": "n", "Address": "1", "Check": {"Name": "z", "Node": "m"}}),
            "doesn't match register request node 'n'",
        ),
    ];
    for (body, text) in table {
        let reply = client.put("/v1/catalog/register", &body.to_string()).await;
        assert!(reply.status == 500 && reply.text.contains(text), "{text}: {} {}", reply.status, reply.text);
    }
    assert!(world.read(|catalog| catalog.node("n").is_none()));
    for service in [
        json!({"Service": "", "Port": 70_000}),
        json!({"Service": "a/b", "Port": -1}),
        json!({"Service": "odd", "Port": 1_099_511_627_776_i64, "Address": "010.0.0.1"}),
        json!({"Service": "multi", "Ports": [{"Name": "http", "Port": 80, "Default": true}], "Locality": {"Zone": "z"}}),
    ] {
        let reply = client.put("/v1/catalog/register", &with(service).to_string()).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "true"));
    }
    let multi = client.get("/v1/health/service/multi").await.json();
    assert_eq!((&multi[0]["Service"]["Port"], &multi[0]["Service"]["Locality"]["Zone"]), (&json!(80), &json!("z")));
    let odd = client.get("/v1/health/service/a%2Fb").await.json();
    assert_eq!(odd[0]["Service"]["Port"], json!(-1));
    let skip = json!({"Node": "n", "SkipNodeUpdate": true, "Service": {"Service": "y"}});
    assert_eq!(client.put("/v1/catalog/register", &skip.to_string()).await.status, 200);
    assert_eq!(client.get("/v1/catalog/nodes").await.json()[1]["Address"], json!("1.1.1.1"));
}

#[tokio::test]
async fn lists_tell_services_nodes_and_checks() {
    let mut client = Client::consul(&world()).await;
    assert_eq!(client.get("/v1/catalog/services").await.json(), json!({"consul": [], "foo": []}));
    let lines = client.get("/v1/catalog/service/foo").await.json();
    assert_eq!((&lines[0]["ServicePort"], &lines[0]["ServiceMeta"]), (&json!(8080), &json!({})));
    let view = client.get("/v1/catalog/node-services/vm-1").await.json();
    assert_eq!((&view["Node"]["Node"], &view["Services"][0]["ID"]), (&json!("vm-1"), &json!("foo-1")));
    let absent = client.get("/v1/catalog/node-services/none").await;
    assert_eq!((absent.index(), absent.json()), (1, json!({"Node": null, "Services": null})));
    assert_eq!(client.get("/v1/health/node/vm-1").await.json()[0]["CheckID"], json!("foo-1:check"));
    assert_eq!(client.get("/v1/health/state/passing").await.json().as_array().unwrap().len(), 2);
    assert_eq!(client.get("/v1/health/state/critical").await.json(), json!([]));
    assert_eq!(client.get("/v1/catalog/datacenters").await.json(), json!(["dc1"]));
    assert_eq!(client.get("/v1/status/leader").await.json(), json!("127.0.0.1:8300"));
    assert_eq!(client.get("/v1/agent/self").await.json()["Config"]["Version"], json!("1.22.7"));
}

#[tokio::test]
async fn passing_and_tag_choose_instances() {
    let world = world();
    let tagged = Instance { tags: vec!["Blue".into()], ..instance("vm-2", "foo-2", "foo", 1) };
    world.write(|catalog| catalog.put_instance(&tagged)).unwrap();
    world.write(|catalog| catalog.set_check("vm-1", "foo-1:check", CheckStatus::Warning, "")).unwrap();
    let mut client = Client::consul(&world).await;
    for query in ["passing", "tag=blue"] {
        let found = client.get(&format!("/v1/health/service/foo?{query}")).await.json();
        assert_eq!((found.as_array().unwrap().len(), &found[0]["Service"]["ID"]), (1, &json!("foo-2")), "{query}");
    }
}

#[tokio::test]
async fn deregister_takes_the_service_the_check_or_the_node() {
    let world = world();
    let mut client = Client::consul(&world).await;
    assert_eq!(client.put("/v1/catalog/deregister", "{}").await.text, "Must provide node");
    for body in
        [r#"{"Node":"none"}"#, r#"{"Node":"vm-1","ServiceID":"none"}"#, r#"{"Node":"vm-1","CheckID":"foo-1:check"}"#]
    {
        assert_eq!(client.put("/v1/catalog/deregister", body).await.text, "true");
    }
    assert_eq!(client.get("/v1/health/node/vm-1").await.json(), json!([]));
    assert_eq!(client.get("/v1/health/service/foo").await.json().as_array().unwrap().len(), 1);
    client.put("/v1/catalog/deregister", r#"{"Node":"vm-1","ServiceID":""}"#).await;
    assert!(world.read(|catalog| catalog.node("vm-1").is_none()), "an empty ID means the node");
}

#[tokio::test]
async fn a_transaction_answers_200_or_409() {
    let mut client = Client::consul(&world()).await;
    let ops = json!([
        {"Node": {"Verb": "cas", "Node": {"Node": "n1", "Address": "127.0.0.1"}}},
        {"Service": {"Verb": "cas", "Node": "n1", "Service": {"ID": "s", "Service": "pay", "Port": 80}}},
        {"Check": {"Verb": "cas", "Check": {"Node": "n1", "CheckID": "c", "ServiceID": "s", "Status": "passing"}}},
    ]);
    let done = client.put("/v1/txn", &ops.to_string()).await;
    let body = done.json();
    assert_eq!((done.status, &body["Errors"]), (200, &Value::Null));
    assert_eq!(body["Results"][1]["Service"]["Tags"], Value::Null);
    assert_eq!(body["Results"][2]["Check"]["ModifyIndex"], body["Results"][0]["Node"]["ModifyIndex"]);
    let again = client.put("/v1/txn", &ops.to_string()).await;
    assert_eq!((again.status, &again.json()["Results"]), (409, &Value::Null));
    let what = json!({"OpIndex": 0, "What": "failed to set node \"n1\", index is stale"});
    assert_eq!(again.json()["Errors"][0], what);
    let read = client.put("/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"n1"}}}]"#).await.json();
    assert_eq!((&read["KnownLeader"], &read["Results"][0]["Node"]["Node"]), (&json!(true), &json!("n1")));
    let get = json!({"Node": {"Verb": "get", "Node": {"Node": "n1"}}});
    let most = client.put("/v1/txn", &json!(vec![get.clone(); 128]).to_string()).await;
    let more = client.put("/v1/txn", &json!(vec![get; 129]).to_string()).await;
    assert_eq!((most.status, more.status), (200, 413));
    assert_eq!(more.text, "Transaction contains too many operations (129 > 128)");
}

#[tokio::test]
async fn the_agent_registers_checks_maintains_and_deregisters() {
    let world = ConsulWorld::new();
    let mut client = Client::consul(&world).await;
    let body =
        json!({"ID": "db1", "Name": "db", "Port": 5432, "Check": {"TTL": "30s", "Status": "passing", "Notes": "n"}});
    assert_eq!(client.put("/v1/agent/service/register", &body.to_string()).await.status, 200);
    let several = json!({"Name": "web", "Checks": [{"CheckID": "w1", "TTL": "30s"}, {"TTL": "10s"}]});
    client.put("/v1/agent/service/register", &several.to_string()).await;
    let states = |world: &ConsulWorld, name: &str| {
        world.read(|catalog| {
            let (_, _, checks) = catalog.health_service(name).remove(0);
            checks.iter().map(|check| format!("{} {} {}", check.id, check.status, check.output)).collect::<Vec<_>>()
        })
    };
    let serf = "serfHealth passing Agent alive and reachable";
    assert_eq!(states(&world, "db"), [serf, "service:db1 passing "]);
    assert_eq!(states(&world, "web"), [serf, "service:web:2 critical ", "w1 critical "]);
    for (path, expected) in [
        ("/v1/agent/check/fail/service:db1?note=boom", "service:db1 critical boom"),
        ("/v1/agent/check/warn/service:db1", "service:db1 warning "),
        ("/v1/agent/check/pass/service:db1", "service:db1 passing "),
    ] {
        assert_eq!(client.put(path, "").await.status, 200);
        assert_eq!(states(&world, "db")[1], expected);
    }
    client.put("/v1/agent/check/update/service:db1", r#"{"Status":"warning","Output":"slow"}"#).await;
    assert_eq!(states(&world, "db")[1], "service:db1 warning slow");
    assert_eq!(client.put("/v1/agent/check/update/service:db1", r#"{"Status":"odd"}"#).await.status, 400);
    client.put("/v1/agent/service/maintenance/db1?enable=true&reason=why", "").await;
    client.put("/v1/agent/maintenance?enable=true", "").await;
    let under = ["_node_maintenance critical ", serf, "_service_maintenance:db1 critical ", "service:db1 warning slow"];
    assert_eq!(states(&world, "db"), under);
    client.put("/v1/agent/service/maintenance/db1?enable=false", "").await;
    client.put("/v1/agent/maintenance?enable=false", "").await;
    assert_eq!(states(&world, "db").len(), 2);
    for (path, status) in [
        ("/v1/agent/service/maintenance/db1", 400),
        ("/v1/agent/service/maintenance/none?enable=true", 404),
        ("/v1/agent/check/pass/none", 404),
        ("/v1/agent/service/deregister/none", 404),
        ("/v1/agent/service/deregister/db1", 200),
        ("/v1/agent/nope", 404),
    ] {
        assert_eq!(client.put(path, "").await.status, status, "{path}");
    }
    assert_eq!(client.put("/v1/agent/service/register", "{}").await.text, "Missing service name");
    assert_eq!(client.get("/v1/health/service/db").await.json(), json!([]));
}

#[tokio::test]
async fn an_acl_hides_without_moving_the_index() {
    let world = world();
    let mut client = Client::consul(&world).await;
    let index = client.get("/v1/health/service/foo").await.index();
    world.set_faults(|faults| faults.hidden = Some(Hidden { nodes: ["vm-1".to_owned()].into(), ..Hidden::default() }));
    let anonymous = client.get("/v1/health/service/foo").await;
    assert_eq!((anonymous.index(), anonymous.json()), (index, json!([])));
    assert_eq!(anonymous.header("X-Consul-Results-Filtered-By-ACLs"), "");
    assert_eq!(anonymous.header("X-Consul-Default-Acl-Policy"), "deny");
    let known = client.get("/v1/health/service/foo?token=t").await;
    assert_eq!((known.json(), known.header("X-Consul-Results-Filtered-By-ACLs")), (json!([]), "true"));
    assert_eq!(client.get("/v1/catalog/node-services/vm-1").await.json()["Node"], Value::Null);
    world
        .set_faults(|faults| faults.hidden = Some(Hidden { services: ["foo".to_owned()].into(), ..Hidden::default() }));
    assert_eq!(client.get("/v1/catalog/services").await.json(), json!({"consul": []}));
}

#[tokio::test(start_paused = true)]
async fn faults_show_on_the_wire() {
    let world = world();
    let mut client = Client::consul(&world).await;
    world.set_faults(|faults| faults.fail = Some((503, 2)));
    for expected in [503, 503, 200] {
        assert_eq!(client.get("/v1/health/service/foo").await.status, expected);
    }
    world.set_faults(|faults| (faults.leaderless, faults.delay) = (true, Duration::from_secs(3)));
    let start = Instant::now();
    let led = client.get("/v1/health/service/foo").await;
    assert_eq!((led.status, led.text.as_str(), start.elapsed()), (500, "No cluster leader", Duration::from_secs(3)));
    let stale = client.get("/v1/health/service/foo?stale").await;
    assert_eq!((stale.status, stale.header("X-Consul-KnownLeader")), (200, "false"));
    assert_eq!(client.put("/v1/txn", "[]").await.status, 500);
    assert_eq!(client.get("/v1/status/leader").await.json(), json!(""));
    world.set_faults(|faults| *faults = consul8s_sim::Faults { truncate: true, ..Default::default() });
    assert!(client.send(Method::GET, "/v1/health/service/foo", "", "").await.is_err());
    world.set_faults(|faults| *faults = consul8s_sim::Faults { lose_replies: 1, ..Default::default() });
    let mut client = Client::consul(&world).await;
    let body = r#"{"Node":"late","Address":"1.1.1.1"}"#;
    assert!(client.send(Method::PUT, "/v1/catalog/register", "", body).await.is_err());
    assert!(world.read(|catalog| catalog.node("late").is_some()), "carried out, and nobody was told");
}

#[tokio::test(start_paused = true)]
async fn a_poll_in_flight_breaks_when_the_world_becomes_unreachable_and_returns_after_a_wipe() {
    let world = world();
    for unreachable in [true, false] {
        let mut client = Client::consul(&world).await;
        let poll = tokio::spawn(async move {
            client.send(Method::GET, "/v1/health/service/foo?index=99&wait=5m", "", "").await.map(|reply| reply.index())
        });
        settle().await;
        if unreachable {
            world.set_faults(|faults| faults.unreachable = true);
            assert!(poll.await.unwrap().is_err());
            world.set_faults(|faults| faults.unreachable = false);
        } else {
            world.write(consul8s_sim::model::consul::Catalog::wipe);
            let index = timeout(Duration::from_secs(1), poll).await.unwrap().unwrap().unwrap();
            assert!(index < 99);
        }
    }
}
