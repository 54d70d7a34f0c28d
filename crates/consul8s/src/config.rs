//! What the command line means: flags, environment and file resolved into values, each checked once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consul8s_consul::ClientConfig;
use consul8s_core::address::Cidr;
use consul8s_core::identity::Identity;
use consul8s_core::intent::to_consul::AddressSource;
use consul8s_core::intent::value;
use consul8s_core::kube::{ObjectKey, Scope};
use consul8s_core::rules::Rules;
use consul8s_core::settings::{Direction, Policy, Settings};

use crate::cli::{Flags, Hold, Listener};
use crate::flag_values::{Cidrs, Compatibility};
use crate::resolve::{Resolver, System};

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
    /// Whether only the holder of the Lease writes.
    pub leader_elect: bool,
    /// Name of this process on the Lease.
    pub holder: String,
    /// Listener for health and metrics.
    pub admin: Option<SocketAddr>,
    /// Listener for metrics alone.
    pub metrics: Option<SocketAddr>,
    identity: Wishes,
    registering: Registering,
    publishing: Publishing,
    removal_hold: Duration,
    mass_removal_hold: Option<Duration>,
    rules: Rules,
    policy: Policy,
    allow_plaintext_token: bool,
    /// Whether namespaces were named.
    scope_given: bool,
}

/// What the user said about registrations.
#[derive(Clone, Debug)]
struct Registering {
    default_sync: bool,
    name_template: String,
    default_tags: Vec<String>,
    default_address_source: AddressSource,
    consul_k8s: bool,
    take_over: bool,
}

/// What the user said about endpoints.
#[derive(Clone, Debug)]
struct Publishing {
    panic_threshold: u8,
    deny_cidrs: Vec<Cidr>,
    allow_cidrs: Vec<Cidr>,
    adopt_endpoints: bool,
    consul_domain: String,
    import_removal_delay: Duration,
    max_endpoints_per_slice: usize,
    resolve_hostnames: bool,
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
            directions: flags.direction.0.clone(),
            interval: flags.interval.max(Duration::from_secs(1)),
            run_once: false,
            leader_elect: flags.leader_elect,
            holder: holder(env),
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
            registering: Registering {
                default_sync: flags.default_sync,
                name_template: flags.name_template.clone(),
                default_tags: value::list(&flags.default_tags.join(",")),
                default_address_source: flags.default_address_source,
                consul_k8s: flags.compatibility == Some(Compatibility::ConsulK8s),
                take_over: flags.take_over,
            },
            publishing: Publishing {
                panic_threshold: flags.panic_threshold,
                deny_cidrs: flags.deny_cidr.iter().flat_map(|Cidrs(ranges)| ranges).copied().collect(),
                allow_cidrs: flags.allow_cidr.iter().flat_map(|Cidrs(ranges)| ranges).copied().collect(),
                adopt_endpoints: flags.adopt_endpoints,
                consul_domain: flags.consul_domain.clone(),
                import_removal_delay: flags.import_removal_delay,
                max_endpoints_per_slice: usize::from(flags.max_endpoints_per_slice),
                resolve_hostnames: flags.resolve_hostnames,
            },
            removal_hold: flags.removal_hold,
            mass_removal_hold: match flags.mass_removal_hold {
                Hold::Never => None,
                Hold::For(time) => Some(time),
            },
            rules: flags.rules.clone(),
            policy: flags.policy.into(),
            allow_plaintext_token: flags.allow_plaintext_token,
            scope_given: flags.all_namespaces || !flags.namespace.is_empty(),
        })
    }

    /// The same, if Consul may be asked: no secret goes to another machine in plain text.
    ///
    /// # Errors
    /// One would, and no flag says that it may.
    pub fn asking_consul(self) -> anyhow::Result<Options> {
        match self.consul.shows_secrets_to().filter(|_| !self.allow_plaintext_token) {
            None => Ok(self),
            Some(address) => anyhow::bail!(
                "the Consul token would go to {address} in plain text, for everybody on the way to read: use https:// (CONSUL_HTTP_SSL=true, \
                 CONSUL_CACERT), an agent on this machine, or --allow-plaintext-token where the network itself is trusted"
            ),
        }
    }

    /// The same for a command of a person, who means the namespace of the kubeconfig's context where none is named.
    #[must_use]
    pub fn in_context(self, context_namespace: &str) -> Options {
        if self.scope_given {
            return self;
        }
        Options { scope: Scope::Namespaces(vec![context_namespace.to_owned()]), ..self }
    }

    /// How much may be changed.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether nothing may be written, so that nothing that writes is made.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.policy == Policy::Observe
    }

    /// Whether what the Python original left is taken over.
    #[must_use]
    pub fn adopts_endpoints(&self) -> bool {
        self.publishing.adopt_endpoints
    }

    /// The Lease. `context_namespace` is the kubeconfig context's, or the pod's.
    #[must_use]
    pub fn lease(&self, context_namespace: &str) -> ObjectKey {
        let Wishes { lease_namespace, lease_name, .. } = &self.identity;
        ObjectKey::new(lease_namespace.as_deref().unwrap_or(context_namespace), lease_name.as_str())
    }

    /// Name of the Lease, and its namespace where the command line or the environment says it.
    #[must_use]
    pub fn lease_wanted(&self) -> (&str, Option<&str>) {
        (&self.identity.lease_name, self.identity.lease_namespace.as_deref())
    }

    /// What looks up hostnames; none with `--resolve-hostnames=false`, or where the system has no DNS.
    #[must_use]
    pub fn resolver(&self) -> Option<Arc<dyn Resolver>> {
        if !self.publishing.resolve_hostnames || !self.directions.contains(&Direction::ToKube) {
            return None;
        }
        match System::configured() {
            Ok(system) => Some(Arc::new(system)),
            Err(error) => {
                tracing::warn!("hostnames in Consul are not looked up, and such instances are left out: {error:#}");
                None
            }
        }
    }

    /// `--owner-id`, if it is given.
    #[must_use]
    pub fn owner_id(&self) -> Option<&str> {
        self.identity.owner_id.as_deref()
    }

    /// Name of our first node in Consul, as far as it doesn't depend on the cluster.
    #[must_use]
    pub fn node_name_alone(&self) -> Option<String> {
        let Wishes { consul_node_name, owner_id, .. } = &self.identity;
        consul_node_name.clone().or_else(|| owner_id.as_deref().map(Settings::node_name))
    }

    /// What planning depends on, once the cluster has said who it is. `context_namespace` is the kubeconfig context's, or the pod's.
    #[must_use]
    pub fn settings(&self, cluster_uid: &str, context_namespace: &str) -> Settings {
        let wishes = &self.identity;
        let cluster = wishes.cluster_id.clone().unwrap_or_else(|| cluster_uid.to_owned());
        let lease = self.lease(context_namespace);
        let owner =
            wishes.owner_id.clone().unwrap_or_else(|| Identity::derive_owner(&cluster, &lease.namespace, &lease.name));
        let identity =
            Identity { owner, cluster, cluster_uid: cluster_uid.to_owned(), installation: lease.to_string() };
        let consul_node_name = wishes.consul_node_name.clone().unwrap_or_else(|| Settings::node_name(&identity.owner));
        let (registering, publishing) = (self.registering.clone(), self.publishing.clone());
        Settings {
            identity,
            scope: self.scope.clone(),
            rules: self.rules.clone(),
            policy: self.policy,
            default_sync: registering.default_sync,
            name_template: registering.name_template,
            default_tags: registering.default_tags,
            default_address_source: registering.default_address_source,
            consul_k8s: registering.consul_k8s,
            take_over: registering.take_over,
            panic_threshold: publishing.panic_threshold,
            deny_cidrs: publishing.deny_cidrs,
            allow_cidrs: publishing.allow_cidrs,
            adopt_endpoints: publishing.adopt_endpoints,
            consul_domain: publishing.consul_domain,
            import_removal_delay: publishing.import_removal_delay,
            max_endpoints_per_slice: publishing.max_endpoints_per_slice,
            consul_node_name,
            removal_hold: self.removal_hold,
            mass_removal_hold: self.mass_removal_hold,
        }
    }
}

