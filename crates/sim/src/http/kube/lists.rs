//! GET of objects and of lists.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::body::{Body, whole};
use super::super::call::Call;
use super::path::Target;
use super::{Answer, JSON, encode, object, table};
use crate::model::kube::{Failure, Selector, text_at};
use crate::world::KubeWorld;

pub(super) fn get(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    let found = world.read(|cluster| cluster.get(target.resource, &target.key()))?;
    let table = table::asked_for(call, target.resource, &json!({}), std::slice::from_ref(&*found));
    Ok(table.unwrap_or_else(|| object(StatusCode::OK, &found)))
}

pub(super) fn selector(call: &Call) -> Result<Selector, Failure> {
    let (labels, fields) = (call.param("labelSelector"), call.param("fieldSelector"));
    Selector::parse(labels.unwrap_or_default(), fields.unwrap_or_default()).map_err(Failure::bad_request)
}

/// A list in pages. A page that goes on shows the state of now under the first page's version; what changed in between is
/// replayed by the watch that follows, as after any list.
pub(super) fn list(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    let selector = selector(call)?;
    let limit = call.filled("limit").and_then(|text| text.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let after = call.filled("continue").map(parse_continue).transpose()?;
    let (version, all) = world
        .read(|cluster| (cluster.version(), cluster.list(target.resource, target.namespace.as_deref(), &selector)));
    let version = after.as_ref().map_or(version, |(version, _)| *version);
    let place =
        |object: &Value| format!("{}/{}", text_at(object, "/metadata/namespace"), text_at(object, "/metadata/name"));
    let mut rest: Vec<_> = all.into_iter().collect();
    rest.sort_by_key(|object| place(object));
    rest.retain(|object| after.as_ref().is_none_or(|(_, last)| place(object) > *last));
    let more = limit.map_or(0, |limit| rest.len().saturating_sub(limit));
    rest.truncate(rest.len() - more);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(last) = rest.last().filter(|_| more > 0) {
        metadata["continue"] = json!(format!("{version}:{}", place(last)));
        metadata["remainingItemCount"] = json!(more);
    }
    let items: Vec<Value> = rest.iter().map(|object| encode::item(object)).collect();
    let table = table::asked_for(call, target.resource, &metadata, &items);
    Ok(table.unwrap_or_else(|| send(target, &metadata, &items)))
}

fn send(target: &Target, metadata: &Value, items: &[Value]) -> Response<Body> {
    let kind = format!("{}List", target.resource.info().kind);
    let list = json!({"kind": kind, "apiVersion": target.resource.api_version(), "metadata": metadata, "items": items});
    whole(StatusCode::OK, JSON, list.to_string())
}

fn parse_continue(token: &str) -> Result<(u64, String), Failure> {
    let parsed = token.split_once(':').and_then(|(version, last)| Some((version.parse().ok()?, last.to_owned())));
    parsed.ok_or_else(|| Failure::bad_request("continue key is not valid"))
}
