//! Who plays: machines with their instances in Consul, a web shop in Kubernetes. Each is as people, agents and other controllers
//! would write it; nothing here knows consul8s but by its labels and annotations.

use anyhow::Result;
use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_core::kube::ObjectKey;
use consul8s_core::names::{LABEL_SOURCE, SERVICE_NAME};
use consul8s_sim::model::kube::{Cluster, PodPort, Resource};
use serde_json::{Value, json};

use super::worlds::Worlds;

/// Both worlds as they are when the curtain rises. consul8s has nothing to do in them yet.
///
/// # Errors
/// An embedded world refuses what is put into it.
pub fn enter() -> Result<Worlds> {
    let worlds = Worlds::default();
    worlds.consul.write(|catalog| {
        for instance in [database(1), database(2), api(1), api(2)] {
            catalog.put_instance(&instance)?;
        }
        anyhow::Ok(())
    })?;
    worlds.kube.write(|cluster| {
        web(cluster, "shop", &["10.244.0.11", "10.244.0.12"])?;
        web(cluster, "blog", &["10.244.0.21"])?;
        // The blog has its address from the start, for the audience to play with.
        cluster.set_load_balancer(&ObjectKey::new("default", "blog"), &["203.0.113.20"])?;
        anyhow::Ok(())
    })?;
    Ok(worlds)
}

/// Instance `number` of the database, on a machine of its own.
#[must_use]
pub fn database(number: u8) -> Instance {
    let (id, node) = (format!("postgres-{number}"), format!("vm-db-{number}"));
    instance("postgres", id, node, format!("10.0.1.{}", 10 + number), 5432)
}

/// Instance `number` of the API, on a machine of its own.
#[must_use]
pub fn api(number: u8) -> Instance {
    let (id, node) = (format!("api-{number}"), format!("vm-api-{number}"));
    instance("api", id, node, format!("10.0.1.{}", 20 + number), 8080)
}

/// Instance `number` of the API, beside the agent that answers HTTP requests: the one that the audience can let fail with curl.
#[must_use]
pub fn api_of_agent(number: u8) -> Instance {
    let own = api(number);
    let address = own.node_address.clone();
    Instance { address, ..instance("api", own.id, "consul-server".into(), "127.0.0.1".into(), 8080) }
}

fn instance(name: &str, id: String, node: String, node_address: String, port: i64) -> Instance {
    let check = |check: &str, of: &str| Check {
        node: node.clone(),
        id: check.to_owned(),
        name: check.to_owned(),
        service_id: of.to_owned(),
        status: CheckStatus::Passing,
        output: String::new(),
        modify_index: 0,
    };
    // With serfHealth the machine is known to be alive: what its agent deregisters is gone, not lost.
    let checks = vec![check("serfHealth", ""), check(&check_id(&id), &id)];
    Instance { name: name.to_owned(), id, node, node_address, port, checks, ..Instance::default() }
}

/// ID of an instance's check, as agents make it.
#[must_use]
pub fn check_id(instance: &str) -> String {
    format!("service:{instance}")
}

/// A Service without selector that consul8s is to fill; `named` is what Consul calls it, where that is another name.
#[must_use]
pub fn from_consul(name: &str, port: u16, named: Option<&str>) -> Value {
    let mut service = json!({
        "metadata": {"name": name, "labels": {LABEL_SOURCE: "consul"}},
        "spec": {"ports": [{"name": "tcp", "port": port}]},
    });
    if let Some(named) = named {
        service["metadata"]["annotations"] = json!({SERVICE_NAME: named});
    }
    service
}

/// A web application in Kubernetes: a Service of type `LoadBalancer` and the slice of its pods.
fn web(cluster: &mut Cluster, name: &str, pods: &[&str]) -> Result<()> {
    let service = json!({
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    });
    cluster.put_object(Resource::Services, "default", service)?;
    let port = PodPort { name: "http".into(), port: 8080 };
    let pods: Vec<(&str, bool)> = pods.iter().map(|address| (*address, true)).collect();
    cluster.put_pod_slice(&ObjectKey::new("default", name), &[port], &pods)?;
    Ok(())
}
