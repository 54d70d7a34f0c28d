//! The Kubernetes model: defaults, refusals, versions, deletion.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;
use consul8s_sim::model::kube::{Cluster, Gone, Part, PodPort, Preconditions, Resource, Selector, text_at};
use serde_json::{Value, json};

const SLICES: Resource = Resource::EndpointSlices;
const SERVICES: Resource = Resource::Services;

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(1, || UnixMillis(1_700_000_000_500));
    cluster.create_namespace("shop").unwrap();
    cluster
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn slice(name: &str) -> Value {
    json!({"metadata": {"name": name}, "addressType": "IPv4",
           "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "http", "port": 80}]})
}

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
}

#[test]
fn a_service_gets_the_real_ones_defaults() {
    let port = json!({"port": 80, "protocol": "TCP", "targetPort": 80});
    let table = [
        (
            json!({"ports": [{"port": 80}]}),
            json!({
            "ports": [port], "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
        ),
        (
            json!({"clusterIP": "None", "ports": [{"port": 80}]}),
            json!({
            "ports": [port], "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
        ),
        (
            json!({"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}),
            json!({
            "ports": [port], "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "selector": {"a": "b"}, "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack"}),
        ),
        (
            json!({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]}),
            json!({
            "ports": [port], "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11", "fd00:96::b"], "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "PreferDualStack"}),
        ),
        (
            json!({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]}),
            json!({
            "ports": [port], "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "fd00:96::b", "clusterIPs": ["fd00:96::b"], "ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}),
        ),
        (
            json!({"type": "LoadBalancer", "ports": [{"port": 80}]}),
            json!({
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30_001}], "type": "LoadBalancer",
            "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
            "allocateLoadBalancerNodePorts": true, "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b"}),
            json!({
            "type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}),
        ),
    ];
    for (given, expected) in table {
        let object = json!({"metadata": {"name": "foo"}, "spec": given});
        let made = cluster().create(SERVICES, "shop", object).unwrap();
        assert_eq!((&made["spec"], &made["status"]), (&expected, &json!({"loadBalancer": {}})));
        assert_eq!(text_at(&made, "/metadata/creationTimestamp"), "2023-11-14T22:13:20Z");
    }
}

#[test]
fn a_service_is_refused_as_the_real_one_refuses_it() {
    let with = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let port = json!([{"port": 80}]);
    for (object, text) in [
        (
            with("Bad_Name", json!({"ports": port})),
            "metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 label",
        ),
        (with("a", json!({})), "Service \"a\" is invalid: spec.ports: Required value"),
        (
            with("a", json!({"ports": [{"port": 70_000}]})),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535",
        ),
        (
            with("a", json!({"ports": [{"port": 80}, {"port": 81}]})),
            "[spec.ports[0].name: Required value, spec.ports[1].name: Req",
        ),
        (with("a", json!({"ports": [{"name": "x", "port": 1}, {"name": "x", "port": 2}]})), "Duplicate value: \"x\""),
        (with("a", json!({"ports": [{"name": "X", "port": 1}]})), "spec.ports[0].name: Invalid value: \"X\""),
        (with("a", json!({"ports": [{"port": 1, "protocol": "tcp"}]})), "Unsupported value: \"tcp\""),
        (with("a", json!({"type": "Odd", "ports": port})), "spec.type: Unsupported value: \"Odd\""),
        (with("a", json!({"clusterIP": "10.96.0.1", "ports": port})), "provided IP is already allocated"),
    ] {
        let refused = cluster().create(SERVICES, "shop", object).unwrap_err();
        assert!(refused.code == 422 && refused.message.contains(text), "{text}: {}", refused.message);
    }
    assert!(cluster().create(SERVICES, "shop", service("1digit")).is_ok());
}

#[test]
fn slices_are_checked_as_measured() {
    let refused = [
        ("IPv4", "127.0.0.1", "may not be in the loopback range"),
        ("IPv4", "169.254.1.1", "may not be in the link-local range"),
        ("IPv4", "224.0.0.1", "may not be in the link-local multicast range"),
        ("IPv4", "0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("IPv4", "10.0.0.01", "must not have leading 0s"),
        ("IPv4", "abc", "must be a valid IP address"),
        ("IPv4", "fd00::1", "must be an IPv4 address"),
        ("IPv6", "::1", "may not be in the loopback range"),
        ("IPv6", "fe80::1", "may not be in the link-local range"),
        ("IPv6", "ff02::1", "may not be in the link-local multicast range"),
        ("IPv6", "::", "may not be unspecified (::)"),
        ("IPv6", "::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ("IPv6", "FD00:EC2::254", "must be in canonical form (\"fd00:ec2::254\")"),
        ("", "10.0.0.1", "addressType: Required value"),
        ("IPv7", "10.0.0.1", "addressType: Unsupported value: \"IPv7\""),
    ];
    for (kind, address, text) in refused {
        let object = json!({"metadata": {"name": "s"}, "addressType": kind, "endpoints": [{"addresses": [address]}]});
        let why = cluster().create(SLICES, "shop", object).unwrap_err();
        assert!(why.code == 422 && why.message.contains(text), "{text}: {}", why.message);
    }
    for (kind, address) in [("IPv4", "239.1.1.1"), ("IPv4", "255.255.255.255"), ("IPv6", "ff0e::1"), ("FQDN", "a.b")] {
        let object = json!({"metadata": {"name": "s"}, "addressType": kind, "endpoints": [{"addresses": [address]}]});
        assert!(cluster().create(SLICES, "shop", object).is_ok(), "{address}");
    }
    for (port, good) in [
        (json!([{"name": "Http_x", "port": 1}]), false),
        (json!([{"name": "a", "port": 1}, {"name": "a", "port": 2}]), false),
        (json!([{"name": "x".repeat(63), "port": 0}]), true),
        (json!([{"port": -1}, {"name": "b", "port": 70_000}, {"name": "c"}]), true),
    ] {
        let object = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "ports": port});
        assert_eq!(cluster().create(SLICES, "shop", object).is_ok(), good, "{port}");
    }
    for (count, good) in [(1_000, true), (1_001, false)] {
        let endpoints = vec![json!({"addresses": ["10.0.0.1"]}); count];
        let object = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints});
        assert_eq!(cluster().create(SLICES, "shop", object).is_ok(), good, "{count}");
    }
    let none = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": []}]});
    assert!(
        cluster().create(SLICES, "shop", none).unwrap_err().message.contains("endpoints[0].addresses: Required value")
    );
}

#[test]
fn a_slice_gets_defaults_and_a_generation_that_annotations_do_not_move() {
    let mut cluster = cluster();
    let made = cluster
        .create(SLICES, "shop", json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []}))
        .unwrap();
    assert_eq!(
        (&made["endpoints"], &made["ports"], &made["metadata"]["generation"]),
        (&Value::Null, &Value::Null, &json!(1))
    );
    let endpoints = json!([{"addresses": ["10.0.0.1"]}]);
    let full =
        json!({"metadata": {"name": "t"}, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 1}]});
    let made = cluster.create(SLICES, "shop", full.clone()).unwrap();
    assert_eq!(made["ports"], json!([{"name": "", "protocol": "TCP", "port": 1}]));
    assert_eq!(made["endpoints"][0]["conditions"], json!({}));
    let generation = |cluster: &mut Cluster, object: Value| {
        cluster.replace(SLICES, &key("t"), Part::Main, object).unwrap()["metadata"]["generation"].as_i64().unwrap()
    };
    assert_eq!(generation(&mut cluster, full.clone()), 1, "identical");
    let version = cluster.version();
    let mut annotated = full;
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    assert_eq!(generation(&mut cluster, annotated.clone()), 1);
    assert_eq!(cluster.version(), version + 1);
    annotated["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(generation(&mut cluster, annotated.clone()), 2);
    annotated["ports"][0]["port"] = json!(2);
    assert_eq!(generation(&mut cluster, annotated), 3);
    let other = json!({"metadata": {"name": "t"}, "addressType": "IPv6"});
    assert!(cluster.replace(SLICES, &key("t"), Part::Main, other).unwrap_err().message.contains("field is immutable"));
}

#[test]
fn writes_rest_on_uid_and_version() {
    let mut cluster = cluster();
    let first = cluster.create(SLICES, "shop", slice("s")).unwrap();
    let mut change = slice("s");
    change["ports"][0]["port"] = json!(81);
    let second = cluster.replace(SLICES, &key("s"), Part::Main, change.clone()).unwrap();
    for field in ["uid", "creationTimestamp", "namespace"] {
        assert_eq!(second["metadata"][field], first["metadata"][field], "a PUT without it keeps {field}");
    }
    change["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"].clone();
    let stale = cluster.replace(SLICES, &key("s"), Part::Main, change).unwrap_err();
    assert_eq!((stale.code, stale.reason), (409, "Conflict"));
    let mut other = slice("s");
    other["metadata"]["uid"] = json!("another");
    assert_eq!(cluster.replace(SLICES, &key("s"), Part::Main, other).unwrap_err().code, 409);
    assert_eq!(cluster.replace(SLICES, &key("none"), Part::Main, slice("none")).unwrap_err().code, 404);
    assert_eq!(cluster.replace(SLICES, &key("s"), Part::Main, slice("t")).unwrap_err().code, 400);
    assert_eq!(cluster.create(SLICES, "shop", slice("s")).unwrap_err().reason, "AlreadyExists");
    let only = Preconditions { resource_version: Some("1".into()), ..Preconditions::default() };
    assert_eq!(cluster.delete(SLICES, &key("s"), &only).unwrap_err().code, 409);
    let only = Preconditions { uid: Some("another".into()), ..Preconditions::default() };
    assert_eq!(cluster.delete(SLICES, &key("s"), &only).unwrap_err().code, 409);
    let version = text_at(&second, "/metadata/resourceVersion").to_owned();
    let only = Preconditions { uid: Some(text_at(&second, "/metadata/uid").into()), resource_version: Some(version) };
    assert!(cluster.delete(SLICES, &key("s"), &only).unwrap().gone);
    assert_eq!(cluster.delete(SLICES, &key("s"), &only).unwrap_err().code, 404);
}

#[test]
fn each_resource_has_its_own_rules_for_put() {
    let mut cluster = cluster();
    assert!(cluster.replace(SERVICES, &key("new"), Part::Main, service("new")).is_ok(), "PUT creates Services");
    let lease = |holder: &str| json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}});
    let made = cluster.replace(Resource::Leases, &key("l"), Part::Main, lease("a")).unwrap();
    let blind = cluster.replace(Resource::Leases, &key("l"), Part::Main, lease("b")).unwrap_err();
    assert!(
        blind.code == 422 && blind.message.contains("metadata.resourceVersion: Invalid value: 0: must be specified")
    );
    let mut seen = lease("b");
    seen["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    assert!(cluster.replace(Resource::Leases, &key("l"), Part::Main, seen).is_ok());
    let zero = json!({"metadata": {"name": "m"}, "spec": {"leaseDurationSeconds": 0}});
    assert!(cluster.create(Resource::Leases, "shop", zero).unwrap_err().message.contains("must be greater than 0"));
    let node = json!({"metadata": {"name": "n"}});
    let on = ObjectKey::new("", "n");
    assert_eq!(cluster.replace(Resource::Nodes, &on, Part::Main, node.clone()).unwrap_err().code, 404);
    let made = cluster.create(Resource::Nodes, "", node).unwrap();
    assert_eq!(text_at(&made, "/spec/taints/0/key"), "node.kubernetes.io/not-ready");
    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.123456Z", "regarding": {"namespace": "shop"},
        "type": "Normal", "reason": "R", "action": "A", "note": "n", "reportingController": "c", "reportingInstance": "i",
    });
    assert!(cluster.create(Resource::Events, "shop", event).is_ok());
    let mut again = |change| cluster.merge_patch(Resource::Events, &key("e"), Part::Main, &change);
    let seen = "2026-01-01T00:00:01.123456Z";
    assert!(again(json!({"series": {"count": 2, "lastObservedTime": seen}})).is_ok());
    let other = again(json!({"note": "other", "series": {"count": 1, "lastObservedTime": seen}})).unwrap_err().message;
    assert!(other.contains("message: Invalid value: \"other\": field is immutable"), "{other}");
    assert!(other.contains("series.count: Invalid value: \"\": should be at least 2"), "{other}");
    let wrong = cluster.create(Resource::Events, "shop", json!({"metadata": {"name": "f"}})).unwrap_err();
    assert!(
        wrong.message.contains("does not match event.namespace") && wrong.message.contains("eventTime: Required value")
    );
}

