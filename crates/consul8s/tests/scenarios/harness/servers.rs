//! A pair of servers, Consul and Kubernetes: simulated ones of this process, or real ones.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use consul8s_sim::model::consul::Catalog;
use consul8s_sim::model::kube::Cluster;
use consul8s_sim::{ConsulWorld, KubeWorld, Server, World, serve_consul, serve_kube};
use consul8s_testbed::{ConsulOptions, Kubernetes, KubernetesOptions, TestbedError};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::Outcome;
use super::http::Http;
use super::ports::free_address;

/// Which servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sim,
    Real,
    /// Real ones, and Consul denies all that is not allowed: the real servers of what writes to Consul.
    Acl,
}

/// A pair of servers.
pub(crate) enum Servers {
    Sim(Box<SimPair>),
    Real(Box<RealPair>),
}

pub(crate) struct SimPair {
    consul: Face<ConsulWorld>,
    kube: Face<KubeWorld>,
    kube_backup: Mutex<Option<Cluster>>,
    consul_backup: Mutex<Option<Catalog>>,
}

pub(crate) struct RealPair {
    // Only stopping and starting needs them alone; what clients need stands beside.
    consul: Mutex<consul8s_testbed::Consul>,
    kube: Mutex<Kubernetes>,
    consul_address: String,
    consul_token: Option<&'static str>,
    kube_url: String,
    kube_ca: PathBuf,
    kube_token: String,
}

/// A simulated world with the listener in front of it, which comes and goes at the same address.
struct Face<W> {
    world: W,
    address: SocketAddr,
    serve: fn(W, TcpListener) -> std::io::Result<Server>,
    server: Mutex<Option<Server>>,
}

impl Servers {
    /// Starts a pair.
    pub(crate) async fn start(kind: Kind) -> Outcome<Servers> {
        match kind {
            Kind::Sim => Ok(Servers::Sim(Box::new(SimPair::open(1).await?))),
            Kind::Real => Ok(Servers::Real(Box::new(RealPair::start(false).await?))),
            Kind::Acl => Ok(Servers::Real(Box::new(RealPair::start(true).await?))),
        }
    }

    /// Another pair of the same kind. Its cluster is another one.
    pub(crate) async fn another(&self) -> Outcome<Servers> {
        match self {
            Servers::Sim(_) => Ok(Servers::Sim(Box::new(SimPair::open(2).await?))),
            Servers::Real(_) => Servers::start(Kind::Real).await,
        }
    }

    /// `HOST:PORT` of Consul.
    pub(crate) fn consul_address(&self) -> String {
        match self {
            Servers::Sim(pair) => pair.consul.address.to_string(),
            Servers::Real(pair) => pair.consul_address.clone(),
        }
    }

