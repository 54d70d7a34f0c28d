//! Every annotation that a user may write on a Service, in one table: what parsers check for, what `UnknownAnnotation` suggests, and
//! what the reference prints.

use crate::kube::KubeService;
use crate::names;
use crate::nearest::nearest;
use crate::problem::{Problem, Reason, clean};
use crate::settings::Direction;

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub struct Annotation {
    /// The key; for a family of keys the part before the user's own.
    pub key: &'static str,
    /// Whether the key goes on after `key` as the user likes.
    pub prefix: bool,
    /// The directions it belongs to.
    pub directions: &'static [Direction],
    /// What counts without it.
    pub default: &'static str,
    /// Which values are accepted.
    pub accepts: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// A value that is accepted.
    pub good: &'static str,
    /// A value that is refused, with a part of the message that says why; none where every text is accepted.
    pub bad: Option<(&'static str, &'static str)>,
}

const KUBE: &[Direction] = &[Direction::ToKube];
const CONSUL: &[Direction] = &[Direction::ToConsul];
const BOTH: &[Direction] = &[Direction::ToKube, Direction::ToConsul];

macro_rules! table {
    ($($key:expr, $dirs:ident, default $default:literal, accepts $accepts:literal, means $meaning:literal,
       good $good:literal, bad $bad:expr;)+) => {
        &[$(Annotation {
            key: $key,
            prefix: matches!($key.as_bytes(), [.., b'.']),
            directions: $dirs,
            default: $default,
            accepts: $accepts,
            meaning: $meaning,
            good: $good,
            bad: $bad,
        },)+]
    };
}

/// All of them, in the order of the reference: both directions, Consul → Kubernetes, Kubernetes → Consul.
pub const TABLE: &[Annotation] = table! {
    names::SERVICE_NAME, BOTH, default "the Service's name", accepts "text without control characters",
        means "Consul service name; to_kube: only instances whose name equals it byte for byte count",
        good "payments", bad Some(("..", "reads it as a path"));
    names::SERVICE_TAGS, BOTH, default "none", accepts "list",
        means "to_kube: tags that an instance must all carry; to_consul: tags of the registration",
        good "v2, blue", bad None;
    names::SUSPEND, BOTH, default "false", accepts "true or false",
        means "true stops everything about the Service, health too; deleting the Service still deregisters",
        good "true", bad Some(("yes", "neither true nor false"));
    names::ALLOW_REMOVAL, BOTH, default "none", accepts "the id of a hold, or true",
        means "releases what the guard holds: the hold of that id, or all that is held at that moment",
        good "true", bad None;

    names::SERVICE_DATACENTER, KUBE, default "the agent's", accepts "name",
        means "datacenter to read", good "dc2", bad Some(("dc 2", "letters, digits"));
    names::SERVICE_FAILOVER, KUBE, default "none", accepts "list of names",
        means "datacenters of which the first with a ready instance is used while the primary has none, or does not answer",
        good "dc2, dc3", bad Some(("dc/2", "letters, digits"));
    names::SERVICE_NAMESPACE, KUBE, default "none", accepts "name",
        means "Enterprise namespace to read", good "team-a", bad Some(("", "letters, digits"));
    names::SERVICE_PARTITION, KUBE, default "none", accepts "name",
        means "Enterprise partition to read", good "edge", bad Some(("a/b", "letters, digits"));
    names::SERVICE_PEER, KUBE, default "none", accepts "name",
        means "cluster peer to read", good "cloud-west", bad Some(("a b", "letters, digits"));
    names::SERVICE_FILTER, KUBE, default "none", accepts "a filter expression of Consul",
        means "filter expression, passed to Consul", good "Service.Meta.version == 2", bad Some((" ", "blank"));
    names::SERVICE_HEALTH, KUBE, default "passing", accepts "passing, warning or any",
        means "which health is ready: passing; passing or warning; whatever the checks say (maintenance still counts)",
        good "warning", bad Some(("critical", "none of passing, warning, any"));
    names::SERVICE_PORTS, KUBE, default "each Service port takes the instance's port", accepts "list of PORT=SOURCE",
        means "PORT: name or number of a Service port; SOURCE: default, a number, meta:KEY, or port:NAME",
        good "http=default, metrics=meta:metrics_port", bad Some(("http=70000", "between 1 and 65535"));
    names::SERVICE_TAGGED_ADDRESS, KUBE, default "lan", accepts "lan, wan or another tagged-address key",
        means "which address of an instance is published; its port counts when it has one",
        good "wan", bad Some((" ", "blank"));
    names::SERVICE_PANIC_THRESHOLD, KUBE, default "--panic-threshold", accepts "0 to 100",
        means "with fewer percent of instances ready, all but those in maintenance are published as ready",
        good "50", bad Some(("101", "between 0 and 100"));
    names::SERVICE_MAX_STALENESS, KUBE, default "never", accepts "duration of at least 10s",
        means "after this long without an admitted answer none is published as ready",
        good "5m", bad Some(("5s", "less than the 10s"));

    names::SERVICE_ID, CONSUL, default "NAMESPACE.SERVICE", accepts "text without control characters",
        means "ID of the first registered address", good "shop-web", bad Some((" ", "blank"));
    names::SERVICE_PORT_NAME, CONSUL, default "the only or first port", accepts "name of a Service port",
        means "which Service port is registered", good "http", bad None;
    "consul8s/service.meta.", CONSUL, default "none", accepts "text of at most 512 bytes",
        means "service meta KEY", good "blue", bad None;
    "consul8s/service.weight", CONSUL, default "1", accepts "1 to 65535",
        means "passing weight", good "10", bad Some(("0", "between 1 and 65535"));
    names::SERVICE_REMOVE_REGISTRATION, CONSUL, default "false", accepts "true or false",
        means "true deregisters and keeps deregistered, so that the service drains",
        good "true", bad Some(("1", "neither true nor false"));
    "consul8s/service.on_delete", CONSUL, default "deregister", accepts "deregister or keep",
        means "keep: the registration outlives the Service", good "keep", bad Some(("leave", "none of deregister, keep"));
    names::SERVICE_ADDRESS, CONSUL, default "none", accepts "list of addresses and DNS names",
        means "explicit address", good "10.1.2.3", bad None;
    "consul8s/service.address_source", CONSUL, default "--default-address-source",
        accepts "auto, load_balancer, external_ip, node_port, cluster_ip or endpoints",
        means "where the address comes from", good "node_port", bad Some(("pods", "none of auto"));
    "consul8s/service.node_address", CONSUL, default "external_first", accepts "external_first, internal or external",
        means "which address of a node, for node_port", good "internal", bad Some(("public", "none of external_first"));
    names::DOMAIN_NAME, CONSUL, default "none", accepts "list of DNS names",
        means "DNS name made out-of-band; a leading or trailing dot is dropped", good "foo.example.com", bad None;
    "external-dns.kubernetes.io/hostname", CONSUL, default "none", accepts "list of DNS names",
        means "read as domainName is", good "foo.example.com", bad None;
    "external-dns.alpha.kubernetes.io/hostname", CONSUL, default "none", accepts "list of DNS names",
        means "read as domainName is; the other external-dns name wins", good "foo.example.com", bad None;
};

