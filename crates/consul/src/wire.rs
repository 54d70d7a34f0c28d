//! Consul's JSON answers, and nothing of it outside of this crate. Every part is read by itself: an unreadable one costs itself,
//! not the answer. What has no identity (no node name, no service ID) is dropped and counted.

use std::collections::BTreeMap;

use consul8s_core::consul::{
    Check, CheckStatus, Instance, NamedPort, NodeRecord, NodeService, NodeView, TaggedAddress,
};
use consul8s_core::few::Few;
use consul8s_core::import::Catalog;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::lenient::{elements, index, number, or_default, part, text, text_map, texts};

/// Tagged addresses that the server itself hands out for its mesh.
const SERVER_MADE: &str = "consul-virtual";

/// Something read, and how many entries were dropped on the way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) dropped: usize,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    node: Option<&'a RawValue>,
    #[serde(borrow)]
    service: Option<&'a RawValue>,
    #[serde(borrow)]
    checks: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    #[serde(deserialize_with = "text")]
    node: String,
    #[serde(deserialize_with = "text")]
    address: String,
    #[serde(deserialize_with = "text")]
    datacenter: String,
    #[serde(deserialize_with = "text_map")]
    meta: BTreeMap<String, String>,
    #[serde(deserialize_with = "text_map")]
    tagged_addresses: BTreeMap<String, String>,
    #[serde(deserialize_with = "index")]
    modify_index: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID", deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "text")]
    service: String,
    #[serde(deserialize_with = "text")]
    kind: String,
    #[serde(deserialize_with = "text")]
    address: String,
    #[serde(deserialize_with = "number")]
    port: i64,
    #[serde(borrow)]
    ports: Option<&'a RawValue>,
    #[serde(deserialize_with = "texts")]
    tags: Vec<String>,
    #[serde(deserialize_with = "text_map")]
    meta: BTreeMap<String, String>,
    #[serde(borrow)]
    tagged_addresses: Option<&'a RawValue>,
    #[serde(borrow)]
    weights: Option<&'a RawValue>,
    #[serde(borrow)]
    locality: Option<&'a RawValue>,
    #[serde(deserialize_with = "index")]
    modify_index: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Port {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "number")]
    port: i64,
    #[serde(deserialize_with = "or_default")]
    default: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Tagged {
    #[serde(deserialize_with = "text")]
    address: String,
    #[serde(deserialize_with = "number")]
    port: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Weights {
    #[serde(deserialize_with = "number")]
    passing: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Locality {
    #[serde(deserialize_with = "text")]
    zone: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct WireCheck<'a> {
    #[serde(deserialize_with = "text")]
    node: String,
    #[serde(rename = "CheckID", deserialize_with = "text")]
    check_id: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    status: String,
    /// Read only where it is wanted: it is the largest part of an answer.
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(rename = "ServiceID", deserialize_with = "text")]
    service_id: String,
    #[serde(deserialize_with = "index")]
    modify_index: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NodeServices<'a> {
    #[serde(borrow)]
    node: Option<&'a RawValue>,
    #[serde(borrow)]
    services: Option<&'a RawValue>,
}

/// `/v1/health/service/NAME`.
pub(crate) fn instances(body: &[u8]) -> Result<Parsed<Vec<Instance>>, serde_json::Error> {
    list(body, |raw| {
        let entry: Entry<'_> = part(Some(raw))?;
        let node: Node = part(entry.node)?;
        let service: Service<'_> = part(entry.service)?;
        let checks = elements(entry.checks).into_iter().map(check_or_critical).collect();
        (!node.node.is_empty() && !service.id.is_empty()).then(|| instance(node, service, checks))
    })
}

/// `/v1/health/node/NAME`.
pub(crate) fn checks(body: &[u8]) -> Result<Parsed<Vec<Check>>, serde_json::Error> {
    list(body, |raw| check(part(Some(raw))?))
}

/// `/v1/catalog/node-services/NAME`; none when there is no such node.
pub(crate) fn node_view(body: &[u8]) -> Result<Parsed<Option<NodeView>>, serde_json::Error> {
    let answer: Option<NodeServices<'_>> = serde_json::from_slice(body)?;
    let said_nothing = answer.as_ref().is_some_and(|answer| answer.node.is_none() && answer.services.is_none());
    if said_nothing {
        // Consul says null, or `{"Node":null,…}`. Anything else is somebody else's answer.
        let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(body)?;
        if !fields.contains_key("Node") {
            return Err(serde::de::Error::missing_field("Node"));
        }
    }
    let NodeServices { node, services } = answer.unwrap_or_default();
    let Some(node) = part::<Node>(node).filter(|node| !node.node.is_empty()) else {
        return Ok(Parsed { value: None, dropped: 0 });
    };
    let listed = elements(services);
    let count = listed.len();
    let services: BTreeMap<String, NodeService> = listed
        .into_iter()
        .filter_map(|raw| node_service_of(part(Some(raw))?))
        .map(|service| (service.id.clone(), service))
        .collect();
    let dropped = count - services.len();
    Ok(Parsed { value: Some(NodeView { node: record(node), services, checks: BTreeMap::new() }), dropped })
}

/// `/v1/catalog/nodes`: their names.
pub(crate) fn node_names(body: &[u8]) -> Result<Parsed<Vec<String>>, serde_json::Error> {
    list(body, |raw| part::<Node>(Some(raw)).map(|node| node.node).filter(|name| !name.is_empty()))
}

/// `/v1/catalog/services`. Tags in one order: Consul's own differs from answer to answer.
pub(crate) fn catalog(body: &[u8]) -> Result<Parsed<Catalog>, serde_json::Error> {
    let listed: Option<BTreeMap<String, Option<&RawValue>>> = serde_json::from_slice(body)?;
    let service = |(name, tags): (String, Option<&RawValue>)| {
        let mut tags: Vec<String> = elements(tags).into_iter().filter_map(|raw| part(Some(raw))).collect();
        tags.sort();
        tags.dedup();
        (name, tags)
    };
    Ok(Parsed { value: listed.unwrap_or_default().into_iter().map(service).collect(), dropped: 0 })
}

/// A node record by itself, as a transaction returns it.
pub(crate) fn node_record(raw: &RawValue) -> Option<NodeRecord> {
    part(Some(raw)).map(record)
}

/// A service by itself, as a transaction returns it.
pub(crate) fn node_service(raw: &RawValue) -> Option<NodeService> {
    node_service_of(part(Some(raw))?)
}

/// A check by itself, as a transaction returns it.
pub(crate) fn node_check(raw: &RawValue) -> Option<Check> {
    check(part(Some(raw))?)
}

fn list<T>(body: &[u8], read: impl Fn(&RawValue) -> Option<T>) -> Result<Parsed<Vec<T>>, serde_json::Error> {
    let listed: Option<Vec<&RawValue>> = serde_json::from_slice(body)?;
    let listed = listed.unwrap_or_default();
    let count = listed.len();
    // Not a byte more than is needed: it is kept for as long as it is true.
    let mut value: Vec<T> = Vec::with_capacity(count);
    value.extend(listed.into_iter().filter_map(read));
    value.shrink_to_fit();
    let dropped = count - value.len();
    Ok(Parsed { value, dropped })
}

fn instance(node: Node, service: Service<'_>, checks: Vec<Check>) -> Instance {
    let ports = elements(service.ports).into_iter().filter_map(|raw| part(Some(raw))).map(named_port).collect();
    let zone = part::<Locality>(service.locality).map(|locality| locality.zone).filter(|zone| !zone.is_empty());
    let tagged_addresses = tagged(service.tagged_addresses);
    Instance {
        node: node.node,
        node_address: node.address,
        node_meta: node.meta.into(),
        datacenter: node.datacenter,
        id: service.id,
        name: service.service,
        kind: service.kind,
        address: service.address,
        port: service.port,
        ports,
        tags: service.tags,
        meta: service.meta.into(),
        tagged_addresses,
        node_tagged_addresses: node.tagged_addresses.into(),
        zone,
        checks,
    }
}

fn named_port(port: Port) -> NamedPort {
    NamedPort { name: port.name, port: port.port, default: port.default }
}

fn tagged(raw: Option<&RawValue>) -> Few<TaggedAddress> {
    let map: BTreeMap<String, &RawValue> = part(raw).unwrap_or_default();
    map.into_iter()
        .filter(|(key, _)| key != SERVER_MADE && !key.starts_with("consul-virtual:"))
        .filter_map(|(key, raw)| {
            let Tagged { address, port } = part(Some(raw))?;
            Some((key, TaggedAddress { address, port }))
        })
        .collect()
}

fn record(node: Node) -> NodeRecord {
    NodeRecord { name: node.node, address: node.address, meta: node.meta, modify_index: node.modify_index }
}

fn node_service_of(service: Service<'_>) -> Option<NodeService> {
    // Absent weights are 1 to Consul.
    let weight = part::<Weights>(service.weights).map_or(1, |weights| weights.passing);
    (!service.id.is_empty()).then_some(NodeService {
        id: service.id,
        name: service.service,
        address: service.address,
        port: service.port,
        tags: service.tags,
        meta: service.meta,
        weight,
        modify_index: service.modify_index,
    })
}

/// A check of an instance, as far as it is read. An unreadable one counts as critical: what can't be understood is not called healthy.
fn check_or_critical(raw: &RawValue) -> Check {
    let wire = part::<WireCheck<'_>>(Some(raw)).unwrap_or_default();
    Check {
        node: String::new(),
        id: wire.check_id,
        name: String::new(),
        service_id: wire.service_id,
        status: CheckStatus::parse(&wire.status),
        output: String::new(),
        modify_index: wire.modify_index,
    }
}

fn check(wire: WireCheck<'_>) -> Option<Check> {
    (!wire.check_id.is_empty()).then(|| Check {
        node: wire.node,
        id: wire.check_id,
        name: wire.name,
        service_id: wire.service_id,
        status: CheckStatus::parse(&wire.status),
        output: part(wire.output).unwrap_or_default(),
        modify_index: wire.modify_index,
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
