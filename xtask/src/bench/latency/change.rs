//! The changes whose way is measured, and how each looks on the side where it arrives.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::cast::Actor;
use crate::bench::objects;

/// A kind of change. Which one of its kind is a number: 0 is how things stand at the start, and each differs from the
/// one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// Consul → Kubernetes: a check turns critical, or passing again.
    Check,
    /// Consul → Kubernetes: an instance gets another address.
    Instance,
    /// Kubernetes → Consul: an endpoint turns unready, or ready again.
    Endpoint,
    /// Kubernetes → Consul: a Service gets another tag.
    Service,
}

/// Where a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToKube,
    ToConsul,
}

/// A request that makes a change. In Consul it is a PUT.
pub(super) struct Write {
    pub(super) path: String,
    pub(super) body: Value,
    /// A merge patch instead of a PUT.
    pub(super) patch: bool,
}

impl Change {
    pub(super) fn direction(self) -> Direction {
        match self {
            Change::Check | Change::Instance => Direction::ToKube,
            Change::Endpoint | Change::Service => Direction::ToConsul,
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Change::Check => "Consul → Kubernetes: check flips",
            Change::Instance => "Consul → Kubernetes: instance moves",
            Change::Endpoint => "Kubernetes → Consul: endpoint flips",
            Change::Service => "Kubernetes → Consul: Service's tag",
        }
    }

    /// The request that makes change `number` to `actor`'s Service `index`.
    pub(super) fn write(self, actor: &Actor, index: usize, number: usize) -> Write {
        let put = |path: String, body| Write { path, body, patch: false };
        match self {
            Change::Check => {
                let body = objects::check(&actor.source_node(), &actor.consul_name(index), is_up(number));
                put("/v1/catalog/register".to_owned(), body)
            }
            Change::Instance => {
                let body = objects::instance(&actor.source_node(), &actor.consul_name(index), &address(number));
                put("/v1/catalog/register".to_owned(), body)
            }
            Change::Endpoint => {
                let name = actor.kube_name(index);
                let path = format!("{}/{}", objects::slices_path(&actor.namespace), objects::slice_name(&name));
                put(path, objects::slice(&name, &[objects::endpoint(&address(0), is_up(number))]))
            }
            Change::Service => {
                let path = format!("{}/{}", objects::services_path(&actor.namespace), actor.kube_name(index));
                let body = json!({ "metadata": { "annotations": { TAGS: tag(number) } } });
                Write { path, body, patch: true }
            }
        }
    }

    /// Whether `seen` shows change `number`: an EndpointSlice, or what Consul tells of a service's health.
    pub(super) fn is_shown(self, number: usize, seen: &Value) -> bool {
        match self {
            Change::Check => seen["endpoints"][0]["conditions"]["ready"] == is_up(number),
            Change::Instance => seen["endpoints"][0]["addresses"][0] == address(number),
            Change::Endpoint => {
                let checks = seen[0]["Checks"].as_array();
                let wanted = objects::status(is_up(number));
                checks.is_some_and(|checks| checks.iter().any(|check| check["Status"] == wanted))
            }
            Change::Service => seen[0]["Service"]["Tags"][0] == tag(number),
        }
    }
}

/// The annotation with the tags of a registration.
pub(super) const TAGS: &str = "consul8s/service.tags";

/// The address in change `number`.
pub(super) fn address(number: usize) -> String {
    format!("10.20.{}.{}", number / 250 % 250, number % 250 + 1)
}

/// The tag in change `number`.
pub(super) fn tag(number: usize) -> String {
    format!("v{number}")
}

/// Whether something stands in change `number`; it does at the start.
fn is_up(number: usize) -> bool {
    number.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_looks_different_from_the_one_before() {
        for number in 0..1000 {
            assert_ne!(address(number), address(number + 1));
            assert_ne!(tag(number), tag(number + 1));
            assert_ne!(is_up(number), is_up(number + 1));
        }
    }

    #[test]
    fn a_change_is_recognised_where_it_arrives() {
        let slice = objects::slice("a", &[objects::endpoint(&address(3), true)]);
        assert!(Change::Check.is_shown(2, &slice) && !Change::Check.is_shown(3, &slice));
        assert!(Change::Instance.is_shown(3, &slice) && !Change::Instance.is_shown(2, &slice));
        let health = json!([{ "Service": { "Tags": ["v3"] }, "Checks": [{ "Status": "critical" }] }]);
        assert!(Change::Endpoint.is_shown(3, &health) && !Change::Endpoint.is_shown(2, &health));
        assert!(Change::Service.is_shown(3, &health) && !Change::Service.is_shown(2, &health));
        for change in Change::value_variants() {
            assert!(!change.is_shown(1, &Value::Null), "{change:?} seen in nothing");
        }
    }
}
