//! What should stand, worked out from the worlds by other means than the program's, as far as the workloads go. It knows less than the
//! program, and it need not: it only says what must not have been taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::consul::{Catalog, CheckRecord, Node, ServiceRecord};
use consul8s_sim::model::kube::{Cluster, Resource, Selector, text_at};
use serde_json::Value;

use crate::worlds::Worlds;

/// Something that stands on account of us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// A ready endpoint of a Service, `ADDRESS:PORT`.
    Endpoint(ObjectKey, String),
    /// A registration of a Consul service, `ADDRESS:PORT`.
    Registration(String, String),
    /// That registration's check, passing.
    Passing(String, String),
}

/// What was unwanted a moment ago may go a moment later: a look behind faults may be so far behind.
const LATELY: Duration = Duration::from_secs(90);

/// What is wanted.
#[derive(Default)]
pub(crate) struct Truth {
    wanted: BTreeSet<Thing>,
    /// When each thing last stopped being wanted.
    left: BTreeMap<Thing, Duration>,
    /// Annotations that were last valid, by UID.
    valid: BTreeMap<String, Value>,
}

impl Truth {
    /// The worlds have changed.
    pub(crate) fn follow(&mut self, worlds: &Worlds) {
        let now = worlds.elapsed();
        let services = worlds.kube.read(|cluster| cluster.list(Resource::Services, None, &Selector::default()));
        let mut wanted = BTreeSet::new();
        for service in services {
            let uid = text_at(&service, "/metadata/uid").to_owned();
            if is_valid(&service) {
                self.valid.insert(uid.clone(), service["metadata"]["annotations"].clone());
            }
            if service["metadata"]["annotations"]["consul8s/suspend"] == "true" {
                // Nothing of it changes, whatever it asks for.
                let all = self.wanted.iter().filter(|thing| is_of(thing, &service));
                wanted.extend(all.cloned());
                continue;
            }
            if worlds.kube.read(|cluster| is_of_a_dead_import(cluster, &service)) {
                continue;
            }
            let annotations = self.valid.get(&uid).cloned().unwrap_or(Value::Null);
            match source(&service) {
                Some("consul") => {
                    worlds.consul.read(|catalog| wanted.extend(endpoints(catalog, &service, &annotations)));
                }
                Some("kubernetes") => {
                    worlds.kube.read(|cluster| wanted.extend(registrations(cluster, &service, &annotations)));
                }
                _ => {}
            }
        }
        for thing in self.wanted.difference(&wanted) {
            self.left.insert(thing.clone(), now);
        }
        self.wanted = wanted;
    }

    /// Whether nobody has given any reason to take it away.
    pub(crate) fn must_stand(&self, thing: &Thing, now: Duration) -> bool {
        let left = self.left.get(thing);
        self.wanted.contains(thing) && left.is_none_or(|left| now.saturating_sub(*left) > LATELY)
    }
}

/// Whether the import that it was made for is gone, or going.
fn is_of_a_dead_import(cluster: &Cluster, service: &Value) -> bool {
    let Some((namespace, name)) = text_at(service, "/metadata/annotations/consul8s~1import").split_once('/') else {
        return false;
    };
    let import = cluster.get(Resource::ConsulImports, &ObjectKey::new(namespace, name));
    import.is_ok_and(|import| import.pointer("/metadata/deletionTimestamp").is_some())
}

fn source(service: &Value) -> Option<&'static str> {
    let selects = service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let labels = &service["metadata"]["labels"];
    match (labels["consul8s_source"].as_str(), labels["registration"].as_str()) {
        (Some("consul"), _) | (None, Some("consul")) if !selects => Some("consul"),
        (Some("kubernetes"), _) => Some("kubernetes"),
        _ => None,
    }
}

fn is_valid(service: &Value) -> bool {
    let annotations = &service["metadata"]["annotations"];
    let health = annotations["consul8s/service.health"].as_str().unwrap_or("passing");
    let weight = annotations["consul8s/service.weight"].as_str().unwrap_or("1");
    matches!(health, "passing" | "warning" | "any") && weight.parse::<u16>().is_ok()
}

