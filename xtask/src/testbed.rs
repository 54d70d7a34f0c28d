//! `cargo xtask testbed`: the real servers, for tests and for people.

pub(crate) mod build;
mod go;
mod nft;
mod up;

use anyhow::Result;
use clap::Subcommand;

/// What can be done with the real servers.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Chore {
    /// Builds etcd, Consul, kube-apiserver, kube-controller-manager, kubectl and kube-proxy from source into a cache (needs Go).
    ///
    /// The cache is $CONSUL8S_CACHE, else $XDG_CACHE_HOME/consul8s, else ~/.cache/consul8s. Programs that you have
    /// are used instead: $KUBEBUILDER_ASSETS is a folder with etcd, kube-apiserver and kubectl, $CONSUL_BIN is consul.
    /// The program nft, which kube-proxy calls, comes from apt where that may install it; elsewhere this says what to do.
    Build,
    /// Starts Kubernetes and Consul for playing and prints how to reach them; Ctrl-C ends and removes them.
    Up,
}

/// Does it.
pub(crate) async fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Build => build::everything().await,
        Chore::Up => up::up().await,
    }
}
