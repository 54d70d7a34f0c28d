//! The floor: for each change the one wait and the one write without which nobody can carry it over, on connections
//! that are kept. It knows beforehand what it will be told, checks nothing and could not be left alone for a day.

use std::collections::HashMap;
use std::future::Future;

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cast::Actor;
use super::change::{TAGS, address};
use crate::bench::http::{Connection, Lines};
use crate::bench::objects::{self, health_path, service_of, services_path, slices_path};
use crate::bench::servers::Servers;

/// The tasks of the floor; dropped, they end.
pub(super) struct Floor {
    tasks: JoinSet<Result<()>>,
}

impl Floor {
    /// Writes what the floor's first writes need, and starts it.
    pub(super) async fn start(actor: &Actor, servers: &Servers) -> Result<Self> {
        let mut tasks = JoinSet::new();
        for index in 0..actor.watched {
            tasks.spawn(Follower::new(actor, index, servers).await?.run());
        }
        tasks.spawn(Registrar::start(actor, servers).await?);
        Ok(Self { tasks })
    }

    /// Why it does not run any more, if so.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(error))) => Err(error.context("the floor has ended")),
            Some(Err(panic)) => Err(panic.into()),
            Some(Ok(Ok(()))) => bail!("the floor has ended"),
        }
    }
}

/// Consul → Kubernetes: a blocking query on one service, and a PUT of its slice.
struct Follower {
    name: String,
    slice_path: String,
    consul: Connection,
    kube: Connection,
}

impl Follower {
    async fn new(actor: &Actor, index: usize, servers: &Servers) -> Result<Self> {
        let name = actor.consul_name(index);
        let mut kube = servers.kube_api.connect().await?;
        let slices = slices_path(&actor.namespace);
        kube.expect(Method::POST, &slices, Some(&objects::slice(&name, &[]))).await?;
        let slice_path = format!("{slices}/{}", objects::slice_name(&name));
        Ok(Self { name, slice_path, consul: servers.consul_as_used.connect().await?, kube })
    }

    async fn run(mut self) -> Result<()> {
        let mut index = 1;
        loop {
            let path = format!("{}?stale&wait=60s&index={index}", health_path(&self.name));
            let answer = self.consul.expect(Method::GET, &path, None).await?;
            if answer.index == index {
                continue;
            }
            index = answer.index;
            let endpoints: Vec<Value> = answer.json()?.as_array().into_iter().flatten().map(endpoint).collect();
            let slice = objects::slice(&self.name, &endpoints);
            self.kube.expect(Method::PUT, &self.slice_path, Some(&slice)).await?;
        }
    }
}

fn endpoint(instance: &Value) -> Value {
    let checks = instance["Checks"].as_array();
    let ready = checks.into_iter().flatten().all(|check| check["Status"] == "passing");
    objects::endpoint(instance["Service"]["Address"].as_str().unwrap_or_default(), ready)
}

/// Kubernetes → Consul: one watch of the slices, one of the Services, and a transaction.
struct Registrar {
    consul: Connection,
    node: String,
    registrations: HashMap<String, Registration>,
}

/// What stands in Consul.
struct Registration {
    /// With the index that the next compare-and-set needs.
    service: Value,
    passing: bool,
}

impl Registrar {
    async fn start(actor: &Actor, servers: &Servers) -> Result<impl Future<Output = Result<()>> + use<>> {
        let consul = servers.consul_as_used.connect().await?;
        let node = format!("{}-registrations", actor.namespace);
        let mut registrar = Self { consul, node, registrations: HashMap::new() };
        registrar.register_all(actor).await?;
        let watch = async |path: String| {
            servers.kube_api.connect().await?.lines(&format!("{path}?watch=1&timeoutSeconds=7200")).await
        };
        let slices = watch(slices_path(&actor.namespace)).await?;
        let services = watch(services_path(&actor.namespace)).await?;
        Ok(registrar.run(slices, services))
    }

    async fn register_all(&mut self, actor: &Actor) -> Result<()> {
        let node = objects::node(&self.node);
        self.consul.expect(Method::PUT, "/v1/catalog/register", Some(&node)).await?;
        for index in 0..actor.watched {
            let name = actor.kube_name(index);
            let service = json!({ "ID": name, "Service": name, "Address": address(index), "Port": 80, "Tags": [] });
            self.registrations.insert(name.clone(), Registration { service, passing: true });
            self.commit("set", &name).await?;
        }
        Ok(())
    }

    async fn run(mut self, mut slices: Lines, mut services: Lines) -> Result<()> {
        loop {
            tokio::select! {
                line = slices.next() => self.slice_told(&line?.value["object"]).await?,
                line = services.next() => self.service_told(&line?.value["object"]).await?,
            }
        }
    }

    async fn slice_told(&mut self, slice: &Value) -> Result<()> {
        let (name, passing) = (service_of(slice), slice["endpoints"][0]["conditions"]["serving"] == true);
        match self.registrations.get_mut(name) {
            Some(registration) if registration.passing != passing => registration.passing = passing,
            _ => return Ok(()),
        }
        self.commit("cas", name).await
    }

    async fn service_told(&mut self, service: &Value) -> Result<()> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let tags = json!([service["metadata"]["annotations"][TAGS]]);
        match self.registrations.get_mut(name) {
            Some(registration) if registration.service["Tags"] != tags => registration.service["Tags"] = tags,
            _ => return Ok(()),
        }
        self.commit("cas", name).await
    }

    /// One transaction with a service and its check, as consul8s' own are: a check is never written without its service.
    async fn commit(&mut self, verb: &str, name: &str) -> Result<()> {
        let registration = self.registrations.get_mut(name).context("a service of its own")?;
        let check = json!({
            "Node": self.node, "CheckID": format!("{name}:ready"), "Name": "ready", "ServiceID": name,
            "Status": objects::status(registration.passing),
        });
        let operations = json!([
            { "Service": { "Verb": verb, "Node": self.node, "Service": registration.service } },
            { "Check": { "Verb": "set", "Check": check } },
        ]);
        let answer = self.consul.expect(Method::PUT, "/v1/txn", Some(&operations)).await?;
        registration.service["ModifyIndex"] = answer.json()?["Results"][0]["Service"]["ModifyIndex"].take();
        Ok(())
    }
}
