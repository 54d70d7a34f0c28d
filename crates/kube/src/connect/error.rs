//! Why there is no connection, in words that say what to do.

use std::path::{Path, PathBuf};

use kube::config::KubeconfigError;

use crate::error;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing says where Kubernetes is.
    #[error(
        "nothing says where Kubernetes is: give --kubeconfig FILE, set KUBECONFIG, or run inside a cluster{}",
        looked.as_ref().map(|file| format!(" ({} does not exist)", file.display())).unwrap_or_default()
    )]
    NoWay {
        /// The file that was looked for last.
        looked: Option<PathBuf>,
    },
    /// A kubeconfig that cannot be read or is none.
    #[error("kubeconfig {files}: {why}")]
    Kubeconfig {
        /// The file, or all of them.
        files: String,
        /// What is wrong with it; nothing of its contents.
        why: String,
    },
    /// No context was named.
    #[error(
        "kubeconfig {files} has no current-context: give --context NAME (there: {there}), or run `kubectl config use-context NAME`"
    )]
    NoCurrentContext {
        /// The file, or all of them.
        files: String,
        /// The contexts there are.
        there: String,
    },
    /// The context that was named is not there.
    #[error("kubeconfig {files} has no context {name:?} (there: {there})")]
    UnknownContext {
        /// The file, or all of them.
        files: String,
        /// The one that was asked for.
        name: String,
        /// The contexts there are.
        there: String,
    },
    /// The context leads nowhere.
    #[error(
        "kubeconfig {files}: context {context:?} names the cluster {cluster:?}, which is not there or has no server"
    )]
    NoServer {
        /// The file, or all of them.
        files: String,
        /// The context.
        context: String,
        /// The cluster it names.
        cluster: String,
    },
    /// A proxy of the kubeconfig's.
    #[error("kubeconfig {files}: cluster {cluster:?} has a proxy-url, which is not supported; use a context without")]
    Proxy {
        /// The file, or all of them.
        files: String,
        /// The cluster.
        cluster: String,
    },
    /// A pod whose service account cannot be used.
    #[error(
        "this looks like a pod (KUBERNETES_SERVICE_HOST is set), but its service account cannot be used: {why}; mount its token (automountServiceAccountToken), or give --kubeconfig FILE"
    )]
    ServiceAccount {
        /// What is missing.
        why: String,
    },
    /// Certificates or credentials that cannot be used.
    #[error("no connection to {server} can be set up: {why}")]
    Setup {
        /// The API server's address.
        server: String,
        /// What is wrong; no secret in it.
        why: String,
    },
}

impl ConnectError {
    /// What kube says about these files.
    pub(super) fn unusable(files: &[PathBuf], error: &KubeconfigError) -> ConnectError {
        ConnectError::Kubeconfig { files: shown(files), why: kubeconfig_text(error) }
    }
}

/// A text for what kube says while it sets up certificates and credentials.
pub(crate) fn setup_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(e) => error::credential_text(e),
        kube::Error::InferKubeconfig(e) => kubeconfig_text(e),
        other => other.to_string(),
    }
}

/// A parser's own text quotes the lines around the fault, which may hold a token.
fn kubeconfig_text(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(e, _) => e.to_string(),
        KubeconfigError::Parse(e) => match e.location() {
            Some(at) => format!("no valid kubeconfig: line {}, column {}", at.line(), at.column()),
            None => "no valid kubeconfig".to_owned(),
        },
        other => other.to_string(),
    }
}

/// Several files as one text.
pub(super) fn shown(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| Path::display(file).to_string()).collect();
    names.join(", ")
}