#[test]
fn a_service_keeps_what_was_allocated_and_its_halves_apart() {
    let mut cluster = cluster();
    let made = cluster.create(SERVICES, "shop", service("foo")).unwrap();
    let ip = text_at(&made, "/spec/clusterIP").to_owned();
    let change =
        json!({"metadata": {"name": "foo"}, "spec": {"ports": [{"port": 81}]}, "status": {"loadBalancer": {"x": 1}}});
    let changed = cluster.replace(SERVICES, &key("foo"), Part::Main, change).unwrap();
    assert_eq!((text_at(&changed, "/spec/clusterIP"), &changed["status"]), (ip.as_str(), &json!({"loadBalancer": {}})));
    let moved = json!({"metadata": {"name": "foo"}, "spec": {"clusterIP": "10.96.0.99", "ports": [{"port": 81}]}});
    let refused = cluster.replace(SERVICES, &key("foo"), Part::Main, moved).unwrap_err();
    assert!(refused.message.contains("may not change once set"));
    assert!(cluster.set_load_balancer(&key("foo"), &["1.2.3.4"]).unwrap_err().message.contains("is 'LoadBalancer'"));
    let typed = json!({"metadata": {"name": "foo"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 81}]}});
    let typed = cluster.replace(SERVICES, &key("foo"), Part::Main, typed).unwrap();
    cluster.set_load_balancer(&key("foo"), &["1.2.3.4", "lb.example"]).unwrap();
    let found = cluster.get(SERVICES, &key("foo")).unwrap();
    assert_eq!(found["spec"], typed["spec"], "a write of the status leaves the spec");
    assert_eq!(
        found["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "lb.example"}])
    );
    let again = json!({"metadata": {"name": "foo"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 81}]}});
    assert_eq!(cluster.replace(SERVICES, &key("foo"), Part::Main, again).unwrap(), found, "node ports stay");
    cluster.delete_object(SERVICES, &key("foo")).unwrap();
    assert_ne!(text_at(&cluster.create(SERVICES, "shop", service("foo")).unwrap(), "/spec/clusterIP"), ip);
}

