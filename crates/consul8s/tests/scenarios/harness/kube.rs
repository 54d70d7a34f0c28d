//! Kubernetes as a scenario sees it: its own namespace.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::Outcome;
use super::http::Http;

const JSON: &str = "application/json";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A kind of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    group: &'static str,
    pub(crate) plural: &'static str,
}

pub(crate) const SERVICES: Resource = Resource { group: "/api/v1", plural: "services" };
pub(crate) const IMPORTS: Resource = Resource { group: "/apis/consul8s.io/v1alpha1", plural: "consulimports" };
pub(crate) const ENDPOINTS: Resource = Resource { group: "/api/v1", plural: "endpoints" };
pub(crate) const SLICES: Resource = Resource { group: "/apis/discovery.k8s.io/v1", plural: "endpointslices" };
pub(crate) const EVENTS: Resource = Resource { group: "/apis/events.k8s.io/v1", plural: "events" };
pub(crate) const LEASES: Resource = Resource { group: "/apis/coordination.k8s.io/v1", plural: "leases" };

/// A client for one namespace.
#[derive(Clone)]
pub(crate) struct Kube {
    http: Http,
    namespace: String,
}

impl Kube {
    /// The same API, another namespace, which is there.
    pub(crate) fn elsewhere(&self, namespace: &str) -> Kube {
        Kube { http: self.http.clone(), namespace: namespace.to_owned() }
    }

    /// Makes the namespace.
    pub(crate) async fn in_new_namespace(http: Http, namespace: &str) -> Outcome<Kube> {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        let kube = Kube { http, namespace: namespace.to_owned() };
        kube.call(Method::POST, "/api/v1/namespaces", JSON, Some(&body)).await?;
        Ok(kube)
    }

    /// Creates an object of the namespace, and returns it as stored.
    pub(crate) async fn create(&self, resource: Resource, object: &Value) -> Outcome<Value> {
        self.call(Method::POST, &self.path(resource, ""), JSON, Some(object)).await
    }

    pub(crate) async fn get(&self, resource: Resource, name: &str) -> Outcome<Value> {
        self.call(Method::GET, &self.path(resource, name), JSON, None).await
    }

    /// Replaces an object by what `change` makes of it.
    pub(crate) async fn edit(&self, resource: Resource, name: &str, change: impl FnOnce(&mut Value)) -> Outcome<Value> {
        let mut object = self.get(resource, name).await?;
        change(&mut object);
        self.call(Method::PUT, &self.path(resource, name), JSON, Some(&object)).await
    }

    /// Merges `patch` into an object, as `kubectl patch --type merge`; null removes.
    pub(crate) async fn merge(&self, resource: Resource, name: &str, patch: &Value) -> Outcome<Value> {
        self.call(Method::PATCH, &self.path(resource, name), MERGE_PATCH, Some(patch)).await
    }

    /// The same for the status, as a cloud's controller does.
    pub(crate) async fn merge_status(&self, resource: Resource, name: &str, status: &Value) -> Outcome<Value> {
        let path = format!("{}/status", self.path(resource, name));
        self.call(Method::PATCH, &path, MERGE_PATCH, Some(&json!({ "status": status }))).await
    }

    /// Sets an annotation of a Service, or removes it.
    pub(crate) async fn annotate(&self, service: &str, key: &str, value: Option<&str>) -> Outcome<Value> {
        self.merge(SERVICES, service, &json!({ "metadata": { "annotations": { key: value } } })).await
    }

    /// Sets a label of a Service, or removes it.
    pub(crate) async fn label(&self, service: &str, key: &str, value: Option<&str>) -> Outcome<Value> {
        self.merge(SERVICES, service, &json!({ "metadata": { "labels": { key: value } } })).await
    }

    pub(crate) async fn delete(&self, resource: Resource, name: &str) -> Outcome {
        self.call(Method::DELETE, &self.path(resource, name), JSON, None).await?;
        Ok(())
    }

    /// All objects of a kind.
    pub(crate) async fn list(&self, resource: Resource) -> Outcome<Vec<Value>> {
        let list = self.call(Method::GET, &self.path(resource, ""), JSON, None).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The slices of a Service, whoever made them, in order of their names.
    pub(crate) async fn slices(&self, service: &str) -> Outcome<Vec<Value>> {
        let mut slices = self.list(SLICES).await?;
        slices.retain(|slice| is_of(slice, service));
        slices.sort_by_key(|slice| slice["metadata"]["name"].to_string());
        Ok(slices)
    }

    /// Asks for anything else, such as what lives in no namespace; a PATCH merges.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let kind = if method == Method::PATCH { MERGE_PATCH } else { JSON };
        self.call(method, path, kind, body).await
    }

