//! The last valid settings of a Service, as our slices keep them (`consul8s/applied`): a restart finds them there while the Service's
//! own annotations can't be understood.
//!
//! One `key=value` a line, with the annotations' keys without `consul8s/service.`, and `in_use` for the datacenter in use; a backslash and a
//! newline are escaped. They are read by the same parser as the annotations themselves.

use std::collections::BTreeMap;

use crate::consul::HealthQuery;
use crate::duration;
use crate::kube::KubeService;
use crate::names;
use crate::settings::Settings;

use super::to_kube::{self, HealthPolicy, PortRule, PortSource, ToKube};

/// What all keys begin with.
const PREFIX: &str = "consul8s/service.";
/// Key of the datacenter in use.
const IN_USE: &str = "in_use";

/// Settings that were valid once, with what was asked at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The settings.
    pub wish: ToKube,
    /// What was asked: the settings' query, or the same in a datacenter of `failover`.
    pub query: HealthQuery,
}

/// The text for our slices.
#[must_use]
pub fn print(wish: &ToKube, query: &HealthQuery) -> String {
    // Destructured, so that a new setting cannot be forgotten here.
    let ToKube {
        query: HealthQuery { name, datacenter, namespace, partition, peer, filter },
        failover,
        tags,
        health,
        ports,
        tagged_address,
        panic_threshold,
        max_staleness,
    } = wish;
    let health = match health {
        HealthPolicy::Passing => None,
        HealthPolicy::Warning => Some("warning".to_owned()),
        HealthPolicy::Any => Some("any".to_owned()),
    };
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
    let ports: Vec<String> = ports.iter().map(print_port).collect();
    let in_use = query.datacenter.clone().filter(|_| query.datacenter != *datacenter);
    let lines = [
        (names::SERVICE_NAME, Some(name.clone())),
        (names::SERVICE_DATACENTER, datacenter.clone()),
        (names::SERVICE_FAILOVER, list(failover)),
        (names::SERVICE_NAMESPACE, namespace.clone()),
        (names::SERVICE_PARTITION, partition.clone()),
        (names::SERVICE_PEER, peer.clone()),
        (names::SERVICE_TAGS, list(tags)),
        (names::SERVICE_FILTER, filter.clone()),
        (names::SERVICE_HEALTH, health),
        (names::SERVICE_PORTS, list(&ports)),
        (names::SERVICE_TAGGED_ADDRESS, tagged_address.clone()),
        (names::SERVICE_PANIC_THRESHOLD, (*panic_threshold > 0).then(|| panic_threshold.to_string())),
        (names::SERVICE_MAX_STALENESS, max_staleness.map(duration::print)),
        (IN_USE, in_use),
    ];
    let lines = lines.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX).unwrap_or(key), value?)));
    let lines: Vec<String> = lines.map(|(key, value)| format!("{key}={}", escape(&value))).collect();
    lines.join("\n")
}

/// Reads what [`print()`] wrote; none when it can't be understood (somebody wrote over it).
#[must_use]
pub fn parse(text: &str, service: &KubeService, settings: &Settings) -> Option<Applied> {
    let mut annotations = BTreeMap::new();
    let mut in_use = None;
    for line in text.lines() {
        let (key, value) = line.split_once('=')?;
        let value = unescape(value);
        if key == IN_USE {
            in_use = Some(value);
        } else {
            annotations.insert(format!("{PREFIX}{key}"), value);
        }
    }
    annotations.get(names::SERVICE_NAME)?;
    // A threshold of 0 isn't written, and must not become the default of today.
    annotations.entry(names::SERVICE_PANIC_THRESHOLD.to_owned()).or_insert_with(|| "0".to_owned());
    let then = KubeService { annotations, ..service.clone() };
    let wish = to_kube::parse_applied(&then, settings)?;
    let datacenter = in_use.or_else(|| wish.query.datacenter.clone());
    let query = HealthQuery { datacenter, ..wish.query.clone() };
    Some(Applied { wish, query })
}

fn print_port(rule: &PortRule) -> String {
    let source = match &rule.source {
        PortSource::Default => "default".to_owned(),
        PortSource::Number(number) => number.to_string(),
        PortSource::Meta(key) => format!("meta:{key}"),
        PortSource::Named(name) => format!("port:{name}"),
    };
    format!("{}={source}", rule.port)
}

/// In one line, whatever it is.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// What [`escape`] made one line of.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{World, settings};

    fn service(annotations: &str) -> KubeService {
        let text = format!("kube: service shop/foo source=consul {annotations} port http 80 port - 81");
        World::parse(&text).unwrap().services.remove(0)
    }

    #[test]
    fn everything_that_is_set_is_read_back() {
        for annotations in [
            "",
            "@service.name=bar",
            "@service.datacenter=dc1 @service.failover=dc2,dc3 @service.max_staleness=90",
            "@service.namespace=n @service.partition=p @service.peer=q",
            "@service.tags=a,b @service.health=any @service.panic_threshold=50%",
            "@service.ports=http=default,81=meta:x,admin=port:y,80=9",
            "@service.ports=http=8080,81=meta:x,admin=port:y @service.tagged_address=wan",
        ] {
            let service = service(annotations);
            let Ok(wish) = to_kube::parse(&service, &settings()) else { continue };
            let text = print(&wish, &wish.query);
            let mut bare = service.clone();
            bare.annotations.clear();
            let read = parse(&text, &bare, &settings()).unwrap();
            assert_eq!((&read.wish, &read.query), (&wish, &wish.query), "{text}");
        }
    }

    #[test]
    fn a_value_with_line_breaks_is_one_value() {
        let mut service = service("");
        let filter = "Service.Meta.a == \"x\"\n\\n\r and true";
        service.annotations.insert(names::SERVICE_FILTER.to_owned(), filter.to_owned());
        let wish = to_kube::parse(&service, &settings()).unwrap();
        let text = print(&wish, &wish.query);
        assert_eq!(text.lines().count(), 2);
        assert_eq!(parse(&text, &service, &settings()).unwrap().wish, wish);
    }

    #[test]
    fn the_datacenter_in_use_is_kept() {
        let wish = to_kube::parse(&service("@service.failover=dc2"), &settings()).unwrap();
        let query = HealthQuery { datacenter: Some("dc2".to_owned()), ..wish.query.clone() };
        let text = print(&wish, &query);
        assert_eq!(text, "name=foo\nfailover=dc2\nin_use=dc2");
        let read = parse(&text, &service(""), &settings()).unwrap();
        assert_eq!((read.wish, read.query), (wish, query));
    }

    #[test]
    fn ports_that_the_service_no_longer_has_are_kept() {
        let wish = to_kube::parse(&service("@service.ports=http=1,81=2"), &settings()).unwrap();
        let mut changed = service("");
        changed.ports.clear();
        let read = parse(&print(&wish, &wish.query), &changed, &settings()).unwrap();
        assert_eq!(read.wish.ports, wish.ports);
    }

    #[test]
    fn what_somebody_wrote_over_it_is_not_read() {
        for text in ["", "nonsense", "health=any", "name=foo\nhealth=well", "name="] {
            assert_eq!(parse(text, &service(""), &settings()), None, "{text}");
        }
    }
}
