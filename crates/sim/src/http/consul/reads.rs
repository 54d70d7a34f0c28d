//! The reading endpoints.

use http::Response;
use serde_json::{Value, json};

use super::super::body::Body;
use super::super::call::Call;
use super::options::Options;
use super::{Answer, encode, failure, json as answer_json, unknown};
use crate::faults::Hidden;
use crate::model::consul::{Catalog, CheckRecord, Node};
use crate::world::ConsulWorld;

const NODE_SERVICES: &str = "/v1/catalog/node-services/";
/// The one filter that is simulated: no service passes it, which leaves the node.
const NO_SERVICE: &str = "ID == \"\"";

pub(super) async fn route(world: &ConsulWorld, call: &Call) -> Answer {
    let path = call.path.as_str();
    match path {
        "/v1/status/leader" => return Ok(leader(world)),
        "/v1/agent/self" => return Ok(agent_self(world)),
        "/v1/catalog/datacenters" => return Ok(world.read(|catalog| answer_json(&json!([catalog.datacenter()])))),
        _ => {}
    }
    let options = Options::parse(world, call)?;
    let filter = call.filled("filter");
    let none_passes = filter.is_some_and(|filter| filter == NO_SERVICE) && path.starts_with(NODE_SERVICES);
    if let Some(filter) = filter.filter(|_| !none_passes) {
        // Filters are not simulated: refused in the words for one that is wrong, which a client has to tell from a failure.
        let why = format!("1:1 (0): no match found, simulated refusal of {filter:?}");
        return Err(failure(500, format!("Failed to create boolean expression evaluator: {why}")));
    }
    let hidden = world.faults().hidden.unwrap_or_default();
    if let Some(name) = path.strip_prefix("/v1/health/service/") {
        health_service(world, call, &options, &hidden, name).await
    } else if let Some(node) = path.strip_prefix("/v1/health/node/") {
        let make = |catalog: &Catalog| checks(catalog.node_checks(node).1, &hidden);
        options.answer(world, false, |catalog| catalog.node_checks(node).0, make).await
    } else if let Some(state) = path.strip_prefix("/v1/health/state/") {
        let make = |catalog: &Catalog| checks(catalog.checks_in(state).1, &hidden);
        options.answer(world, false, |catalog| catalog.checks_in(state).0, make).await
    } else if let Some(name) = path.strip_prefix("/v1/catalog/service/") {
        let make = |catalog: &Catalog| catalog_service(catalog, name, &hidden);
        options.answer(world, false, |catalog| catalog.catalog_service_stamp(name), make).await
    } else if let Some(node) = path.strip_prefix(NODE_SERVICES) {
        let show = |catalog: &Catalog| node_services(catalog, node, &hidden, none_passes);
        let before = world.read(show);
        let make = |catalog: &Catalog| match show(catalog) {
            // Where the node goes while the query waits, the real one leaves what it held in the answer.
            (now, _) if now["Node"].is_null() => before.clone(),
            now => now,
        };
        options.answer(world, false, |catalog| catalog.node_services(node).0, make).await
    } else if path == "/v1/catalog/services" {
        let make = |catalog: &Catalog| services(catalog, &hidden);
        options.answer(world, false, |catalog| catalog.services().0, make).await
    } else if path == "/v1/catalog/nodes" {
        let pair = call.filled("node-meta").and_then(|pair| pair.split_once(':'));
        options.answer(world, false, |catalog| catalog.nodes().0, |catalog| nodes(catalog, &hidden, pair)).await
    } else {
        Err(unknown())
    }
}

fn leader(world: &ConsulWorld) -> Response<Body> {
    answer_json(&json!(if world.faults().leaderless { "" } else { "127.0.0.1:8300" }))
}

fn agent_self(world: &ConsulWorld) -> Response<Body> {
    world.read(|catalog| {
        let (datacenter, node) = (catalog.datacenter(), catalog.server());
        answer_json(&json!({
            "Config": {"Datacenter": datacenter, "PrimaryDatacenter": datacenter, "NodeName": node, "Server": true,
                       "Version": "1.22.7"},
            "Member": {"Name": node, "Addr": "127.0.0.1", "Status": 1},
        }))
    })
}