/// The pod or the machine, for people; and something that no other process has, not even the one before it in the same pod: that one's
/// claim is not ours.
fn holder(env: Environment<'_>) -> String {
    let pod = env("POD_NAME").filter(|name| !name.trim().is_empty());
    let place = pod.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    format!("{}_{:08x}", place.trim(), rand::random::<u32>())
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
    fn without_flags_the_settings_are_the_contract_s_defaults() {
        let settings = resolve(&[]).unwrap().settings("uid", "shop");
        assert_eq!(settings, Settings::new(settings.identity.clone(), settings.scope.clone()));
    }

    #[test]
    fn flags_reach_the_settings() {
        let flags = "--default-sync --name-template {name}-{namespace} --default-tags a,b, --default-address-source endpoints \
                     --compatibility consul-k8s --take-over --deny-cidr 10.0.0.0/8,::1 --allow-cidr 10.0.0.0/7 --deny-cidr fd00::/8 \
                     --panic-threshold 30%";
        let settings = resolve(&flags.split_whitespace().collect::<Vec<_>>()).unwrap().settings("uid", "shop");
        assert!(settings.default_sync && settings.consul_k8s && settings.take_over);
        assert_eq!(settings.name_template, "{name}-{namespace}");
        assert_eq!(settings.default_tags, ["a", "b"]);
        assert_eq!(settings.default_address_source, AddressSource::Endpoints);
        assert_eq!((settings.deny_cidrs.len(), settings.allow_cidrs.len(), settings.panic_threshold), (3, 1, 30));
    }

    #[test]
    fn each_process_has_a_name_of_its_own_on_the_lease() {
        let cli = Cli::parse_from(["consul8s"]);
        let of = |pod: Option<&str>| {
            let env = |name: &str| pod.filter(|_| name == "POD_NAME").map(str::to_owned);
            Options::resolve(&cli.flags, &env).unwrap().holder
        };
        let (first, second) = (of(Some("consul8s-7c9-x2")), of(Some("consul8s-7c9-x2")));
        assert!(first.starts_with("consul8s-7c9-x2_") && first != second, "{first} {second}");
        let elsewhere = of(None);
        assert!(elsewhere.len() > 9 && !elsewhere.starts_with('_'), "{elsewhere}");
        let options = resolve(&["--lease-name", "l"]).unwrap();
        assert_eq!(options.lease("shop").to_string(), "shop/l");
        assert!(options.leader_elect);
    }

    #[test]
    fn metrics_are_served_on_8000_only_when_asked_for() {
        assert_eq!(resolve(&[]).unwrap().metrics, None);
        assert_eq!(resolve(&["-p"]).unwrap().metrics, Some("0.0.0.0:8000".parse().unwrap()));
        assert_eq!(resolve(&["--admin-address", "off"]).unwrap().admin, None);
    }
}
