//! Who takes part in a stage: the floor and consul8s, each with Services of its own, so that neither does the other's
//! work. Their names say whose they are.

use anyhow::Result;
use futures::future::try_join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::change::{TAGS, address, tag};
use crate::bench::http::Connection;
use crate::bench::objects;
use crate::bench::servers::Servers;

/// Connections that write the objects at the start.
const WRITERS: usize = 4;

/// Who carries changes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The least that any program could do.
    Floor,
    Consul8s,
}

/// One who carries changes over, with its objects: as many Services in each direction.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) who: Who,
    /// How many Services it watches in each direction.
    pub(super) watched: usize,
    /// The namespace of its Services.
    pub(super) namespace: String,
}

impl Actor {
    pub(super) fn new(who: Who, watched: usize) -> Self {
        let name = match who {
            Who::Floor => "floor",
            Who::Consul8s => "consul8s",
        };
        Self { who, watched, namespace: format!("{name}-{watched}") }
    }

    /// The Consul service, and the Service of the same name, whose instances go to Kubernetes.
    pub(super) fn consul_name(&self, index: usize) -> String {
        format!("{}-in-{index}", self.namespace)
    }

    /// The Service, and the Consul service of the same name, that goes to Consul.
    pub(super) fn kube_name(&self, index: usize) -> String {
        format!("{}-out-{index}", self.namespace)
    }

    /// The Consul node of the instances that go to Kubernetes.
    pub(super) fn source_node(&self) -> String {
        format!("{}-machine", self.namespace)
    }

    /// Writes everything that is there before the first change.
    pub(super) async fn set_up(&self, servers: &Servers) -> Result<()> {
        let mut kube = servers.kube_api.connect().await?;
        kube.expect(Method::POST, "/api/v1/namespaces", Some(&objects::namespace(&self.namespace))).await?;
        let mut consul = servers.consul_api.connect().await?;
        register(&mut consul, &objects::node(&self.source_node())).await?;
        let writers = (0..WRITERS).map(async |first| {
            let (mut kube, mut consul) = (servers.kube_api.connect().await?, servers.consul_api.connect().await?);
            for index in (first..self.watched).step_by(WRITERS) {
                self.write(index, &mut kube, &mut consul).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(writers).await?;
        Ok(())
    }

    async fn write(&self, index: usize, kube: &mut Connection, consul: &mut Connection) -> Result<()> {
        let name = self.consul_name(index);
        register(consul, &objects::instance(&self.source_node(), &name, &address(0))).await?;
        register(consul, &objects::check(&self.source_node(), &name, true)).await?;
        self.create_service(kube, &name, "consul", json!({})).await?;
        let name = self.kube_name(index);
        let annotations = json!({ "consul8s/service.address": address(index), TAGS: tag(0) });
        self.create_service(kube, &name, "kubernetes", annotations).await?;
        let pods = objects::slice(&name, &[objects::endpoint(&address(0), true)]);
        kube.expect(Method::POST, &objects::slices_path(&self.namespace), Some(&pods)).await?;
        Ok(())
    }

    /// Only consul8s' own have its label.
    async fn create_service(&self, kube: &mut Connection, name: &str, source: &str, annotations: Value) -> Result<()> {
        let labels = match self.who {
            Who::Floor => json!({}),
            Who::Consul8s => json!({ "consul8s_source": source }),
        };
        let service = objects::service(name, &labels, &annotations);
        kube.expect(Method::POST, &objects::services_path(&self.namespace), Some(&service)).await?;
        Ok(())
    }
}

async fn register(consul: &mut Connection, body: &Value) -> Result<()> {
    consul.expect(Method::PUT, "/v1/catalog/register", Some(body)).await?;
    Ok(())
}
