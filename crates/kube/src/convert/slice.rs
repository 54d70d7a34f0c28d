//! EndpointSlices, which are read and written.

use std::collections::BTreeMap;

use consul8s_core::kube::{AddressType, Endpoint, KubeSlice, OwnerRef, SlicePort, SliceSpec};
use consul8s_core::names;
use consul8s_core::time::UnixMillis;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{collect, family, key, protocol};
use crate::item::FromWire;

impl FromWire for KubeSlice {
    type Wire = discovery::EndpointSlice;

    fn from_wire(object: discovery::EndpointSlice) -> KubeSlice {
        let meta = object.metadata;
        let mut annotations = meta.annotations.clone().unwrap_or_default();
        // Says when, not what: a slice that differs in it alone needs no write.
        annotations.remove(names::TRIGGER_TIME);
        KubeSlice {
            key: key(&meta),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.unwrap_or_default(),
            annotations,
            owners: collect(meta.owner_references.unwrap_or_default().into_iter().map(|owner| OwnerRef {
                kind: owner.kind,
                name: owner.name,
                uid: owner.uid,
            })),
            // What is no IP slice is none of ours, and FQDN is the only other kind there is.
            address_type: family(&object.address_type).map_or(AddressType::Fqdn, AddressType::Ip),
            endpoints: collect(object.endpoints.into_iter().filter_map(endpoint)),
            ports: collect(object.ports.unwrap_or_default().into_iter().filter_map(slice_port)),
        }
    }
}

/// The slice as it is sent, without uid and resourceVersion.
pub(crate) fn to_wire(spec: &SliceSpec) -> discovery::EndpointSlice {
    let mut annotations = spec.annotations.clone();
    annotations.remove(names::TRIGGER_TIME);
    if let Some(trigger) = spec.trigger.and_then(rfc3339) {
        annotations.insert(names::TRIGGER_TIME.to_owned(), trigger);
    }
    discovery::EndpointSlice {
        address_type: spec.family.to_string(),
        endpoints: spec.endpoints.iter().map(wire_endpoint).collect(),
        metadata: ObjectMeta {
            namespace: Some(spec.key.namespace.clone()),
            name: Some(spec.key.name.clone()),
            labels: some(spec.labels.clone()),
            annotations: some(annotations),
            owner_references: Some(vec![wire_owner(&spec.owner)]),
            ..ObjectMeta::default()
        },
        ports: Some(spec.ports.iter().filter_map(wire_port).collect()),
    }
}

fn rfc3339(at: UnixMillis) -> Option<String> {
    let timestamp = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(timestamp.to_string())
}

fn some(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

fn endpoint(endpoint: discovery::Endpoint) -> Option<Endpoint> {
    let conditions = endpoint.conditions.unwrap_or_default();
    let zones = endpoint.hints.and_then(|hints| hints.for_zones).unwrap_or_default();
    // The API's words: a nil `ready` is "an unknown state", to be read as ready; a nil `serving` defers to `ready`.
    let ready = conditions.ready.unwrap_or(true);
    Some(Endpoint {
        address: endpoint.addresses.into_iter().next()?,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node_name: endpoint.node_name,
        zone: endpoint.zone,
        hint_zones: zones.into_iter().map(|zone| zone.name).collect(),
        target: endpoint
            .target_ref
            .map(|target| format!("{}/{}", target.kind.unwrap_or_default(), target.name.unwrap_or_default())),
    })
}

fn slice_port(port: discovery::EndpointPort) -> Option<SlicePort> {
    Some(SlicePort {
        protocol: protocol(port.protocol.as_deref())?,
        name: port.name.unwrap_or_default(),
        port: port.port.map(i64::from),
        app_protocol: port.app_protocol,
    })
}

fn wire_endpoint(endpoint: &Endpoint) -> discovery::Endpoint {
    let Endpoint { address, ready, serving, terminating, node_name, zone, hint_zones, target: _ } = endpoint;
    let zones = hint_zones.iter().map(|name| discovery::ForZone { name: name.clone() }).collect::<Vec<_>>();
    discovery::Endpoint {
        addresses: vec![address.clone()],
        // All three, always: what is left out means something else for each of them.
        conditions: Some(discovery::EndpointConditions {
            ready: Some(*ready),
            serving: Some(*serving),
            terminating: Some(*terminating),
        }),
        hints: (!zones.is_empty()).then_some(discovery::EndpointHints { for_zones: Some(zones), for_nodes: None }),
        node_name: node_name.clone(),
        zone: zone.clone(),
        ..discovery::Endpoint::default()
    }
}

fn wire_port(port: &SlicePort) -> Option<discovery::EndpointPort> {
    Some(discovery::EndpointPort {
        // Also when empty: kube-proxy passes over a port whose name is absent.
        name: Some(port.name.clone()),
        port: Some(i32::try_from(port.port?).ok()?),
        protocol: Some(port.protocol.to_string()),
        app_protocol: port.app_protocol.clone(),
    })
}

fn wire_owner(owner: &OwnerRef) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        // `true` would only matter to a foreground deletion of the Service, and under OwnerReferencesPermissionEnforcement it needs the
        // permission to update `services/finalizers`, which we have no other use for.
        block_owner_deletion: Some(false),
    }
}

#[cfg(test)]
mod tests {
    use consul8s_core::kube::{Family, ObjectKey, Protocol};
    use serde_json::{Value, json};

    use super::*;