    /// The token that may do everything in Consul, where it asks for one.
    pub(crate) fn consul_token(&self) -> Option<&'static str> {
        match self {
            Servers::Sim(_) => None,
            Servers::Real(pair) => pair.consul_token,
        }
    }

    /// The token of the user that scenarios are, where there is one.
    pub(crate) fn kube_token(&self) -> Option<String> {
        match self {
            Servers::Sim(_) => None,
            Servers::Real(pair) => Some(pair.kube_token.clone()),
        }
    }

    /// URL of the Kubernetes API.
    pub(crate) fn kube_url(&self) -> String {
        match self {
            Servers::Sim(pair) => format!("http://{}", pair.kube.address),
            Servers::Real(pair) => pair.kube_url.clone(),
        }
    }

    /// A client for the Kubernetes API.
    pub(crate) fn kube_client(&self) -> Outcome<Http> {
        match self {
            Servers::Sim(pair) => Ok(Http::plain(&pair.kube.address.to_string())),
            Servers::Real(pair) => Http::secure(&pair.kube_url, &pair.kube_ca, &pair.kube_token),
        }
    }

    /// Writes a kubeconfig for this API at `url`, with `namespace` as that of its context.
    pub(crate) fn write_kubeconfig(&self, path: &Path, url: &str, namespace: &str) -> Outcome {
        let (cluster, user) = match self {
            Servers::Sim(_) => (json!({ "server": url }), json!({})),
            Servers::Real(pair) => {
                (json!({ "server": url, "certificate-authority": pair.kube_ca }), json!({ "token": pair.kube_token }))
            }
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scenario",
            "contexts": [{ "name": "scenario", "context": { "cluster": "scenario", "user": "scenario", "namespace": namespace } }],
            "clusters": [{ "name": "scenario", "cluster": cluster }],
            "users": [{ "name": "scenario", "user": user }],
        });
        std::fs::write(path, config.to_string()).map_err(|why| format!("writing {}: {why}", path.display()))
    }

    /// Ends Consul as a power cut would: connections are refused.
    pub(crate) async fn stop_consul(&self) {
        match self {
            Servers::Sim(pair) => pair.consul.close().await,
            Servers::Real(pair) => pair.consul.lock().await.stop().await,
        }
    }

    /// Starts Consul where it was and with what it knew.
    pub(crate) async fn start_consul(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => pair.consul.reopen().await,
            Servers::Real(pair) => pair.consul.lock().await.start_again().await.map_err(|why| told(&why)),
        }
    }

    /// Ends Consul and deletes what it knew.
    pub(crate) async fn wipe_consul(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => {
                pair.consul.close().await;
                pair.consul.world.write(|catalog| catalog.wipe());
                Ok(())
            }
            Servers::Real(pair) => pair.consul.lock().await.wipe().await.map_err(|why| told(&why)),
        }
    }

    /// Ends the API server: watches break, connections are refused.
    pub(crate) async fn stop_kube(&self) {
        match self {
            Servers::Sim(pair) => pair.kube.close().await,
            Servers::Real(pair) => pair.kube.lock().await.stop_api().await,
        }
    }

    /// Starts the API server where it was and with what it knew.
    pub(crate) async fn start_kube(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => pair.kube.reopen().await,
            Servers::Real(pair) => pair.kube.lock().await.start_api().await.map_err(|why| told(&why)),
        }
    }

    /// Makes a backup of Kubernetes.
    pub(crate) async fn back_up_kube(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => {
                *pair.kube_backup.lock().await = Some(pair.kube.world.read(Cluster::clone));
                Ok(())
            }
            Servers::Real(pair) => pair.kube.lock().await.back_up().await.map_err(|why| told(&why)),
        }
    }

    /// Restores Kubernetes from its backup: what was written since never was.
    pub(crate) async fn restore_kube(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => {
                let backup = pair.kube_backup.lock().await.clone().ok_or("no backup")?;
                pair.kube.becomes(backup).await
            }
            Servers::Real(pair) => pair.kube.lock().await.restore().await.map_err(|why| told(&why)),
        }
    }

    /// Another cluster takes the place of Kubernetes.
    pub(crate) async fn replace_kube(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => pair.kube.becomes(KubeWorld::new(3).read(Cluster::clone)).await,
            Servers::Real(pair) => pair.kube.lock().await.replace().await.map_err(|why| told(&why)),
        }
    }

    /// Makes a backup of Consul.
    pub(crate) async fn back_up_consul(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => {
                *pair.consul_backup.lock().await = Some(pair.consul.world.read(Catalog::clone));
                Ok(())
            }
            Servers::Real(pair) => pair.consul.lock().await.back_up().await.map_err(|why| told(&why)),
        }
    }

    /// Restores Consul from its backup.
    pub(crate) async fn restore_consul(&self) -> Outcome {
        match self {
            Servers::Sim(pair) => {
                let backup = pair.consul_backup.lock().await.clone().ok_or("no backup")?;
                pair.consul.becomes(backup).await
            }
            Servers::Real(pair) => pair.consul.lock().await.restore().await.map_err(|why| told(&why)),
        }
    }

    /// Ends etcd: the API server goes on, and answers next to nothing; only real ones have one.
    pub(crate) async fn stop_etcd(&self) -> Outcome {
        match self {
            Servers::Sim(_) => Err("the simulated API server has no etcd".to_owned()),
            Servers::Real(pair) => {
                pair.kube.lock().await.stop_etcd().await;
                Ok(())
            }
        }
    }

    /// Starts etcd where it was and with what it knew.
    pub(crate) async fn start_etcd(&self) -> Outcome {
        match self {
            Servers::Sim(_) => Err("the simulated API server has no etcd".to_owned()),
            Servers::Real(pair) => pair.kube.lock().await.start_etcd().await.map_err(|why| told(&why)),
        }
    }

    /// What the API server has written down of each request so far; only real ones do.
    pub(crate) async fn audit_events(&self) -> Outcome<Vec<Value>> {
        match self {
            Servers::Sim(_) => Err("the simulated API server keeps no log".to_owned()),
            Servers::Real(pair) => pair.kube.lock().await.audit_events().map_err(|why| told(&why)),
        }
    }

    /// An agent on a node of its own, which has joined Consul; only real ones have any.
    pub(crate) async fn client_agent(&self, node: &str) -> Outcome<consul8s_testbed::Consul> {
        match self {
            Servers::Sim(_) => Err("the simulated Consul has no agents".to_owned()),
            Servers::Real(pair) => pair.consul.lock().await.client_agent(node).await.map_err(|why| told(&why)),
        }
    }
}

