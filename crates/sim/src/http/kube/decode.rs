//! Bodies of writes: JSON or YAML, told by their content type.

use serde_json::Value;

use super::super::call::Call;
use crate::model::kube::{Failure, Preconditions, text_at};

/// Media type of a body, without its parameters; JSON when none is given.
pub(super) fn media_type(call: &Call) -> &str {
    let given = call.header("content-type").unwrap_or("application/json");
    given.split(';').next().unwrap_or_default().trim()
}

/// An object in a body.
pub(super) fn object(call: &Call) -> Result<Value, Failure> {
    match media_type(call) {
        "application/json" => json(call),
        "application/yaml" => yaml(call),
        _ => {
            let known = "application/json, application/yaml";
            let what =
                format!("the body of the request was in an unknown format - accepted media types include: {known}");
            Err(Failure::unsupported_media_type(what))
        }
    }
}

/// A body of JSON.
pub(super) fn json(call: &Call) -> Result<Value, Failure> {
    let wrong =
        |why| format!("the object provided is unrecognized: couldn't get version/kind; json parse error: {why}");
    serde_json::from_slice(&call.body).map_err(|why| Failure::bad_request(wrong(why)))
}

/// A body of YAML, which JSON is too.
pub(super) fn yaml(call: &Call) -> Result<Value, Failure> {
    let text = std::str::from_utf8(&call.body).unwrap_or_default();
    let wrong =
        |why| format!("the object provided is unrecognized: couldn't get version/kind; yaml parse error: {why}");
    // As Kubernetes reads it: only `true` and `false` are booleans, `y` and `on` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|why| Failure::bad_request(wrong(why)))
}

/// The preconditions among a deletion's options; everything else in them is ignored.
pub(super) fn preconditions(call: &Call) -> Result<Preconditions, Failure> {
    if call.body.is_empty() {
        return Ok(Preconditions::default());
    }
    let options = object(call)?;
    let field = |name: &str| {
        let text = text_at(&options, &format!("/preconditions/{name}"));
        (!text.is_empty()).then(|| text.to_owned())
    };
    Ok(Preconditions { uid: field("uid"), resource_version: field("resourceVersion") })
}
