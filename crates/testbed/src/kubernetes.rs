//! A Kubernetes API: etcd, kube-apiserver and, on request, kube-controller-manager. There are no nodes and no pods
//! that run; tests write what kubelets would.

mod config;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::binaries::{ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, Program};
use crate::http::{Reply, Request, trust};
use crate::ports::Port;
use crate::process::Server;
use crate::ready::wait_until;
use crate::{Result, TestbedError, backup};
use config::{Layout, Ports};

/// Longer than kubectl's own waits in any test so far.
const KUBECTL_LIMIT: Duration = Duration::from_secs(60);
/// To end in good order.
const ETCD_LIMIT: Duration = Duration::from_secs(20);

/// What must answer before tests begin. The API server makes its first namespaces a moment after it is ready.
const READY_PATHS: &[&str] = &["/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"];

/// How a Kubernetes API is to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesOptions {
    /// Runs kube-controller-manager with the controllers for Endpoints, EndpointSlices and their mirroring, garbage
    /// collection and deleted namespaces.
    pub controller_manager: bool,
    /// Writes a line of JSON for each request, see [`Kubernetes::audit_events`].
    pub audit: bool,
}

/// A real Kubernetes API on 127.0.0.1. Dropped, it is gone with its data.
#[derive(Debug)]
pub struct Kubernetes {
    // The order of the fields matters: the servers end, top to bottom, before their ports and their folder are given
    // back.
    controller_manager: Option<Server>,
    api: Server,
    etcd: Server,
    kubectl: PathBuf,
    layout: Layout,
    url: String,
    _ports: Ports,
    folder: TempDir,
}

impl Kubernetes {
    /// Starts the servers and waits until the API is ready and has its namespaces `default` and `kube-system`.
    ///
    /// # Errors
    /// When a program is missing, or a server ends or isn't ready within a minute.
    pub async fn start(options: KubernetesOptions) -> Result<Self> {
        let mut kubernetes = Self::prepare(&options)?;
        kubernetes.etcd.spawn()?;
        kubernetes.start_api().await?;
        Ok(kubernetes)
    }

