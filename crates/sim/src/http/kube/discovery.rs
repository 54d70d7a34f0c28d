//! What clients ask before they ask for anything: versions, health, groups and resources, in the plain form that all fall
//! back to.

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::super::body::{Body, whole};
use super::super::call::Call;
use super::{JSON, TEXT};
use crate::model::kube::Resource;

/// The answer, when the path is one of these.
pub(super) fn answer(call: &Call, defined: bool) -> Option<Response<Body>> {
    if call.method != Method::GET {
        return None;
    }
    let path = call.path.trim_end_matches('/');
    let document = match path {
        "/readyz" | "/livez" | "/healthz" => return Some(whole(StatusCode::OK, TEXT, "ok")),
        "/version" => version(),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(defined)}),
        "/api/v1" => resources(""),
        _ => {
            let (group, versioned) = match path.strip_prefix("/apis/")?.split_once('/') {
                Some((group, _)) => (group, true),
                None => (path.strip_prefix("/apis/")?, false),
            };
            let here = |resource: Resource| {
                resource.info().group == group && (!versioned || path.ends_with(&resource.api_version()))
            };
            let known = served(defined).any(here);
            match (known, versioned) {
                (false, _) => return None,
                (true, true) => resources(group),
                (true, false) => with_type(group_entry(group)),
            }
        }
    };
    Some(whole(StatusCode::OK, JSON, document.to_string()))
}

fn version() -> Value {
    json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "", "buildDate": "",
           "goVersion": "", "compiler": "", "platform": "consul8s/sim"})
}

/// What there is, with or without ConsulImports.
fn served(defined: bool) -> impl Iterator<Item = Resource> {
    Resource::ALL.into_iter().filter(move |resource| defined || *resource != Resource::ConsulImports)
}

fn groups(defined: bool) -> Vec<Value> {
    let named = served(defined).map(|resource| resource.info().group).filter(|group| !group.is_empty());
    named.map(group_entry).collect()
}

fn group_entry(group: &str) -> Value {
    let of_group = Resource::ALL.into_iter().find(|resource| resource.info().group == group);
    let name = of_group.map_or("v1", |resource| resource.info().version);
    let version = json!({"groupVersion": format!("{group}/{name}"), "version": name});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn with_type(mut group: Value) -> Value {
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    group
}

fn resources(group: &str) -> Value {
    let mut list = Vec::new();
    for resource in Resource::ALL {
        let info = resource.info();
        if info.group != group {
            continue;
        }
        let mut entry = json!({
            "name": info.plural, "singularName": info.singular, "namespaced": info.namespaced, "kind": info.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        });
        if !info.short.is_empty() {
            entry["shortNames"] = json!([info.short]);
        }
        if resource == Resource::Services {
            entry["categories"] = json!(["all"]);
        }
        list.push(entry);
        if info.has_status {
            list.push(json!({
                "name": format!("{}/status", info.plural), "singularName": "", "namespaced": info.namespaced,
                "kind": info.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    let of_group = Resource::ALL.into_iter().find(|resource| resource.info().group == group);
    let version = of_group.map_or_else(|| "v1".to_owned(), Resource::api_version);
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}
