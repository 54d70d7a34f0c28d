//! Consul → Kubernetes.

use std::time::Duration;

use consul8s_core::consul::CheckStatus::{Critical, Passing, Warning};
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::kube::Resource;
use serde_json::json;

use crate::workload::{Workload, create, instance, service};

fn web() -> ObjectKey {
    ObjectKey::new("default", "web")
}

/// Instances come, fail, recover, move to another port, and are deregistered by their agents.
pub(crate) fn instances() -> Workload {
    let mut play = Workload::new("instances");
    play.service(0.0, "web", "consul", json!({}));
    (1..=4).for_each(|number| play.instance(0.0, "web", number, Passing));
    play.instance(3.0, "web", 2, Critical);
    play.instance(5.0, "web", 2, Passing);
    play.consul(7.0, |catalog| catalog.move_port("vm-3", "web-3", 9090).expect("an instance"));
    play.instance(9.0, "web", 5, Warning);
    play.consul(11.0, |catalog| catalog.deregister_service("vm-1", "web-1"));
    play.instance(13.0, "web", 5, Passing);
    play.consul(15.0, |catalog| catalog.deregister_service("vm-4", "web-4"));
    play
}

/// A machine goes into maintenance and comes back, one dies and is reaped, one is replaced.
pub(crate) fn machines() -> Workload {
    let mut play = Workload::new("machines");
    play.service(0.0, "web", "consul", json!({}));
    play.service(0.0, "api", "consul", json!({}));
    (1..=4).for_each(|number| play.instance(0.0, "web", number, Passing));
    (1..=2).for_each(|number| play.instance(0.0, "api", number, Passing));
    play.consul(3.0, |catalog| catalog.node_maintenance("vm-1", Some("disks")).expect("a node"));
    play.consul(6.0, |catalog| catalog.service_maintenance("vm-2", "web-2", Some("upgrade")).expect("an instance"));
    play.consul(9.0, |catalog| catalog.node_maintenance("vm-1", None).expect("a node"));
    play.consul(10.0, |catalog| catalog.service_maintenance("vm-2", "web-2", None).expect("an instance"));
    play.consul(12.0, |catalog| catalog.set_check("vm-3", "serfHealth", Critical, "gone").expect("a check"));
    play.consul(18.0, |catalog| catalog.deregister_node("vm-3"));
    play.instance(20.0, "web", 6, Passing);
    // Without a word: confirmed by two reads.
    play.consul(24.0, |catalog| catalog.deregister_node("vm-4"));
    play
}

/// A Service is created, relabelled, deleted, and created again under its name.
pub(crate) fn services() -> Workload {
    let mut play = Workload::new("services");
    (1..=2).for_each(|number| play.instance(0.0, "web", number, Passing));
    play.service(1.0, "web", "consul", json!({}));
    play.kube(4.0, |cluster| cluster.label_service(&web(), "consul8s_source", None).expect("a Service"));
    play.kube(7.0, |cluster| cluster.label_service(&web(), "consul8s_source", Some("consul")).expect("a Service"));
    play.kube(10.0, |cluster| cluster.delete_object(Resource::Services, &web()).expect("a Service"));
    play.service(10.2, "web", "consul", json!({}));
    play.kube(13.0, |cluster| {
        cluster.delete_object(Resource::Services, &web()).expect("a Service");
        create(cluster, "default", service("web", "consul", &json!({}), &json!({"clusterIP": "None"})));
    });
    play.service(14.0, "alias", "consul", json!({"consul8s/service.name": "web"}));
    play.kube(17.0, |cluster| {
        cluster.delete_object(Resource::Services, &ObjectKey::new("default", "alias")).expect("it")
    });
    play
}

/// Tags, ports and names are edited; an annotation is spoiled and mended; it is suspended for a while.
pub(crate) fn settings() -> Workload {
    let mut play = Workload::new("settings of to_kube");
    play.service(0.0, "web", "consul", json!({}));
    (1..=3).for_each(|number| play.instance(0.0, "web", number, Passing));
    play.consul(1.0, |catalog| {
        let mut tagged = instance("web", 2, Passing);
        tagged.tags = vec!["blue".into()];
        catalog.put_instance(&tagged).expect("an instance");
    });
    play.annotate(4.0, "web", "consul8s/service.tags", Some("blue"));
    play.annotate(7.0, "web", "consul8s/service.tags", None);
    play.annotate(9.0, "web", "consul8s/service.health", Some("sometimes"));
    play.instance(11.0, "web", 3, Critical);
    play.instance(12.0, "web", 4, Passing);
    play.annotate(14.0, "web", "consul8s/service.health", None);
    play.annotate(16.0, "web", "consul8s/suspend", Some("true"));
    play.instance(18.0, "web", 5, Passing);
    play.annotate(20.0, "web", "consul8s/suspend", None);
    play
}

/// The Python original's `Endpoints` are taken over, and given back.
pub(crate) fn original() -> Workload {
    let mut play = Workload::new("original");
    play.kube(0.0, |cluster| {
        let endpoints = json!({
            "metadata": {"name": "web", "labels": {"name": "web"}},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "http", "port": 8080}]}],
        });
        cluster.create(Resource::Endpoints, "default", endpoints).expect("Endpoints");
    });
    play.service(0.0, "web", "consul", json!({}));
    (1..=2).for_each(|number| play.instance(2.0, "web", number, Passing));
    play.kube(8.0, |cluster| cluster.label_service(&web(), "consul8s_source", None).expect("a Service"));
    play.kube(12.0, |cluster| cluster.label_service(&web(), "registration", Some("consul")).expect("a Service"));
    // That a late write of ours gave it back shows by Kubernetes' mirroring it again. Nobody mirrors here, so it is found at the next read,
    // which is rare.
    play.patience = Duration::from_secs(310);
    play
}

/// The only machine of a service vanishes without a word, which is held; another comes instead.
pub(crate) fn hold() -> Workload {
    let mut play = Workload::new("hold");
    play.service(0.0, "web", "consul", json!({}));
    play.service(0.0, "api", "consul", json!({}));
    play.instance(0.0, "web", 1, Passing);
    play.instance(0.0, "api", 2, Passing);
    play.consul(3.0, |catalog| catalog.deregister_node("vm-1"));
    play.consul(6.0, |catalog| catalog.deregister_node("vm-2"));
    play.instance(12.0, "api", 3, Passing);
    // 60 s of agreeing reads, which begin anew where a restart lost count of them.
    play.patience = Duration::from_secs(100);
    play
}
