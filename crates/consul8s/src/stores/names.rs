//! Hostnames in Consul's answers: which Services need them, and their last good addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use consul8s_core::address::family;
use consul8s_core::kube::ObjectKey;

use crate::resolve::Found;

/// Hostnames of one Service that are resolved at most: what a hostile catalog can make of one.
const OF_ONE_SERVICE: usize = 1_000;
/// Hostnames that are resolved at most: a lookup for each in five minutes is 33 a second.
const OF_ALL: usize = 10_000;

/// All hostnames that some Service needs.
#[derive(Debug, Default)]
pub struct Names {
    by_service: BTreeMap<ObjectKey, BTreeSet<String>>,
    by_name: BTreeMap<String, Name>,
    /// Shared with whoever plans. A failing lookup leaves it as it is.
    resolved: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

#[derive(Debug, Default)]
struct Name {
    services: BTreeSet<ObjectKey>,
    /// It was looked up, however that ended.
    tried: bool,
}

/// What became of the names that are looked up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// To be looked up, again and again.
    pub begin: Vec<String>,
    /// No longer.
    pub end: Vec<String>,
}

impl Names {
    /// Takes note of the hostnames that a Service needs now. What exceeds the limits is not looked up.
    pub fn need(&mut self, service: &ObjectKey, names: BTreeSet<String>) -> Turns {
        let mut turns = Turns::default();
        let names: BTreeSet<String> = names.into_iter().take(OF_ONE_SERVICE).collect();
        let before = self.by_service.remove(service).unwrap_or_default();
        for name in before.difference(&names) {
            let Some(known) = self.by_name.get_mut(name) else { continue };
            known.services.remove(service);
            if known.services.is_empty() {
                self.by_name.remove(name);
                Arc::make_mut(&mut self.resolved).remove(name);
                turns.end.push(name.clone());
            }
        }
        let mut needed = BTreeSet::new();
        for name in names {
            let new = !self.by_name.contains_key(&name);
            if new && self.by_name.len() >= OF_ALL {
                continue;
            }
            if new {
                turns.begin.push(name.clone());
            }
            self.by_name.entry(name.clone()).or_default().services.insert(service.clone());
            needed.insert(name);
        }
        if !needed.is_empty() {
            self.by_service.insert(service.clone(), needed);
        }
        turns
    }

    /// The last good addresses.
    #[must_use]
    pub fn resolved(&self) -> Arc<BTreeMap<String, Vec<IpAddr>>> {
        self.resolved.clone()
    }

    /// Whether a hostname of the Service has not been looked up yet.
    #[must_use]
    pub fn is_waiting(&self, service: &ObjectKey) -> bool {
        let names = self.by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.by_name.get(name)).any(|name| !name.tried)
    }

    /// A lookup ended; none = it failed, and what was known stays. Gives the Services that are to be looked at.
    pub fn looked_up(&mut self, name: &str, found: Option<Found>) -> BTreeSet<ObjectKey> {
        let Some(known) = self.by_name.get_mut(name) else { return BTreeSet::new() };
        let first = !std::mem::replace(&mut known.tried, true);
        let services = known.services.clone();
        let Some(Found { mut addresses, failed, .. }) = found else {
            return if first { services } else { BTreeSet::new() };
        };
        let before = self.resolved.get(name).into_iter().flatten();
        addresses.extend(before.filter(|address| Some(family(**address)) == failed));
        // Servers give them in another order each time.
        addresses.sort();
        addresses.dedup();
        if self.resolved.get(name) == Some(&addresses) {
            return BTreeSet::new();
        }
        Arc::make_mut(&mut self.resolved).insert(name.to_owned(), addresses);
        services
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consul8s_core::kube::Family;
    use std::time::Duration;

    fn found(addresses: &[&str], failed: Option<Family>) -> Option<Found> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Some(Found { addresses, failed, good_for: Duration::from_secs(60) })
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_name_is_looked_up_while_somebody_needs_it() {
        let mut names = Names::default();
        let [a, b] = ["a", "b"].map(|name| ObjectKey::new("shop", name));
        assert_eq!(names.need(&a, set(&["x", "y"])).begin, ["x", "y"]);
        assert_eq!(names.need(&b, set(&["y"])), Turns::default());
        assert_eq!(names.need(&a, set(&[])).end, ["x"]);
        assert_eq!(names.need(&b, set(&["z"])), Turns { begin: vec!["z".into()], end: vec!["y".into()] });
    }

    #[test]
    fn only_news_concern_anybody_and_a_failure_keeps_what_was_known() {
        let mut names = Names::default();
        let a = ObjectKey::new("shop", "a");
        names.need(&a, set(&["x"]));
        assert!(names.is_waiting(&a));
        assert_eq!(names.looked_up("x", None).len(), 1, "nobody waits for it any more");
        assert!(!names.is_waiting(&a));
        let known = |names: &Names| names.resolved()["x"].iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names.looked_up("x", found(&["10.0.0.2", "10.0.0.1"], None)).len(), 1);
        assert!(names.looked_up("x", found(&["10.0.0.1", "10.0.0.2", "10.0.0.1"], None)).is_empty());
        assert!(names.looked_up("x", None).is_empty());
        assert_eq!(known(&names), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(names.looked_up("x", found(&["10.0.0.2", "fd00::2"], None)).len(), 1);
        assert!(names.looked_up("unknown", found(&["10.0.0.1"], None)).is_empty());
        // One family's servers fail.
        assert!(names.looked_up("x", found(&["10.0.0.2"], Some(Family::V6))).is_empty());
        assert_eq!(names.looked_up("x", found(&["fd00::3"], Some(Family::V4))).len(), 1);
        assert_eq!(known(&names), ["10.0.0.2", "fd00::3"]);
    }

    #[test]
    fn a_hostile_catalog_makes_no_more_lookups_than_one_service_may() {
        let mut names = Names::default();
        let many = (0..5_000).map(|n| format!("host-{n}")).collect();
        assert_eq!(names.need(&ObjectKey::new("shop", "a"), many).begin.len(), OF_ONE_SERVICE);
    }

    #[test]
    fn all_services_together_have_a_limit_too_and_room_is_used_again() {
        let mut names = Names::default();
        let of = |service: usize| (0..OF_ONE_SERVICE).map(|n| format!("host-{service}-{n}")).collect::<BTreeSet<_>>();
        let key = |service: usize| ObjectKey::new("shop", format!("s{service}"));
        let full = OF_ALL / OF_ONE_SERVICE;
        for service in 0..full {
            assert_eq!(names.need(&key(service), of(service)).begin.len(), OF_ONE_SERVICE);
        }
        assert_eq!(names.need(&key(full), of(full)), Turns::default());
        assert_eq!(names.need(&key(full), of(0)).begin.len(), 0, "what is looked up already is for all");
        assert_eq!(names.need(&key(1), BTreeSet::new()).end.len(), OF_ONE_SERVICE);
        assert_eq!(names.need(&key(full), of(full)).begin.len(), OF_ONE_SERVICE);
    }
}
