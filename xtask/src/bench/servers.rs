//! The real servers of a bench, and how to talk to them.

use std::fs;

use anyhow::{Context, Result};
use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions};

use super::http::Endpoint;
use crate::testbed;

/// Kubernetes and Consul; dropped, they are gone.
pub(crate) struct Servers {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) consul: Consul,
    /// The API server.
    pub(crate) kube_api: Endpoint,
    /// Consul's HTTP interface.
    pub(crate) consul_api: Endpoint,
}

impl Servers {
    /// Builds them if need be, and starts them. No controller manager: the bench writes the slices of pods itself, and
    /// nobody else uses the processors.
    pub(crate) async fn start() -> Result<Self> {
        testbed::build::build().await?;
        eprintln!("bench: starting Kubernetes and Consul");
        let (kubernetes, consul) =
            tokio::try_join!(Kubernetes::start(KubernetesOptions::default()), Consul::start(ConsulOptions::default()))?;
        let address = kubernetes.url().trim_start_matches("https://");
        let pem = fs::read(kubernetes.ca_file()).context("reading the API server's certificate")?;
        let kube_api = Endpoint::secure(address, &pem, kubernetes.token())?;
        let consul_api = Endpoint::plain(consul.http_addr());
        Ok(Self { kubernetes, consul, kube_api, consul_api })
    }

    /// An error when one of them has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.kubernetes.check_alive()?;
        Ok(self.consul.check_alive()?)
    }
}
