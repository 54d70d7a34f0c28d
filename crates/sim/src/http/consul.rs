//! Consul's HTTP API.

mod agent;
mod decode;
mod duration;
mod encode;
mod options;
mod reads;
mod writes;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::body::{Body, deliver, whole};
use super::call::Call;
use crate::faults::Verdict;
use crate::model::consul::Refused;
use crate::world::{ConsulWorld, Cut};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer before it becomes HTTP; an error is one too.
type Answer = Result<Response<Body>, Failure>;

/// An answer that is not 200, or none at all.
enum Failure {
    Status(StatusCode, String),
    Cut,
}

impl From<Cut> for Failure {
    fn from(Cut: Cut) -> Self {
        Failure::Cut
    }
}

/// What the store refuses is an internal error to Consul.
impl From<Refused> for Failure {
    fn from(Refused(what): Refused) -> Self {
        Failure::Status(StatusCode::INTERNAL_SERVER_ERROR, what)
    }
}

/// Answers one request.
///
/// # Errors
/// [`Cut`] when the connection is to break instead.
pub async fn respond<B>(world: &ConsulWorld, request: Request<B>) -> Result<Response<Body>, Cut>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let call = Call::read(request).await?;
    let verdict = world.admit().await;
    let answer = match verdict {
        Verdict::Cut => return Err(Cut),
        Verdict::Fail(status) => Err(failure(status, "simulated failure")),
        Verdict::LoseReply | Verdict::Serve { .. } => route(world, &call).await,
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(Failure::Cut) => return Err(Cut),
        Err(Failure::Status(status, text)) => whole(status, TEXT, text),
    };
    if call.has("pretty") && response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == JSON) {
        response = pretty(response).await?;
    }
    let policy = if world.faults().hidden.is_some() { "deny" } else { "allow" };
    put(&mut response, "x-consul-default-acl-policy", policy);
    deliver(verdict, response).await
}

async fn route(world: &ConsulWorld, call: &Call) -> Answer {
    let path = call.path.as_str();
    let reads = [
        "/v1/health/",
        "/v1/catalog/services",
        "/v1/catalog/service/",
        "/v1/catalog/nodes",
        "/v1/catalog/node-services/",
        "/v1/catalog/datacenters",
        "/v1/status/leader",
        "/v1/agent/self",
    ];
    let writes = ["/v1/catalog/register", "/v1/catalog/deregister", "/v1/txn"];
    let agent = ["/v1/agent/service/", "/v1/agent/check/", "/v1/agent/maintenance"];
    if reads.iter().any(|read| path.starts_with(read)) {
        expect(call, &Method::GET)?;
        reads::route(world, call).await
    } else if writes.contains(&path) {
        expect(call, &Method::PUT)?;
        writes::route(world, call)
    } else if agent.iter().any(|write| path.starts_with(write)) {
        expect(call, &Method::PUT)?;
        agent::route(world, call)
    } else {
        Err(unknown())
    }
}

fn expect(call: &Call, method: &Method) -> Result<(), Failure> {
    if call.method == *method {
        return Ok(());
    }
    Err(Failure::Status(StatusCode::METHOD_NOT_ALLOWED, format!("method {} not allowed", call.method)))
}

fn unknown() -> Failure {
    failure(404, "Invalid URL path: not a recognized HTTP API endpoint\n")
}

fn failure(status: u16, text: impl Into<String>) -> Failure {
    Failure::Status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text.into())
}

fn json(value: &Value) -> Response<Body> {
    whole(StatusCode::OK, JSON, value.to_string())
}

/// The same answer for people: indented.
async fn pretty(response: Response<Body>) -> Result<Response<Body>, Cut> {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let body = Full::new(Bytes::from(format!("{value:#}\n"))).map_err(|never| match never {});
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// An agent's answer to a write: nothing.
fn empty() -> Response<Body> {
    let mut response = whole(StatusCode::OK, TEXT, Bytes::new());
    response.headers_mut().remove(http::header::CONTENT_TYPE);
    response
}

fn put(response: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
