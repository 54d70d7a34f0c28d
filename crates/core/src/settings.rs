//! The settings that planning depends on, as one value. The program makes it from flags, environment and file.

use std::time::Duration;

use crate::address::Cidr;
use crate::identity::Identity;
use crate::intent::to_consul::AddressSource;
use crate::kube::Scope;
use crate::rules::Rules;
use crate::to_consul::nodes::Marks;

/// Which direction a Service is synced in, named by destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Consul → Kubernetes.
    ToKube,
    /// Kubernetes → Consul.
    ToConsul,
}

impl Direction {
    /// Word for flags, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::ToKube => "to_kube",
            Direction::ToConsul => "to_consul",
        }
    }
}

/// How much may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Everything.
    #[default]
    Sync,
    /// No registration and no created Service is removed; endpoints and checks follow.
    UpsertOnly,
    /// Nothing: what would be changed is only counted and shown.
    Observe,
}

impl Policy {
    /// All of them, in the order of the reference.
    pub const ALL: [Policy; 3] = [Policy::Sync, Policy::UpsertOnly, Policy::Observe];

    /// The word of the flag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Sync => "sync",
            Policy::UpsertOnly => "upsert-only",
            Policy::Observe => "observe",
        }
    }
}

/// What planning depends on beside the two worlds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who we are.
    pub identity: Identity,
    /// Namespaces we look at.
    pub scope: Scope,
    /// `rules:`: which Consul names a namespace may use.
    pub rules: Rules,
    /// `--policy`: how much may be changed.
    pub policy: Policy,
    /// `--default-sync`: register unlabelled Services that have a selector or a load balancer.
    pub default_sync: bool,
    /// `--name-template`: Consul name of a Service that gives none; `{name}`, `{namespace}`, `{cluster}`.
    pub name_template: String,
    /// `--default-tags`: tags of a registration whose Service gives none.
    pub default_tags: Vec<String>,
    /// `--default-address-source`.
    pub default_address_source: AddressSource,
    /// `--compatibility=consul-k8s`: the annotations of HashiCorp's catalog sync are read too.
    pub consul_k8s: bool,
    /// `--take-over`: nodes of our name that carry another identity, and what stands on them, become ours.
    pub take_over: bool,
    /// `--adopt-endpoints`: what the Python original left is taken over.
    pub adopt_endpoints: bool,
    /// `--consul-domain`: where an ExternalName points.
    pub consul_domain: String,
    /// `--import-removal-delay`: how long a service is missing until the Service made for it goes.
    pub import_removal_delay: Duration,
    /// `--panic-threshold`, in percent; 0 = off.
    pub panic_threshold: u8,
    /// `--deny-cidr`: never published.
    pub deny_cidrs: Vec<Cidr>,
    /// `--allow-cidr`: when given, nothing else is published.
    pub allow_cidrs: Vec<Cidr>,
    /// Endpoints in one slice at most, 1–1000.
    pub max_endpoints_per_slice: usize,
    /// Name of our first synthetic node; further ones add `-2`, `-3`, ….
    pub consul_node_name: String,
    /// `--removal-hold`: how long hold (a) lasts.
    pub removal_hold: Duration,
    /// `--mass-removal-hold`: how long hold (b) lasts; none = never ends by itself.
    pub mass_removal_hold: Option<Duration>,
}

impl Settings {
    /// The default of `--consul-node-name`.
    #[must_use]
    pub fn node_name(owner: &str) -> String {
        format!("consul8s-{owner}")
    }

    /// How our own services in Consul are known.
    #[must_use]
    pub fn marks(&self) -> Marks<'_> {
        Marks { identity: &self.identity, take_over: self.take_over }
    }

    /// The contract's defaults for an installation.
    #[must_use]
    pub fn new(identity: Identity, scope: Scope) -> Settings {
        let consul_node_name = Settings::node_name(&identity.owner);
        Settings {
            identity,
            scope,
            rules: Rules::default(),
            policy: Policy::Sync,
            default_sync: false,
            name_template: "{name}".to_owned(),
            default_tags: Vec::new(),
            default_address_source: AddressSource::Auto,
            consul_k8s: false,
            take_over: false,
            adopt_endpoints: true,
            consul_domain: "consul".to_owned(),
            import_removal_delay: Duration::from_secs(3600),
            panic_threshold: 0,
            deny_cidrs: Vec::new(),
            allow_cidrs: Vec::new(),
            max_endpoints_per_slice: 100,
            consul_node_name,
            removal_hold: Duration::from_secs(60),
            mass_removal_hold: Some(Duration::from_secs(600)),
        }
    }
}
