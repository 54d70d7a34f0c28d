//! Both worlds' objects as short texts, which are easy to write down and to compare.

use std::net::IpAddr;

use serde_json::Value;

use super::consul::list;
use super::kube::text;

/// The endpoints of slices, sorted: `10.0.0.1:8080 ready`, `[fd00::1]:8080 not-ready`, `10.0.0.1:80,81 draining`.
pub(crate) fn endpoints(slices: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = slices.iter().flat_map(endpoints_of).collect();
    lines.sort();
    lines
}

fn endpoints_of(slice: &Value) -> Vec<String> {
    let ports: Vec<String> = list(&slice["ports"]).iter().map(|port| port["port"].to_string()).collect();
    let ports = ports.join(",");
    let line =
        |endpoint: &Value| format!("{}:{ports} {}", bracketed(&text(&endpoint["addresses"][0])), state(endpoint));
    list(&slice["endpoints"]).iter().map(line).collect()
}

/// The contract's three kinds of conditions, or what they are instead.
fn state(endpoint: &Value) -> String {
    let condition = |name: &str| endpoint["conditions"][name].as_bool();
    match (condition("ready"), condition("serving"), condition("terminating")) {
        (Some(true), Some(true), Some(false)) => "ready".to_owned(),
        (Some(false), Some(false), Some(false)) => "not-ready".to_owned(),
        (Some(false), Some(true), Some(true)) => "draining".to_owned(),
        other => format!("(ready, serving, terminating) = {other:?}"),
    }
}

/// An entry of `/v1/health/service`: `ID ADDRESS:PORT STATUS`, and ` tags=a,b` if it has any. The status is the worst of
/// its checks.
pub(crate) fn registration(entry: &Value) -> String {
    let service = &entry["Service"];
    let address = bracketed(&text(&service["Address"]));
    let tags: Vec<String> = list(&service["Tags"]).iter().map(text).collect();
    let tags = if tags.is_empty() { String::new() } else { format!(" tags={}", tags.join(",")) };
    // Consul leaves out a port that is 0.
    let port = service["Port"].as_i64().unwrap_or(0);
    format!("{} {address}:{port} {}{tags}", text(&service["ID"]), worst(&entry["Checks"]))
}

fn worst(checks: &Value) -> &'static str {
    let checks = list(checks);
    let any = |status: &str| checks.iter().any(|check| check["Status"] == status);
    match (checks.len(), any("critical"), any("warning")) {
        (0, _, _) => "unchecked",
        (_, true, _) => "critical",
        (_, false, true) => "warning",
        (_, false, false) => "passing",
    }
}

fn bracketed(address: &str) -> String {
    if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{address}]") } else { address.to_owned() }
}

/// What stands for the version of a Service: all that it says but our condition, which follows a moment after everything else.
pub(crate) fn untold(service: &Value) -> String {
    let mut rest = service.clone();
    for key in ["resourceVersion", "managedFields"] {
        rest["metadata"][key] = Value::Null;
    }
    let mut conditions = list(&rest["status"]["conditions"]);
    conditions.retain(|condition| condition["type"] != "consul8s/Synced");
    rest["status"]["conditions"] = Value::Array(conditions);
    rest.to_string()
}

/// Names of what differs between two sorted lists of `(name, value)`.
pub(crate) fn differences(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let missing = |from: &[(String, String)], entry: &(String, String)| !from.contains(entry);
    let gone = before.iter().filter(|entry| missing(after, entry)).map(|(name, value)| format!("- {name} at {value}"));
    let come = after.iter().filter(|entry| missing(before, entry)).map(|(name, value)| format!("+ {name} at {value}"));
    gone.chain(come).collect()
}
