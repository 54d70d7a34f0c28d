//! The real servers of a bench, and how to talk to them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use consul8s_testbed::binaries::PLAYGROUND;
use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions};
use hyper::Method;

use super::http::Endpoint;
use crate::testbed;

/// How the servers are to be started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// consul8s reaches Consul by HTTPS, and with that by HTTP/2.
    pub(crate) tls: bool,
    /// The API server logs each request.
    pub(crate) audit: bool,
}

/// Kubernetes and Consul; dropped, they are gone.
pub(crate) struct Servers {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) consul: Consul,
    /// The API server.
    pub(crate) kube_api: Endpoint,
    /// Consul's HTTP interface.
    pub(crate) consul_api: Endpoint,
    /// The interface of Consul that consul8s is told of: HTTPS if that was wanted.
    pub(crate) consul_as_used: Endpoint,
}

/// Where consul8s is to find both sides.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) consul: String,
    /// The certificate by which Consul is trusted, with HTTPS.
    pub(crate) consul_ca: Option<PathBuf>,
    pub(crate) kubeconfig: PathBuf,
}

impl Servers {
    /// Builds them if need be, and starts them. No controller manager: the bench writes the slices of pods itself, and
    /// nobody else uses the processors.
    pub(crate) async fn start(wanted: Wanted) -> Result<Self> {
        testbed::build::build(PLAYGROUND).await?;
        eprintln!("bench: starting Kubernetes and Consul");
        let kubernetes = KubernetesOptions { audit: wanted.audit, ..KubernetesOptions::default() };
        let consul = ConsulOptions { https: wanted.tls, ..ConsulOptions::default() };
        let (kubernetes, consul) = tokio::try_join!(Kubernetes::start(kubernetes), Consul::start(consul))?;
        let address = kubernetes.url().trim_start_matches("https://");
        let pem = fs::read(kubernetes.ca_file()).context("reading the API server's certificate")?;
        let kube_api = Endpoint::secure(address, &pem, Some(kubernetes.token()))?;
        let consul_api = Endpoint::plain(consul.http_addr());
        let consul_as_used = match consul.https_addr() {
            None => consul_api.clone(),
            Some(url) => {
                let pem = fs::read(consul.ca_file()).context("reading Consul's certificate")?;
                Endpoint::secure(url.trim_start_matches("https://"), &pem, None)?
            }
        };
        Ok(Self { kubernetes, consul, kube_api, consul_api, consul_as_used })
    }

    /// Where consul8s is to find them.
    pub(crate) fn reach(&self) -> Reach {
        let https = self.consul.https_addr();
        Reach {
            consul_ca: https.is_some().then(|| self.consul.ca_file()),
            consul: https.unwrap_or_else(|| self.consul.http_addr().to_owned()),
            kubeconfig: self.kubernetes.kubeconfig().to_owned(),
        }
    }

    /// How many entries Consul's Raft log has had.
    pub(crate) async fn raft_index(&self) -> Result<u64> {
        let answer = self.consul_api.connect().await?.expect(Method::GET, "/v1/agent/self", None).await?.json()?;
        let index = answer["Stats"]["raft"]["last_log_index"].as_str().and_then(|text| text.parse().ok());
        index.context("Consul does not say how long its Raft log is")
    }

    /// An error when one of them has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.kubernetes.check_alive()?;
        Ok(self.consul.check_alive()?)
    }
}
