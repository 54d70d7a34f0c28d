//! POST, PUT, PATCH and DELETE.

use http::StatusCode;
use serde_json::Value;

use super::super::body::whole;
use super::super::call::Call;
use super::path::Target;
use super::{Answer, JSON, decode, encode, no_such_path, object};
use crate::model::kube::{Failure, Part, Resource, text_at};
use crate::world::KubeWorld;

pub(super) fn create(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    if target.resource.info().namespaced && target.namespace.is_none() {
        return Err(no_such_path());
    }
    let body = decode::object(call)?;
    let namespace = target.namespace.clone().unwrap_or_default();
    let made = world.write(|cluster| cluster.create(target.resource, &namespace, body))?;
    Ok(object(StatusCode::CREATED, &made))
}

pub(super) fn replace(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    let body = decode::object(call)?;
    let (existed, done) = world.write(|cluster| {
        let existed = cluster.get(target.resource, &target.key()).is_ok();
        (existed, cluster.replace(target.resource, &target.key(), target.part, body))
    });
    Ok(object(if existed { StatusCode::OK } else { StatusCode::CREATED }, &done?))
}

/// Merge patches, and server-side apply of a Service's conditions. The strategic merge patch is not simulated.
pub(super) fn patch(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    let key = target.key();
    let done = match decode::media_type(call) {
        "application/merge-patch+json" => {
            let change = decode::json(call)?;
            world.write(|cluster| cluster.merge_patch(target.resource, &key, target.part, &change))?
        }
        "application/apply-patch+yaml" if (target.resource, target.part) == (Resource::Services, Part::Status) => {
            let applied = decode::yaml(call)?;
            let conditions = applied_conditions(&applied)?;
            let uid = text_at(&applied, "/metadata/uid");
            let Some(manager) = call.filled("fieldManager") else {
                let what = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Failure::plain(422, "Invalid", what));
            };
            world.write(|cluster| cluster.apply_conditions(target.resource, &key, uid, manager, &conditions))?
        }
        _ => return Err(Failure::unsupported_media_type("415: Unsupported Media Type")),
    };
    Ok(object(StatusCode::OK, &done))
}

/// The conditions of an apply; anything else in it would need field ownership.
fn applied_conditions(applied: &Value) -> Result<Vec<Value>, Failure> {
    let known =
        |map: &serde_json::Map<String, Value>, keys: &[&str]| map.keys().all(|key| keys.contains(&key.as_str()));
    let top = applied.as_object().is_some_and(|map| known(map, &["apiVersion", "kind", "metadata", "status"]));
    let status = applied["status"].as_object().is_none_or(|map| known(map, &["conditions"]));
    let kind = (text_at(applied, "/apiVersion"), text_at(applied, "/kind"));
    match kind {
        ("v1", "Service") if top && status => {}
        ("v1", "Service") => return Err(Failure::unsupported_media_type("only status.conditions can be applied here")),
        (version, kind) => return Err(Failure::bad_request(format!("invalid object type: {version}, Kind={kind}"))),
    }
    Ok(applied["status"]["conditions"].as_array().cloned().unwrap_or_default())
}

/// A Service shows its last state, everything else a `Status` once it is gone, as the real one does.
pub(super) fn delete(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    if target.part == Part::Status {
        return Err(no_such_path());
    }
    let only = decode::preconditions(call)?;
    let removal = world.write(|cluster| cluster.delete(target.resource, &target.key(), &only))?;
    let shows_object = matches!(target.resource, Resource::Services | Resource::Namespaces);
    if removal.gone && !shows_object {
        return Ok(whole(StatusCode::OK, JSON, encode::deleted(target.resource, &removal.object).to_string()));
    }
    Ok(object(StatusCode::OK, &removal.object))
}
