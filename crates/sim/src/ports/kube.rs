//! [`KubeApi`] and [`KubeWriter`] on the embedded Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::adopt::Endpoints;
use consul8s_core::import::{Definition, Import, NewService, Status};
use consul8s_core::kube::{
    AddressType, Condition, ConditionStatus, Endpoint, Family, Ingress, KubeNode, KubeService, KubeSlice,
    NodeAddressKind, ObjectKey, OwnerRef, Protocol, ServicePort, ServiceType, SlicePort, SliceSpec,
};
use consul8s_core::names;
use consul8s_core::neighbours::Pulse;
use consul8s_core::ports::{ApiError, KubeApi, KubeWriter};
use serde_json::{Map, Value, json};

use super::watch::WorldWatch;
use super::{admit, imports, kind_of};
use crate::model::kube::{Failure, Part, Preconditions, Resource, Selector, text_at, time_of};
use crate::world::KubeWorld;

impl KubeApi for KubeWorld {
    type Services = WorldWatch<KubeService>;
    type Slices = WorldWatch<KubeSlice>;
    type Nodes = WorldWatch<KubeNode>;
    type Imports = WorldWatch<Import>;

    fn watch_services(&self, namespace: Option<&str>) -> Self::Services {
        WorldWatch::new(self, Resource::Services, namespace, service)
    }

    fn watch_slices(&self, namespace: Option<&str>) -> Self::Slices {
        WorldWatch::new(self, Resource::EndpointSlices, namespace, slice)
    }

    fn watch_nodes(&self) -> Self::Nodes {
        WorldWatch::new(self, Resource::Nodes, None, node)
    }

    fn watch_imports(&self, namespace: Option<&str>) -> Self::Imports {
        WorldWatch::new(self, Resource::ConsulImports, namespace, imports::read)
    }

    async fn import_definition(&self) -> Result<Definition, ApiError> {
        imports::definition(self).await
    }

    async fn service(&self, key: &ObjectKey) -> Result<Option<KubeService>, ApiError> {
        let reply = admit(self).await?;
        let found = self.read(|cluster| cluster.get(Resource::Services, key));
        reply.deliver(found.ok().map(|object| service(&object)))
    }

    async fn endpoints(&self, key: &ObjectKey) -> Result<Option<Endpoints>, ApiError> {
        let reply = admit(self).await?;
        let found = self.read(|cluster| cluster.get(Resource::Endpoints, key));
        reply.deliver(found.ok().map(|object| endpoints(&object)))
    }

    async fn pulse(&self, key: &ObjectKey) -> Result<Option<Pulse>, ApiError> {
        let reply = admit(self).await?;
        let found = self.read(|cluster| cluster.get(Resource::Leases, key));
        reply.deliver(found.ok().map(|object| pulse(&object)))
    }

    async fn labelled(&self) -> Result<BTreeSet<ObjectKey>, ApiError> {
        let reply = admit(self).await?;
        let all = self.read(|cluster| cluster.list(Resource::Services, None, &Selector::default()));
        let services = all.iter().map(|object| service(object));
        let ours = services.filter(|service| {
            service.labels.contains_key(names::LABEL_SOURCE)
                || service.labels.get(names::LABEL_REGISTRATION).is_some_and(|value| value == "consul")
        });
        reply.deliver(ours.map(|service| service.key).collect())
    }

    async fn cluster_uid(&self) -> Result<String, ApiError> {
        let reply = admit(self).await?;
        let found = self.read(|cluster| cluster.get(Resource::Namespaces, &ObjectKey::new("", "kube-system")));
        let namespace = found.map_err(refused)?;
        reply.deliver(text_at(&namespace, "/metadata/uid").to_owned())
    }

    async fn services_version(&self, _namespace: Option<&str>) -> Result<Option<u64>, ApiError> {
        let reply = admit(self).await?;
        let version = self.read(|cluster| cluster.version());
        reply.deliver(version.to_string().parse().ok())
    }
}

