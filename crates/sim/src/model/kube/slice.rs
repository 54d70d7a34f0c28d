//! What the API server defaults in and refuses of an EndpointSlice. Ports it takes as they come.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::failure::Cause;
use super::object::text_at;

const MAX_ENDPOINTS: usize = 1_000;
const MAX_ADDRESSES: usize = 100;

/// Fills in defaults: empty lists become null, ports get a name and a protocol, endpoints get conditions.
pub(super) fn default(slice: &mut Value) {
    for key in ["endpoints", "ports"] {
        if slice[key].as_array().is_none_or(Vec::is_empty) {
            slice[key] = Value::Null;
        }
    }
    for port in slice["ports"].as_array_mut().into_iter().flatten() {
        if port["name"].is_null() {
            port["name"] = json!("");
        }
        if port["protocol"].is_null() {
            port["protocol"] = json!("TCP");
        }
    }
    for endpoint in slice["endpoints"].as_array_mut().into_iter().flatten() {
        if endpoint["conditions"].is_null() {
            endpoint["conditions"] = json!({});
        }
    }
}

/// Everything that is wrong with a slice.
pub(super) fn problems(slice: &Value, old: Option<&Value>) -> Vec<Cause> {
    let kind = text_at(slice, "/addressType");
    let mut problems = Vec::new();
    if old.is_some_and(|old| text_at(old, "/addressType") != kind) {
        problems.push(Cause::invalid("addressType", "null", "field is immutable"));
        return problems;
    }
    match kind {
        "" => problems.push(Cause::required("addressType")),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => problems.push(Cause::unsupported("addressType", other, "\"FQDN\", \"IPv4\", \"IPv6\"")),
    }
    port_problems(slice, &mut problems);
    let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    if endpoints.len() > MAX_ENDPOINTS {
        let message = format!("Too many: {}: must have at most {MAX_ENDPOINTS} items", endpoints.len());
        problems.push(Cause { reason: "FieldValueTooMany", message, field: "endpoints".into() });
        return problems;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        address_problems(endpoint, kind, &format!("endpoints[{at}].addresses"), &mut problems);
    }
    problems
}

fn port_problems(slice: &Value, problems: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (at, port) in slice["ports"].as_array().into_iter().flatten().enumerate() {
        let (name, field) = (text_at(port, "/name"), format!("ports[{at}].name"));
        if !seen.insert(name) {
            problems.push(Cause::duplicate(field, name));
        } else if !name.is_empty() && !is_dns_label(name) {
            problems.push(Cause::invalid(field, format!("{name:?}"), NOT_A_LABEL));
        }
    }
}

fn address_problems(endpoint: &Value, kind: &str, field: &str, problems: &mut Vec<Cause>) {
    let addresses = endpoint["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    if addresses.is_empty() {
        problems.push(Cause::required(field));
    }
    if addresses.len() > MAX_ADDRESSES {
        let message = format!("Too many: {}: must have at most {MAX_ADDRESSES} items", addresses.len());
        problems.push(Cause { reason: "FieldValueTooMany", message, field: field.into() });
    }
    if !matches!(kind, "IPv4" | "IPv6") {
        return;
    }
    for (at, address) in addresses.iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if let Some(why) = address_problem(text, kind) {
            problems.push(Cause::invalid(format!("{field}[{at}]"), format!("{text:?}"), &why));
        }
    }
}

/// Why an address can't be an endpoint; none when it can.
fn address_problem(text: &str, kind: &str) -> Option<String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let quads: Vec<&str> = text.split('.').collect();
        let zeros = quads.len() == 4 && quads.iter().all(|quad| quad.parse::<u8>().is_ok());
        let plain = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return Some(if zeros { "must not have leading 0s" } else { plain }.to_owned());
    };
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if mapped {
        return Some("must not be an IPv4-mapped IPv6 address".to_owned());
    }
    if address.is_ipv4() != (kind == "IPv4") {
        return Some(format!("must be an {kind} address"));
    }
    if address.to_string() != text {
        return Some(format!("must be in canonical form (\"{address}\")"));
    }
    forbidden_range(address).map(str::to_owned)
}

fn forbidden_range(address: IpAddr) -> Option<&'static str> {
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if address.is_unspecified() {
        Some(if address.is_ipv4() { "may not be unspecified (0.0.0.0)" } else { "may not be unspecified (::)" })
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_local_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

/// The API server's words for a name that is no DNS-1123 label.
pub(super) const NOT_A_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// Whether a name is a DNS-1123 label.
pub(super) fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| inner(b) || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