fn key(service: &Value) -> ObjectKey {
    ObjectKey::new(text_at(service, "/metadata/namespace"), text_at(service, "/metadata/name"))
}

fn consul_name(service: &Value, annotations: &Value) -> String {
    let name = annotations["consul8s/service.name"].as_str();
    name.unwrap_or_else(|| text_at(service, "/metadata/name")).to_owned()
}

fn is_of(thing: &Thing, service: &Value) -> bool {
    match thing {
        Thing::Endpoint(of, _) => *of == key(service),
        // Names are told apart by their Services in every workload that suspends.
        Thing::Registration(name, _) | Thing::Passing(name, _) => {
            *name == consul_name(service, &service["metadata"]["annotations"])
        }
    }
}

fn endpoints(catalog: &Catalog, service: &Value, annotations: &Value) -> Vec<Thing> {
    let tags = annotations["consul8s/service.tags"].as_str().unwrap_or_default();
    let wanted: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
    let name = consul_name(service, annotations);
    let fits = |(_, record, checks): &(&Node, &ServiceRecord, Vec<&CheckRecord>)| {
        let tags = record.tags.clone().unwrap_or_default();
        let ours = record.meta.iter().any(|meta| meta.contains_key("consul8s-owner"));
        !ours && is_passing(checks) && wanted.iter().all(|tag| tags.iter().any(|has| has == tag))
    };
    let found = catalog.health_service(&name);
    let ready = found.iter().filter(|found| fits(found));
    ready.map(|(_, record, _)| Thing::Endpoint(key(service), format!("{}:{}", record.address, record.port))).collect()
}

pub(crate) fn is_passing(checks: &[&CheckRecord]) -> bool {
    checks.iter().all(|check| check.status == "passing")
}

fn registrations(cluster: &Cluster, service: &Value, annotations: &Value) -> Vec<Thing> {
    if annotations["consul8s/service.remove_registration"] == "true" {
        return Vec::new();
    }
    let name = consul_name(service, annotations);
    let pods = pods(cluster, service);
    if annotations["consul8s/service.address_source"] == "endpoints" {
        let each = pods.into_iter().flat_map(|(address, serving)| stands(&name, format!("{address}:8080"), serving));
        return each.collect();
    }
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let chosen = annotations["consul8s/service.port_name"].as_str();
    let port =
        ports.iter().find(|port| chosen.is_none_or(|name| port["name"] == name)).map(|port| port["port"].clone());
    let selects = service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let passing = !selects || pods.iter().any(|(_, serving)| *serving);
    let port = port.unwrap_or_default();
    let all = addresses(service, annotations).into_iter();
    all.flat_map(|address| stands(&name, format!("{address}:{port}"), passing)).collect()
}

fn addresses(service: &Value, annotations: &Value) -> Vec<String> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    if let Some(text) = annotations["consul8s/service.address"].as_str().or_else(|| annotations["domainName"].as_str())
    {
        return list(text);
    }
    if annotations["consul8s/service.address_source"] == "cluster_ip" {
        return list(text_at(service, "/spec/clusterIP"));
    }
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).cloned();
    let entry = |entry: &Value| entry["ip"].as_str().or_else(|| entry["hostname"].as_str()).map(str::to_owned);
    ingress.iter().flatten().filter_map(entry).collect()
}

/// Address and whether it serves, of what the Service's pods are.
fn pods(cluster: &Cluster, service: &Value) -> Vec<(String, bool)> {
    let slices =
        cluster.list(Resource::EndpointSlices, Some(text_at(service, "/metadata/namespace")), &Selector::default());
    let name = text_at(service, "/metadata/name");
    let of = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    let endpoints = of.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    endpoints
        .map(|endpoint| {
            let serving = endpoint["conditions"]["serving"] != false;
            (text_at(&endpoint, "/addresses/0").to_owned(), serving)
        })
        .collect()
}

fn stands(name: &str, address: String, passing: bool) -> Vec<Thing> {
    let mut all = vec![Thing::Registration(name.to_owned(), address.clone())];
    if passing {
        all.push(Thing::Passing(name.to_owned(), address));
    }
    all
}
