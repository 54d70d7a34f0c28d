//! ConsulImports and the Services made for them, on the embedded Kubernetes.

use consul8s_core::import::{
    Definition, IMPORT, IMPORT_FORGOTTEN, IMPORT_UID, Import, ImportCondition, MANAGED_BY_LABEL, NewService, Selector,
    Spec, Status, Template,
};
use consul8s_core::kube::{ConditionStatus, KubeService, ObjectKey, ServicePort};
use consul8s_core::ports::ApiError;
use serde_json::{Map, Value, json};

use super::admit;
use super::kube::{family, items, key_of, number, optional, protocol, refused, service, strings, texts};
use crate::model::kube::{Part, Preconditions, Resource, text_at, time_of};
use crate::world::KubeWorld;

pub(super) fn read(object: &Value) -> Import {
    Import {
        key: key_of(object),
        uid: text_at(object, "/metadata/uid").to_owned(),
        resource_version: text_at(object, "/metadata/resourceVersion").to_owned(),
        generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
        created: time_of(text_at(object, "/metadata/creationTimestamp")),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
        finalizers: strings(object, "/metadata/finalizers"),
        spec: spec(&object["spec"]),
        status: status(&object["status"]),
    }
}

fn spec(spec: &Value) -> Spec {
    let (selector, template) = (&spec["selector"], &spec["template"]);
    Spec {
        selector: Selector {
            names: strings(selector, "/names"),
            prefix: optional(selector, "prefix"),
            tags: strings(selector, "/tags"),
            filter: optional(selector, "filter"),
        },
        datacenter: optional(spec, "datacenter"),
        namespace: optional(spec, "namespace"),
        partition: optional(spec, "partition"),
        peer: optional(spec, "peer"),
        template: Template {
            name: optional(&template["metadata"], "name"),
            labels: texts(template, "/metadata/labels"),
            annotations: texts(template, "/metadata/annotations"),
            external_name: text_at(template, "/spec/type") == "ExternalName",
            headless: text_at(template, "/spec/clusterIP") == "None",
            ports: items(template, "/spec/ports").map(port).collect(),
            ip_families: strings(template, "/spec/ipFamilies").iter().filter_map(|word| family(word)).collect(),
            ip_family_policy: optional(&template["spec"], "ipFamilyPolicy"),
            traffic_distribution: optional(&template["spec"], "trafficDistribution"),
        },
        orphan: spec["deletionPolicy"] == "Orphan",
        suspend: spec["suspend"] == true,
    }
}

fn port(port: &Value) -> ServicePort {
    ServicePort {
        name: text_at(port, "/name").to_owned(),
        port: number(&port["port"]).unwrap_or_default(),
        protocol: protocol(port),
        app_protocol: optional(port, "appProtocol"),
        node_port: None,
    }
}

fn status(status: &Value) -> Status {
    let count = |name: &str| usize::try_from(status[name].as_u64().unwrap_or_default()).unwrap_or_default();
    let condition = |kind: &str| items(status, "/conditions").find(|one| one["type"] == kind).map(condition);
    Status {
        ready: condition("Ready"),
        conflict: condition("Conflict"),
        matched: count("matched"),
        created: count("created"),
        conflicts: count("conflicts"),
        observed_generation: status["observedGeneration"].as_i64().unwrap_or_default(),
    }
}

fn condition(object: &Value) -> ImportCondition {
    ImportCondition {
        status: ConditionStatus::parse(text_at(object, "/status")),
        reason: text_at(object, "/reason").to_owned(),
        message: text_at(object, "/message").to_owned(),
        since: time_of(text_at(object, "/lastTransitionTime")),
        observed_generation: object["observedGeneration"].as_i64().unwrap_or_default(),
    }
}

pub(super) async fn definition(world: &KubeWorld) -> Result<Definition, ApiError> {
    let reply = admit(world).await?;
    let key = ObjectKey::new("", "consulimports.consul8s.io");
    let found = world.read(|cluster| cluster.get(Resource::Definitions, &key));
    reply.deliver(match found {
        Err(_) => Definition::Absent,
        Ok(object) if object.pointer("/metadata/deletionTimestamp").is_some() => Definition::Deleting,
        Ok(_) => Definition::Served,
    })
}

