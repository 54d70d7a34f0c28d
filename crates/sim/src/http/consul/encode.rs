//! Values to Consul's JSON. Which lists are null and which are empty was copied from the real one.

use std::collections::BTreeMap;

use consul8s_core::consul::{NamedPort, TaggedAddress};
use serde_json::{Map, Value, json};

use crate::model::consul::{CheckRecord, Node, ServiceRecord};

pub(super) fn node(node: &Node, datacenter: &str) -> Value {
    json!({
        "ID": node.id, "Node": node.name, "Address": node.address, "Datacenter": datacenter,
        "TaggedAddresses": node.tagged_addresses, "Meta": node.meta,
        "CreateIndex": node.create_index, "ModifyIndex": node.modify_index,
    })
}

/// A service as health and node-services show it; `port` differs between them when there are named ports.
pub(super) fn service(service: &ServiceRecord, port: i64, tags: &Value) -> Value {
    let mut shown = json!({
        "ID": service.id, "Service": service.name, "Tags": tags, "Address": service.address, "Meta": service.meta,
        "Weights": weights(service), "EnableTagOverride": false,
        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "PeerName": "",
        "CreateIndex": service.create_index, "ModifyIndex": service.modify_index,
    });
    let mut add = |key: &str, value: Value| shown[key] = value;
    if !service.kind.is_empty() {
        add("Kind", json!(service.kind));
    }
    if port != 0 {
        add("Port", json!(port));
    }
    if let Some(ports) = &service.ports {
        add("Ports", named_ports(ports));
    }
    if let Some(addresses) = &service.tagged_addresses {
        add("TaggedAddresses", tagged(addresses));
    }
    if let Some((region, zone)) = &service.locality {
        add("Locality", json!({"Region": region, "Zone": zone}));
    }
    shown
}

/// A line of `/v1/catalog/service/NAME`.
pub(super) fn catalog_service(node: &Node, service: &ServiceRecord, datacenter: &str) -> Value {
    let mut line = json!({
        "ID": node.id, "Node": node.name, "Address": node.address, "Datacenter": datacenter,
        "TaggedAddresses": node.tagged_addresses, "NodeMeta": node.meta,
        "ServiceKind": service.kind, "ServiceID": service.id, "ServiceName": service.name, "ServiceTags": list(&service.tags),
        "ServiceAddress": service.address, "ServiceWeights": weights(service),
        "ServiceMeta": service.meta.clone().unwrap_or_default(), "ServicePort": service.shown_port(),
        "ServicePorts": service.ports.as_deref().map(named_ports), "ServiceSocketPath": "",
        "ServiceEnableTagOverride": false, "ServiceProxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
        "ServiceConnect": {},
        "ServiceLocality": service.locality.as_ref().map(|(region, zone)| json!({"Region": region, "Zone": zone})),
        "CreateIndex": service.create_index, "ModifyIndex": service.modify_index,
    });
    if let Some(addresses) = &service.tagged_addresses {
        line["ServiceTaggedAddresses"] = tagged(addresses);
    }
    line
}

pub(super) fn check(check: &CheckRecord, tags: &Value) -> Value {
    json!({
        "Node": check.node, "CheckID": check.id, "Name": check.name, "Status": check.status, "Notes": check.notes,
        "Output": check.output, "ServiceID": check.service_id, "ServiceName": check.service_name, "ServiceTags": tags,
        "Type": check.kind, "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {},
        "CreateIndex": check.create_index, "ModifyIndex": check.modify_index,
    })
}

/// Tags as reads show them: never null.
pub(super) fn list(tags: &Option<Vec<String>>) -> Value {
    json!(tags.clone().unwrap_or_default())
}

fn weights(service: &ServiceRecord) -> Value {
    json!({"Passing": service.weights.passing, "Warning": service.weights.warning})
}

fn named_ports(ports: &[NamedPort]) -> Value {
    let port = |port: &NamedPort| json!({"Name": port.name, "Port": port.port, "Default": port.default});
    ports.iter().map(port).collect()
}

fn tagged(addresses: &BTreeMap<String, TaggedAddress>) -> Value {
    let entry = |(name, at): (&String, &TaggedAddress)| (name.clone(), json!({"Address": at.address, "Port": at.port}));
    Value::Object(addresses.iter().map(entry).collect::<Map<_, _>>())
}
