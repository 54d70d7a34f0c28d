//! The command line as written: flags, environment and help. What it means is [`crate::config`]'s business.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use consul8s_core::intent::to_consul::AddressSource;
use consul8s_core::rules::Rules;

use crate::flag_values::{
    Cidrs, Compatibility, Directions, PolicyArg, address_source, boolean, cidrs, directions, name_template, percent,
};

/// Keeps Consul and Kubernetes informed of each other's services.
///
/// A Service without selector, labelled `consul8s_source: consul`, gets the healthy instances of a Consul service as its
/// endpoints. A Service labelled `consul8s_source: kubernetes` is registered in Consul. Without a command it runs as `run`.
#[derive(Debug, Parser)]
#[command(name = "consul8s", version, max_term_width = 120)]
#[command(after_help = "Exit codes: 0 done; 1 failure; 2 plan --detailed-exitcode found changes; \
                        5 finished, but the guard holds a removal; 64 usage.")]
pub struct Cli {
    /// What to do; `run` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Flags of every command.
    #[command(flatten)]
    pub flags: Flags,
}

/// Commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the controller (the default).
    Run(RunArgs),
    /// Run the controller against two embedded worlds, with sample services that come, fail and go.
    Demo(DemoArgs),
    /// Show what a sync would change. Writes nothing.
    Plan(PlanArgs),
    /// Let go what the guard holds
    Release(ReleaseArgs),
    /// Print the definition of ConsulImport, for `kubectl apply -f -`.
    Crd,
    /// Remove everything that this installation has registered in Consul; shows only, without --yes.
    Purge(PurgeArgs),
    /// Print the least Consul ACL policy that the given directions need.
    AclPolicy,
    /// Print the least rights in Kubernetes that the given scope and directions need, for `kubectl apply -f -`.
    Rbac(RbacArgs),
    /// Print the version.
    Version,
}

/// Flags of `run`, which count without the command too.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct RunArgs {
    /// Sync once and end (exit 5 when the guard holds something)
    #[arg(long = "run-once", short = '1', visible_alias = "once", env = "CONSUL8S_RUN_ONCE")]
    pub run_once: bool,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// End by itself after the story; exit 1 if a step was not followed.
    #[arg(long = "once")]
    pub end_after_story: bool,
    /// How much to log; the timeline tells the rest
    // The flag of every command with another default: clap takes the value of the innermost that is as good as any.
    #[arg(long, value_enum, default_value = "warn", env = "CONSUL8S_LOG_LEVEL")]
    pub log_level: LogLevel,
}

/// Flags of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Exit 2 when there are changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Form of the output.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// What to release.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ReleaseArgs {
    /// A Service (NAME, svc/NAME or NAMESPACE/NAME), or a hold by its id (h-3f9a2c); a bare name is of the context's namespace, or --namespace
    #[arg(value_name = "NAME|HOLD")]
    pub what: Option<String>,
    /// Everything that this installation holds
    #[arg(long)]
    pub all: bool,
}

/// Flags of `purge`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PurgeArgs {
    /// Remove it, and not only show what would go
    #[arg(long)]
    pub yes: bool,
}

/// Flags of `rbac`.
#[derive(Clone, Copy, Debug, Args)]
pub struct RbacArgs {
    /// With the rights for ConsulImports, which create and delete Services; `=false` leaves them out
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub imports: bool,
}

