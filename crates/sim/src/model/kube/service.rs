//! What the API server defaults in, allocates for and refuses of a Service.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::failure::Cause;
use super::object::{name_of, section, text_at};
use super::slice::{NOT_A_LABEL, is_dns_label};

/// Numbers to hand out. They only go up: a Service made again gets another address.
#[derive(Clone, Debug)]
pub(super) struct Allocator {
    /// Last address handed out of 10.96.0.0/12, as an offset.
    v4: u32,
    /// Last address handed out of fd00:96::/112, as an offset.
    v6: u16,
    /// Last node port handed out of 30000–32767.
    node_port: u16,
}

impl Default for Allocator {
    fn default() -> Self {
        // 10.96.0.1 is the API's own, 10.96.0.10 by custom the DNS server's.
        Allocator { v4: 10, v6: 10, node_port: 30_000 }
    }
}

impl Allocator {
    fn address(&mut self, family: &str) -> String {
        if family == "IPv6" {
            self.v6 += 1;
            return Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, self.v6).to_string();
        }
        self.v4 += 1;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 0)) + self.v4).to_string()
    }

    fn node_port(&mut self) -> u16 {
        self.node_port += 1;
        self.node_port
    }
}

/// Fills in defaults. What a PUT leaves out of the allocated fields is taken over from the old object.
pub(super) fn default(service: &mut Value, old: Option<&Value>) {
    let spec = section(service, "spec");
    spec.entry("type").or_insert(json!("ClusterIP"));
    spec.entry("sessionAffinity").or_insert(json!("None"));
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if port["protocol"].is_null() {
            port["protocol"] = json!("TCP");
        }
        if port["targetPort"].is_null() {
            port["targetPort"] = port["port"].clone();
        }
    }
    if kind != "ExternalName" {
        spec.entry("internalTrafficPolicy").or_insert(json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        spec.entry("externalTrafficPolicy").or_insert(json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts").or_insert(json!(true));
    }
    if let Some(old) = old.filter(|_| kind != "ExternalName") {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old["spec"].get(key).filter(|_| spec.get(key).is_none_or(Value::is_null)) {
                spec.insert(key.to_owned(), value.clone());
            }
        }
        carry_node_ports(spec, &old["spec"], &kind);
    }
    families(spec, &kind);
    let status = section(service, "status");
    status.entry("loadBalancer").or_insert(json!({}));
    let ingress = status.get_mut("loadBalancer").and_then(|lb| lb.get_mut("ingress")).and_then(Value::as_array_mut);
    for entry in ingress.into_iter().flatten() {
        if entry["ip"].is_string() && entry["ipMode"].is_null() {
            entry["ipMode"] = json!("VIP");
        }
    }
}

fn carry_node_ports(spec: &mut Map<String, Value>, old: &Value, kind: &str) {
    let olds = old["ports"].as_array().cloned().unwrap_or_default();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = olds.iter().find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"]);
        if kind == "ClusterIP" {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        } else if let Some(number) = same.and_then(|old| old.get("nodePort")).filter(|_| port["nodePort"].is_null()) {
            port["nodePort"] = number.clone();
        }
    }
}

/// IPv4 alone unless more is asked for; a headless Service without selector gets both families.
fn families(spec: &mut Map<String, Value>, kind: &str) {
    if kind == "ExternalName" {
        return;
    }
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    if headless {
        spec.entry("clusterIPs").or_insert(json!(["None"]));
    }
    let selector = spec.get("selector").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    let policy = spec.get("ipFamilyPolicy").and_then(Value::as_str).map(str::to_owned);
    let wanted = spec.get("ipFamilies").and_then(Value::as_array).cloned().unwrap_or_default();
    let policy = policy.unwrap_or_else(|| {
        let both = (headless && !selector && wanted.is_empty()) || wanted.len() > 1;
        if both { "RequireDualStack" } else { "SingleStack" }.to_owned()
    });
    let families = match (wanted.as_slice(), policy.as_str()) {
        ([], "SingleStack") => json!(["IPv4"]),
        ([], _) => json!(["IPv4", "IPv6"]),
        ([one], "PreferDualStack" | "RequireDualStack") if one == "IPv6" => json!(["IPv6", "IPv4"]),
        ([_], "PreferDualStack" | "RequireDualStack") => json!(["IPv4", "IPv6"]),
        (given, _) => json!(given),
    };
    spec.insert("ipFamilyPolicy".to_owned(), json!(policy));
    spec.insert("ipFamilies".to_owned(), families);
}