pub(super) async fn create(world: &KubeWorld, new: &NewService) -> Result<KubeService, ApiError> {
    let reply = admit(world).await?;
    let port = |port: &ServicePort| {
        let mut object = json!({"port": port.port, "protocol": port.protocol.to_string()});
        if !port.name.is_empty() {
            object["name"] = json!(port.name);
        }
        if let Some(app) = &port.app_protocol {
            object["appProtocol"] = json!(app);
        }
        object
    };
    let mut spec = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() && value != json!([]) {
            spec.insert(key.to_owned(), value);
        }
    };
    put("type", json!(if new.external_name.is_some() { "ExternalName" } else { "ClusterIP" }));
    put("externalName", json!(new.external_name));
    put("clusterIP", if new.headless { json!("None") } else { Value::Null });
    put("ports", new.ports.iter().map(port).collect());
    put("ipFamilies", new.ip_families.iter().map(|family| json!(family.to_string())).collect());
    put("ipFamilyPolicy", json!(new.ip_family_policy));
    put("trafficDistribution", json!(new.traffic_distribution));
    let metadata = json!({"name": new.key.name, "labels": new.labels, "annotations": new.annotations});
    let object = json!({"metadata": metadata, "spec": spec});
    let made = world.write(|cluster| cluster.create(Resource::Services, &new.key.namespace, object));
    let stored = made.map_err(refused)?;
    reply.deliver(service(&stored))
}

pub(super) async fn delete(world: &KubeWorld, seen: &KubeService) -> Result<(), ApiError> {
    let reply = admit(world).await?;
    let only = Preconditions { uid: Some(seen.uid.clone()), resource_version: Some(seen.resource_version.clone()) };
    match world.write(|cluster| cluster.delete(Resource::Services, &seen.key, &only)) {
        Err(why) if why.code != 404 => Err(refused(why)),
        Ok(_) | Err(_) => reply.deliver(()),
    }
}

pub(super) async fn orphan(world: &KubeWorld, seen: &KubeService) -> Result<(), ApiError> {
    let change = json!({"metadata": {
        "uid": seen.uid, "resourceVersion": seen.resource_version,
        "labels": {MANAGED_BY_LABEL: null},
        "annotations": {IMPORT: null, IMPORT_UID: null, IMPORT_FORGOTTEN: null},
    }});
    patch(world, Resource::Services, &seen.key, Part::Main, &change).await
}

pub(super) async fn remember_forgotten(world: &KubeWorld, seen: &KubeService, forgotten: bool) -> Result<(), ApiError> {
    let change = json!({"metadata": {
        "uid": seen.uid, "resourceVersion": seen.resource_version,
        "annotations": {IMPORT_FORGOTTEN: forgotten.then_some("true")},
    }});
    patch(world, Resource::Services, &seen.key, Part::Main, &change).await
}

pub(super) async fn set_finalizers(world: &KubeWorld, import: &Import, list: &[String]) -> Result<(), ApiError> {
    let change = json!({"metadata": {
        "uid": import.uid, "resourceVersion": import.resource_version, "finalizers": list,
    }});
    patch(world, Resource::ConsulImports, &import.key, Part::Main, &change).await
}

pub(super) async fn set_status(world: &KubeWorld, import: &Import, status: &Status) -> Result<(), ApiError> {
    let condition = |kind: &str, condition: &Option<ImportCondition>| {
        condition.as_ref().map(|one| {
            json!({
                "type": kind, "status": one.status.as_str(), "reason": one.reason, "message": one.message,
                "lastTransitionTime": one.since.rfc3339(), "observedGeneration": one.observed_generation,
            })
        })
    };
    let conditions = [condition("Ready", &status.ready), condition("Conflict", &status.conflict)];
    let conditions: Vec<Value> = conditions.into_iter().flatten().collect();
    let change = json!({
        "metadata": {"uid": import.uid, "resourceVersion": import.resource_version},
        "status": {
            "conditions": conditions, "matched": status.matched, "created": status.created,
            "conflicts": status.conflicts, "observedGeneration": status.observed_generation,
        },
    });
    patch(world, Resource::ConsulImports, &import.key, Part::Status, &change).await
}

/// Gone already is success.
async fn patch(
    world: &KubeWorld,
    resource: Resource,
    key: &ObjectKey,
    part: Part,
    change: &Value,
) -> Result<(), ApiError> {
    let reply = admit(world).await?;
    match world.write(|cluster| cluster.merge_patch(resource, key, part, change)) {
        Err(why) if why.code != 404 => Err(refused(why)),
        Ok(_) | Err(_) => reply.deliver(()),
    }
}