/// Form of a printed value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// YAML file with flags by their config key, such as `allNamespaces: true`, and with `rules:`
    #[arg(long, global = true, value_name = "FILE", env = "CONSUL8S_CONFIG")]
    pub config: Option<PathBuf>,
    /// `rules:` and `defaultRule:` of that file.
    #[arg(skip)]
    pub rules: Rules,
    /// Kubeconfig file [default: KUBECONFIG, else in-cluster, else ~/.kube/config]
    #[arg(
        long = "kube-config-path",
        short = 'k',
        visible_alias = "kubeconfig",
        global = true,
        value_name = "FILE",
        env = "CONSUL8S_KUBE_CONFIG_PATH"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Kubeconfig context [default: the current one]
    #[arg(long, global = true, value_name = "NAME", env = "CONSUL8S_CONTEXT")]
    pub context: Option<String>,
    /// Namespaces to look at; a list, repeatable [default: default]
    #[arg(long, short = 'n', global = true, value_name = "NAMES", value_delimiter = ',', env = "CONSUL8S_NAMESPACE")]
    pub namespace: Vec<String>,
    /// Look at all namespaces
    #[arg(long, short = 'A', global = true, env = "CONSUL8S_ALL_NAMESPACES")]
    pub all_namespaces: bool,
    /// Namespaces to leave out with --all-namespaces; a list, repeatable
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',', env = "CONSUL8S_EXCLUDE_NAMESPACE")]
    pub exclude_namespace: Vec<String>,
    /// Directions to sync, of to_kube and to_consul; a list
    #[arg(
        long,
        global = true,
        value_name = "DIRECTIONS",
        default_value = "to_kube,to_consul",
        value_parser = directions,
        env = "CONSUL8S_DIRECTION"
    )]
    pub direction: Directions,
    /// Time between full audits; a bare number is seconds
    #[arg(long, short = 'i', global = true, value_name = "DURATION", default_value = "60", value_parser = duration, env = "CONSUL8S_INTERVAL")]
    pub interval: std::time::Duration,
    /// Serve metrics on port 8000 too
    #[arg(long, short = 'p', global = true, env = "CONSUL8S_PROMETHEUS")]
    pub prometheus: bool,
    /// Consul's address, host:port or URL; a list fails over [default: CONSUL_HTTP_ADDR, else 127.0.0.1:8500]
    #[arg(long, short = 'c', global = true, value_name = "ADDRESS", value_delimiter = ',', env = "CONSUL8S_CONSUL")]
    pub consul: Vec<String>,
    /// Send the Consul token and CONSUL_HTTP_AUTH also in plain text, to an http:// address that is not this machine's own
    #[arg(long, global = true, env = "CONSUL8S_ALLOW_PLAINTEXT_TOKEN")]
    pub allow_plaintext_token: bool,
    /// Connections to Consul at most; a tenth is kept for writes and confirming reads
    #[arg(long, global = true, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(4..=10_000), env = "CONSUL8S_CONSUL_MAX_CONNECTIONS")]
    pub consul_max_connections: u16,
    /// Name of our node in Consul [default: consul8s-OWNER]
    #[arg(long, global = true, value_name = "NAME", env = "CONSUL8S_CONSUL_NODE_NAME")]
    pub consul_node_name: Option<String>,
    /// Identity of this cluster [default: the UID of kube-system]
    #[arg(long, global = true, value_name = "ID", env = "CONSUL8S_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Identity of this installation [default: a hash of cluster id, lease namespace and lease name]
    #[arg(long, global = true, value_name = "ID", env = "CONSUL8S_OWNER_ID")]
    pub owner_id: Option<String>,
    /// Let the holder of the Lease alone write; with `=false` the Lease is only a notebook, and one replica is all there may be
    #[arg(long, global = true, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean, env = "CONSUL8S_LEADER_ELECT")]
    pub leader_elect: bool,
    /// Namespace of the Lease, part of our identity [default: POD_NAMESPACE, else the kubeconfig's, else default]
    #[arg(long, global = true, value_name = "NAME", env = "CONSUL8S_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of the Lease, part of our identity
    #[arg(long, global = true, value_name = "NAME", default_value = "consul8s", env = "CONSUL8S_LEASE_NAME")]
    pub lease_name: String,
    /// Make ours what another identity has put on our nodes in Consul, and the nodes
    #[arg(long, global = true, env = "CONSUL8S_TAKE_OVER")]
    pub take_over: bool,
    /// How much may be changed: everything; all but removals of registrations and of created Services; nothing
    #[arg(long, global = true, value_enum, default_value_t, env = "CONSUL8S_POLICY")]
    pub policy: PolicyArg,
    /// The same as --policy observe
    #[arg(long, global = true, env = "CONSUL8S_DRY_RUN")]
    pub dry_run: bool,
    /// Register every Service that has a selector or a load balancer, and no label
    #[arg(long, global = true, env = "CONSUL8S_DEFAULT_SYNC")]
    pub default_sync: bool,
    /// Consul name of a Service that gives none; may hold {name}, {namespace}, {cluster}
    #[arg(long, global = true, value_name = "TEMPLATE", default_value = "{name}", value_parser = name_template, env = "CONSUL8S_NAME_TEMPLATE")]
    pub name_template: String,
    /// Tags of a registration whose Service gives none; a list
    #[arg(long, global = true, value_name = "TAGS", value_delimiter = ',', env = "CONSUL8S_DEFAULT_TAGS")]
    pub default_tags: Vec<String>,
    /// Where addresses to register come from: auto, load_balancer, external_ip, node_port, cluster_ip or endpoints
    #[arg(long, global = true, value_name = "SOURCE", default_value = "auto", value_parser = address_source(), env = "CONSUL8S_DEFAULT_ADDRESS_SOURCE")]
    pub default_address_source: AddressSource,
    /// `consul-k8s` reads the annotations of HashiCorp's catalog sync too
    #[arg(long, global = true, value_enum, value_name = "PROGRAM", env = "CONSUL8S_COMPATIBILITY")]
    pub compatibility: Option<Compatibility>,
    /// Ranges of addresses that are never published; a list, repeatable
    #[arg(long, global = true, value_name = "RANGES", value_parser = cidrs, env = "CONSUL8S_DENY_CIDR")]
    pub deny_cidr: Vec<Cidrs>,
    /// Ranges of addresses, besides which none are published; a list, repeatable
    #[arg(long, global = true, value_name = "RANGES", value_parser = cidrs, env = "CONSUL8S_ALLOW_CIDR")]
    pub allow_cidr: Vec<Cidrs>,
    /// With a smaller share of instances ready, in percent, publish all but those in maintenance as ready; 0 = never
    #[arg(long, global = true, value_name = "PERCENT", default_value = "0", value_parser = percent, env = "CONSUL8S_PANIC_THRESHOLD")]
    pub panic_threshold: u8,
    /// Take over the Endpoints objects that the Python original left; `=false` leaves them as they are
    #[arg(long, global = true, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean, env = "CONSUL8S_ADOPT_ENDPOINTS")]
    pub adopt_endpoints: bool,
    /// Look up hostnames that instances give as their address; `=false` leaves such instances out
    #[arg(long, global = true, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean, env = "CONSUL8S_RESOLVE_HOSTNAMES")]
    pub resolve_hostnames: bool,
    /// Domain of Consul's DNS, which Services of type ExternalName point into
    #[arg(long, global = true, value_name = "DOMAIN", default_value = "consul", env = "CONSUL8S_CONSUL_DOMAIN")]
    pub consul_domain: String,
    /// How long a service is missing from the catalog until the Service that a ConsulImport made for it is deleted
    #[arg(long, global = true, value_name = "DURATION", default_value = "1h", value_parser = duration, env = "CONSUL8S_IMPORT_REMOVAL_DELAY")]
    pub import_removal_delay: std::time::Duration,
    /// Endpoints in one EndpointSlice at most
    #[arg(long, global = true, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), env = "CONSUL8S_MAX_ENDPOINTS_PER_SLICE")]
    pub max_endpoints_per_slice: u16,
    /// How long a large removal by absence is held
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = duration, env = "CONSUL8S_REMOVAL_HOLD")]
    pub removal_hold: std::time::Duration,
    /// How long a removal across many Services is held, or `never` to wait for a release
    #[arg(long, global = true, value_name = "DURATION", default_value = "10m", value_parser = hold, env = "CONSUL8S_MASS_REMOVAL_HOLD")]
    pub mass_removal_hold: Hold,
    /// Address of /livez, /readyz, /metrics and the API, or `off`
    #[arg(long, global = true, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = listener, env = "CONSUL8S_ADMIN_ADDRESS")]
    pub admin_address: Listener,
    /// Address of the metrics with --prometheus, or `off`
    #[arg(long, global = true, value_name = "ADDRESS", default_value = "0.0.0.0:8000", value_parser = listener, env = "CONSUL8S_METRICS_ADDRESS")]
    pub metrics_address: Listener,
    /// How much to log
    #[arg(long, global = true, value_enum, default_value_t, env = "CONSUL8S_LOG_LEVEL")]
    pub log_level: LogLevel,
    /// How to log
    #[arg(long, global = true, value_enum, default_value_t, env = "CONSUL8S_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// `--log-level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what needs a look.
    Warn,
    /// And what was done.
    #[default]
    Info,
    /// And every plan.
    Debug,
    /// And every answer.
    Trace,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Not served.
    Off,
    /// Served there.
    At(std::net::SocketAddr),
}