    /// Applies a custom resource's definition, unless it is there.
    pub(crate) async fn define(&self, definition: &Value) -> Outcome {
        let reply = self.http.ask(Method::POST, DEFINITIONS, JSON, Some(definition)).await?;
        if reply.status == http::StatusCode::CONFLICT { Ok(()) } else { reply.json().map(drop) }
    }

    /// Deletes a custom resource's definition, and so all its objects.
    pub(crate) async fn undefine(&self, name: &str) -> Outcome {
        self.call(Method::DELETE, &format!("{DEFINITIONS}/{name}"), JSON, None).await?;
        Ok(())
    }

    /// The UID of `kube-system`, by which clusters are told apart.
    pub(crate) async fn cluster_uid(&self) -> Outcome<String> {
        let namespace = self.call(Method::GET, "/api/v1/namespaces/kube-system", JSON, None).await?;
        Ok(text(&namespace["metadata"]["uid"]))
    }

    /// Follows the slices of a Service from now on.
    pub(crate) async fn follow(&self, service: &str) -> Outcome<Following> {
        self.follow_slices(Some(service)).await
    }

    /// Follows all slices from now on.
    pub(crate) async fn follow_all(&self) -> Outcome<Following> {
        self.follow_slices(None).await
    }

    async fn follow_slices(&self, service: Option<&str>) -> Outcome<Following> {
        let list = self.call(Method::GET, &self.path(SLICES, ""), JSON, None).await?;
        let version = text(&list["metadata"]["resourceVersion"]);
        let query = format!("{}?watch=true&resourceVersion={version}", self.path(SLICES, ""));
        let answer = self.http.open(Method::GET, &query, JSON, None).await?;
        if !answer.status().is_success() {
            return Err(format!("GET {query}: {}", answer.status()));
        }
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let mut following = Following {
            service: service.map(str::to_owned),
            slices: BTreeMap::new(),
            stream: answer.into_body(),
            read: BytesMut::new(),
        };
        items.into_iter().for_each(|item| following.put(item));
        Ok(following)
    }

    fn path(&self, resource: Resource, name: &str) -> String {
        let Resource { group, plural } = resource;
        let slash = if name.is_empty() { "" } else { "/" };
        format!("{group}/namespaces/{}/{plural}{slash}{name}", self.namespace)
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Outcome<Value> {
        let what = format!("{method} {path}");
        let reply = self.http.ask(method, path, kind, body).await?;
        reply.json().map_err(|why| format!("{what}: {why}"))
    }
}

/// The slices of a Service, or all, as a watch shows them.
pub(crate) struct Following {
    service: Option<String>,
    slices: BTreeMap<String, Value>,
    stream: Incoming,
    read: BytesMut,
}

impl Following {
    /// The slices as of now.
    pub(crate) fn slices(&self) -> Vec<Value> {
        self.slices.values().cloned().collect()
    }

    /// Waits until something changes; an error when the watch breaks.
    pub(crate) async fn changed(&mut self) -> Outcome {
        loop {
            let event: Value =
                serde_json::from_slice(&self.line().await?).map_err(|why| format!("a watch event: {why}"))?;
            let object = event["object"].clone();
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => self.put(object),
                Some("DELETED") => drop(self.slices.remove(&text(&object["metadata"]["name"]))),
                Some("BOOKMARK") => continue,
                _ => return Err(format!("the watch ended: {event}")),
            }
            return Ok(());
        }
    }

    fn put(&mut self, slice: Value) {
        let name = text(&slice["metadata"]["name"]);
        if self.service.as_ref().is_none_or(|service| is_of(&slice, service)) {
            self.slices.insert(name, slice);
        } else {
            self.slices.remove(&name);
        }
    }

    async fn line(&mut self) -> Outcome<Bytes> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(self.read.split_to(end + 1).freeze());
            }
            let frame = self.stream.frame().await.ok_or("the watch ended")?;
            let frame = frame.map_err(|why| format!("the watch broke: {why}"))?;
            self.read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
    }
}

fn is_of(slice: &Value, service: &str) -> bool {
    slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
}

/// A JSON string's text; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The items of a JSON list, to be changed.
pub(crate) fn items(list: &mut Value) -> &mut Vec<Value> {
    list.as_array_mut().expect("a list")
}

/// Takes a key out of a JSON object.
pub(crate) fn remove(object: &mut Value, key: &str) {
    object.as_object_mut().expect("an object").remove(key);
}