/// Keys that we write ourselves, and that are no user's mistake.
const WRITTEN_BY_US: &[&str] =
    &["consul8s/import", "consul8s/import-uid", "consul8s/import-forgotten", "consul8s/adopted"];

/// The row of a key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Annotation> {
    TABLE
        .iter()
        .find(|row| if row.prefix { key.len() > row.key.len() && key.starts_with(row.key) } else { key == row.key })
}

/// A warning for each annotation that has our prefix and means nothing in this direction.
#[must_use]
pub fn unknown(service: &KubeService, direction: Direction) -> Vec<Problem> {
    let ours = service.annotations.keys().filter(|key| key.starts_with(names::ANNOTATION_PREFIX));
    ours.filter(|key| !WRITTEN_BY_US.contains(&key.as_str())).filter_map(|key| warning(key, direction)).collect()
}

fn warning(key: &str, direction: Direction) -> Option<Problem> {
    let what = match find(key) {
        Some(row) if row.directions.contains(&direction) => return None,
        Some(_) => format!("belongs to the other direction and does nothing for {}", direction.as_str()),
        None => "does not exist".to_owned(),
    };
    let of_direction = TABLE.iter().filter(|row| row.directions.contains(&direction)).map(|row| row.key);
    let near = nearest(key, of_direction).unwrap_or_default();
    let message =
        format!("annotation {} {what}; nearest: {near}; rename or remove it, it does nothing", clean(key, 80));
    Some(Problem::new(Reason::UnknownAnnotation, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(key: &str, direction: Direction) -> Vec<String> {
        let annotations = [(key.to_owned(), "x".to_owned())].into();
        let service = KubeService { annotations, ..KubeService::default() };
        unknown(&service, direction).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest() {
        assert_eq!(
            warnings("consul8s/service.tag", Direction::ToKube),
            [
                "UnknownAnnotation: annotation consul8s/service.tag does not exist; nearest: consul8s/service.tags; rename or remove it, it does nothing"
            ]
        );
        assert_eq!(
            warnings("consul8s/service_name", Direction::ToConsul),
            [
                "UnknownAnnotation: annotation consul8s/service_name does not exist; nearest: consul8s/service.name; rename or remove it, it does nothing"
            ]
        );
    }

    #[test]
    fn a_key_of_the_other_direction_is_told() {
        assert_eq!(
            warnings("consul8s/service.port_name", Direction::ToKube),
            [
                "UnknownAnnotation: annotation consul8s/service.port_name belongs to the other direction and does nothing for to_kube; \
              nearest: consul8s/service.name; rename or remove it, it does nothing"
            ]
        );
        assert!(warnings("consul8s/service.port_name", Direction::ToConsul).is_empty());
        assert!(warnings("consul8s/service.meta.version", Direction::ToConsul).is_empty());
        assert_eq!(warnings("consul8s/service.meta.", Direction::ToConsul).len(), 1);
    }

    #[test]
    fn keys_of_others_and_our_own_marks_are_no_mistake() {
        assert!(warnings("example.com/service.tag", Direction::ToKube).is_empty());
        assert!(warnings("consul8s/import", Direction::ToKube).is_empty());
    }

    #[test]
    fn every_key_stands_once() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..i].iter().all(|other| other.key != row.key), "{}", row.key);
            assert!(!row.directions.is_empty() && !row.meaning.is_empty() && !row.good.is_empty());
        }
    }
}