/// A hold that ends by itself, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Only a release ends it.
    Never,
    /// It ends after this long.
    For(std::time::Duration),
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    consul8s_core::duration::parse(text)
        .ok_or_else(|| "not a duration: write 5s, 1m30s, or a number of seconds".to_owned())
}

fn hold(text: &str) -> Result<Hold, String> {
    if text == "never" { Ok(Hold::Never) } else { duration(text).map(Hold::For) }
}

fn listener(text: &str) -> Result<Listener, String> {
    if text == "off" {
        return Ok(Listener::Off);
    }
    let with_host = if let Some(port) = text.strip_prefix(':') { format!("0.0.0.0:{port}") } else { text.to_owned() };
    with_host
        .parse()
        .map(Listener::At)
        .map_err(|_| "not an address: write IP:PORT, such as 127.0.0.1:8080, or off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_table_of_flags_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_original_s_flags_go_on_working() {
        let cli = Cli::parse_from(["consul8s", "-k", "/f", "-n", "a,b", "-i", "30", "-1", "-p", "-c", "consul:8500"]);
        assert_eq!(cli.flags.namespace, ["a", "b"]);
        assert_eq!(cli.flags.interval, std::time::Duration::from_secs(30));
        assert!(cli.run.run_once && cli.flags.prometheus);
        let cli = Cli::parse_from(["consul8s", "run", "--kubeconfig", "/f", "--once"]);
        assert!(matches!(cli.command, Some(Command::Run(RunArgs { run_once: true }))));
        assert_eq!(cli.flags.kubeconfig, Some("/f".into()));
    }

    #[test]
    fn the_demo_logs_less_unless_more_is_asked_for() {
        for (args, wanted) in [
            (&["consul8s", "demo"][..], LogLevel::Warn),
            (&["consul8s", "demo", "--log-level", "info"], LogLevel::Info),
            (&["consul8s", "--log-level", "info", "demo"], LogLevel::Info),
            (&["consul8s", "--log-level", "debug", "demo", "--once"], LogLevel::Debug),
            (&["consul8s", "run"], LogLevel::Info),
        ] {
            assert_eq!(Cli::parse_from(args).flags.log_level, wanted, "{args:?}");
        }
    }

    #[test]
    fn a_wrong_flag_or_value_names_the_nearest_valid_one() {
        let error = Cli::try_parse_from(["consul8s", "--namespac", "a"]).unwrap_err().to_string();
        assert!(error.contains("--namespace"), "{error}");
        let error = Cli::try_parse_from(["consul8s", "--log-level", "infos"]).unwrap_err().to_string();
        assert!(error.contains("info"), "{error}");
        let error = Cli::try_parse_from(["consul8s", "--interval", "soon"]).unwrap_err().to_string();
        assert!(error.contains("1m30s"), "{error}");
        for (flag, value, told) in [
            ("--default-address-source", "nodeport", "node_port"),
            ("--compatibility", "consul_k8s", "consul-k8s"),
            ("--name-template", "{name}-{ns}", "{namespace}"),
            ("--deny-cidr", "10.0.0.0/33", "10.0.0.0/8"),
            ("--panic-threshold", "110", "between 0 and 100"),
        ] {
            let error = Cli::try_parse_from(["consul8s", flag, value]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn an_election_is_left_out_only_when_it_is_said() {
        let elect =
            |args: &[&str]| Cli::try_parse_from([&["consul8s"], args].concat()).map(|cli| cli.flags.leader_elect);
        for (args, wanted) in [
            (&[][..], true),
            (&["--leader-elect"], true),
            (&["--leader-elect", "run"], true),
            (&["--leader-elect=FALSE"], false),
            (&["run", "--leader-elect=false"], false),
        ] {
            assert_eq!(elect(args).unwrap(), wanted, "{args:?}");
        }
        assert!(elect(&["--leader-elect=maybe"]).unwrap_err().to_string().contains("true or false"));
    }

    #[test]
    fn listeners_are_an_address_or_off() {
        assert_eq!(listener("off"), Ok(Listener::Off));
        assert_eq!(listener(":9000"), Ok(Listener::At("0.0.0.0:9000".parse().unwrap())));
        assert!(listener("9000").is_err());
    }
}
