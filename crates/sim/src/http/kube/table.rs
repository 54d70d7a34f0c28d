//! Tables, which `kubectl get` asks for and prints: of Services and EndpointSlices, the columns that the real API gives, but for
//! their age. Of everything else kubectl makes a table of names.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::body::{Body, whole};
use super::super::call::Call;
use super::JSON;
use crate::model::kube::{Resource, text_at};

/// Endpoints that a row names; the rest are counted.
const SHOWN: usize = 3;

/// A column: its heading, and what it says of an object.
type Column = (&'static str, fn(&Value) -> String);

const SERVICES: &[Column] = &[
    ("Name", |object| text_at(object, "/metadata/name").to_owned()),
    ("Type", |object| text_at(object, "/spec/type").to_owned()),
    ("Cluster-IP", |object| or_none(text_at(object, "/spec/clusterIP").to_owned())),
    ("External-IP", |object| or_none(external_addresses(object))),
    ("Port(s)", |object| {
        or_none(joined(object, "/spec/ports", |port| format!("{}/{}", port["port"], text_at(port, "/protocol"))))
    }),
];

const SLICES: &[Column] = &[
    ("Name", |object| text_at(object, "/metadata/name").to_owned()),
    ("AddressType", |object| text_at(object, "/addressType").to_owned()),
    ("Ports", |object| unset_or(joined(object, "/ports", |port| port["port"].to_string()))),
    ("Endpoints", |object| unset_or(endpoints(object))),
];

/// The table of these objects, if one was asked for and there is one for their kind.
pub(super) fn asked_for(
    call: &Call,
    resource: Resource,
    metadata: &Value,
    objects: &[Value],
) -> Option<Response<Body>> {
    let wanted = call.header("accept").is_some_and(|accept| accept.contains("as=Table"));
    let columns = match resource {
        Resource::Services => SERVICES,
        Resource::EndpointSlices => SLICES,
        _ => return None,
    };
    let whole_objects = call.param("includeObject") == Some("Object");
    let table = || table(columns, metadata, objects, whole_objects).to_string();
    wanted.then(|| whole(StatusCode::OK, JSON, table()))
}

fn table(columns: &[Column], metadata: &Value, objects: &[Value], whole_objects: bool) -> Value {
    let definition = |(name, _): &Column| {
        let format = if *name == "Name" { "name" } else { "" };
        json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0})
    };
    let row = |object: &Value| {
        let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(object)).collect();
        let shown = if whole_objects {
            object.clone()
        } else {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
        };
        json!({"cells": cells, "object": shown})
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<Value>>(),
        "rows": objects.iter().map(row).collect::<Vec<Value>>(),
    })
}

fn external_addresses(service: &Value) -> String {
    let address = |ingress: &Value| {
        let ip = text_at(ingress, "/ip");
        if ip.is_empty() { text_at(ingress, "/hostname").to_owned() } else { ip.to_owned() }
    };
    let given = joined(service, "/spec/externalIPs", |ip| ip.as_str().unwrap_or_default().to_owned());
    let balanced = joined(service, "/status/loadBalancer/ingress", address);
    let external_name = text_at(service, "/spec/externalName").to_owned();
    let found: Vec<String> = [given, balanced, external_name].into_iter().filter(|text| !text.is_empty()).collect();
    found.join(",")
}

fn endpoints(slice: &Value) -> String {
    let all: Vec<&Value> = slice["endpoints"].as_array().into_iter().flatten().collect();
    let named = all.iter().take(SHOWN).map(|endpoint| text_at(endpoint, "/addresses/0").to_owned());
    let named: Vec<String> = named.collect();
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => named.join(","),
        Some(more) => format!("{} + {more} more...", named.join(",")),
    }
}

fn joined(object: &Value, list: &str, text: impl Fn(&Value) -> String) -> String {
    let items = object.pointer(list).and_then(Value::as_array).into_iter().flatten();
    items.map(text).collect::<Vec<String>>().join(",")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn unset_or(text: String) -> String {
    if text.is_empty() { "<unset>".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(columns: &[Column], object: Value) -> Value {
        table(columns, &json!({}), &[object], false)["rows"][0]["cells"].take()
    }

    #[test]
    fn services_show_how_they_are_reached() {
        let plain = json!({"metadata": {"name": "a"}, "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1",
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
        assert_eq!(cells(SERVICES, plain), json!(["a", "ClusterIP", "10.96.0.1", "<none>", "80/TCP,53/UDP"]));
        let balanced = json!({"metadata": {"name": "b"}, "spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"hostname": "lb.example.com"}]}}});
        let external = "192.0.2.1,203.0.113.1,lb.example.com";
        assert_eq!(cells(SERVICES, balanced), json!(["b", "LoadBalancer", "<none>", external, "<none>"]));
    }

    #[test]
    fn slices_show_their_first_endpoints() {
        let endpoint = |last: u8| json!({"addresses": [format!("10.0.0.{last}")]});
        let slice = |count: u8| {
            let endpoints: Vec<Value> = (1..=count).map(endpoint).collect();
            json!({"metadata": {"name": "a"}, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints})
        };
        for (count, shown) in [
            (0, "<unset>"),
            (2, "10.0.0.1,10.0.0.2"),
            (3, "10.0.0.1,10.0.0.2,10.0.0.3"),
            (5, "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more..."),
        ] {
            assert_eq!(cells(SLICES, slice(count)), json!(["a", "IPv4", "80", shown]));
        }
    }
}