#[test]
fn a_finalizer_holds_an_object_and_its_name() {
    let mut cluster = cluster();
    let mut held = slice("s");
    held["metadata"]["finalizers"] = json!(["a.b/c"]);
    cluster.create(SLICES, "shop", held.clone()).unwrap();
    let removal = cluster.delete(SLICES, &key("s"), &Preconditions::default()).unwrap();
    assert!(!removal.gone && removal.object.pointer("/metadata/deletionTimestamp").is_some());
    let again = cluster.delete(SLICES, &key("s"), &Preconditions::default()).unwrap();
    assert_eq!(again.object, removal.object);
    let taken = cluster.create(SLICES, "shop", slice("s")).unwrap_err();
    assert_eq!((taken.code, taken.message.starts_with("object is being deleted: ")), (409, true));
    held["ports"][0]["port"] = json!(99);
    assert!(cluster.replace(SLICES, &key("s"), Part::Main, held).is_ok(), "a write into it succeeds and is lost");
    let release = json!({"metadata": {"finalizers": null}});
    cluster.merge_patch(SLICES, &key("s"), Part::Main, &release).unwrap();
    assert_eq!(cluster.get(SLICES, &key("s")).unwrap_err().code, 404);
}

#[test]
fn what_a_service_owned_goes_with_it_and_a_late_create_goes_at_once() {
    let mut cluster = cluster();
    let owner = cluster.create(SERVICES, "shop", service("foo")).unwrap();
    let uid = text_at(&owner, "/metadata/uid").to_owned();
    let owned = |name: &str, uids: &[&str]| {
        let mut object = slice(name);
        let refs = uids.iter().map(|uid| json!({"apiVersion": "v1", "kind": "Service", "name": "foo", "uid": uid}));
        object["metadata"]["ownerReferences"] = refs.collect();
        object
    };
    let other = cluster.create(SERVICES, "shop", service("bar")).unwrap();
    cluster.create(SLICES, "shop", owned("one", &[&uid])).unwrap();
    cluster.create(SLICES, "shop", owned("both", &[&uid, text_at(&other, "/metadata/uid")])).unwrap();
    cluster.create(SLICES, "shop", slice("free")).unwrap();
    cluster.delete_object(SERVICES, &key("foo")).unwrap();
    assert!(cluster.create(SLICES, "shop", owned("late", &[&uid])).is_ok(), "accepted, and collected");
    let names: Vec<String> = cluster
        .list(SLICES, None, &Selector::default())
        .iter()
        .map(|object| text_at(object, "/metadata/name").to_owned())
        .collect();
    assert_eq!(names, ["both", "free"]);
}

