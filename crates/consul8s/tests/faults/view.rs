//! What the program has written, read from the worlds: for the oracles that watch each write, and for comparing two ends.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::consul::{Catalog, CheckRecord, ServiceRecord};
use consul8s_sim::model::kube::{Cluster, Resource, Selector, text_at};
use serde_json::{Value, json};

use crate::truth::{Thing, is_passing};
use crate::worlds::Worlds;
use crate::{NODE, OWNER};

/// Everything that stands on account of us.
pub(crate) fn things(worlds: &Worlds) -> BTreeSet<Thing> {
    let mut all = worlds.kube.read(endpoints);
    all.extend(worlds.consul.read(registrations));
    all
}

fn is_our_slice(slice: &Value) -> bool {
    slice["metadata"]["annotations"]["consul8s/owner"] == OWNER
        && slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "controller.consul8s.io"
}

fn our_slices(cluster: &Cluster) -> Vec<Value> {
    let all = cluster.list(Resource::EndpointSlices, None, &Selector::default());
    all.iter().filter(|slice| is_our_slice(slice)).map(|slice| (**slice).clone()).collect()
}

fn service_of(slice: &Value) -> ObjectKey {
    let name = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
    ObjectKey::new(text_at(slice, "/metadata/namespace"), name)
}

fn endpoints(cluster: &Cluster) -> BTreeSet<Thing> {
    let mut all = BTreeSet::new();
    for slice in our_slices(cluster) {
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            for port in slice["ports"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] == true {
                    let address = format!("{}:{}", text_at(endpoint, "/addresses/0"), port["port"]);
                    all.insert(Thing::Endpoint(service_of(&slice), address));
                }
            }
        }
    }
    all
}

fn is_ours(service: &ServiceRecord) -> bool {
    service.meta.iter().any(|meta| meta.get("consul8s-owner").is_some_and(|owner| owner == OWNER))
}

fn registrations(catalog: &Catalog) -> BTreeSet<Thing> {
    let mut all = BTreeSet::new();
    for name in catalog.services().1.into_keys() {
        for (node, service, checks) in catalog.health_service(&name) {
            if !is_ours(service) || node.name.contains("strange") {
                continue;
            }
            let address = format!("{}:{}", service.address, service.port);
            if is_passing(&checks) {
                all.insert(Thing::Passing(name.clone(), address.clone()));
            }
            all.insert(Thing::Registration(name.clone(), address));
        }
    }
    all
}

/// How both worlds stand, in lines: without names that may differ (of slices, of further IDs), versions, UIDs and times.
pub(crate) fn end(worlds: &Worlds) -> BTreeSet<String> {
    let uids = worlds.kube.read(|cluster| {
        let services = cluster.list(Resource::Services, None, &Selector::default());
        services
            .iter()
            .map(|it| (text_at(it, "/metadata/uid").to_owned(), text_at(it, "/metadata/name").to_owned()))
            .collect()
    });
    let mut lines = worlds.kube.read(|cluster| end_of_kube(cluster, &uids));
    lines.extend(worlds.consul.read(|catalog| end_of_consul(catalog, &uids)));
    lines
}

type Uids = BTreeMap<String, String>;

fn named(uid: &str, uids: &Uids) -> String {
    uids.get(uid).map_or_else(|| "of one that is gone".to_owned(), |name| format!("of {name}"))
}

fn end_of_kube(cluster: &Cluster, uids: &Uids) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for slice in our_slices(cluster) {
        let service = service_of(&slice);
        let mut meta = json!({"labels": slice["metadata"]["labels"], "annotations": slice["metadata"]["annotations"]});
        for passing in ["endpoints.kubernetes.io/last-change-trigger-time", "consul8s/absent-since"] {
            if let Some(all) = meta["annotations"].as_object_mut() {
                all.remove(passing);
            }
        }
        let owner = named(text_at(&slice, "/metadata/ownerReferences/0/uid"), uids);
        lines.insert(format!("slice of {service} {owner}: {} {meta}", slice["addressType"]));
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            lines.insert(format!("endpoint of {service}: {endpoint} {}", slice["ports"]));
        }
    }
    let of = |resource| cluster.list(resource, None, &Selector::default());
    for kind in [Resource::Services, Resource::Endpoints, Resource::ConsulImports] {
        for object in of(kind) {
            lines.insert(format!("{kind:?} {}", plain(&object)));
        }
    }
    lines
}

/// An object without what differs from run to run.
fn plain(object: &Value) -> Value {
    let mut plain = object.clone();
    if let Some(metadata) = plain["metadata"].as_object_mut() {
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("consul8s/import-uid");
        }
    }
    if let Some(spec) = plain["spec"].as_object_mut() {
        for key in ["clusterIP", "clusterIPs"] {
            if spec.get(key).is_some_and(|it| it != "None" && *it != json!(["None"])) {
                spec.remove(key);
            }
        }
    }
    if let Some(status) = plain["status"].as_object_mut() {
        // What people are told comes when it comes.
        status.remove("observedGeneration");
        status.remove("conditions");
    }
    plain
}

fn end_of_consul(catalog: &Catalog, uids: &Uids) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for node in catalog.nodes().1 {
        let services = catalog.node_services(&node.name).1.map(|(_, services)| services).unwrap_or_default();
        if node.name == NODE && services.is_empty() {
            // Whether it was ever needed depends on how long nobody was there to write.
            continue;
        }
        lines.insert(format!("node {} {} {:?}", node.name, node.address, node.meta));
        for service in services {
            lines.insert(format!("{} on {}", registered(service, uids), node.name));
        }
        for check in catalog.node_checks(&node.name).1 {
            let CheckRecord { id, name, status, output, service_id, service_name, .. } = check;
            let (id, service_id) = (short(id), short(service_id));
            lines.insert(format!(
                "check {id} {name} {status} {output:?} of {service_id:?} {service_name:?} on {}",
                node.name
            ));
        }
    }
    lines
}

fn registered(service: &ServiceRecord, uids: &Uids) -> String {
    let ServiceRecord { id, name, address, port, tags, meta, weights, .. } = service;
    let mut meta = meta.clone().unwrap_or_default();
    if is_ours(service) {
        meta.remove("consul8s-rv");
        // The cluster's IPs are given out in the order of the runs.
        let uid = meta.remove("consul8s-uid").unwrap_or_default();
        meta.insert("consul8s-uid".to_owned(), named(&uid, uids));
    }
    format!("service {} {name} {address}:{port} {tags:?} {meta:?} {}", short(id), weights.passing)
}

/// An ID without the hash that tells further addresses of a Service apart: which one has the plain ID depends on who came first.
fn short(id: &str) -> &str {
    match id.rsplit_once('-') {
        Some((plain, hash)) if hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => plain,
        _ => id,
    }
}