async fn health_service(world: &ConsulWorld, call: &Call, options: &Options, hidden: &Hidden, name: &str) -> Answer {
    if name.is_empty() {
        return Err(failure(400, "Missing service name"));
    }
    let (passing, tag) = (call.has("passing"), call.filled("tag"));
    let make = |catalog: &Catalog| {
        let mut body = Vec::new();
        let mut left_out = false;
        for (node, service, found) in catalog.health_service(name) {
            let wanted = tag.is_none_or(|tag| service.tags.iter().flatten().any(|have| have.eq_ignore_ascii_case(tag)));
            let healthy = !passing || found.iter().all(|check| check.status == "passing");
            if hidden.hides(&node.name, &service.name) {
                left_out = true;
            } else if wanted && healthy {
                let checks: Vec<Value> =
                    found.iter().map(|check| encode::check(check, &encode::list(&check.service_tags))).collect();
                body.push(json!({
                    "Node": encode::node(node, catalog.datacenter()),
                    "Service": encode::service(service, service.shown_port(), &encode::list(&service.tags)),
                    "Checks": checks,
                }));
            }
        }
        (Value::Array(body), left_out)
    };
    // A tag takes the query off the streaming backend.
    options.answer(world, tag.is_none(), |catalog| catalog.health_service_stamp(name), make).await
}

fn checks(found: Vec<&CheckRecord>, hidden: &Hidden) -> (Value, bool) {
    let total = found.len();
    let seen = found.into_iter().filter(|check| !hidden.hides(&check.node, &check.service_name));
    let body: Vec<Value> = seen.map(|check| encode::check(check, &encode::list(&check.service_tags))).collect();
    let left_out = body.len() < total;
    (Value::Array(body), left_out)
}

fn catalog_service(catalog: &Catalog, name: &str, hidden: &Hidden) -> (Value, bool) {
    let found = catalog.health_service(name);
    let total = found.len();
    let seen = found.into_iter().filter(|(node, service, _)| !hidden.hides(&node.name, &service.name));
    let body: Vec<Value> =
        seen.map(|(node, service, _)| encode::catalog_service(node, service, catalog.datacenter())).collect();
    let left_out = body.len() < total;
    (Value::Array(body), left_out)
}

fn node_services(catalog: &Catalog, name: &str, hidden: &Hidden, none_passes: bool) -> (Value, bool) {
    match catalog.node_services(name).1 {
        Some((node, services)) if !hidden.hides(name, "") => {
            let total = services.len();
            let seen = services.into_iter().filter(|service| !hidden.hides(name, &service.name));
            let seen = seen.filter(|_| !none_passes);
            let body: Vec<Value> =
                seen.map(|service| encode::service(service, service.port, &encode::list(&service.tags))).collect();
            let left_out = body.len() < total && !none_passes;
            (json!({"Node": encode::node(node, catalog.datacenter()), "Services": body}), left_out)
        }
        found => (json!({"Node": null, "Services": null}), found.is_some()),
    }
}

fn services(catalog: &Catalog, hidden: &Hidden) -> (Value, bool) {
    let (_, mut names) = catalog.services();
    let total = names.len();
    names.retain(|name, _| !hidden.hides("", name));
    let left_out = names.len() < total;
    (json!(names), left_out)
}

/// All nodes, or those whose meta holds this pair.
fn nodes(catalog: &Catalog, hidden: &Hidden, pair: Option<(&str, &str)>) -> (Value, bool) {
    let (_, mut all) = catalog.nodes();
    let says = |node: &&Node, key: &str, value: &str| node.meta.iter().flatten().any(|(k, v)| k == key && v == value);
    all.retain(|node| pair.is_none_or(|(key, value)| says(node, key, value)));
    let total = all.len();
    let seen = all.into_iter().filter(|node| !hidden.hides(&node.name, ""));
    let body: Vec<Value> = seen.map(|node| encode::node(node, catalog.datacenter())).collect();
    let left_out = body.len() < total;
    (Value::Array(body), left_out)
}
