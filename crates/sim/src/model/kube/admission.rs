//! What happens to an object on its way in: the server's own fields, defaults, checks.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::failure::{Cause, Failure};
use super::object::{carry, name_of, prune, section};
use super::resource::Resource;
use super::{event, service, slice};

/// Server-owned metadata comes from the old object; a new one has none. Field ownership is not simulated.
pub(super) fn clean_metadata(resource: Resource, object: &mut Value, old: Option<&Arc<Value>>) {
    let none = Value::Object(Map::new());
    let from = old.map_or(&none, |old| &**old);
    object["kind"] = json!(resource.info().kind);
    object["apiVersion"] = json!(resource.api_version());
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "managedFields",
        "namespace",
    ] {
        carry(from, object, "/metadata", key);
    }
    prune(section(object, "metadata"));
}

/// A status sent with a new object is thrown away.
pub(super) fn reset_status(resource: Resource, object: &mut Value) {
    if let Some(map) = object.as_object_mut().filter(|_| resource.info().has_status && resource != Resource::Nodes) {
        map.remove("status");
    }
}

/// Defaults, then checks.
pub(super) fn prepare(resource: Resource, object: &mut Value, old: Option<&Arc<Value>>) -> Result<(), Failure> {
    let old = old.map(|old| &**old);
    let problems = match resource {
        Resource::Services => {
            service::default(object, old);
            service::problems(object, old)
        }
        Resource::EndpointSlices => {
            slice::default(object);
            slice::problems(object, old)
        }
        Resource::Leases => lease_problems(object),
        Resource::Namespaces if old.is_none() => {
            let name = name_of(object).to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            Vec::new()
        }
        Resource::Nodes if old.is_none() => {
            // Nobody has reported this node ready; nobody ever will.
            object["spec"]["taints"] = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
            Vec::new()
        }
        Resource::Events => event::problems(object, old),
        Resource::Namespaces
        | Resource::Nodes
        | Resource::Endpoints
        | Resource::Definitions
        | Resource::ConsulImports => Vec::new(),
    };
    if problems.is_empty() { Ok(()) } else { Err(Failure::invalid(resource, name_of(object), problems)) }
}

fn lease_problems(lease: &Value) -> Vec<Cause> {
    match lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64) {
        Some(seconds) if seconds <= 0 => {
            vec![Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")]
        }
        _ => Vec::new(),
    }
}
