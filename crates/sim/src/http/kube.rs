//! The subset of the Kubernetes API that consul8s and kubectl need to look and to edit.

mod decode;
mod discovery;
mod encode;
mod lists;
mod path;
mod table;
mod watches;
mod writes;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use serde_json::Value;

use self::path::Target;
use super::body::{Body, deliver, whole};
use super::call::Call;
use crate::faults::Verdict;
use crate::model::kube::{Cluster, Failure, Resource};
use crate::world::{Cut, KubeWorld};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer before it becomes HTTP.
type Answer = Result<Response<Body>, Failure>;

/// Answers one request.
///
/// # Errors
/// [`Cut`] when the connection is to break instead.
pub async fn respond<B>(world: &KubeWorld, request: Request<B>) -> Result<Response<Body>, Cut>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let call = Call::read(request).await?;
    let verdict = world.admit().await;
    let answer = match verdict {
        Verdict::Cut => return Err(Cut),
        Verdict::Fail(status) => Err(Failure::simulated(status)),
        Verdict::LoseReply | Verdict::Serve { .. } => route(world, &call),
    };
    let response = answer.unwrap_or_else(|why| {
        let status = StatusCode::from_u16(why.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        whole(status, JSON, encode::status(&why).to_string())
    });
    deliver(verdict, response).await
}

fn route(world: &KubeWorld, call: &Call) -> Answer {
    if let Some(response) = discovery::answer(call, world.read(Cluster::defines_imports)) {
        return Ok(response);
    }
    let target = Target::parse(&call.path).ok_or_else(no_such_path)?;
    if call.filled("dryRun").is_some() {
        // Carrying it out would be worse than not knowing it.
        return Err(Failure::bad_request("dryRun is not simulated"));
    }
    if target.resource == Resource::ConsulImports && !world.read(Cluster::defines_imports) {
        return Err(no_such_path());
    }
    let watching = call.is_true("watch");
    match (&call.method, target.name.is_some()) {
        (&Method::GET, true) => lists::get(world, call, &target),
        (&Method::GET, false) if watching => watches::watch(world, call, &target),
        (&Method::GET, false) => lists::list(world, call, &target),
        (&Method::POST, false) => writes::create(world, call, &target),
        (&Method::PUT, true) => writes::replace(world, call, &target),
        (&Method::PATCH, true) => writes::patch(world, call, &target),
        (&Method::DELETE, true) => writes::delete(world, call, &target),
        _ => {
            let what = "the server does not allow this method on the requested resource";
            Err(Failure::plain(405, "MethodNotAllowed", what))
        }
    }
}

fn no_such_path() -> Failure {
    Failure::plain(404, "NotFound", "the server could not find the requested resource")
}

fn object(status: StatusCode, object: &Arc<Value>) -> Response<Body> {
    whole(status, JSON, object.to_string())
}
