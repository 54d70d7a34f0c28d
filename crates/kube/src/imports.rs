//! `ConsulImport` objects and the Services that are made for them.

use std::collections::BTreeMap;

use consul8s_core::import::{
    Definition, IMPORT, IMPORT_FORGOTTEN, IMPORT_UID, Import, ImportCondition, MANAGED_BY_LABEL, NewService, Selector,
    Spec, Status, Template,
};
use consul8s_core::kube::{ConditionStatus, Family, KubeService, ObjectKey, Protocol, ServicePort};
use consul8s_core::ports::{ApiError, ErrorKind};
use consul8s_core::time::UnixMillis;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use crate::api::READ_WITHIN;
use crate::connect::Connection;
use crate::convert::key;
use crate::crd;
use crate::error::Call;
use crate::item::{FromWire, Item};
use crate::writer::{FIELD_MANAGER, WRITE_WITHIN, by_us};

/// Name of the definition.
const DEFINITION: &str = "consulimports.consul8s.io";

impl FromWire for Import {
    type Wire = crd::ConsulImport;

    fn from_wire(object: crd::ConsulImport) -> Import {
        let meta = object.metadata;
        Import {
            key: key(&meta),
            created: meta.creation_timestamp.map(|time| millis(time.0)).unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.unwrap_or_default(),
            spec: spec(object.spec),
            status: status(&object.status.unwrap_or_default()),
        }
    }
}

fn spec(spec: crd::ConsulImportSpec) -> Spec {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let crd::Selector { names, prefix, tags, filter } = spec.selector;
    let crd::Template { metadata, spec: service } = spec.template;
    Spec {
        selector: Selector { names, prefix: given(prefix), tags, filter: given(filter) },
        datacenter: given(spec.datacenter),
        namespace: given(spec.namespace),
        partition: given(spec.partition),
        peer: given(spec.peer),
        template: Template {
            name: given(metadata.name),
            labels: metadata.labels,
            annotations: metadata.annotations,
            external_name: service.type_ == crd::ServiceType::ExternalName,
            headless: service.cluster_ip.is_some(),
            ports: service.ports.into_iter().map(port).collect(),
            ip_families: service.ip_families.into_iter().map(family).collect(),
            ip_family_policy: service.ip_family_policy.map(|policy| format!("{policy:?}")),
            traffic_distribution: given(service.traffic_distribution),
        },
        orphan: spec.deletion_policy == crd::DeletionPolicy::Orphan,
        suspend: spec.suspend,
    }
}

fn port(port: crd::TemplatePort) -> ServicePort {
    ServicePort {
        name: port.name,
        port: port.port,
        protocol: match port.protocol {
            crd::Protocol::TCP => Protocol::Tcp,
            crd::Protocol::UDP => Protocol::Udp,
            crd::Protocol::SCTP => Protocol::Sctp,
        },
        app_protocol: port.app_protocol,
        node_port: None,
    }
}

fn family(family: crd::IpFamily) -> Family {
    match family {
        crd::IpFamily::IPv4 => Family::V4,
        crd::IpFamily::IPv6 => Family::V6,
    }
}

fn status(status: &crd::ConsulImportStatus) -> Status {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let condition = |kind: &str| status.conditions.iter().find(|one| one.type_ == kind).map(condition);
    Status {
        ready: condition("Ready"),
        conflict: condition("Conflict"),
        matched: count(status.matched),
        created: count(status.created),
        conflicts: count(status.conflicts),
        observed_generation: status.observed_generation,
    }
}

fn condition(condition: &crd::Condition) -> ImportCondition {
    ImportCondition {
        status: ConditionStatus::parse(&condition.status),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.last_transition_time.parse::<Timestamp>().map(millis).unwrap_or_default(),
        observed_generation: condition.observed_generation,
    }
}

fn millis(time: Timestamp) -> UnixMillis {
    UnixMillis(u64::try_from(time.as_millisecond()).unwrap_or_default())
}

/// Whether the cluster knows imports.
pub(crate) async fn definition(connection: &Connection) -> Result<Definition, ApiError> {
    let api: Api<CustomResourceDefinition> = Api::all(connection.client.clone());
    let call =
        Call { verb: "read", what: &"CustomResourceDefinition consulimports.consul8s.io", server: &connection.server };
    let found = match call.within(READ_WITHIN, api.get_metadata(DEFINITION)).await {
        Ok(found) => found,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Definition::Absent),
        Err(error) => return Err(error),
    };
    Ok(if found.metadata.deletion_timestamp.is_some() { Definition::Deleting } else { Definition::Served })
}

/// Creates a Service.
pub(crate) async fn create(connection: &Connection, new: &NewService) -> Result<KubeService, ApiError> {
    let api: Api<core_v1::Service> = Api::namespaced(connection.client.clone(), &new.key.namespace);
    let what = format!("Service {}", new.key);
    let call = Call { verb: "create", what: &what, server: &connection.server };
    let made = call.within(WRITE_WITHIN, api.create(&by_us(), &to_wire(new))).await?;
    Ok(KubeService::from_wire(made))
}

