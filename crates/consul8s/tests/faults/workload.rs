//! What people and machines do in a run: a list of changes of both worlds, each at its time.

use std::time::Duration;

use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::consul::Catalog;
use consul8s_sim::model::kube::Cluster;
use serde_json::{Value, json};

/// A change of one world.
pub(crate) enum Change {
    Consul(Box<dyn Fn(&mut Catalog)>),
    Kube(Box<dyn Fn(&mut Cluster)>),
}

/// A workload.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// In the order of time.
    pub(crate) steps: Vec<(Duration, Change)>,
    /// How much longer than the contract's 30 s it may take until all is as it should be: holds, and delays that the user asked for.
    pub(crate) patience: Duration,
}

impl Workload {
    pub(crate) fn new(name: &'static str) -> Workload {
        Workload { name, steps: Vec::new(), patience: Duration::ZERO }
    }

    /// Something changes in Consul, this many seconds after the run began.
    pub(crate) fn consul(&mut self, at: f64, change: impl Fn(&mut Catalog) + 'static) {
        self.steps.push((Duration::from_secs_f64(at), Change::Consul(Box::new(change))));
    }

    /// Something changes in Kubernetes.
    pub(crate) fn kube(&mut self, at: f64, change: impl Fn(&mut Cluster) + 'static) {
        self.steps.push((Duration::from_secs_f64(at), Change::Kube(Box::new(change))));
    }

    /// An instance comes, or changes its state.
    pub(crate) fn instance(&mut self, at: f64, name: &'static str, number: u8, status: CheckStatus) {
        self.consul(at, move |catalog| catalog.put_instance(&instance(name, number, status)).expect("an instance"));
    }

    /// A Service is created.
    pub(crate) fn service(&mut self, at: f64, name: &'static str, source: &'static str, annotations: Value) {
        self.kube(at, move |cluster| create(cluster, "default", service(name, source, &annotations, &json!({}))));
    }

    /// A Service is annotated, or loses an annotation.
    pub(crate) fn annotate(&mut self, at: f64, name: &'static str, key: &'static str, value: Option<&'static str>) {
        self.kube(at, move |cluster| {
            cluster.annotate_service(&ObjectKey::new("default", name), key, value).expect("a Service to annotate");
        });
    }
}

pub(crate) fn create(cluster: &mut Cluster, namespace: &str, object: Value) {
    cluster.create(consul8s_sim::model::kube::Resource::Services, namespace, object).expect("a Service");
}

/// A Service with one port; `spec` is laid over its spec.
pub(crate) fn service(name: &str, source: &str, annotations: &Value, spec: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"consul8s_source": source}, "annotations": annotations},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

/// Instance number `number` of a Consul service, alone on its machine `vm-NUMBER`, which is alive.
pub(crate) fn instance(name: &str, number: u8, status: CheckStatus) -> Instance {
    let id = format!("{name}-{number}");
    let node = if name == "strange" { format!("strange-{number}") } else { format!("vm-{number}") };
    let check = |id: String, service_id: String, status| Check {
        node: String::new(),
        name: id.clone(),
        id,
        service_id,
        status,
        output: String::new(),
        modify_index: 0,
    };
    Instance {
        node,
        node_address: format!("10.0.0.{number}"),
        address: format!("10.0.0.{number}"),
        name: name.to_owned(),
        port: 8080,
        checks: vec![
            check("serfHealth".into(), String::new(), CheckStatus::Passing),
            check(format!("check-{id}"), id.clone(), status),
        ],
        id,
        ..Instance::default()
    }
}