    /// Everything up to the first process.
    fn prepare(options: &KubernetesOptions) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("consul8s-kubernetes-")
            .tempdir()
            .map_err(TestbedError::io("creating a temporary folder"))?;
        let ports = Ports { api: Port::take()?, etcd: Port::take()?, etcd_peer: Port::take()?, manager: Port::take()? };
        let layout = Layout::write(folder.path(), &ports, options)?;
        let server =
            |program: Program, arguments| Server::new(program.name, program.locate()?, arguments, folder.path());
        let manager = options.controller_manager.then(|| layout.manager_arguments(&ports));
        Ok(Self {
            controller_manager: manager.map(|arguments| server(KUBE_CONTROLLER_MANAGER, arguments)).transpose()?,
            api: server(KUBE_APISERVER, layout.api_arguments(&ports))?,
            etcd: server(ETCD, layout.etcd_arguments(&ports))?,
            kubectl: KUBECTL.locate()?,
            url: format!("https://{}", layout.api_address),
            layout,
            _ports: ports,
            folder,
        })
    }

    /// `https://127.0.0.1:PORT`, the same for its whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token of a user who may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.layout.token
    }

    /// The certificates to trust, as PEM.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.layout.ca
    }

    /// A kubeconfig file for the user who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.layout.kubeconfig
    }

    /// Process ids of the servers that run.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let manager = self.controller_manager.as_ref().and_then(Server::pid);
        [self.etcd.pid(), self.api.pid(), manager].into_iter().flatten().collect()
    }

    /// Process id of the API server, while it runs.
    #[must_use]
    pub fn api_pid(&self) -> Option<u32> {
        self.api.pid()
    }

    /// Whether all servers run that were started and not stopped.
    ///
    /// # Errors
    /// [`TestbedError::Exited`] with the first that has ended by itself, and the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.etcd.check_alive()?;
        self.api.check_alive()?;
        self.controller_manager.as_mut().map_or(Ok(()), Server::check_alive)
    }

    /// The folder of the data, the logs and the generated files, removed when this value is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the API server (SIGKILL) and waits until it is gone: watches break, connections are refused. etcd goes on,
    /// so nothing is lost.
    pub async fn stop_api(&mut self) {
        self.api.kill();
    }

    /// Kills etcd (SIGKILL) and waits until it is gone. Its data stays; the API server goes on, and answers next to nothing.
    pub async fn stop_etcd(&mut self) {
        self.etcd.kill();
    }

    /// Starts etcd on the same port and the same data, and waits until the API answers from it.
    ///
    /// # Errors
    /// When a server ends or isn't ready within a minute.
    pub async fn start_etcd(&mut self) -> Result<()> {
        self.etcd.spawn()?;
        let layout = &self.layout;
        let ready = move || look(&layout.api_address, &layout.token, &layout.ca, READY_PATHS);
        wait_until(&mut [&mut self.etcd, &mut self.api], "API with its first namespaces", ready).await
    }

    /// Starts the API server on the same port and the same data, and waits as [`Kubernetes::start`] does. One that
    /// still runs is killed first. The controller manager is started again with it.
    ///
    /// # Errors
    /// When a server ends or isn't ready within a minute.
    pub async fn start_api(&mut self) -> Result<()> {
        self.api.spawn()?;
        let layout = &self.layout;
        let ready = move || look(&layout.api_address, &layout.token, &layout.ca, READY_PATHS);
        wait_until(&mut [&mut self.etcd, &mut self.api], "API with its first namespaces", ready).await?;
        // Only now, since the controller manager ends at once without an API.
        let Some(manager) = &mut self.controller_manager else {
            return Ok(());
        };
        manager.spawn()?;
        let ready = move || look(&layout.manager_address, &layout.token, &layout.manager_ca, &["/healthz"]);
        wait_until(&mut [manager], "healthy controllers", ready).await
    }

    /// Ends the servers in good order, puts a copy of their data aside, and starts them again.
    ///
    /// # Errors
    /// When the data can't be copied, or as [`Kubernetes::start_api`].
    pub async fn back_up(&mut self) -> Result<()> {
        self.between_runs(backup::take).await
    }

    /// The same with the data of the last backup: what was written since never was, and resourceVersions count from a lower one.
    ///
    /// # Errors
    /// As [`Kubernetes::back_up`].
    pub async fn restore(&mut self) -> Result<()> {
        self.between_runs(backup::put_back).await
    }

    /// The same without any data: another cluster at the same address, with the same certificates and tokens.
    ///
    /// # Errors
    /// As [`Kubernetes::back_up`].
    pub async fn replace(&mut self) -> Result<()> {
        self.between_runs(backup::empty).await
    }

    async fn between_runs(&mut self, change: fn(&Path) -> Result<()>) -> Result<()> {
        self.api.kill();
        self.etcd.terminate(ETCD_LIMIT).await;
        change(&self.folder.path().join("etcd"))?;
        self.etcd.spawn()?;
        self.start_api().await
    }

    /// Sends one request as the user who may do everything: `body` as JSON to `path` with its query.
    ///
    /// # Errors
    /// When there is no answer. An answer with a status above 299 is not an error here.
    pub async fn request(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let failed = |reason| TestbedError::Request { method, url: format!("{}{path}", self.url), reason };
        let tls = read_trust(&self.layout.ca).map_err(failed)?;
        let bearer = format!("Bearer {}", self.layout.token);
        let header = Some(("Authorization", bearer.as_str()));
        Request { method, address: &self.layout.api_address, path, header, body }.send(Some(&tls)).await
    }

    /// Runs `kubectl ARGUMENTS` as the user who may do everything, with `stdin` as its input, and returns what it
    /// prints.
    ///
    /// # Errors
    /// [`TestbedError::Kubectl`] when it fails, [`TestbedError::Io`] when it can't be run or takes over a minute.
    pub async fn kubectl(&self, arguments: &[&str], stdin: Option<&str>) -> Result<String> {
        let line = arguments.join(" ");
        let running = timeout(KUBECTL_LIMIT, self.run_kubectl(arguments, stdin.unwrap_or_default())).await;
        let output = running
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "still running after a minute")))
            .map_err(TestbedError::io(format!("kubectl {line}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        Err(TestbedError::Kubectl { arguments: line, status: output.status, stderr })
    }

    async fn run_kubectl(&self, arguments: &[&str], stdin: &str) -> io::Result<Output> {
        let mut child = Command::new(&self.kubectl)
            .args(arguments)
            .env("KUBECONFIG", &self.layout.kubeconfig)
            // What it learns about this API must not meet another test's API on the same port in the user's own cache.
            .env("KUBECACHEDIR", self.folder.path().join("kubectl-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // A kubectl that fails early doesn't read; its own message says more than a broken pipe.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
        child.wait_with_output().await
    }

    /// The audit log so far with [`KubernetesOptions::audit`], else nothing: one `audit.k8s.io/v1` Event for each
    /// request that has ended (a watch that goes on is not there yet), without bodies. A write is in the log when its
    /// client has the answer, so a test can prove that nothing was written: look at `verb`, `userAgent`,
    /// `requestURI`, `objectRef` and `responseStatus.code`.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn audit_events(&self) -> Result<Vec<Value>> {
        let Some(path) = &self.layout.audit_log else {
            return Ok(Vec::new());
        };
        let text = fs::read_to_string(path).map_err(TestbedError::io(format!("reading {}", path.display())))?;
        // The last line may be half written; the rest are whole.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// Whether all `paths` answer with success; the reason if one doesn't. The certificates are read anew each time, since
/// the server only makes them when it starts.
async fn look(address: &str, token: &str, ca: &Path, paths: &[&str]) -> std::result::Result<(), String> {
    let tls = read_trust(ca)?;
    let bearer = format!("Bearer {token}");
    for path in paths {
        let header = Some(("Authorization", bearer.as_str()));
        let request = Request { method: "GET", address, path, header, body: None };
        let reply = request.send(Some(&tls)).await.map_err(|error| error.to_string())?;
        if !reply.is_ok() {
            return Err(format!("{path}: {} {}", reply.status, reply.body));
        }
    }
    Ok(())
}

fn read_trust(ca: &Path) -> std::result::Result<TlsConnector, String> {
    trust(&fs::read(ca).map_err(|error| format!("reading {}: {error}", ca.display()))?)
}