impl KubeWorld {
    /// Its identity: the UID of `kube-system`.
    #[must_use]
    pub fn uid(&self) -> String {
        let found = self.read(|cluster| cluster.get(Resource::Namespaces, &ObjectKey::new("", "kube-system")));
        found.map(|namespace| text_at(&namespace, "/metadata/uid").to_owned()).unwrap_or_default()
    }
}

impl KubeWriter for KubeWorld {
    async fn create_slice(&self, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let reply = admit(self).await?;
        let object = slice_object(spec);
        let done = self.write(|cluster| cluster.create(Resource::EndpointSlices, &spec.key.namespace, object));
        let stored = done.map_err(refused)?;
        reply.deliver(slice(&stored))
    }

    async fn update_slice(&self, uid: &str, resource_version: &str, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let reply = admit(self).await?;
        let mut object = slice_object(spec);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["resourceVersion"] = json!(resource_version);
        let done = self.write(|cluster| cluster.replace(Resource::EndpointSlices, &spec.key, Part::Main, object));
        let stored = done.map_err(refused)?;
        reply.deliver(slice(&stored))
    }

    async fn delete_slice(&self, key: &ObjectKey, uid: &str, resource_version: &str) -> Result<(), ApiError> {
        let reply = admit(self).await?;
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let done = self.write(|cluster| cluster.delete(Resource::EndpointSlices, key, &only));
        match done {
            Err(why) if why.code != 404 => Err(refused(why)),
            Ok(_) | Err(_) => reply.deliver(()),
        }
    }

    async fn adopt_endpoints(&self, seen: &Endpoints, owner: Option<&str>) -> Result<(), ApiError> {
        let reply = admit(self).await?;
        let change = json!({"metadata": {
            "uid": seen.uid, "resourceVersion": seen.resource_version,
            "labels": {names::LABEL_SKIP_MIRROR: owner.map(|_| "true")},
            "annotations": {names::ADOPTED: owner},
        }});
        let done = self.write(|cluster| cluster.merge_patch(Resource::Endpoints, &seen.key, Part::Main, &change));
        match done {
            Err(why) if why.code == 404 && owner.is_none() => reply.deliver(()),
            Err(why) => Err(refused(why)),
            Ok(_) => reply.deliver(()),
        }
    }

    async fn create_service(&self, new: &NewService) -> Result<KubeService, ApiError> {
        imports::create(self, new).await
    }

    async fn delete_service(&self, service: &KubeService) -> Result<(), ApiError> {
        imports::delete(self, service).await
    }

    async fn orphan_service(&self, service: &KubeService) -> Result<(), ApiError> {
        imports::orphan(self, service).await
    }

    async fn remember_forgotten(&self, service: &KubeService, forgotten: bool) -> Result<(), ApiError> {
        imports::remember_forgotten(self, service, forgotten).await
    }

    async fn set_finalizers(&self, import: &Import, finalizers: &[String]) -> Result<(), ApiError> {
        imports::set_finalizers(self, import, finalizers).await
    }

    async fn set_import_status(&self, import: &Import, status: &Status) -> Result<(), ApiError> {
        imports::set_status(self, import, status).await
    }
}

