//! The two embedded worlds, and what consul8s has written into them, as a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use consul8s_core::names;
use consul8s_sim::changes::Changes;
use consul8s_sim::model::consul::{Catalog, CheckRecord};
use consul8s_sim::model::kube::{Cluster, Resource, Selector, text_at};
use consul8s_sim::{ConsulWorld, KubeWorld};
use serde_json::Value;

/// Both worlds.
#[derive(Clone, Default)]
pub struct Worlds {
    /// The embedded Consul.
    pub consul: ConsulWorld,
    /// The embedded Kubernetes.
    pub kube: KubeWorld,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Consul
    Consul,
    /// Kubernetes
    Kubernetes,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Consul => "Consul",
            Side::Kubernetes => "Kubernetes",
        })
    }
}

/// Something that consul8s has written: an endpoint of a Kubernetes Service, or a registration in Consul.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it stands.
    pub side: Side,
    /// The service it is of, as that side calls it.
    pub service: String,
    /// Address and port.
    pub address: String,
}

/// Everything that consul8s has written, and the state of each entry in a word or two.
pub type Written = BTreeMap<Entry, String>;

impl Worlds {
    /// What consul8s has written so far.
    #[must_use]
    pub fn written(&self) -> Written {
        let mut written = self.consul.read(registrations);
        written.extend(self.kube.read(endpoints));
        written
    }

    /// News of both worlds from now on.
    #[must_use]
    pub fn news(&self) -> News {
        News { consul: self.consul.changes(), kube: self.kube.changes() }
    }
}

/// Tells when either world has changed.
pub struct News {
    consul: Changes,
    kube: Changes,
}

impl News {
    /// Waits for the next change, for ever if need be: a world lives as long as somebody holds it, and whoever asks for news does.
    pub async fn next(&mut self) {
        tokio::select! {
            () = self.consul.changed() => {}
            () = self.kube.changed() => {}
        }
    }
}

/// An entry that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub entry: Entry,
    /// Its state before; none = it was not there.
    pub before: Option<String>,
    /// Its state now; none = it is gone.
    pub after: Option<String>,
}

/// What is different now.
#[must_use]
pub fn changes(before: &Written, after: &Written) -> Vec<Change> {
    let entries: BTreeSet<&Entry> = before.keys().chain(after.keys()).collect();
    let changes = entries.into_iter().map(|entry| Change {
        entry: entry.clone(),
        before: before.get(entry).cloned(),
        after: after.get(entry).cloned(),
    });
    let mut changes: Vec<Change> = changes.filter(|change| change.before != change.after).collect();
    // As consul8s does them: nothing goes before what takes its place is there.
    changes.sort_by_key(|change| change.after.is_none());
    changes
}

fn registrations(catalog: &Catalog) -> Written {
    let mut written = Written::new();
    for name in catalog.services().1.into_keys() {
        for (node, service, checks) in catalog.health_service(&name) {
            if !service.meta.iter().any(|meta| meta.contains_key(names::META_OWNER)) {
                continue;
            }
            let address = if service.address.is_empty() { &node.address } else { &service.address };
            let address = format!("{address}:{}", service.port);
            written.insert(Entry { side: Side::Consul, service: service.name.clone(), address }, health(&checks));
        }
    }
    written
}

fn health(checks: &[&CheckRecord]) -> String {
    let worst = checks.iter().find(|check| check.status != "passing");
    worst.map_or_else(|| "passing".to_owned(), |check| check.status.clone())
}

fn endpoints(cluster: &Cluster) -> Written {
    let mut written = Written::new();
    for slice in cluster.list(Resource::EndpointSlices, None, &Selector::default()) {
        let labels = &slice["metadata"]["labels"];
        if labels[names::LABEL_MANAGED_BY] != names::MANAGED_BY {
            continue;
        }
        let name = labels[names::LABEL_SERVICE_NAME].as_str().unwrap_or_default();
        let service = match text_at(&slice, "/metadata/namespace") {
            "default" => name.to_owned(),
            namespace => format!("{namespace}/{name}"),
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            for port in slice["ports"].as_array().into_iter().flatten() {
                let address = format!("{}:{}", text_at(endpoint, "/addresses/0"), port["port"]);
                written
                    .insert(Entry { side: Side::Kubernetes, service: service.clone(), address }, condition(endpoint));
            }
        }
    }
    written
}

/// Its three conditions in a word; unknown ones count as Kubernetes counts them.
fn condition(endpoint: &Value) -> String {
    let ready = endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
    let serving = endpoint["conditions"]["serving"].as_bool().unwrap_or(ready);
    let terminating = endpoint["conditions"]["terminating"].as_bool().unwrap_or(false);
    match (ready, serving, terminating) {
        (true, _, false) => "ready".to_owned(),
        (false, true, true) => "draining".to_owned(),
        (false, false, false) => "not ready".to_owned(),
        _ => format!("ready={ready} serving={serving} terminating={terminating}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_have_a_word_each() {
        for (conditions, word) in [
            (json!({"ready": true, "serving": true, "terminating": false}), "ready"),
            (json!({}), "ready"),
            (json!({"ready": false, "serving": false, "terminating": false}), "not ready"),
            (json!({"ready": false, "serving": true, "terminating": true}), "draining"),
            (json!({"ready": true, "serving": true, "terminating": true}), "ready=true serving=true terminating=true"),
        ] {
            assert_eq!(condition(&json!({"conditions": conditions})), word, "{conditions}");
        }
    }

    #[test]
    fn only_differences_are_changes() {
        let entry = |address: &str| Entry { side: Side::Consul, service: "shop".into(), address: address.into() };
        let written = |states: &[(&str, &str)]| -> Written {
            states.iter().map(|(address, state)| (entry(address), (*state).to_owned())).collect()
        };
        let before = written(&[("a", "passing"), ("b", "passing"), ("c", "passing")]);
        let after = written(&[("a", "passing"), ("b", "critical"), ("d", "passing")]);
        let found: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|change| (change.entry.address, change.before.is_some(), change.after.is_some()))
            .collect();
        // What comes is told before what goes.
        assert_eq!(found, [("b".into(), true, true), ("d".into(), false, true), ("c".into(), true, false)]);
    }
}
