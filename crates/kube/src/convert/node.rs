//! Nodes, which are only read.

use consul8s_core::kube::{KubeNode, NodeAddressKind};
use k8s_openapi::api::core::v1 as core_v1;

use super::millis;
use crate::item::FromWire;

impl FromWire for KubeNode {
    type Wire = core_v1::Node;

    fn from_wire(object: core_v1::Node) -> KubeNode {
        let status = object.status.unwrap_or_default();
        let taints = object.spec.and_then(|spec| spec.taints).unwrap_or_default();
        // A node that says nothing about itself is not known to be ready.
        let ready = status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Ready");
        KubeNode {
            name: object.metadata.name.unwrap_or_default(),
            labels: object.metadata.labels.unwrap_or_default(),
            taints: taints.into_iter().map(|taint| taint.key).collect(),
            addresses: status.addresses.unwrap_or_default().into_iter().filter_map(address).collect(),
            ready: ready.as_ref().is_some_and(|condition| condition.status == "True"),
            ready_changed: ready
                .and_then(|condition| condition.last_transition_time)
                .as_ref()
                .map(millis)
                .unwrap_or_default(),
        }
    }
}

/// Names of a node (`Hostname`, `InternalDNS`, …) are not addresses that everybody can resolve.
fn address(address: core_v1::NodeAddress) -> Option<(NodeAddressKind, String)> {
    let kind = match address.type_.as_str() {
        "ExternalIP" => NodeAddressKind::External,
        "InternalIP" => NodeAddressKind::Internal,
        _ => return None,
    };
    Some((kind, address.address))
}

#[cfg(test)]
mod tests {
    use consul8s_core::time::UnixMillis;
    use serde_json::{Value, json};

    use super::*;

    fn node(object: Value) -> KubeNode {
        KubeNode::from_wire(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_node() {
        let got = node(json!({
            "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}},
            "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n1"},
                    {"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "ExternalIP", "address": "203.0.113.1"},
                    {"type": "InternalIP", "address": "fd00::1"},
                ],
                "conditions": [
                    {"type": "MemoryPressure", "status": "True", "lastTransitionTime": "2026-11-18T00:00:00Z"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-18T11:06:40Z",
                     "lastHeartbeatTime": "2026-11-18T12:00:00Z"},
                ],
            },
        }));
        let (external, internal) = (NodeAddressKind::External, NodeAddressKind::Internal);
        assert_eq!(
            got,
            KubeNode {
                name: "n1".into(),
                labels: [("topology.kubernetes.io/zone".to_owned(), "a".to_owned())].into(),
                taints: vec!["ToBeDeletedByClusterAutoscaler".into()],
                addresses: vec![
                    (internal, "10.0.0.1".into()),
                    (external, "203.0.113.1".into()),
                    (internal, "fd00::1".into())
                ],
                ready: true,
                ready_changed: UnixMillis(1_795_000_000_000),
            }
        );
    }

    #[test]
    fn what_does_not_say_that_it_is_ready_is_not() {
        for status in [
            json!(null),
            json!({}),
            json!({"addresses": null, "conditions": null}),
            json!({"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": null}]}),
            json!({"conditions": [{"type": "Ready", "status": "False"}]}),
        ] {
            let got = node(json!({"metadata": {"name": "n1"}, "status": status}));
            assert!(!got.ready && got.addresses.is_empty() && got.taints.is_empty());
        }
    }
}
