//! Patches on trees.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// JSON merge patch (RFC 7386).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(map) = target.as_object_mut() {
                map.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// Lays conditions over those that are there, by type, and takes out those `before` that are no longer applied; the only thing that
/// server-side apply does here.
pub(super) fn apply_conditions(object: &mut Value, applied: &[Value], before: &BTreeSet<String>) {
    let status = super::object::section(object, "status");
    let have = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(have) = have else { return };
    have.retain(|old| !old["type"].as_str().is_some_and(|kind| before.contains(kind)) || is_in(applied, old));
    for condition in applied {
        match have.iter_mut().find(|old| old["type"] == condition["type"]) {
            Some(old) => *old = condition.clone(),
            None => have.push(condition.clone()),
        }
    }
    if have.is_empty() {
        status.remove("conditions");
    }
}

fn is_in(applied: &[Value], condition: &Value) -> bool {
    applied.iter().any(|one| one["type"] == condition["type"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patch_replaces_lists_merges_maps_and_removes_nulls() {
        let mut target = json!({"a": {"x": 1, "y": 2}, "l": [1, 2], "gone": true});
        merge(&mut target, &json!({"a": {"y": null, "z": 3}, "l": [3], "gone": null, "new": {"k": {"v": null}}}));
        assert_eq!(target, json!({"a": {"x": 1, "z": 3}, "l": [3], "new": {"k": {}}}));
    }

    #[test]
    fn conditions_are_laid_over_by_type() {
        let mut object = json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B"}]}});
        let ours = ["A".to_owned(), "C".to_owned()].into();
        apply_conditions(
            &mut object,
            &[json!({"type": "A", "status": "False"}), json!({"type": "C"})],
            &BTreeSet::new(),
        );
        let expected = json!([{"type": "A", "status": "False"}, {"type": "B"}, {"type": "C"}]);
        assert_eq!(object["status"]["conditions"], expected);
        apply_conditions(&mut object, &[json!({"type": "C"})], &ours);
        assert_eq!(object["status"]["conditions"], json!([{"type": "B"}, {"type": "C"}]));
        apply_conditions(&mut object, &[], &["B".to_owned(), "C".to_owned()].into());
        assert_eq!(object["status"], json!({}));
    }
}