    fn slice(object: Value) -> KubeSlice {
        KubeSlice::from_wire(serde_json::from_value(object).unwrap())
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn spec() -> SliceSpec {
        SliceSpec {
            key: ObjectKey::new("shop", "web-1"),
            family: Family::V6,
            labels: map(&[(names::LABEL_SERVICE_NAME, "web"), (names::LABEL_MANAGED_BY, names::MANAGED_BY)]),
            annotations: map(&[(names::SLICE_OWNER, "abc")]),
            owner: OwnerRef { kind: "Service".into(), name: "web".into(), uid: "u-1".into() },
            endpoints: vec![
                Endpoint { address: "fd00::1".into(), ready: true, serving: true, ..Endpoint::default() },
                Endpoint {
                    address: "fd00::2".into(),
                    terminating: true,
                    node_name: Some("n1".into()),
                    zone: Some("z1".into()),
                    hint_zones: vec!["z1".into(), "z2".into()],
                    ..Endpoint::default()
                },
            ],
            ports: vec![
                SlicePort { name: String::new(), protocol: Protocol::Tcp, port: Some(8080), app_protocol: None },
                SlicePort {
                    name: "dns".into(),
                    protocol: Protocol::Udp,
                    port: Some(65535),
                    app_protocol: Some("kubernetes.io/h2c".into()),
                },
            ],
            trigger: Some(UnixMillis(1_795_000_000_123)),
        }
    }

    #[test]
    fn a_slice_comes_back_as_it_was_meant() {
        for trigger in [None, Some(UnixMillis(1_795_000_000_123))] {
            let spec = SliceSpec { trigger, ..spec() };
            let back = slice(serde_json::to_value(to_wire(&spec)).unwrap());
            let SliceSpec { key, family, labels, annotations, owner, endpoints, ports, trigger: _ } = spec;
            assert_eq!(back.key, key);
            assert_eq!(back.address_type, AddressType::Ip(family));
            assert_eq!(back.labels, labels);
            assert_eq!(back.annotations, annotations);
            assert_eq!(back.owners, vec![owner]);
            assert_eq!(back.endpoints, endpoints);
            assert_eq!(back.ports, ports);
            assert!(!back.deleting);
        }
    }

    #[test]
    fn what_is_sent() {
        let sent = serde_json::to_value(to_wire(&spec())).unwrap();
        assert_eq!(sent["apiVersion"], "discovery.k8s.io/v1");
        assert_eq!(sent["addressType"], "IPv6");
        assert_eq!(
            sent["metadata"]["annotations"],
            json!({names::SLICE_OWNER: "abc", names::TRIGGER_TIME: "2026-11-18T11:06:40.123Z"})
        );
        assert_eq!(
            sent["metadata"]["ownerReferences"],
            json!([{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u-1",
                    "controller": true, "blockOwnerDeletion": false}])
        );
        assert_eq!(
            sent["endpoints"],
            json!([
                {"addresses": ["fd00::1"], "conditions": {"ready": true, "serving": true, "terminating": false}},
                {"addresses": ["fd00::2"], "conditions": {"ready": false, "serving": false, "terminating": true},
                 "nodeName": "n1", "zone": "z1", "hints": {"forZones": [{"name": "z1"}, {"name": "z2"}]}},
            ])
        );
        assert_eq!(
            sent["ports"],
            json!([{"name": "", "port": 8080, "protocol": "TCP"},
                   {"name": "dns", "port": 65535, "protocol": "UDP", "appProtocol": "kubernetes.io/h2c"}])
        );
    }

    #[test]
    fn without_a_trigger_there_is_no_time() {
        let stale = SliceSpec { annotations: map(&[(names::TRIGGER_TIME, "old")]), trigger: None, ..spec() };
        let sent = to_wire(&stale);
        assert_eq!(sent.metadata.annotations, None);
    }

    #[test]
    fn foreign_slices_are_read_as_they_are() {
        let got = slice(json!({
            "metadata": {"namespace": "shop", "name": "x", "uid": "u", "resourceVersion": "5", "deletionTimestamp": "2026-11-18T00:00:00Z",
                         "annotations": {names::TRIGGER_TIME: "2026-11-18T00:00:00.5Z", "a": "b"},
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": "web", "uid": "e"}]},
            "addressType": "FQDN",
            "endpoints": [
                {"addresses": ["a.example", "b.example"], "targetRef": {"kind": "Pod", "name": "p"}},
                {"addresses": null},
                {"addresses": ["c"], "conditions": {"ready": null, "serving": false}},
                {"addresses": ["d"], "conditions": {"ready": false}},
                {"addresses": ["e"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            ],
            "ports": [{"port": 70000}, {"name": "n", "protocol": "UDP"}, {"name": "odd", "protocol": "QUIC", "port": 1}],
        }));
        assert_eq!(got.address_type, AddressType::Fqdn);
        assert!(got.deleting);
        assert_eq!(got.annotations, map(&[("a", "b")]));
        assert_eq!(got.owners[0].kind, "Endpoints");
        let shown: Vec<_> =
            got.endpoints.iter().map(|e| (e.address.as_str(), e.ready, e.serving, e.terminating)).collect();
        assert_eq!(
            shown,
            [
                ("a.example", true, true, false),
                ("c", true, false, false),
                ("d", false, false, false),
                ("e", false, true, true),
            ]
        );
        assert_eq!(got.endpoints[0].target.as_deref(), Some("Pod/p"));
        assert_eq!(got.ports.iter().map(|p| p.port).collect::<Vec<_>>(), [Some(70000), None]);
    }

    #[test]
    fn null_absent_and_empty_lists_are_the_same() {
        for object in [
            json!({"metadata": {}, "addressType": "IPv4", "endpoints": null, "ports": null}),
            json!({"metadata": {"labels": null}, "addressType": "IPv4"}),
            json!({"addressType": "IPv4", "endpoints": [], "ports": []}),
        ] {
            let got = slice(object);
            assert!(got.endpoints.is_empty() && got.ports.is_empty() && got.labels.is_empty());
        }
    }
}