fn pulse(object: &Value) -> Pulse {
    let spec = &object["spec"];
    Pulse {
        version: format!("{} {}", text_at(object, "/metadata/uid"), text_at(object, "/metadata/resourceVersion")),
        renewed: spec["renewTime"].as_str().map(time_of),
        duration: std::time::Duration::from_secs(spec["leaseDurationSeconds"].as_u64().unwrap_or_default()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
pub(super) fn refused(why: Failure) -> ApiError {
    ApiError::new(kind_of(why.code), why.message)
}

pub(super) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap_or_default().to_owned());
    map.into_iter().flatten().map(pair).collect()
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn strings(object: &Value, pointer: &str) -> Vec<String> {
    items(object, pointer).filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn optional(object: &Value, key: &str) -> Option<String> {
    object[key].as_str().map(str::to_owned)
}

pub(super) fn key_of(object: &Value) -> ObjectKey {
    ObjectKey::new(text_at(object, "/metadata/namespace"), text_at(object, "/metadata/name"))
}

pub(super) fn family(word: &str) -> Option<Family> {
    match word {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

pub(super) fn protocol(port: &Value) -> Protocol {
    match text_at(port, "/protocol") {
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

pub(super) fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}

pub(super) fn service(object: &Value) -> KubeService {
    let port = |port: &Value| ServicePort {
        name: text_at(port, "/name").to_owned(),
        port: number(&port["port"]).unwrap_or_default(),
        protocol: protocol(port),
        app_protocol: optional(port, "appProtocol"),
        node_port: number(&port["nodePort"]),
    };
    let ingress = |entry: &Value| Ingress { ip: optional(entry, "ip"), hostname: optional(entry, "hostname") };
    let cluster_ips = strings(object, "/spec/clusterIPs");
    KubeService {
        key: key_of(object),
        uid: text_at(object, "/metadata/uid").to_owned(),
        resource_version: text_at(object, "/metadata/resourceVersion").to_owned(),
        created: time_of(text_at(object, "/metadata/creationTimestamp")),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
        labels: texts(object, "/metadata/labels"),
        annotations: texts(object, "/metadata/annotations"),
        service_type: match text_at(object, "/spec/type") {
            "NodePort" => ServiceType::NodePort,
            "LoadBalancer" => ServiceType::LoadBalancer,
            "ExternalName" => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        },
        selector: texts(object, "/spec/selector"),
        ports: items(object, "/spec/ports").map(port).collect(),
        headless: text_at(object, "/spec/clusterIP") == "None",
        cluster_ips: cluster_ips.into_iter().filter(|ip| ip != "None" && !ip.is_empty()).collect(),
        ip_families: strings(object, "/spec/ipFamilies").iter().filter_map(|word| family(word)).collect(),
        external_ips: strings(object, "/spec/externalIPs"),
        load_balancer: items(object, "/status/loadBalancer/ingress").map(ingress).collect(),
        publish_not_ready: object.pointer("/spec/publishNotReadyAddresses") == Some(&json!(true)),
        internal_local: text_at(object, "/spec/internalTrafficPolicy") == "Local",
        external_local: text_at(object, "/spec/externalTrafficPolicy") == "Local",
        traffic_distribution: optional(&object["spec"], "trafficDistribution"),
        condition: items(object, "/status/conditions").find(|it| it["type"] == names::CONDITION_SYNCED).map(condition),
    }
}

fn endpoints(object: &Value) -> Endpoints {
    let ready = |subset: &Value| items(subset, "/addresses").count();
    Endpoints {
        key: key_of(object),
        uid: text_at(object, "/metadata/uid").to_owned(),
        resource_version: text_at(object, "/metadata/resourceVersion").to_owned(),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
        labels: texts(object, "/metadata/labels"),
        annotations: texts(object, "/metadata/annotations"),
        owned: items(object, "/metadata/ownerReferences").next().is_some(),
        ready: items(object, "/subsets").map(ready).sum(),
    }
}

fn condition(object: &Value) -> Condition {
    Condition {
        status: ConditionStatus::parse(text_at(object, "/status")),
        reason: text_at(object, "/reason").to_owned(),
        message: text_at(object, "/message").to_owned(),
        since: time_of(text_at(object, "/lastTransitionTime")),
    }
}

fn slice(object: &Value) -> KubeSlice {
    let owner = |owner: &Value| OwnerRef {
        kind: text_at(owner, "/kind").to_owned(),
        name: text_at(owner, "/name").to_owned(),
        uid: text_at(owner, "/uid").to_owned(),
    };
    let port = |port: &Value| SlicePort {
        name: text_at(port, "/name").to_owned(),
        protocol: protocol(port),
        port: port["port"].as_i64(),
        app_protocol: optional(port, "appProtocol"),
    };
    KubeSlice {
        key: key_of(object),
        uid: text_at(object, "/metadata/uid").to_owned(),
        resource_version: text_at(object, "/metadata/resourceVersion").to_owned(),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
        labels: texts(object, "/metadata/labels"),
        annotations: texts(object, "/metadata/annotations"),
        owners: items(object, "/metadata/ownerReferences").map(owner).collect(),
        address_type: family(text_at(object, "/addressType")).map_or(AddressType::Fqdn, AddressType::Ip),
        endpoints: items(object, "/endpoints").map(endpoint).collect(),
        ports: items(object, "/ports").map(port).collect(),
    }
}

fn node(object: &Value) -> KubeNode {
    let address = |address: &Value| {
        let kind = match text_at(address, "/type") {
            "ExternalIP" => NodeAddressKind::External,
            "InternalIP" => NodeAddressKind::Internal,
            _ => return None,
        };
        Some((kind, text_at(address, "/address").to_owned()))
    };
    let ready = items(object, "/status/conditions").find(|condition| text_at(condition, "/type") == "Ready");
    KubeNode {
        name: text_at(object, "/metadata/name").to_owned(),
        labels: texts(object, "/metadata/labels"),
        taints: items(object, "/spec/taints").map(|taint| text_at(taint, "/key").to_owned()).collect(),
        addresses: items(object, "/status/addresses").filter_map(address).collect(),
        ready: ready.is_some_and(|condition| text_at(condition, "/status") == "True"),
        ready_changed: ready.map(|condition| time_of(text_at(condition, "/lastTransitionTime"))).unwrap_or_default(),
    }
}

fn endpoint(object: &Value) -> Endpoint {
    let condition = |name: &str, absent| object["conditions"][name].as_bool().unwrap_or(absent);
    let ready = condition("ready", true);
    let target = &object["targetRef"];
    Endpoint {
        address: object["addresses"][0].as_str().unwrap_or_default().to_owned(),
        ready,
        serving: condition("serving", ready),
        terminating: condition("terminating", false),
        node_name: optional(object, "nodeName"),
        zone: optional(object, "zone"),
        hint_zones: items(object, "/hints/forZones").map(|zone| text_at(zone, "/name").to_owned()).collect(),
        target: target.is_object().then(|| format!("{}/{}", text_at(target, "/kind"), text_at(target, "/name"))),
    }
}

fn slice_object(spec: &SliceSpec) -> Value {
    let SliceSpec { key, family, labels, annotations, owner, endpoints, ports, trigger } = spec;
    let mut annotations = json!(annotations);
    if let Some(at) = trigger {
        let nanos = i128::from(at.0) * 1_000_000;
        let time = jiff::Timestamp::from_nanosecond(nanos).map(|time| time.to_string()).unwrap_or_default();
        annotations[names::TRIGGER_TIME] = json!(time);
    }
    let port = |port: &SlicePort| {
        let mut object = Map::new();
        object.insert("name".into(), json!(port.name));
        object.insert("protocol".into(), json!(port.protocol.to_string()));
        object.extend(port.port.map(|number| ("port".to_owned(), json!(number))));
        object.extend(port.app_protocol.as_ref().map(|name| ("appProtocol".to_owned(), json!(name))));
        Value::Object(object)
    };
    json!({
        "metadata": {
            "name": key.name, "labels": labels, "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": owner.kind, "name": owner.name, "uid": owner.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": family.to_string(),
        "endpoints": endpoints.iter().map(endpoint_object).collect::<Vec<_>>(),
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    })
}

fn endpoint_object(endpoint: &Endpoint) -> Value {
    let conditions = json!({"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating});
    let mut object = json!({"addresses": [endpoint.address], "conditions": conditions});
    if let Some(node) = &endpoint.node_name {
        object["nodeName"] = json!(node);
    }
    if let Some(zone) = &endpoint.zone {
        object["zone"] = json!(zone);
    }
    if !endpoint.hint_zones.is_empty() {
        let zones: Vec<Value> = endpoint.hint_zones.iter().map(|zone| json!({"name": zone})).collect();
        object["hints"] = json!({"forZones": zones});
    }
    object
}
