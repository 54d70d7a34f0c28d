//! Kubernetes → Consul.

use std::collections::BTreeMap;

use consul8s_core::consul::Instance;
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::consul::Catalog;
use consul8s_sim::model::kube::{Cluster, Part, PodPort, Resource};
use serde_json::json;

use crate::workload::{Workload, create, service};
use crate::{NODE, OWNER};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn delete(cluster: &mut Cluster, name: &str) {
    cluster.delete_object(Resource::Services, &key(name)).expect("a Service to delete");
}

/// Services are created, relabelled, deleted, and created again under their name; one is kept.
pub(crate) fn services() -> Workload {
    let mut play = Workload::new("registrations");
    play.service(0.0, "db", "kubernetes", json!({"domainName": "db.example.com"}));
    play.service(0.5, "mq", "kubernetes", json!({"domainName": "mq.example.com"}));
    let kept = json!({"domainName": "kept.example.com", "consul8s/service.on_delete": "keep"});
    play.service(1.0, "kept", "kubernetes", kept);
    play.kube(4.0, |cluster| cluster.label_service(&key("mq"), "consul8s_source", None).expect("a Service"));
    play.kube(8.0, |cluster| cluster.label_service(&key("mq"), "consul8s_source", Some("kubernetes")).expect("it"));
    play.kube(11.0, |cluster| delete(cluster, "db"));
    // Late enough that it was registered, whatever went wrong before: else there is nothing to keep.
    play.kube(60.0, |cluster| delete(cluster, "kept"));
    play.service(11.2, "db", "kubernetes", json!({"domainName": "db2.example.com"}));
    play.kube(16.0, |cluster| delete(cluster, "mq"));
    play.steps.sort_by_key(|(at, _)| *at);
    play
}

/// A load balancer's addresses come, change and go; a list of names is edited.
pub(crate) fn addresses() -> Workload {
    let mut play = Workload::new("addresses");
    play.kube(0.0, |cluster| {
        create(cluster, "default", service("lb", "kubernetes", &json!({}), &json!({"type": "LoadBalancer"})));
    });
    play.service(0.0, "many", "kubernetes", json!({"consul8s/service.address": "10.1.0.1,10.1.0.2"}));
    play.kube(3.0, |cluster| cluster.set_load_balancer(&key("lb"), &["192.0.2.1"]).expect("a Service"));
    play.kube(6.0, |cluster| cluster.set_load_balancer(&key("lb"), &["192.0.2.1", "192.0.2.2"]).expect("a Service"));
    play.kube(9.0, |cluster| cluster.set_load_balancer(&key("lb"), &["192.0.2.3"]).expect("a Service"));
    play.annotate(11.0, "many", "consul8s/service.address", Some("10.1.0.2,10.1.0.3"));
    play.kube(14.0, |cluster| cluster.set_load_balancer(&key("lb"), &[]).expect("a Service"));
    play.kube(17.0, |cluster| cluster.set_load_balancer(&key("lb"), &["lb.example.com"]).expect("a Service"));
    play
}

/// Pods become ready and unready and are replaced, behind one address and each registered by itself.
pub(crate) fn pods() -> Workload {
    let mut play = Workload::new("pods");
    play.kube(0.0, |cluster| {
        let selector = json!({"selector": {"app": "x"}});
        let behind = json!({"consul8s/service.address_source": "cluster_ip"});
        create(cluster, "default", service("vip", "kubernetes", &behind, &selector));
        let each = json!({"consul8s/service.address_source": "endpoints"});
        create(cluster, "default", service("each", "kubernetes", &each, &selector));
        put(cluster, "vip", &[("10.244.0.1", false), ("10.244.0.2", false)]);
        put(cluster, "each", &[("10.244.1.1", true), ("10.244.1.2", true)]);
    });
    play.kube(3.0, |cluster| cluster.set_pods_ready(&key("vip"), None, true).expect("a slice"));
    play.kube(5.0, |cluster| cluster.set_pods_ready(&key("each"), Some("10.244.1.1"), false).expect("a slice"));
    play.kube(7.0, |cluster| cluster.set_pods_ready(&key("vip"), None, false).expect("a slice"));
    play.kube(8.0, |cluster| put(cluster, "each", &[("10.244.1.2", true), ("10.244.1.3", true)]));
    play.kube(10.0, |cluster| cluster.set_pods_ready(&key("vip"), Some("10.244.0.2"), true).expect("a slice"));
    play.kube(12.0, |cluster| put(cluster, "each", &[("10.244.1.3", true), ("10.244.1.4", false)]));
    play.kube(14.0, |cluster| cluster.set_pods_ready(&key("each"), None, true).expect("a slice"));
    play
}

