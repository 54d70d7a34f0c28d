//! `Status` objects, and objects as lists show them.

use serde_json::{Map, Value, json};

use crate::model::kube::{Cause, Failure, Resource};

/// A refusal as the API shows it.
pub(super) fn status(why: &Failure) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": why.message, "reason": why.reason, "code": why.code,
    });
    let mut details = Map::new();
    if let Some(about) = &why.about {
        details.insert("name".into(), json!(about.name));
        if !about.group.is_empty() {
            details.insert("group".into(), json!(about.group));
        }
        details.insert("kind".into(), json!(about.kind));
    }
    if !why.causes.is_empty() {
        let cause = |cause: &Cause| {
            let Cause { reason, message, field } = cause;
            json!({"reason": reason, "message": message, "field": field})
        };
        details.insert("causes".into(), why.causes.iter().map(cause).collect());
    }
    if !details.is_empty() {
        status["details"] = Value::Object(details);
    }
    status
}

/// The answer to a deletion that is done.
pub(super) fn deleted(resource: Resource, object: &Value) -> Value {
    let info = resource.info();
    let metadata = &object["metadata"];
    let mut details = json!({"name": metadata["name"], "kind": info.plural, "uid": metadata["uid"]});
    if !info.group.is_empty() {
        details["group"] = json!(info.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// An item of a list bears no type of its own.
pub(super) fn item(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(map) = item.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    item
}
