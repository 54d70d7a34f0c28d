//! What Consul refuses to store, in its own words. It is little: ports, names and addresses go in almost unchecked.

use std::collections::BTreeMap;

use super::record::{CheckRecord, Node, ServiceRecord};

/// A refused write, in Consul's words. Over HTTP a 500, inside a transaction one entry of its errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

const META_PAIRS: usize = 64;
const META_KEY_CHARS: usize = 128;
const META_VALUE_CHARS: usize = 512;

/// A refusal of one sentence.
pub(super) fn refuse<T>(what: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(what.into()))
}

/// A node needs a name; its address may be anything.
pub(super) fn check_node(node: &Node) -> Result<(), Refused> {
    if node.name.is_empty() { refuse("Must provide node") } else { Ok(()) }
}

/// The checks made before a service reaches the store. An ID without a name, and an address that means "any", are refused.
pub(super) fn check_service(service: &ServiceRecord) -> Result<(), Refused> {
    if service.name.is_empty() && !service.id.is_empty() {
        return refuse("Must provide service name (Service.Service) when service ID is provided");
    }
    if matches!(service.address.as_str(), "0.0.0.0" | "::" | "[::]") {
        return refuse("Invalid service address");
    }
    check_ports(service)
}

/// `Port` and `Ports` exclude each other, and one of `Ports` is the default.
fn check_ports(service: &ServiceRecord) -> Result<(), Refused> {
    let Some(ports) = service.ports.as_ref().filter(|ports| !ports.is_empty()) else { return Ok(()) };
    let mut errors = Vec::new();
    if service.port != 0 {
        errors.push("Cannot set both Port and Ports");
    }
    if !ports.iter().any(|port| port.default) {
        errors.push("One of the Ports must be marked as Default");
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => refuse(format!("1 error occurred:\n\t* {one}\n\n")),
        more => refuse(format!("{} errors occurred:\n\t* {}\n\n", more.len(), more.join("\n\t* "))),
    }
}

/// The store's own check of a service's meta.
pub(super) fn check_meta(node: &str, service: &ServiceRecord) -> Result<(), Refused> {
    let Some(meta) = &service.meta else { return Ok(()) };
    let at = format!("Invalid Service Meta for node {node} and serviceID {}", service.id);
    match meta_problem(meta) {
        Some(problem) => refuse(format!("{at}: {problem}")),
        None => Ok(()),
    }
}

fn meta_problem(meta: &BTreeMap<String, String>) -> Option<String> {
    if meta.len() > META_PAIRS {
        return Some(format!("Node metadata cannot contain more than {META_PAIRS} key/value pairs"));
    }
    meta.iter().find_map(|(key, value)| {
        let problem = pair_problem(key, value)?;
        Some(format!("Couldn't load metadata pair ('{key}', '{value}'): {problem}"))
    })
}

fn pair_problem(key: &str, value: &str) -> Option<String> {
    if key.is_empty() {
        return Some("Key cannot be blank".into());
    }
    if !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Some("Key contains invalid characters".into());
    }
    if key.len() > META_KEY_CHARS {
        return Some(format!("Key is too long (limit: {META_KEY_CHARS} characters)"));
    }
    if key.starts_with("consul-") {
        return Some("Key prefix 'consul-' is reserved for internal use".into());
    }
    if value.len() > META_VALUE_CHARS {
        return Some(format!("Value is too long (limit: {META_VALUE_CHARS} characters)"));
    }
    None
}

/// A check of the request's own node only.
pub(super) fn check_check(check: &CheckRecord, node: &str) -> Result<(), Refused> {
    if check.node.is_empty() || check.node == node {
        return Ok(());
    }
    let CheckRecord { node: other, id, .. } = check;
    refuse(format!("Node '{other}' for check '{id}' doesn't match register request node '{node}'"))
}