/// Hands out cluster IPs and node ports where they are missing.
pub(super) fn allocate(service: &mut Value, allocator: &mut Allocator) {
    let kind = text_at(service, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    let families = service.pointer("/spec/ipFamilies").and_then(Value::as_array).cloned().unwrap_or_default();
    let spec = section(service, "spec");
    if spec.get("clusterIPs").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let given = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
        let mut ips: Vec<String> = given.into_iter().collect();
        for family in families.iter().skip(ips.len()) {
            ips.push(allocator.address(family.as_str().unwrap_or_default()));
        }
        spec.insert("clusterIPs".to_owned(), json!(ips));
    }
    let first = spec.get("clusterIPs").and_then(|ips| ips.get(0)).cloned().unwrap_or_default();
    spec.insert("clusterIP".to_owned(), first);
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if port["nodePort"].is_null() {
                port["nodePort"] = json!(allocator.node_port());
            }
        }
    }
}

/// Everything that is wrong with a Service.
pub(super) fn problems(service: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut problems = Vec::new();
    let name = name_of(service);
    if !is_dns_label(name) {
        problems.push(Cause::invalid("metadata.name", format!("{name:?}"), NOT_A_LABEL));
    }
    let kind = text_at(service, "/spec/type");
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName") {
        let known = "\"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"";
        problems.push(Cause::unsupported("spec.type", kind, known));
    }
    if let Some(old) = old.filter(|old| text_at(old, "/spec/type") != "ExternalName") {
        let (before, after) = (text_at(old, "/spec/clusterIP"), text_at(service, "/spec/clusterIP"));
        if kind != "ExternalName" && before != after {
            problems.push(Cause::invalid("spec.clusterIPs[0]", format!("[{after:?}]"), "may not change once set"));
        }
    }
    port_problems(service, kind, &mut problems);
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if kind != "LoadBalancer" && ingress.is_some_and(|list| !list.is_empty()) {
        problems.push(Cause {
            reason: "FieldValueForbidden",
            message: "Forbidden: may only be used when `spec.type` is 'LoadBalancer'".into(),
            field: "status.loadBalancer.ingress".into(),
        });
    }
    problems
}

fn port_problems(service: &Value, kind: &str, problems: &mut Vec<Cause>) {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let headless = text_at(service, "/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        problems.push(Cause::required("spec.ports"));
    }
    for (at, port) in ports.iter().enumerate() {
        let (name, field) = (text_at(port, "/name"), format!("spec.ports[{at}]"));
        let twice = ports[..at].iter().any(|other| text_at(other, "/name") == name);
        if name.is_empty() && ports.len() > 1 {
            problems.push(Cause::required(format!("{field}.name")));
        } else if twice {
            problems.push(Cause::duplicate(format!("{field}.name"), name));
        } else if !name.is_empty() && !is_dns_label(name) {
            problems.push(Cause::invalid(format!("{field}.name"), format!("{name:?}"), NOT_A_LABEL));
        }
        let number = &port["port"];
        if !number.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) {
            problems.push(Cause::invalid(format!("{field}.port"), number, "must be between 1 and 65535, inclusive"));
        }
        let protocol = text_at(port, "/protocol");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            let field = format!("{field}.protocol");
            problems.push(Cause::unsupported(field, protocol, "\"SCTP\", \"TCP\", \"UDP\""));
        }
    }
}
