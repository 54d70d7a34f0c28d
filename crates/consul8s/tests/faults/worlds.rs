//! Both embedded worlds on virtual time, with strangers in them whom nobody may touch.

use std::collections::BTreeMap;
use std::time::Duration;

use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;
use consul8s_sim::model::consul::Catalog;
use consul8s_sim::model::kube::{Cluster, PodPort, Resource, Selector};
use consul8s_sim::{ConsulWorld, KubeWorld, World};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::workload::{Change, instance, service};

/// What the wall clock shows when a run begins: a fixed moment, so that runs are alike.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

/// Both worlds, and when they began.
#[derive(Clone)]
pub(crate) struct Worlds {
    pub(crate) kube: KubeWorld,
    pub(crate) consul: ConsulWorld,
    start: Instant,
}

/// What the embedded cluster of seed 1 is called.
pub(crate) const CLUSTER_UID: &str = "00000001-0000-4000-8000-000000000001";

impl Worlds {
    pub(crate) fn new() -> Worlds {
        let start = Instant::now();
        let cluster = Cluster::new(1, move || EPOCH.after(start.elapsed()));
        let worlds = Worlds { kube: World::of(cluster), consul: ConsulWorld::new(), start };
        assert_eq!(worlds.kube.uid(), CLUSTER_UID);
        worlds.consul.write(|catalog| {
            // An index from which a restored Consul can go back.
            (0..100).for_each(|_| catalog.deregister_service("nobody", "nothing"));
            strange_catalog(catalog);
        });
        worlds.kube.write(strange_cluster);
        worlds
    }

    pub(crate) fn apply(&self, change: &Change) {
        match change {
            Change::Consul(change) => self.consul.write(|catalog| change(catalog)),
            Change::Kube(change) => self.kube.write(|cluster| change(cluster)),
        }
    }

    /// Time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> UnixMillis {
        EPOCH.after(self.elapsed())
    }

    /// What belongs to strangers, each as it is stored.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let mut all = self.kube.read(|cluster| {
            let of = |resource| cluster.list(resource, None, &Selector::default());
            let kinds = [Resource::Services, Resource::EndpointSlices, Resource::Endpoints, Resource::Leases];
            let objects = kinds.into_iter().flat_map(of);
            objects.map(|object| object.to_string()).filter(|text| text.contains("strange")).collect::<Vec<_>>()
        });
        all.extend(self.consul.read(|catalog| {
            let (_, nodes) = catalog.nodes();
            let strange = nodes.into_iter().filter(|node| node.name.contains("strange"));
            let texts = strange.map(|node| {
                let services = catalog.node_services(&node.name).1;
                format!("{services:?} {:?}", catalog.node_checks(&node.name).1)
            });
            texts.collect::<Vec<_>>()
        }));
        all
    }
}

/// A client's agent, another installation's node, and one like ours in all but its name.
fn strange_catalog(catalog: &mut Catalog) {
    catalog.put_instance(&instance("strange", 90, CheckStatus::Passing)).expect("a stranger's instance");
    let meta = |owner: &str| {
        let pairs = [
            ("consul8s-owner", owner),
            ("consul8s-cluster-uid", CLUSTER_UID),
            ("consul8s-installation", "default/consul8s"),
        ];
        BTreeMap::from(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())))
    };
    for (node, owner) in [("consul8s-stranger", "stranger"), ("strange-consul8s-o", "o")] {
        let check = Check {
            node: String::new(),
            id: format!("consul8s:readiness:{node}"),
            name: "consul8s:readiness".into(),
            service_id: node.into(),
            status: CheckStatus::Passing,
            output: String::new(),
            modify_index: 0,
        };
        let registration = Instance {
            node: node.into(),
            node_address: "127.0.0.1".into(),
            node_meta: meta(owner).into(),
            id: node.into(),
            name: "db".into(),
            address: "10.9.9.9".into(),
            port: 5432,
            meta: meta(owner).into(),
            checks: vec![check],
            ..Instance::default()
        };
        catalog.put_instance(&registration).expect("a stranger's registration");
    }
}

/// A Service that nobody asked us to fill, with slices of the built-in controller, of a person and of another installation; an
/// `Endpoints` object that is not the original's; and a Lease of the same name elsewhere.
fn strange_cluster(cluster: &mut Cluster) {
    cluster.create_namespace("other").expect("a namespace");
    let key = ObjectKey::new("default", "strange");
    cluster
        .create(
            Resource::Services,
            "default",
            service("strange", "none", &json!({}), &json!({"selector": {"app": "x"}})),
        )
        .expect("a stranger's Service");
    let ports = [PodPort { name: "http".into(), port: 80 }];
    cluster.put_pod_slice(&key, &ports, &[("10.244.9.1", true)]).expect("a stranger's slice");
    for (name, manager, owner) in
        [("strange-hand", "a.person", "o"), ("strange-other", "controller.consul8s.io", "stranger")]
    {
        let slice = strange_slice(name, manager, owner);
        cluster.create(Resource::EndpointSlices, "default", slice).expect("a stranger's slice");
    }
    let endpoints = json!({
        "metadata": {"name": "strange", "labels": {"name": "somebody-else"}},
        "subsets": [{"addresses": [{"ip": "10.99.1.1"}], "ports": [{"port": 80}]}],
    });
    cluster.create(Resource::Endpoints, "default", endpoints).expect("a stranger's Endpoints");
    let lease = json!({"metadata": {"name": "consul8s"}, "spec": {"holderIdentity": "strange"}});
    cluster.create(Resource::Leases, "other", lease).expect("a stranger's Lease");
}

fn strange_slice(name: &str, manager: &str, owner: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/service-name": "strange", "endpointslice.kubernetes.io/managed-by": manager},
            "annotations": {"consul8s/owner": owner, "consul8s/installation": "default/consul8s"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.99.2.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 80}],
    })
}
