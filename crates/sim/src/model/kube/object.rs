//! Small looks into object trees, and times as Kubernetes writes them.

use consul8s_core::time::UnixMillis;
use serde_json::{Map, Value};

/// Text at a JSON pointer; empty when there is none.
#[must_use]
pub fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A moment in Kubernetes' form, whole seconds.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// A moment from Kubernetes' form; zero when it can't be read.
#[must_use]
pub fn time_of(text: &str) -> UnixMillis {
    let millis = text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond()).unwrap_or_default();
    UnixMillis(u64::try_from(millis).unwrap_or_default())
}

pub(super) fn name_of(object: &Value) -> &str {
    text_at(object, "/metadata/name")
}

pub(super) fn uid_of(object: &Value) -> &str {
    text_at(object, "/metadata/uid")
}

pub(super) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

pub(super) fn has_finalizers(object: &Value) -> bool {
    let in_spec = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    in_spec.is_some_and(|list| !list.is_empty())
}

pub(super) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let refs = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    refs.into_iter().flatten().map(|owner| text_at(owner, "/uid"))
}

/// The map under a key, made when it isn't there.
pub(super) fn section<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if !object[key].is_object() {
        object[key] = Value::Object(Map::new());
    }
    // Both are objects now; a static empty map can't be handed out mutably, so this is the one place that says so.
    match &mut object[key] {
        Value::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

/// Takes a key over from another object, or away when it isn't there.
pub(super) fn carry(from: &Value, to: &mut Value, pointer_parent: &str, key: &str) {
    let old = from.pointer(&format!("{pointer_parent}/{key}")).cloned();
    let Some(Value::Object(map)) = to.pointer_mut(pointer_parent) else { return };
    match old {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}

/// Drops nulls and empty maps and lists, which the API server never shows in metadata.
pub(super) fn prune(map: &mut Map<String, Value>) {
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(inner) => !inner.is_empty(),
        Value::Array(inner) => !inner.is_empty(),
        _ => true,
    });
}
