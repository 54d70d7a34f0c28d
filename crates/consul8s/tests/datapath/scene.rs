//! A Service that is filled from Consul, with its backends, with kube-proxy, and with consul8s.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use consul8s_testbed::KubeProxy;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::harness::{Instance, Outcome, Running, World, so, text};
use crate::load::Load;
use crate::namespace::NODE_ADDRESS;

const NODE: &str = "n1";
/// Requests a second, enough to notice a gap of a few milliseconds.
const RATE: u32 = 100;
/// Contract: consul8s ends within this time.
const TERMINATION: Duration = Duration::from_secs(5);

/// Everything between Consul and a client.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// The Service's address.
    pub(crate) ip: IpAddr,
    program: Option<Running>,
}

/// A backend and what Consul knows of it.
pub(crate) struct Member {
    pub(crate) backend: Backend,
    pub(crate) instance: Instance,
}

/// One for all: its rules are of the whole network namespace.
static KUBE_PROXY: Mutex<Option<KubeProxy>> = Mutex::const_new(None);

/// Starts kube-proxy, on a Node that is made for it, unless it runs.
async fn kube_proxy(world: &World) -> Outcome {
    let mut proxy = KUBE_PROXY.lock().await;
    if let Some(proxy) = proxy.as_mut() {
        return proxy.check_alive().map_err(|why| why.to_string());
    }
    let addresses = json!([{ "type": "InternalIP", "address": NODE_ADDRESS }]);
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE }, "status": { "addresses": addresses } });
    world.kube.ask(Method::POST, "/api/v1/nodes", Some(&node)).await?;
    let kubeconfig = world.kubeconfig_at(&world.kube_address())?;
    *proxy = Some(KubeProxy::start(&kubeconfig, NODE, NODE_ADDRESS).await.map_err(|why| why.to_string())?);
    Ok(())
}

/// Ends kube-proxy.
pub(crate) async fn end() {
    drop(KUBE_PROXY.lock().await.take());
}

/// The address of a Service as it is stored.
fn cluster_ip(service: &Value) -> Outcome<IpAddr> {
    text(&service["spec"]["clusterIP"]).parse().map_err(|_| format!("a Service without address: {service}"))
}

impl<'a> Scene<'a> {
    /// The Service `web` with port `http` 80, changed as `change` wants, and all that fills it.
    pub(crate) async fn open(world: &'a World, change: impl FnOnce(&mut Value)) -> Outcome<Scene<'a>> {
        kube_proxy(world).await?;
        let ip = cluster_ip(&world.create_to_kube("web", change).await?)?;
        Ok(Scene { world, ip, program: Some(world.start()?) })
    }

    /// Ends consul8s as a crash would.
    pub(crate) async fn crashes(&mut self) -> Outcome {
        match self.program.take() {
            Some(program) => program.kill().await,
            None => Err("it doesn't run".to_owned()),
        }
    }

    /// Ends consul8s as the platform does for an upgrade.
    pub(crate) async fn terminates(&mut self) -> Outcome {
        match self.program.take() {
            Some(program) => so(program.terminate(TERMINATION).await? == 0, || "it failed".to_owned()),
            None => Err("it doesn't run".to_owned()),
        }
    }

    /// Starts consul8s again.
    pub(crate) fn starts(&mut self) -> Outcome {
        self.program = Some(self.world.start()?);
        Ok(())
    }

    /// A backend that runs, and how it would be registered: passing.
    pub(crate) async fn member(&self) -> Outcome<Member> {
        member(self.world).await
    }

    /// A new backend, registered with Consul's agent; gives the moment just before the agent was asked.
    pub(crate) async fn joins(&self) -> Outcome<(Member, Instant)> {
        let member = self.member().await?;
        let asked = Instant::now();
        self.world.consul.agent_register(&member.instance).await?;
        Ok((member, asked))
    }

    /// Takes a member out of Consul by its agent, and lets its backend live on for a while; gives its name and the
    /// moment just before the agent was asked.
    pub(crate) async fn leaves(&self, member: Member) -> Outcome<(String, Instant)> {
        let (name, asked) = (member.backend.name(), Instant::now());
        self.world.consul.agent_deregister(&member.instance).await?;
        member.backend.retire();
        Ok((name, asked))
    }

    /// Clients of a port of the Service, from its first answer on.
    pub(crate) async fn load(&self, port: u16) -> Outcome<Load> {
        Load::start(SocketAddr::new(self.ip, port), RATE).await
    }
}

/// As [`Scene::member`], for who has no scene yet.
pub(crate) async fn member(world: &World) -> Outcome<Member> {
    let backend = Backend::start().await?;
    let instance = world.instance("web").checked("passing");
    let instance = instance.at(&backend.address.ip().to_string(), i64::from(backend.address.port()));
    Ok(Member { backend, instance })
}
