//! What benches write to the servers, as JSON.

use serde_json::{Value, json};

/// Path of the Services of a namespace.
pub(crate) fn services_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services")
}

/// Path of the EndpointSlices of a namespace.
pub(crate) fn slices_path(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

/// Path of what a blocking query on one Consul service asks for, without its parameters.
pub(crate) fn health_path(name: &str) -> String {
    format!("/v1/health/service/{name}")
}

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// A Service without selector, with one port called `http`.
pub(crate) fn service(name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    })
}

/// One endpoint of a slice.
pub(crate) fn endpoint(address: &str, ready: bool) -> Value {
    json!({ "addresses": [address], "conditions": { "ready": ready, "serving": ready, "terminating": false } })
}

/// The EndpointSlice `service`-pods of a Service, as another controller would write it.
pub(crate) fn slice(service: &str, endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(service),
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "consul8s-bench",
            },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    })
}

/// The name of the EndpointSlice that [`slice()`] describes.
pub(crate) fn slice_name(service: &str) -> String {
    format!("{service}-pods")
}

/// Name of the Service that a slice belongs to.
pub(crate) fn service_of(slice: &Value) -> &str {
    slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default()
}

/// `passing` or `critical`.
pub(crate) fn status(passing: bool) -> &'static str {
    if passing { "passing" } else { "critical" }
}

/// A registration of a Consul node alone.
pub(crate) fn node(name: &str) -> Value {
    json!({ "Node": name, "Address": "10.0.0.1" })
}

/// A registration of one instance of `name` on `node`, which stands.
pub(crate) fn instance(node: &str, name: &str, address: &str) -> Value {
    json!({
        "Node": node,
        "SkipNodeUpdate": true,
        "Service": { "ID": name, "Service": name, "Address": address, "Port": 8080 },
    })
}

/// A registration of the one check of that instance.
pub(crate) fn check(node: &str, name: &str, passing: bool) -> Value {
    json!({
        "Node": node,
        "SkipNodeUpdate": true,
        "Check": { "CheckID": format!("{name}:alive"), "Name": "alive", "ServiceID": name, "Status": status(passing) },
    })
}