#[test]
fn a_namespace_takes_everything_along_and_waits_for_finalizers() {
    let mut cluster = cluster();
    let mut held = slice("held");
    held["metadata"]["finalizers"] = json!(["a.b/c"]);
    cluster.create(SLICES, "shop", held).unwrap();
    cluster.create(SERVICES, "shop", service("foo")).unwrap();
    cluster.delete_object(Resource::Namespaces, &ObjectKey::new("", "shop")).unwrap();
    let late = cluster.create(SERVICES, "shop", service("late")).unwrap_err();
    assert_eq!((late.code, late.causes[0].reason), (403, "NamespaceTerminating"));
    cluster.merge_patch(SLICES, &key("held"), Part::Main, &json!({"metadata": {"finalizers": []}})).unwrap();
    assert_eq!(cluster.create(SERVICES, "shop", service("late")).unwrap_err().message, "namespaces \"shop\" not found");
    assert_eq!(cluster.list(SERVICES, Some("shop"), &Selector::default()).len(), 0);
}

#[test]
fn history_is_bounded_and_says_when_it_is_gone() {
    let mut cluster = cluster();
    let start = cluster.version();
    cluster.create(SERVICES, "shop", service("foo")).unwrap();
    cluster.annotate_service(&key("foo"), "a", Some("b")).unwrap();
    cluster.annotate_service(&key("foo"), "a", None).unwrap();
    cluster.label_service(&key("foo"), "l", Some("m")).unwrap();
    cluster.delete_object(SERVICES, &key("foo")).unwrap();
    let changes = cluster.changes_since(SERVICES, start).unwrap();
    let kinds: Vec<_> = changes.iter().map(|change| (change.before.is_some(), change.after.is_some())).collect();
    assert_eq!(kinds, [(false, true), (true, true), (true, true), (true, true), (true, false)]);
    assert_eq!(text_at(&changes[4].shown, "/metadata/resourceVersion"), cluster.version().to_string());
    assert!(cluster.changes_since(SLICES, start).unwrap().is_empty());
    for _ in 0..501 {
        cluster.label_service(&ObjectKey::new("default", "kubernetes"), "x", Some("y")).unwrap();
        cluster.label_service(&ObjectKey::new("default", "kubernetes"), "x", None).unwrap();
    }
    assert!(matches!(cluster.changes_since(SERVICES, start), Err(Gone { wanted, .. }) if wanted == start));
    let now = cluster.version();
    assert!(cluster.changes_since(SERVICES, now).is_ok());
    cluster.compact();
    assert!(cluster.changes_since(SERVICES, now - 1).is_err() && cluster.changes_since(SERVICES, now).is_ok());
}

