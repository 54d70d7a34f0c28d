//! What the Kubernetes servers are told: the files they read and their command lines.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use super::KubernetesOptions;
use crate::ports::Port;
use crate::{Result, TestbedError};

/// The controllers that make and clean up what consul8s reads; the others would only wait for nodes and pods.
const CONTROLLERS: &str = "endpoints-controller,endpointslice-controller,endpointslice-mirroring-controller,\
                           garbage-collector-controller,namespace-controller";

/// Who, what, when and how it ended, for every request, once, when it is answered.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [{ "level": "Metadata" }]
}"#;

/// Where each server listens on 127.0.0.1.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) api: Port,
    pub(super) etcd: Port,
    pub(super) etcd_peer: Port,
    pub(super) manager: Port,
}

/// Files and addresses of one Kubernetes.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    pub(super) api_address: String,
    pub(super) manager_address: String,
    /// The self-signed certificates that the servers make for themselves.
    pub(super) ca: PathBuf,
    pub(super) manager_ca: PathBuf,
    pub(super) token: String,
    pub(super) kubeconfig: PathBuf,
    pub(super) audit_log: Option<PathBuf>,
}

impl Layout {
    /// Decides all paths and writes the files that must be there before the servers start.
    pub(super) fn write(folder: &Path, ports: &Ports, options: &KubernetesOptions) -> Result<Self> {
        let random = || RandomState::new().hash_one(());
        let layout = Self {
            folder: folder.to_owned(),
            api_address: ports.api.address(),
            manager_address: ports.manager.address(),
            ca: folder.join("api-certificates/apiserver.crt"),
            manager_ca: folder.join("manager-certificates/kube-controller-manager.crt"),
            token: format!("{:016x}{:016x}", random(), random()),
            kubeconfig: folder.join("kubeconfig"),
            audit_log: options.audit.then(|| folder.join("audit.log")),
        };
        layout.write_file("kubeconfig", &layout.kubeconfig_text())?;
        layout.write_file("users.csv", &format!("{},admin,admin,\"system:masters\"\n", layout.token))?;
        layout.write_file("audit-policy.json", AUDIT_POLICY)?;
        if options.audit {
            layout.write_file("audit.log", "")?;
        }
        Ok(layout)
    }

    fn write_file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(TestbedError::io(format!("writing {}", path.display())))
    }

    fn kubeconfig_text(&self) -> String {
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "admin" } }],
            "clusters": [{ "name": "testbed", "cluster": {
                "server": format!("https://{}", self.api_address),
                "certificate-authority": self.ca,
            } }],
            "users": [{ "name": "admin", "user": { "token": self.token } }],
        })
        .to_string()
    }

    /// Without syncing to disk: the data ends with the test.
    pub(super) fn etcd_arguments(&self, ports: &Ports) -> Vec<String> {
        let client = format!("http://{}", ports.etcd.address());
        let peer = format!("http://{}", ports.etcd_peer.address());
        vec![
            "--unsafe-no-fsync".to_owned(),
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]
    }

    pub(super) fn api_arguments(&self, ports: &Ports) -> Vec<String> {
        let certificates = self.folder.join("api-certificates");
        // The server makes this key before it reads its service-account keys: one key for both saves making one here.
        let key = certificates.join("apiserver.key");
        let mut arguments = vec![
            format!("--etcd-servers=http://{}", ports.etcd.address()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.api.number()),
            format!("--cert-dir={}", certificates.display()),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={}", self.folder.join("users.csv").display()),
            // It would refuse pods until the controller for service accounts has run; that one is not there.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-account-issuer=https://testbed".to_owned(),
            format!("--service-account-key-file={}", key.display()),
            format!("--service-account-signing-key-file={}", key.display()),
            "--service-cluster-ip-range=10.96.0.0/12,fd00:96::/112".to_owned(),
            "--allow-privileged=true".to_owned(),
            // The Service `kubernetes` gets no endpoints, since 127.0.0.1 is no valid one and this one is nowhere.
            "--endpoint-reconciler-type=none".to_owned(),
            "--advertise-address=10.255.255.1".to_owned(),
        ];
        if let Some(log) = &self.audit_log {
            arguments.push(format!("--audit-policy-file={}", self.folder.join("audit-policy.json").display()));
            arguments.push(format!("--audit-log-path={}", log.display()));
        }
        arguments
    }

    pub(super) fn manager_arguments(&self, ports: &Ports) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            format!("--controllers={CONTROLLERS}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.manager.number()),
            format!("--cert-dir={}", self.folder.join("manager-certificates").display()),
            // Nobody asks it anything but its health, which needs no login.
            "--authentication-skip-lookup=true".to_owned(),
        ]
    }
}
