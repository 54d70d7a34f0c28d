//! The catalog's writing endpoints.

use consul8s_core::ports::MAX_TXN_OPS;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::super::body::{Body, whole};
use super::super::call::Call;
use super::decode::{self, Object};
use super::{Answer, JSON, encode, failure, json as answer_json};
use crate::model::consul::{Catalog, TxnItem, Verb};
use crate::world::ConsulWorld;

pub(super) fn route(world: &ConsulWorld, call: &Call) -> Answer {
    if world.faults().leaderless {
        return Err(failure(500, "No cluster leader"));
    }
    match call.path.as_str() {
        "/v1/catalog/register" => register(world, call),
        "/v1/catalog/deregister" => deregister(world, call),
        _ => txn(world, call),
    }
}

fn register(world: &ConsulWorld, call: &Call) -> Answer {
    let body = parse(call, "Request decode failed")?;
    let wanted = decode::registration(&body).map_err(|why| failure(400, format!("Request decode failed: {why}")))?;
    world.write(|catalog| catalog.register(wanted))?;
    Ok(answer_json(&json!(true)))
}

/// Without `ServiceID` and `CheckID` (or with empty ones) this removes the whole node, as the real one does.
fn deregister(world: &ConsulWorld, call: &Call) -> Answer {
    let body = parse(call, "Request decode failed")?;
    let object = Object::of(&body).map_err(|why| failure(400, format!("Request decode failed: {why}")))?;
    let field = |key| object.text(key).map_err(|why| failure(400, format!("Request decode failed: {why}")));
    let (node, service, check) = (field("Node")?, field("ServiceID")?, field("CheckID")?);
    if node.is_empty() {
        return Err(failure(500, "Must provide node"));
    }
    world.write(|catalog| match (service.as_str(), check.as_str()) {
        ("", "") => catalog.deregister_node(&node),
        ("", check) => catalog.deregister_check(&node, check),
        (service, _) => catalog.deregister_service(&node, service),
    });
    Ok(answer_json(&json!(true)))
}

fn txn(world: &ConsulWorld, call: &Call) -> Answer {
    let body = parse(call, "Failed to parse body")?;
    let total = body.as_array().map_or(0, Vec::len);
    if total > MAX_TXN_OPS {
        let what = format!("Transaction contains too many operations ({total} > {MAX_TXN_OPS})");
        return Err(failure(413, what));
    }
    let ops = decode::txn(&body).map_err(|why| failure(400, format!("Failed to parse body: {why}")))?;
    let reads_only = ops.iter().all(|op| op.verb == Verb::Get);
    let result = world.write(|catalog| {
        let done = catalog.txn(ops);
        done.map(|items| items.iter().map(|item| result(catalog, item)).collect::<Vec<Value>>())
    });
    let mut answer = Map::new();
    let status = if result.is_ok() { StatusCode::OK } else { StatusCode::CONFLICT };
    let errors = |errors: Vec<crate::model::consul::TxnError>| {
        errors.into_iter().map(|error| json!({"OpIndex": error.op, "What": error.what})).collect::<Value>()
    };
    let (results, errors) = match result {
        Ok(results) => (json!(results), Value::Null),
        Err(why) => (Value::Null, errors(why)),
    };
    answer.insert("Results".into(), results);
    answer.insert("Errors".into(), errors);
    if reads_only {
        add_read_meta(&mut answer);
    }
    Ok(send(status, &Value::Object(answer)))
}

/// A transaction that only reads tells its consistency in the body.
fn add_read_meta(answer: &mut Map<String, Value>) {
    for (key, value) in [
        ("Index", json!(1)),
        ("LastContact", json!(0)),
        ("KnownLeader", json!(true)),
        ("ConsistencyLevel", json!("")),
        ("NotModified", json!(false)),
        ("Backend", json!(0)),
        ("ResultsFilteredByACLs", json!(false)),
    ] {
        answer.insert(key.into(), value);
    }
}

/// Tags stay null here where reads show an empty list.
fn result(catalog: &Catalog, item: &TxnItem) -> Value {
    match item {
        TxnItem::Node(node) => json!({"Node": encode::node(node, catalog.datacenter())}),
        TxnItem::Service(_, service) => {
            json!({"Service": encode::service(service, service.port, &json!(service.tags))})
        }
        TxnItem::Check(check) => json!({"Check": encode::check(check, &json!(check.service_tags))}),
    }
}

fn send(status: StatusCode, body: &Value) -> Response<Body> {
    whole(status, JSON, body.to_string())
}

pub(super) fn parse(call: &Call, at_fault: &str) -> Result<Value, super::Failure> {
    serde_json::from_slice(&call.body).map_err(|why| failure(400, format!("{at_fault}: {why}")))
}
