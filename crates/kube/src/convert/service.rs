//! Services, which are only read, but for our own condition.

use consul8s_core::kube::{Condition, ConditionStatus, Ingress, KubeService, ServicePort, ServiceType};
use consul8s_core::names;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_v1;

use super::{collect, family, key, millis, protocol};
use crate::item::FromWire;

impl FromWire for KubeService {
    type Wire = core_v1::Service;

    fn from_wire(object: core_v1::Service) -> KubeService {
        let spec = object.spec.unwrap_or_default();
        let status = object.status.unwrap_or_default();
        let ingress = status.load_balancer.and_then(|balancer| balancer.ingress);
        let meta = object.metadata;
        let headless = spec.cluster_ip.as_deref() == Some("None");
        KubeService {
            key: key(&meta),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(millis).unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            service_type: service_type(spec.type_.as_deref()),
            selector: spec.selector.unwrap_or_default(),
            ports: collect(spec.ports.unwrap_or_default().into_iter().filter_map(service_port)),
            cluster_ips: cluster_ips(spec.cluster_ips, spec.cluster_ip),
            headless,
            ip_families: spec.ip_families.unwrap_or_default().iter().filter_map(|name| family(name)).collect(),
            external_ips: spec.external_ips.unwrap_or_default(),
            load_balancer: ingress
                .unwrap_or_default()
                .into_iter()
                .map(|entry| Ingress { ip: entry.ip, hostname: entry.hostname })
                .collect(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            traffic_distribution: spec.traffic_distribution,
            condition: status
                .conditions
                .unwrap_or_default()
                .into_iter()
                .find(|c| c.type_ == names::CONDITION_SYNCED)
                .map(condition),
        }
    }
}

fn condition(condition: meta_v1::Condition) -> Condition {
    Condition {
        status: ConditionStatus::parse(&condition.status),
        since: millis(&condition.last_transition_time),
        reason: condition.reason,
        message: condition.message,
    }
}

fn service_type(name: Option<&str>) -> ServiceType {
    match name {
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    }
}

fn cluster_ips(all: Option<Vec<String>>, first: Option<String>) -> Vec<String> {
    let all = all.filter(|ips| !ips.is_empty()).unwrap_or_else(|| first.into_iter().collect());
    all.into_iter().filter(|ip| !ip.is_empty() && ip != "None").collect()
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

fn service_port(port: core_v1::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        port: port_number(port.port)?,
        protocol: protocol(port.protocol.as_deref())?,
        name: port.name.unwrap_or_default(),
        app_protocol: port.app_protocol,
        node_port: port.node_port.and_then(port_number),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use consul8s_core::kube::{Family, ObjectKey, Protocol};
    use consul8s_core::time::UnixMillis;
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> KubeService {
        let object = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        KubeService::from_wire(serde_json::from_value(object).unwrap())
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn null_absent_and_empty_lists_are_the_same() {
        for spec in
            [json!(null), json!({}), json!({"ports": null, "selector": null, "clusterIPs": null, "ipFamilies": null})]
        {
            let got = service(&spec);
            assert_eq!(got, KubeService { key: ObjectKey::new("shop", "web"), ..KubeService::default() });
        }
    }

    #[test]
    fn a_service_is_read_whole() {
        let got = KubeService::from_wire(
            serde_json::from_value(json!({
                "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "9", "creationTimestamp": "2026-11-18T11:06:40Z",
                             "labels": {"l": "1"}, "annotations": {"a": "2"}},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
                         "ipFamilies": ["IPv4", "IPv6", "IPv8"], "externalIPs": ["1.2.3.4"], "selector": {"app": "web"},
                         "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": "named", "appProtocol": "http"},
                                   {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 0}],
                         "publishNotReadyAddresses": true, "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
                         "trafficDistribution": "PreferClose"},
                "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8", "ipMode": "VIP"}, {"hostname": "lb.example"}]},
                           "conditions": [
                    {"type": "Other", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-11-18T11:06:40Z"},
                    {"type": "consul8s/Synced", "status": "False", "reason": "NoAddress", "message": "why",
                     "lastTransitionTime": "2026-11-18T11:06:40Z"}]},
            }))
            .unwrap(),
        );
        let port = |name: &str, port, protocol, node_port, app_protocol: Option<&str>| ServicePort {
            name: name.to_owned(),
            port,
            protocol,
            app_protocol: app_protocol.map(str::to_owned),
            node_port,
        };
        let wanted = KubeService {
            key: ObjectKey::new("shop", "web"),
            uid: "u".into(),
            resource_version: "9".into(),
            created: UnixMillis(1_795_000_000_000),
            deleting: false,
            labels: map(&[("l", "1")]),
            annotations: map(&[("a", "2")]),
            service_type: ServiceType::LoadBalancer,
            selector: map(&[("app", "web")]),
            ports: vec![
                port("http", 80, Protocol::Tcp, Some(30080), Some("http")),
                port("dns", 53, Protocol::Udp, None, None),
            ],
            cluster_ips: vec!["10.0.0.1".into(), "fd00::1".into()],
            headless: false,
            ip_families: vec![Family::V4, Family::V6],
            external_ips: vec!["1.2.3.4".into()],
            load_balancer: vec![
                Ingress { ip: Some("5.6.7.8".into()), hostname: None },
                Ingress { ip: None, hostname: Some("lb.example".into()) },
            ],
            publish_not_ready: true,
            internal_local: true,
            external_local: true,
            traffic_distribution: Some("PreferClose".into()),
            condition: Some(Condition {
                status: ConditionStatus::False,
                reason: "NoAddress".into(),
                message: "why".into(),
                since: UnixMillis(1_795_000_000_000),
            }),
        };
        assert_eq!(got, wanted);
    }

    #[test]
    fn headless_and_bad_ports() {
        let got = service(&json!({"clusterIP": "None", "clusterIPs": ["None"],
            "ports": [{"port": 0}, {"port": -1}, {"port": 65536}, {"port": 1, "protocol": "QUIC"}, {"port": 65535}]}));
        assert!(got.headless && got.cluster_ips.is_empty());
        assert_eq!(got.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [65535]);
        assert_eq!(service(&json!({"clusterIP": "10.0.0.1"})).cluster_ips, ["10.0.0.1"]);
        assert_eq!(service(&json!({"clusterIP": ""})).cluster_ips, Vec::<String>::new());
        assert_eq!(service(&json!({"type": "ExternalName"})).service_type, ServiceType::ExternalName);
    }
}
