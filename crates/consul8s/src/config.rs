//! What the command line means: flags and environment resolved into values, each checked once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use consul8s_consul::ClientConfig;
use consul8s_core::identity::Identity;
use consul8s_core::kube::Scope;
use consul8s_core::settings::{Direction, Settings};

use crate::cli::{Flags, Hold, Listener};

/// A reader of environment variables; the program's is `std::env::var`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything a command needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach Kubernetes.
    pub access: consul8s_kube::Access,
    /// How to reach Consul.
    pub consul: ClientConfig,
    /// Namespaces to look at.
    pub scope: Scope,
    /// Directions to sync.
    pub directions: BTreeSet<Direction>,
    /// Time between full audits.
    pub interval: Duration,
    /// Sync once and end.
    pub run_once: bool,
    /// Listener for health and metrics.
    pub admin: Option<SocketAddr>,
    /// Listener for metrics alone.
    pub metrics: Option<SocketAddr>,
    identity: Wishes,
    max_endpoints_per_slice: usize,
    removal_hold: Duration,
    mass_removal_hold: Option<Duration>,
}

/// What the user said about our identity; the rest follows from the cluster.
#[derive(Clone, Debug)]
struct Wishes {
    cluster_id: Option<String>,
    owner_id: Option<String>,
    lease_namespace: Option<String>,
    lease_name: String,
    consul_node_name: Option<String>,
}

impl Options {
    /// Resolves flags and environment.
    ///
    /// # Errors
    /// A value that clap could not judge alone: which, and what is accepted.
    pub fn resolve(flags: &Flags, env: Environment<'_>) -> anyhow::Result<Options> {
        let consul = (!flags.consul.is_empty()).then(|| flags.consul.join(","));
        let mut consul = ClientConfig::from_env(consul.as_deref(), env)?;
        consul.max_connections = usize::from(flags.consul_max_connections);
        Ok(Options {
            access: consul8s_kube::Access { kubeconfig: flags.kubeconfig.clone(), context: flags.context.clone() },
            consul,
            scope: scope(flags)?,
            directions: flags.direction.iter().map(|d| Direction::from(*d)).collect(),
            interval: flags.interval.max(Duration::from_secs(1)),
            run_once: false,
            admin: at(flags.admin_address),
            metrics: at(flags.metrics_address).filter(|_| flags.prometheus),
            identity: Wishes {
                cluster_id: flags.cluster_id.clone(),
                owner_id: flags.owner_id.clone(),
                lease_namespace: flags
                    .lease_namespace
                    .clone()
                    .or_else(|| env("POD_NAMESPACE").filter(|n| !n.is_empty())),
                lease_name: flags.lease_name.clone(),
                consul_node_name: flags.consul_node_name.clone(),
            },
            max_endpoints_per_slice: usize::from(flags.max_endpoints_per_slice),
            removal_hold: flags.removal_hold,
            mass_removal_hold: match flags.mass_removal_hold {
                Hold::Never => None,
                Hold::For(time) => Some(time),
            },
        })
    }

    /// What planning depends on, once the cluster has said who it is. `context_namespace` is the kubeconfig context's, or the pod's.
    #[must_use]
    pub fn settings(&self, cluster_uid: &str, context_namespace: &str) -> Settings {
        let wishes = &self.identity;
        let cluster = wishes.cluster_id.clone().unwrap_or_else(|| cluster_uid.to_owned());
        let namespace = wishes.lease_namespace.as_deref().unwrap_or(context_namespace);
        let owner =
            wishes.owner_id.clone().unwrap_or_else(|| Identity::derive_owner(&cluster, namespace, &wishes.lease_name));
        let identity = Identity {
            owner,
            cluster,
            cluster_uid: cluster_uid.to_owned(),
            installation: format!("{namespace}/{}", wishes.lease_name),
        };
        let mut settings = Settings::new(identity, self.scope.clone());
        if let Some(name) = &wishes.consul_node_name {
            settings.consul_node_name.clone_from(name);
        }
        settings.max_endpoints_per_slice = self.max_endpoints_per_slice;
        settings.removal_hold = self.removal_hold;
        settings.mass_removal_hold = self.mass_removal_hold;
        settings
    }
}

fn scope(flags: &Flags) -> anyhow::Result<Scope> {
    let names = |list: &[String]| -> BTreeSet<String> {
        list.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
    };
    let exclude = names(&flags.exclude_namespace);
    if flags.all_namespaces {
        return Ok(Scope::All { exclude: exclude.into_iter().collect() });
    }
    let mut wanted = names(&flags.namespace);
    if wanted.is_empty() {
        // The original looked at this one alone.
        wanted.insert("default".to_owned());
    }
    let left: Vec<String> = wanted.difference(&exclude).cloned().collect();
    anyhow::ensure!(
        !left.is_empty(),
        "--exclude-namespace leaves no namespace to look at: name another with --namespace"
    );
    Ok(Scope::Namespaces(left))
}

fn at(listener: Listener) -> Option<SocketAddr> {
    match listener {
        Listener::Off => None,
        Listener::At(address) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn resolve(args: &[&str]) -> anyhow::Result<Options> {
        let cli = Cli::parse_from(std::iter::once(&"consul8s").chain(args));
        Options::resolve(&cli.flags, &|_| None)
    }

    #[test]
    fn without_a_flag_the_namespace_is_default() {
        assert_eq!(resolve(&[]).unwrap().scope, Scope::Namespaces(vec!["default".into()]));
        assert_eq!(resolve(&["-n", "b,a", "-n", "a"]).unwrap().scope, Scope::Namespaces(vec!["a".into(), "b".into()]));
        assert_eq!(
            resolve(&["-A", "--exclude-namespace", "x"]).unwrap().scope,
            Scope::All { exclude: vec!["x".into()] }
        );
        assert!(resolve(&["-n", "a", "--exclude-namespace", "a"]).is_err());
    }

    #[test]
    fn the_identity_follows_from_the_cluster_unless_it_is_given() {
        let settings = resolve(&[]).unwrap().settings("uid", "shop");
        assert_eq!(settings.identity.cluster, "uid");
        assert_eq!(settings.identity.installation, "shop/consul8s");
        assert_eq!(settings.consul_node_name, format!("consul8s-{}", settings.identity.owner));
        let given = resolve(&["--owner-id", "me", "--cluster-id", "c", "--lease-namespace", "l"]).unwrap();
        let settings = given.settings("uid", "shop");
        assert_eq!(settings.identity.owner, "me");
        assert_eq!(settings.identity.cluster_uid, "uid");
        assert_eq!(settings.identity.installation, "l/consul8s");
    }

    #[test]
    fn metrics_are_served_on_8000_only_when_asked_for() {
        assert_eq!(resolve(&[]).unwrap().metrics, None);
        assert_eq!(resolve(&["-p"]).unwrap().metrics, Some("0.0.0.0:8000".parse().unwrap()));
        assert_eq!(resolve(&["--admin-address", "off"]).unwrap().admin, None);
    }
}