fn to_wire(new: &NewService) -> core_v1::Service {
    let some = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
    let port = |port: &ServicePort| core_v1::ServicePort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: i32::from(port.port),
        protocol: Some(port.protocol.to_string()),
        app_protocol: port.app_protocol.clone(),
        ..core_v1::ServicePort::default()
    };
    let families: Vec<String> = new.ip_families.iter().map(ToString::to_string).collect();
    let ports: Vec<core_v1::ServicePort> = new.ports.iter().map(port).collect();
    core_v1::Service {
        metadata: ObjectMeta {
            namespace: Some(new.key.namespace.clone()),
            name: Some(new.key.name.clone()),
            labels: some(&new.labels),
            annotations: some(&new.annotations),
            ..ObjectMeta::default()
        },
        spec: Some(core_v1::ServiceSpec {
            type_: Some(if new.external_name.is_some() { "ExternalName" } else { "ClusterIP" }.to_owned()),
            external_name: new.external_name.clone(),
            cluster_ip: new.headless.then(|| "None".to_owned()),
            ports: Some(ports).filter(|ports| !ports.is_empty()),
            ip_families: Some(families).filter(|families| !families.is_empty()),
            ip_family_policy: new.ip_family_policy.clone(),
            traffic_distribution: new.traffic_distribution.clone(),
            ..core_v1::ServiceSpec::default()
        }),
        status: None,
    }
}

/// Deletes the Service that has this uid and resourceVersion.
pub(crate) async fn delete(connection: &Connection, service: &KubeService) -> Result<(), ApiError> {
    let api: Api<Item<KubeService>> = Api::namespaced(connection.client.clone(), &service.key.namespace);
    let what = format!("Service {}", service.key);
    let call = Call { verb: "delete", what: &what, server: &connection.server };
    let only =
        Preconditions { uid: Some(service.uid.clone()), resource_version: Some(service.resource_version.clone()) };
    let how = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
    match call.within(WRITE_WITHIN, api.delete(&service.key.name, &how)).await {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the marks of its import off a Service.
pub(crate) async fn orphan(connection: &Connection, service: &KubeService) -> Result<(), ApiError> {
    let change = json!({"metadata": {
        "labels": {MANAGED_BY_LABEL: null},
        "annotations": {IMPORT: null, IMPORT_UID: null, IMPORT_FORGOTTEN: null},
    }});
    patch_service(connection, service, change).await
}

/// Notes on a Service whether Consul has forgotten it.
pub(crate) async fn remember_forgotten(
    connection: &Connection,
    service: &KubeService,
    forgotten: bool,
) -> Result<(), ApiError> {
    let change = json!({"metadata": {"annotations": {IMPORT_FORGOTTEN: forgotten.then_some("true")}}});
    patch_service(connection, service, change).await
}

async fn patch_service(connection: &Connection, service: &KubeService, change: Value) -> Result<(), ApiError> {
    let api: Api<Item<KubeService>> = Api::namespaced(connection.client.clone(), &service.key.namespace);
    let what = format!("Service {}", service.key);
    let fence = Fence { key: &service.key, uid: &service.uid, version: &service.resource_version };
    patch(connection, &api, &what, fence, change, false).await
}

/// Sets the finalizers of an import.
pub(crate) async fn set_finalizers(connection: &Connection, import: &Import, list: &[String]) -> Result<(), ApiError> {
    patch_import(connection, import, json!({"metadata": {"finalizers": list}}), false).await
}

/// Sets the status of an import.
pub(crate) async fn set_status(connection: &Connection, import: &Import, status: &Status) -> Result<(), ApiError> {
    let condition = |kind: &str, condition: &Option<ImportCondition>| {
        condition.as_ref().map(|condition| {
            json!({
                "type": kind, "status": condition.status.as_str(), "reason": condition.reason,
                "message": condition.message, "lastTransitionTime": condition.since.rfc3339(),
                "observedGeneration": condition.observed_generation,
            })
        })
    };
    let conditions = [condition("Ready", &status.ready), condition("Conflict", &status.conflict)];
    let conditions: Vec<Value> = conditions.into_iter().flatten().collect();
    let change = json!({"status": {
        "conditions": conditions, "matched": status.matched, "created": status.created, "conflicts": status.conflicts,
        "observedGeneration": status.observed_generation,
    }});
    patch_import(connection, import, change, true).await
}

async fn patch_import(connection: &Connection, import: &Import, change: Value, status: bool) -> Result<(), ApiError> {
    let api: Api<Item<Import>> = Api::namespaced(connection.client.clone(), &import.key.namespace);
    let what = format!("ConsulImport {}", import.key);
    let fence = Fence { key: &import.key, uid: &import.uid, version: &import.resource_version };
    patch(connection, &api, &what, fence, change, status).await
}

/// The object as it was read.
struct Fence<'a> {
    key: &'a ObjectKey,
    uid: &'a str,
    version: &'a str,
}

/// A merge patch of the object as it was read; gone already is success.
async fn patch<T: FromWire>(
    connection: &Connection,
    api: &Api<Item<T>>,
    what: &str,
    fence: Fence<'_>,
    mut change: Value,
    status: bool,
) -> Result<(), ApiError> {
    change["metadata"]["uid"] = json!(fence.uid);
    change["metadata"]["resourceVersion"] = json!(fence.version);
    let how = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let call = Call { verb: "patch", what: &what, server: &connection.server };
    let change = Patch::Merge(change);
    let name = &fence.key.name;
    let done = if status {
        call.within(WRITE_WITHIN, api.patch_status(name, &how, &change)).await
    } else {
        call.within(WRITE_WITHIN, api.patch(name, &how, &change)).await
    };
    match done {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        done => done.map(drop),
    }
}
