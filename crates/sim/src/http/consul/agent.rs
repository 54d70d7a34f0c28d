//! The agent's writing endpoints, for people with curl. They act on the server's own node; TTLs never run out here.

use http::Response;
use serde_json::Value;

use super::super::body::Body;
use super::super::call::Call;
use super::decode::{self, Object};
use super::{Answer, Failure, empty, failure, unknown, writes};
use crate::model::consul::{Catalog, CheckRecord, Refused, Registration, ServiceRecord};
use crate::world::ConsulWorld;

pub(super) fn route(world: &ConsulWorld, call: &Call) -> Answer {
    let path = call.path.strip_prefix("/v1/agent/").unwrap_or_default();
    if path == "service/register" {
        register(world, call)
    } else if let Some(id) = path.strip_prefix("service/deregister/") {
        deregister(world, id)
    } else if let Some(id) = path.strip_prefix("service/maintenance/") {
        let reason = reason(call)?;
        on_own_node(world, |catalog, node| catalog.service_maintenance(node, id, reason.as_deref()))
    } else if path == "maintenance" {
        let reason = reason(call)?;
        on_own_node(world, |catalog, node| catalog.node_maintenance(node, reason.as_deref()))
    } else if let Some(rest) = path.strip_prefix("check/") {
        check(world, call, rest)
    } else {
        Err(unknown())
    }
}

/// What the agent doesn't know is a 404.
fn on_own_node(world: &ConsulWorld, act: impl FnOnce(&mut Catalog, &str) -> Result<(), Refused>) -> Answer {
    let done = world.write(|catalog| {
        let node = catalog.server().to_owned();
        act(catalog, &node)
    });
    done.map(|()| empty()).map_err(|Refused(what)| failure(404, what))
}

fn register(world: &ConsulWorld, call: &Call) -> Answer {
    let body = writes::parse(call, "Request decode failed")?;
    let wrong = |why: String| failure(400, format!("Request decode failed: {why}"));
    let object = Object::of(&body).map_err(wrong)?;
    let mut service = decode::service(&body).map_err(wrong)?;
    if service.name.is_empty() {
        return Err(failure(400, "Missing service name"));
    }
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    let mut definitions: Vec<&Value> = object.list("Checks").map_err(wrong)?.iter().collect();
    definitions.extend(object.get("Check"));
    let several = definitions.len() > 1;
    let checks = definitions.iter().enumerate().map(|(at, value)| {
        let number = several.then_some(at + 1);
        definition(&service, value, number).map_err(wrong)
    });
    let checks = checks.collect::<Result<Vec<_>, Failure>>()?;
    world.write(|catalog| own(catalog, service, checks))?;
    Ok(empty())
}

/// Without ID and name a check gets those that the agent makes up.
fn definition(service: &ServiceRecord, value: &Value, number: Option<usize>) -> Result<CheckRecord, decode::Wrong> {
    let mut check = decode::check(value)?;
    if check.id.is_empty() {
        let number = number.map(|number| format!(":{number}")).unwrap_or_default();
        check.id = format!("service:{}{number}", service.id);
    }
    if check.name.is_empty() {
        check.name = format!("Service '{}' check", service.name);
    }
    if Object::of(value)?.get("TTL").is_some() {
        check.kind = "ttl".into();
    }
    check.service_id.clone_from(&service.id);
    Ok(check)
}

/// Registers on the server's own node, which stays as it is, or comes back when somebody removed it from the catalog.
fn own(catalog: &mut Catalog, service: ServiceRecord, checks: Vec<CheckRecord>) -> Result<(), Refused> {
    let name = catalog.server().to_owned();
    let node = crate::model::consul::Node { name, address: "127.0.0.1".into(), ..Default::default() };
    catalog.register(Registration { node, skip_node_update: true, service: Some(service), checks })
}

fn deregister(world: &ConsulWorld, id: &str) -> Result<Response<Body>, Failure> {
    on_own_node(world, |catalog, node| {
        if catalog.service(node, id).is_none() {
            let what =
                format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
            return Err(Refused(what));
        }
        catalog.deregister_service(node, id);
        Ok(())
    })
}

/// The reason for maintenance; none takes it back.
fn reason(call: &Call) -> Result<Option<String>, Failure> {
    let Some(enable) = call.filled("enable") else { return Err(failure(400, "Missing value for enable")) };
    let given = call.filled("reason").unwrap_or("Maintenance mode is enabled, but no reason was provided.");
    match enable {
        "true" | "1" => Ok(Some(given.to_owned())),
        "false" | "0" => Ok(None),
        other => Err(failure(400, format!("Invalid value for enable: {other:?}"))),
    }
}

/// `check/pass/ID` and its like, and `check/update/ID` with a body.
fn check(world: &ConsulWorld, call: &Call, rest: &str) -> Answer {
    let Some((verb, id)) = rest.split_once('/') else { return Err(unknown()) };
    let note = call.param("note").unwrap_or_default().to_owned();
    let (status, output) = match verb {
        "pass" => ("passing".to_owned(), note),
        "warn" => ("warning".to_owned(), note),
        "fail" => ("critical".to_owned(), note),
        "update" => update(call)?,
        _ => return Err(unknown()),
    };
    let status = consul8s_core::consul::CheckStatus::parse(&status);
    on_own_node(world, |catalog, node| catalog.set_check(node, id, status, &output))
}

fn update(call: &Call) -> Result<(String, String), Failure> {
    let body = writes::parse(call, "Request decode failed")?;
    let wrong = |why: String| failure(400, format!("Request decode failed: {why}"));
    let object = Object::of(&body).map_err(wrong)?;
    let (status, output) = (object.text("Status").map_err(wrong)?, object.text("Output").map_err(wrong)?);
    if !matches!(status.as_str(), "passing" | "warning" | "critical") {
        return Err(failure(400, format!("Invalid check status: {status:?}")));
    }
    Ok((status, output))
}
