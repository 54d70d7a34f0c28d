//! Consul as a scenario sees it: all of it, shared with other scenarios, so that names must be one's own.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::Outcome;
use super::http::{Http, Reply};
use super::kube::text;
use super::wait::so;

/// How long a blocking query waits at most.
const WAIT: Duration = Duration::from_secs(2);

/// A client for one agent at a time.
#[derive(Clone)]
pub(crate) struct Consul {
    http: Arc<Mutex<Http>>,
}

/// One instance, as it is registered in the catalog on a node without agent, or with the agent.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) node: String,
    pub(crate) node_address: String,
    pub(crate) service: String,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) port: i64,
    /// State of its one check, if it has one.
    pub(crate) check: Option<&'static str>,
}

impl Instance {
    /// ID of its check.
    pub(crate) fn check_id(&self) -> String {
        format!("check-{}", self.id)
    }

    /// With its check in this state.
    pub(crate) fn checked(self, status: &'static str) -> Instance {
        Instance { check: Some(status), ..self }
    }

    /// At another address and port.
    pub(crate) fn at(self, address: &str, port: i64) -> Instance {
        Instance { address: address.to_owned(), port, ..self }
    }
}

impl Consul {
    pub(crate) fn new(address: &str, token: Option<&str>) -> Consul {
        Consul { http: Arc::new(Mutex::new(Http::plain(address).with_token(token))) }
    }

    /// Asks this agent from now on; clones do so too.
    pub(crate) fn go_to(&self, address: &str) {
        *lock(&self.http) = Http::plain(address);
    }

    /// All that Consul knows.
    pub(crate) async fn snapshot(&self) -> Outcome<Bytes> {
        let reply = self.reply(Method::GET, "/v1/snapshot", None).await?;
        so(reply.status.is_success(), || format!("GET /v1/snapshot: {} {}", reply.status, reply.text()))?;
        Ok(reply.body)
    }

    /// Has Consul know this and nothing else.
    pub(crate) async fn restore(&self, snapshot: Bytes) -> Outcome {
        let http = lock(&self.http).clone();
        let reply = http.send(Method::PUT, "/v1/snapshot", "application/octet-stream", snapshot).await?;
        so(reply.status.is_success(), || format!("PUT /v1/snapshot: {} {}", reply.status, reply.text()))
    }

    /// A token for exactly what these rules allow.
    pub(crate) async fn token_for(&self, name: &str, rules: &str) -> Outcome<String> {
        self.put("/v1/acl/policy", &json!({ "Name": name, "Rules": rules })).await?;
        let token = self.put("/v1/acl/token", &json!({ "Policies": [{ "Name": name }] })).await?;
        token["SecretID"].as_str().map(str::to_owned).ok_or_else(|| format!("no token: {token}"))
    }