impl SimPair {
    async fn open(seed: u32) -> Outcome<SimPair> {
        Ok(SimPair {
            consul: Face::open(ConsulWorld::new(), serve_consul).await?,
            kube: Face::open(KubeWorld::new(seed), serve_kube).await?,
            kube_backup: Mutex::default(),
            consul_backup: Mutex::default(),
        })
    }
}

impl RealPair {
    async fn start(acl: bool) -> Outcome<RealPair> {
        // With the controllers that touch what consul8s makes: they must get along.
        let options = KubernetesOptions { controller_manager: true, audit: true };
        // Each program that ended leaves some blocking queries behind.
        let many = ConsulOptions { connections_per_client: 4096, acl, ..ConsulOptions::default() };
        let (consul, kube) = tokio::join!(consul8s_testbed::Consul::start(many), Kubernetes::start(options));
        let (consul, kube) = (consul.map_err(|why| told(&why))?, kube.map_err(|why| told(&why))?);
        Ok(RealPair {
            consul_address: consul.http_addr().to_owned(),
            consul_token: consul.token(),
            kube_url: kube.url().to_owned(),
            kube_ca: kube.ca_file().to_owned(),
            kube_token: kube.token().to_owned(),
            consul: Mutex::new(consul),
            kube: Mutex::new(kube),
        })
    }
}

impl<M> Face<World<M>> {
    /// Goes away, and comes back as another.
    async fn becomes(&self, other: M) -> Outcome {
        self.close().await;
        self.world.write(|model| *model = other);
        self.reopen().await
    }
}

impl<W: Clone> Face<W> {
    async fn open(world: W, serve: fn(W, TcpListener) -> std::io::Result<Server>) -> Outcome<Face<W>> {
        let face = Face { world, address: free_address(), serve, server: Mutex::new(None) };
        face.reopen().await?;
        Ok(face)
    }

    async fn reopen(&self) -> Outcome {
        let told = |why: std::io::Error| format!("listening on {}: {why}", self.address);
        let listener = TcpListener::bind(self.address).await.map_err(told)?;
        *self.server.lock().await = Some((self.serve)(self.world.clone(), listener).map_err(told)?);
        Ok(())
    }

    async fn close(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.shutdown().await;
        }
    }
}

/// The testbed's errors say what to do, such as to build the servers first.
fn told(error: &TestbedError) -> String {
    error.to_string()
}
