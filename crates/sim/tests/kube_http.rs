//! The Kubernetes API's HTTP face, over an in-memory connection.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

mod common;

use std::time::Duration;

use common::{Client, Lines, settle};
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::kube::{Cluster, Resource};
use consul8s_sim::{Faults, KubeWorld};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

const SERVICES: &str = "/api/v1/namespaces/shop/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

fn world() -> KubeWorld {
    let world = KubeWorld::default();
    world.write(|cluster| cluster.create_namespace("shop")).unwrap();
    world
}

fn service(name: &str, labels: &Value) -> String {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}}).to_string()
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put_with_what_the_server_adds() {
    let mut client = Client::kube(&world()).await;
    let body = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "s", "annotations": {"a": "b"}, "labels": {"kubernetes.io/service-name": "foo"},
                     "managedFields": [{"manager": "me"}]},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "zone": "z", "unknownField": [1]}],
    });
    let made = client.post(&format!("{SLICES}?fieldManager=me&fieldValidation=Strict"), &body.to_string()).await;
    let found = client.get(&format!("{SLICES}/s")).await;
    assert_eq!((made.status, found.status, made.json()), (201, 200, found.json()));
    let found = found.json();
    assert_eq!(found["endpoints"], body["endpoints"]);
    assert_eq!(found["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(found["metadata"]["managedFields"], Value::Null);
    for pointer in ["/metadata/uid", "/metadata/resourceVersion", "/metadata/creationTimestamp"] {
        assert!(found.pointer(pointer).is_some_and(Value::is_string), "{pointer}");
    }
    let yaml = "metadata: {name: y}\naddressType: IPv4\nendpoints:\n- addresses: [10.0.0.2]\n";
    let made = client.send(Method::POST, SLICES, "application/yaml", yaml).await.unwrap();
    assert_eq!((made.status, &made.json()["endpoints"][0]["addresses"][0]), (201, &json!("10.0.0.2")));
}

#[tokio::test]
async fn refusals_are_status_objects() {
    let mut client = Client::kube(&world()).await;
    client.post(SERVICES, &service("foo", &json!({}))).await;
    let missing = client.get(&format!("{SERVICES}/none")).await;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "services \"none\" not found", "details": {"name": "none", "kind": "services"},
    });
    assert_eq!((missing.status, missing.json()), (404, expected));
    let bad = client.post(SLICES, r#"{"metadata":{"name":"s"},"addressType":"IPv7"}"#).await.json();
    assert_eq!(
        bad["details"],
        json!({"name": "s", "group": "discovery.k8s.io", "kind": "EndpointSlice", "causes": [{
            "reason": "FieldValueNotSupported", "field": "addressType",
            "message": "Unsupported value: \"IPv7\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
        }]})
    );
    let body = service("foo", &json!({}));
    for (method, path, kind, body, status, reason) in [
        (Method::POST, SERVICES, "application/json", body.as_str(), 409, "AlreadyExists"),
        (Method::POST, "/api/v1/namespaces/nope/services", "application/json", &body, 404, "NotFound"),
        (Method::POST, "/api/v1/services", "application/json", &body, 404, "NotFound"),
        (Method::POST, SERVICES, "application/json", r#"{"kind":"Pod"}"#, 400, "BadRequest"),
        (Method::POST, SERVICES, "application/json", r#"{"apiVersion":"v2"}"#, 400, "BadRequest"),
        (Method::POST, SERVICES, "application/json", r#"{"metadata":{"name":"x","namespace":"y"}}"#, 400, "BadRequest"),
        (Method::POST, SERVICES, "application/json", r#"{"metadata":{}}"#, 422, "Invalid"),
        (Method::POST, SERVICES, "application/json", "{", 400, "BadRequest"),
        (Method::POST, SERVICES, "application/vnd.kubernetes.protobuf", &body, 415, "UnsupportedMediaType"),
        (Method::POST, &format!("{SERVICES}?dryRun=All"), "application/json", &body, 400, "BadRequest"),
        (
            Method::PATCH,
            &format!("{SERVICES}/foo"),
            "application/strategic-merge-patch+json",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (Method::PATCH, &format!("{SERVICES}/foo"), "application/apply-patch+yaml", "{}", 415, "UnsupportedMediaType"),
        (Method::DELETE, SERVICES, "application/json", "", 405, "MethodNotAllowed"),
        (Method::DELETE, &format!("{SERVICES}/foo/status"), "application/json", "", 404, "NotFound"),
        (Method::GET, "/api/v1/pods", "", "", 404, "NotFound"),
        (Method::GET, "/apis/apps/v1", "", "", 404, "NotFound"),
        (Method::GET, "/api/v1/services?labelSelector=a%20b", "", "", 400, "BadRequest"),
        (Method::GET, "/api/v1/services?fieldSelector=spec.x%3D1", "", "", 400, "BadRequest"),
        (Method::GET, "/api/v1/services?continue=x", "", "", 400, "BadRequest"),
        (Method::GET, "/api/v1/services?watch=true&resourceVersion=x", "", "", 500, "InternalError"),
    ] {
        let reply = client.send(method, path, kind, body).await.unwrap();
        assert_eq!((reply.status, reply.json()["reason"].clone()), (status, json!(reason)), "{path} {body}");
    }
}

#[tokio::test]
async fn lists_select_and_come_in_pages() {
    let mut client = Client::kube(&world()).await;
    for name in ["a", "b", "c"] {
        client.post(SERVICES, &service(name, &json!({"app": name}))).await;
    }
    let names = |list: &Value| {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("labelSelector=app%3Da", vec!["a"]),
        ("labelSelector=app%20in%20(a,c)", vec!["a", "c"]),
        ("labelSelector=!app", vec!["kubernetes"]),
        ("labelSelector=app&fieldSelector=metadata.name%3Db", vec!["b"]),
    ] {
        assert_eq!(names(&client.get(&format!("/api/v1/services?{query}")).await.json()), expected, "{query}");
    }
    let first = client.get(&format!("{SERVICES}?limit=2")).await.json();
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a".into(), "b".into()], &json!(1)));
    assert_eq!((&first["kind"], &first["items"][0]["kind"]), (&json!("ServiceList"), &Value::Null));
    client.post(SERVICES, &service("d", &json!({}))).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{SERVICES}?limit=5&continue={token}")).await.json();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"]["continue"], Value::Null);
}

#[tokio::test]
async fn put_patch_and_delete_change_what_they_name() {
    let mut client = Client::kube(&world()).await;
    client.post(SERVICES, &service("foo", &json!({"keep": "1"}))).await;
    let foo = format!("{SERVICES}/foo");
    let patched = client.merge(&foo, r#"{"metadata":{"annotations":{"consul8s/service.name":"x"}}}"#).await.json();
    assert_eq!(
        (&patched["metadata"]["annotations"], &patched["metadata"]["labels"]),
        (&json!({"consul8s/service.name": "x"}), &json!({"keep": "1"}))
    );
    let stale = client.merge(&foo, r#"{"metadata":{"resourceVersion":"1"}}"#).await;
    assert_eq!(stale.status, 409);
    let mut body = patched.clone();
    body["spec"]["type"] = json!("LoadBalancer");
    assert_eq!(client.put(&foo, &body.to_string()).await.status, 200);
    assert_eq!(
        client.put(&foo, &body.to_string()).await.json()["reason"],
        json!("Conflict"),
        "its resourceVersion is used up"
    );
    assert_eq!(client.put(&format!("{SERVICES}/new"), &service("new", &json!({}))).await.status, 201);
    let ingress = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}},"spec":{"ports":[]}}"#;
    let status = client.merge(&format!("{foo}/status"), ingress).await.json();
    assert_eq!(status["status"]["loadBalancer"]["ingress"][0]["ipMode"], json!("VIP"));
    assert_eq!(status["spec"]["ports"][0]["port"], json!(80));
    applies_conditions(&mut client, &foo).await;
    assert_eq!(client.delete(&foo, r#"{"preconditions":{"uid":"other"}}"#).await.status, 409);
    let gone = client.delete(&foo, r#"{"propagationPolicy":"Background"}"#).await;
    assert_eq!((gone.status, &gone.json()["kind"]), (200, &json!("Service")));
    client.post(SLICES, r#"{"metadata":{"name":"s"},"addressType":"IPv4"}"#).await;
    let gone = client.delete(&format!("{SLICES}/s"), "").await.json();
    assert_eq!((&gone["status"], &gone["details"]["kind"]), (&json!("Success"), &json!("endpointslices")));
}

/// Server-side apply of the status, as far as it goes here.
async fn applies_conditions(client: &mut Client, service: &str) {
    let by = |manager: &str| format!("{service}/status?fieldManager={manager}&force=true");
    let body = |uid: &str, conditions: Value| {
        let metadata = if uid.is_empty() { json!({}) } else { json!({"uid": uid}) };
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": {"conditions": conditions}})
            .to_string()
    };
    let kind = "application/apply-patch+yaml";
    let types = |answer: &Value| -> Vec<String> {
        let conditions = answer["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    };
    let one = |name: &str| json!([{"type": name, "status": "True"}]);
    let other = client.send(Method::PATCH, &by("other"), kind, &body("", one("Other"))).await.unwrap().json();
    assert_eq!(types(&other), ["Other"]);
    let ours = client.send(Method::PATCH, &by("us"), kind, &body("", one("Ours"))).await.unwrap().json();
    assert_eq!(types(&ours), ["Other", "Ours"]);
    assert_eq!(ours["status"]["loadBalancer"]["ingress"][0]["ip"], json!("1.2.3.4"));
    // What is applied no longer is gone; what others applied stays.
    let without = client.send(Method::PATCH, &by("us"), kind, r#"{"apiVersion":"v1","kind":"Service"}"#).await.unwrap();
    assert_eq!(types(&without.json()), ["Other"]);
    let again = client.send(Method::PATCH, &by("us"), kind, &body("", json!([]))).await.unwrap().json();
    assert_eq!(again["metadata"]["resourceVersion"], without.json()["metadata"]["resourceVersion"], "nothing to do");
    let wrong = client.send(Method::PATCH, &by("us"), kind, &body("0", one("Ours"))).await.unwrap();
    assert_eq!((wrong.status, wrong.text.contains("metadata.uid")), (422, true));
    let nowhere = format!("{service}-x/status?fieldManager=us");
    assert_eq!(client.send(Method::PATCH, &nowhere, kind, &body("0", one("Ours"))).await.unwrap().status, 409);
    assert_eq!(client.send(Method::PATCH, &nowhere, kind, &body("", one("Ours"))).await.unwrap().status, 422);
    for (body, status) in [
        (r#"{"apiVersion":"v1","kind":"Service","status":{"conditions":[],"loadBalancer":{}}}"#, 415),
        (r#"{"status":{"conditions":[]}}"#, 400),
    ] {
        assert_eq!(client.send(Method::PATCH, &by("us"), kind, body).await.unwrap().status, status, "{body}");
    }
    let by_nobody = format!("{service}/status");
    assert_eq!(client.send(Method::PATCH, &by_nobody, kind, &body("", one("Ours"))).await.unwrap().status, 422);
}

#[tokio::test]
async fn discovery_lists_what_there_is() {
    let mut client = Client::kube(&world()).await;
    assert_eq!(client.get("/version").await.json()["gitVersion"], json!("v1.37.2"));
    for path in ["/readyz", "/livez"] {
        assert_eq!(client.get(path).await.text, "ok");
    }
    assert_eq!(client.get("/api?timeout=32s").await.json()["versions"], json!(["v1"]));
    let groups = client.get("/apis").await.json();
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["discovery.k8s.io", "coordination.k8s.io", "events.k8s.io", "apiextensions.k8s.io"]);
    assert_eq!(client.get("/apis/discovery.k8s.io").await.json()["kind"], json!("APIGroup"));
    for (path, expected) in [
        (
            "/api/v1",
            vec![
                "namespaces",
                "namespaces/status",
                "nodes",
                "nodes/status",
                "services",
                "services/status",
                "endpoints",
            ],
        ),
        ("/apis/discovery.k8s.io/v1", vec!["endpointslices"]),
        ("/apis/coordination.k8s.io/v1", vec!["leases"]),
        ("/apis/events.k8s.io/v1", vec!["events"]),
    ] {
        let list = client.get(path).await.json();
        let names: Vec<&str> =
            list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn imports_are_served_while_they_are_defined() {
    let mut client = Client::kube(&world()).await;
    let imports = "/apis/consul8s.io/v1alpha1/namespaces/shop/consulimports";
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(client.get(imports).await.status, 404);
    assert_eq!(client.get("/apis/consul8s.io/v1alpha1").await.status, 404);
    client.post(definitions, r#"{"metadata": {"name": "consulimports.consul8s.io"}}"#).await;
    assert_eq!(client.get("/apis/consul8s.io/v1alpha1").await.json()["groupVersion"], json!("consul8s.io/v1alpha1"));
    let made = client
        .post(imports, r#"{"metadata": {"name": "all"}, "spec": {"suspend": true}, "status": {"created": 3}}"#)
        .await;
    assert_eq!(made.json()["apiVersion"], json!("consul8s.io/v1alpha1"));
    assert_eq!((&made.json()["metadata"]["generation"], &made.json()["status"]), (&json!(1), &json!(null)));
    let merge = "application/merge-patch+json";
    let object = format!("{imports}/all");
    let status = client.send(Method::PATCH, &format!("{object}/status"), merge, r#"{"status": {"created": 2}}"#).await;
    assert_eq!(status.unwrap().json()["metadata"]["generation"], json!(1));
    let spec = client.send(Method::PATCH, &object, merge, r#"{"spec": {"suspend": false}}"#).await;
    assert_eq!(spec.unwrap().json()["metadata"]["generation"], json!(2));
    assert_eq!(client.get(&object).await.json()["status"]["created"], json!(2));
}

async fn watch(world: &KubeWorld, query: &str) -> Lines {
    let mut client = Client::kube(world).await;
    let path = format!("{SERVICES}?watch=true&{query}");
    let response = client.open(Method::GET, &path, "", "").await.unwrap();
    assert_eq!(response.status(), 200);
    // The connection lives as long as its client.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    Lines::of(response)
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_changes_as_its_selector_sees_them() {
    let world = world();
    let version = world.read(Cluster::version);
    let mut all = watch(&world, &format!("resourceVersion={version}")).await;
    let mut some = watch(&world, &format!("resourceVersion={version}&labelSelector=on%3Dyes")).await;
    let key = ObjectKey::new("shop", "foo");
    world.write(|cluster| {
        let body = serde_json::from_str(&service("foo", &json!({}))).unwrap();
        cluster.create(Resource::Services, "shop", body).unwrap();
        cluster.label_service(&key, "on", Some("yes")).unwrap();
        cluster.annotate_service(&key, "a", Some("b")).unwrap();
        cluster.label_service(&key, "on", None).unwrap();
        cluster.delete_object(Resource::Services, &key).unwrap();
    });
    for expected in ["ADDED foo", "MODIFIED foo", "MODIFIED foo", "MODIFIED foo", "DELETED foo"] {
        assert_eq!(all.event().await, expected);
    }
    for expected in ["ADDED foo", "MODIFIED foo", "DELETED foo"] {
        assert_eq!(some.event().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_version_shows_everything_first_then_bookmarks_then_ends() {
    let world = world();
    world.write(|cluster| {
        let body = serde_json::from_str(&service("foo", &json!({}))).unwrap();
        cluster.create(Resource::Services, "shop", body).unwrap();
    });
    let start = Instant::now();
    for query in
        ["", "resourceVersion=0&", "resourceVersion=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"]
    {
        let mut lines = watch(&world, &format!("{query}allowWatchBookmarks=true&timeoutSeconds=70")).await;
        assert_eq!(lines.event().await, "ADDED foo");
        let bookmark = lines.next().await.unwrap().unwrap();
        assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], json!("true"));
        assert_eq!(lines.event().await, "BOOKMARK");
        assert!(lines.next().await.is_none());
    }
    assert_eq!(start.elapsed(), Duration::from_secs(210));
}

#[tokio::test(start_paused = true)]
async fn an_old_version_gets_410_and_a_broken_world_breaks_the_watch() {
    let world = world();
    world.write(Cluster::compact);
    let mut lines = watch(&world, "resourceVersion=1").await;
    let line = lines.next().await.unwrap().unwrap();
    assert_eq!((&line["type"], &line["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(line["object"]["reason"], json!("Expired"));
    assert!(lines.next().await.is_none());
    let version = world.read(Cluster::version);
    let mut lines = watch(&world, &format!("resourceVersion={version}")).await;
    settle().await;
    world.set_faults(|faults| faults.unreachable = true);
    assert!(lines.next().await.unwrap().is_err());
    let mut client = Client::kube(&world).await;
    assert!(client.send(Method::GET, "/version", "", "").await.is_err());
}

#[tokio::test]
async fn faults_show_on_the_wire() {
    let world = world();
    let mut client = Client::kube(&world).await;
    let reasons = [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (410, "Expired"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ];
    for (status, reason) in reasons {
        world.set_faults(|faults| faults.fail = Some((status, 1)));
        let failed = client.get(SERVICES).await;
        assert_eq!((failed.status, failed.json()["reason"].clone()), (status, json!(reason)));
    }
    world.set_faults(|faults| *faults = Faults { lose_replies: 1, ..Faults::default() });
    assert!(client.send(Method::POST, SERVICES, "application/json", &service("foo", &json!({}))).await.is_err());
    assert!(world.read(|cluster| cluster.get(Resource::Services, &ObjectKey::new("shop", "foo"))).is_ok());
}
