//! What the API server refuses of an Event.

use serde_json::Value;

use super::failure::Cause;
use super::object::text_at;

/// Longest note, in characters.
const MAX_NOTE: usize = 1024;

/// Everything that is wrong with an Event. It lives in the namespace of what it is about, or in `default` for what has none; what it says
/// stays as it was first said, and only its series goes on.
pub(super) fn problems(event: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut problems = Vec::new();
    let (about, here) = (text_at(event, "/regarding/namespace"), text_at(event, "/metadata/namespace"));
    if about != here && !(about.is_empty() && here == "default") {
        let field = "involvedObject.namespace";
        problems.push(Cause::invalid(field, format!("{about:?}"), "does not match event.namespace"));
    }
    for field in ["eventTime", "reason", "action", "reportingController", "reportingInstance"] {
        if event[field].as_str().is_none_or(str::is_empty) {
            problems.push(Cause::required(field));
        }
    }
    let kind = text_at(event, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        problems.push(Cause::invalid("type", format!("{kind:?}"), &format!("has invalid value: {kind}")));
    }
    if text_at(event, "/note").chars().count() > MAX_NOTE {
        problems.push(Cause::invalid("message", "\"\"", &format!("can have at most {MAX_NOTE} characters")));
    }
    if !event["series"].is_null() {
        if event["series"]["count"].as_i64().is_none_or(|count| count < 2) {
            problems.push(Cause::invalid("series.count", "\"\"", "should be at least 2"));
        }
        if text_at(event, "/series/lastObservedTime").is_empty() {
            problems.push(Cause::required("series.lastObservedTime"));
        }
    }
    if let Some(old) = old {
        problems.extend(changed(event, old));
    }
    problems
}

fn changed(event: &Value, old: &Value) -> Vec<Cause> {
    let fields = [
        ("note", "message"),
        ("reason", "reason"),
        ("type", "type"),
        ("action", "action"),
        ("regarding", "involvedObject"),
        ("eventTime", "eventTime"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    let changed = fields.into_iter().filter(|(field, _)| event[field] != old[field]);
    changed.map(|(field, called)| Cause::invalid(called, &event[field], "field is immutable")).collect()
}