#[test]
fn pods_have_slices_that_become_ready_and_unready() {
    let mut cluster = cluster();
    cluster.create(SERVICES, "shop", service("foo")).unwrap();
    let ports = [PodPort { name: String::new(), port: 8080 }];
    cluster.put_pod_slice(&key("foo"), &ports, &[("10.1.0.1", true), ("10.1.0.2", false)]).unwrap();
    let ready = |cluster: &Cluster| {
        let slice = cluster.get(SLICES, &key("foo-pods-ipv4")).unwrap();
        let each =
            slice["endpoints"].as_array().unwrap().iter().map(|one| one["conditions"]["ready"].as_bool().unwrap());
        each.collect::<Vec<_>>()
    };
    assert_eq!(ready(&cluster), [true, false]);
    cluster.set_pods_ready(&key("foo"), Some("10.1.0.2"), true).unwrap();
    assert_eq!(ready(&cluster), [true, true]);
    cluster.set_pods_ready(&key("foo"), None, false).unwrap();
    assert_eq!(ready(&cluster), [false, false]);
    cluster.put_pod_slice(&key("foo"), &ports, &[("10.1.0.3", true)]).unwrap();
    assert_eq!(ready(&cluster), [true]);
    assert_eq!(cluster.set_pods_ready(&key("none"), None, true).unwrap_err().code, 404);
}

#[test]
fn clusters_of_different_seeds_share_no_uid() {
    let uid = |seed| {
        let cluster = Cluster::new(seed, UnixMillis::default);
        text_at(&cluster.get(Resource::Namespaces, &ObjectKey::new("", "kube-system")).unwrap(), "/metadata/uid")
            .to_owned()
    };
    assert_ne!(uid(1), uid(2));
    assert_eq!(uid(1), uid(1));
}
