//! Patches on trees.

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

/// Lays conditions over those that are there, by type; the only thing that server-side apply does here.
pub(super) fn apply_conditions(object: &mut Value, applied: &[Value]) {
    let status = super::object::section(object, "status");
    let have = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(have) = have else { return };
    for condition in applied {
        match have.iter_mut().find(|old| old["type"] == condition["type"]) {
            Some(old) => *old = condition.clone(),
            None => have.push(condition.clone()),
        }
    }
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
        apply_conditions(&mut object, &[json!({"type": "A", "status": "False"}), json!({"type": "C"})]);
        let expected = json!([{"type": "A", "status": "False"}, {"type": "B"}, {"type": "C"}]);
        assert_eq!(object["status"]["conditions"], expected);
    }
}