    /// Gives all tokens with this policy other rights.
    pub(crate) async fn set_policy(&self, name: &str, rules: &str) -> Outcome {
        let id = text(&self.get(&format!("/v1/acl/policy/name/{name}")).await?["ID"]);
        self.put(&format!("/v1/acl/policy/{id}"), &json!({ "Name": name, "Rules": rules })).await?;
        Ok(())
    }

    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        self.reply(Method::GET, path, None).await?.json().map_err(|why| format!("GET {path}: {why}"))
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.reply(Method::PUT, path, Some(body)).await?.json().map_err(|why| format!("PUT {path}: {why}"))
    }

    /// Registers it in the catalog, with its node: what nobody's agent watches over.
    pub(crate) async fn register(&self, instance: &Instance) -> Outcome {
        let Instance { node, node_address, service, id, address, port, check } = instance;
        let mut body = json!({
            "Node": node, "Address": node_address,
            "Service": { "ID": id, "Service": service, "Address": address, "Port": port },
        });
        if let Some(status) = check {
            let check =
                json!({ "CheckID": instance.check_id(), "Name": "it works", "ServiceID": id, "Status": status });
            body["Checks"] = json!([check]);
        }
        self.put("/v1/catalog/register", &body).await?;
        Ok(())
    }

    /// Puts a check on a node of the catalog.
    pub(crate) async fn set_node_check(&self, instance: &Instance, id: &str, status: &str) -> Outcome {
        let Instance { node, node_address, .. } = instance;
        let check = json!({ "CheckID": id, "Name": id, "Status": status });
        let body = json!({ "Node": node, "Address": node_address, "SkipNodeUpdate": true, "Checks": [check] });
        self.put("/v1/catalog/register", &body).await?;
        Ok(())
    }

    /// Takes a check from a node of the catalog.
    pub(crate) async fn remove_node_check(&self, instance: &Instance, id: &str) -> Outcome {
        self.put("/v1/catalog/deregister", &json!({ "Node": instance.node, "CheckID": id })).await?;
        Ok(())
    }

    /// Takes a node out of the catalog with all that is on it.
    pub(crate) async fn remove_node(&self, node: &str) -> Outcome {
        self.put("/v1/catalog/deregister", &json!({ "Node": node })).await?;
        Ok(())
    }

    /// Takes a service out of the catalog.
    pub(crate) async fn remove_service(&self, node: &str, id: &str) -> Outcome {
        self.put("/v1/catalog/deregister", &json!({ "Node": node, "ServiceID": id })).await?;
        Ok(())
    }

    /// Registers it with the agent, on whose node it then is.
    pub(crate) async fn agent_register(&self, instance: &Instance) -> Outcome {
        let Instance { service, id, address, port, check, .. } = instance;
        let mut body = json!({ "ID": id, "Name": service, "Address": address, "Port": port });
        if let Some(status) = check {
            // Longer than any scenario: nobody but the scenario changes it.
            body["Check"] = json!({ "CheckID": instance.check_id(), "TTL": "1h", "Status": status });
        }
        self.put("/v1/agent/service/register", &body).await?;
        Ok(())
    }

    pub(crate) async fn agent_deregister(&self, instance: &Instance) -> Outcome {
        self.put(&format!("/v1/agent/service/deregister/{}", instance.id), &Value::Null).await?;
        Ok(())
    }

    /// Reports its check to the agent: `pass`, `warn` or `fail`.
    pub(crate) async fn agent_check(&self, instance: &Instance, verb: &str) -> Outcome {
        self.put(&format!("/v1/agent/check/{verb}/{}", instance.check_id()), &Value::Null).await?;
        Ok(())
    }

    /// Puts it into maintenance with the agent, or takes it out.
    pub(crate) async fn agent_maintenance(&self, instance: &Instance, enable: bool) -> Outcome {
        let path = format!("/v1/agent/service/maintenance/{}?enable={enable}&reason=upgrade", instance.id);
        self.put(&path, &Value::Null).await?;
        Ok(())
    }

    /// The instances of a service with their nodes and checks.
    pub(crate) async fn health(&self, service: &str) -> Outcome<Vec<Value>> {
        Ok(list(&self.get(&format!("/v1/health/service/{service}")).await?))
    }

    /// The same with its index, once the index is above `index`, or after two seconds; at once for 0.
    pub(crate) async fn health_after(&self, service: &str, index: u64) -> Outcome<(u64, Vec<Value>)> {
        let path = format!("/v1/health/service/{service}?index={index}&wait={}s", WAIT.as_secs());
        let reply = self.reply(Method::GET, &path, None).await?;
        let found = reply.json().map_err(|why| format!("GET {path}: {why}"))?;
        Ok((index_of(&reply), list(&found)))
    }

    /// The services of a node by ID, with the index, once that is above `index`, or after two seconds; at once for 0.
    pub(crate) async fn node_after(&self, node: &str, index: u64) -> Outcome<(u64, Vec<Value>)> {
        let path = format!("/v1/catalog/node-services/{node}?index={index}&wait={}s", WAIT.as_secs());
        let reply = self.reply(Method::GET, &path, None).await?;
        let found = reply.json().map_err(|why| format!("GET {path}: {why}"))?;
        Ok((index_of(&reply), list(&found["Services"])))
    }

    /// One service on a node, as the catalog has it.
    pub(crate) async fn service(&self, node: &str, id: &str) -> Outcome<Value> {
        let services = list(&self.get(&format!("/v1/catalog/node-services/{node}")).await?["Services"]);
        services.into_iter().find(|service| service["ID"] == id).ok_or_else(|| format!("no {id} on node {node}"))
    }

    async fn reply(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Reply> {
        // Real agents want no body where they have nothing to read.
        let http = lock(&self.http).clone();
        http.ask(method, path, "application/json", body.filter(|body| !body.is_null())).await
    }
}

fn index_of(reply: &Reply) -> u64 {
    reply.headers.get("x-consul-index").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

fn lock(http: &Mutex<Http>) -> MutexGuard<'_, Http> {
    http.lock().expect("nobody panics while choosing an agent")
}

/// The items of a list; none for null.
pub(crate) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
