//! kube-proxy: it writes the rules by which connections to a Service's address arrive at
//! the Service's endpoints. Start it in a network namespace of the test's own: the rules are of the whole namespace.

use std::net::IpAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::binaries::KUBE_PROXY;
use crate::http::Request;
use crate::ports::Port;
use crate::process::Server;
use crate::ready::wait_until;
use crate::{Result, TestbedError};

/// A real kube-proxy with nftables (it calls the program `nft`). Dropped, it is gone; its rules stay in the network
/// namespace.
#[derive(Debug)]
pub struct KubeProxy {
    // The order of the fields matters: it ends before its ports and its folder are given back.
    server: Server,
    health: Port,
    _metrics: Port,
    _folder: TempDir,
}

impl KubeProxy {
    /// Starts it for the Kubernetes of `kubeconfig` as that of the Node `node`, which must exist and have `address`, and waits until it has written its
    /// first rules. It writes each change at once: by default, kube-proxy waits up to a second for more of them.
    ///
    /// # Errors
    /// When the program is missing, or it ends or isn't ready within a minute.
    pub async fn start(kubeconfig: &Path, node: &str, address: IpAddr) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("consul8s-kube-proxy-")
            .tempdir()
            .map_err(TestbedError::io("creating a temporary folder"))?;
        let (health, metrics) = (Port::take()?, Port::take()?);
        let arguments = arguments(kubeconfig, node, address, &health, &metrics);
        let server = Server::new(KUBE_PROXY.name, KUBE_PROXY.locate()?, arguments, folder.path())?;
        let mut proxy = Self { server, health, _metrics: metrics, _folder: folder };
        proxy.server.spawn()?;
        let address = proxy.health.address();
        let ready = || look(&address);
        wait_until(&mut [&mut proxy.server], "rules for the Services", ready).await?;
        Ok(proxy)
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// [`TestbedError::Exited`] when it has ended by itself, with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.server.check_alive()
    }
}

fn arguments(kubeconfig: &Path, node: &str, address: IpAddr, health: &Port, metrics: &Port) -> Vec<String> {
    let mut arguments = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--proxy-mode=nftables".to_owned(),
        format!("--hostname-override={node}"),
        format!("--bind-address={address}"),
        // The name is that of another mode; it holds for all.
        "--iptables-min-sync-period=0".to_owned(),
        format!("--healthz-bind-address={}", health.address()),
        format!("--metrics-bind-address={}", metrics.address()),
    ];
    // 0 leaves the kernel's own values, which a namespace may not change.
    let conntrack = ["max-per-core", "min", "tcp-timeout-established", "tcp-timeout-close-wait"];
    arguments.extend(conntrack.map(|setting| format!("--conntrack-{setting}=0")));
    arguments
}

async fn look(address: &str) -> std::result::Result<(), String> {
    let request = Request { method: "GET", address, path: "/healthz", header: None, body: None };
    let reply = request.send(None).await.map_err(|error| error.to_string())?;
    if reply.is_ok() { Ok(()) } else { Err(format!("{} {}", reply.status, reply.body)) }
}