fn put(cluster: &mut Cluster, service: &str, pods: &[(&str, bool)]) {
    let ports = [PodPort { name: "http".into(), port: 8080 }];
    cluster.put_pod_slice(&key(service), &ports, pods).expect("a slice");
}

/// Tags, names, IDs, ports and weights are edited; an annotation is spoiled and mended; it drains and comes back.
pub(crate) fn settings() -> Workload {
    let mut play = Workload::new("settings of to_consul");
    play.service(0.0, "db", "kubernetes", json!({"domainName": "db.example.com"}));
    play.annotate(3.0, "db", "consul8s/service.tags", Some("blue,green"));
    play.annotate(5.0, "db", "consul8s/service.weight", Some("heavy"));
    play.annotate(6.0, "db", "consul8s/service.tags", Some("never"));
    play.annotate(8.0, "db", "consul8s/service.tags", Some("blue"));
    play.annotate(9.0, "db", "consul8s/service.weight", Some("7"));
    play.annotate(11.0, "db", "consul8s/service.name", Some("database"));
    play.annotate(13.0, "db", "consul8s/service.id", Some("database-1"));
    play.annotate(15.0, "db", "consul8s/service.remove_registration", Some("true"));
    play.annotate(18.0, "db", "consul8s/service.remove_registration", None);
    play.kube(20.0, |cluster| {
        let ports = json!({"spec": {"ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 81}]}});
        cluster.merge_patch(Resource::Services, &key("db"), Part::Main, &ports).expect("a Service");
    });
    play.annotate(22.0, "db", "consul8s/service.port_name", Some("admin"));
    play
}

/// Two Services of two namespaces want one name, and two of one namespace one ID: the older has it until it goes.
pub(crate) fn shared() -> Workload {
    let mut play = Workload::new("shared");
    play.service(0.0, "db", "kubernetes", json!({"domainName": "one.example.com"}));
    play.kube(2.0, |cluster| {
        create(cluster, "other", service("db", "kubernetes", &json!({"domainName": "two.example.com"}), &json!({})));
    });
    let id =
        |domain: &str| json!({"domainName": domain, "consul8s/service.id": "one-id", "consul8s/service.name": "mq"});
    play.service(3.0, "mq-a", "kubernetes", id("a.example.com"));
    play.service(5.0, "mq-b", "kubernetes", id("b.example.com"));
    play.kube(9.0, |cluster| delete(cluster, "db"));
    play.kube(13.0, |cluster| delete(cluster, "mq-a"));
    play
}

/// A late write of a process that is long gone registers what nobody asks for: a Service that was deleted, and one that never was.
pub(crate) fn stray() -> Workload {
    let mut play = Workload::new("stray");
    play.service(0.0, "db", "kubernetes", json!({"domainName": "db.example.com"}));
    play.service(0.0, "mq", "kubernetes", json!({"domainName": "mq.example.com"}));
    play.kube(4.0, |cluster| delete(cluster, "db"));
    play.consul(20.0, |catalog| {
        for name in ["db", "never"] {
            register(catalog, name);
        }
    });
    play
}

/// As we would register a Service of this name.
fn register(catalog: &mut Catalog, name: &str) {
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let node = text(&[
        ("consul8s-owner", OWNER),
        ("consul8s-cluster-uid", crate::worlds::CLUSTER_UID),
        ("consul8s-installation", "default/consul8s"),
    ]);
    let meta = [
        ("external-source", "kubernetes"),
        ("external-k8s-ns", "default"),
        ("external-k8s-ref-kind", "Service"),
        ("external-k8s-ref-name", name),
        ("consul8s-owner", OWNER),
        ("consul8s-cluster", "c"),
        ("consul8s-uid", "long-gone"),
        ("consul8s-rv", "1"),
    ];
    let registration = Instance {
        node: NODE.into(),
        node_address: "127.0.0.1".into(),
        node_meta: node.into(),
        id: format!("default.{name}"),
        name: name.into(),
        address: format!("{name}.example.com"),
        port: 80,
        meta: text(&meta).into(),
        ..Instance::default()
    };
    catalog.put_instance(&registration).expect("a registration");
}
