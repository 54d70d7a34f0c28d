//! What Consul answered, by query, and which Services wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consul8s_core::consul::{Answer, HealthQuery, Instance};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::ApiError;
use consul8s_core::time::UnixMillis;

/// One Consul service as its blocking query shows it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The last admitted answer.
    pub answer: Option<Answer<Arc<Vec<Instance>>>>,
    /// When the answer came that brought the present contents.
    pub changed: UnixMillis,
    /// When Consul last answered at all as it should.
    pub heard: UnixMillis,
    /// Why the last attempt was not admitted; none while all is well.
    pub trouble: Option<ApiError>,
    /// When Consul's index went back in a consistent read, if it did: it was restored or wiped.
    pub broken: Option<UnixMillis>,
    services: BTreeSet<ObjectKey>,
}

/// All sources that some Service asks for.
#[derive(Debug, Default)]
pub struct Sources {
    by_query: BTreeMap<HealthQuery, Source>,
    by_service: BTreeMap<ObjectKey, HealthQuery>,
}

/// What binding a Service to a query changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebound {
    /// A query that nobody asked for before: start its watch.
    pub started: Option<HealthQuery>,
    /// A query that nobody asks for any more: stop its watch.
    pub ended: Option<HealthQuery>,
}

impl Sources {
    /// Binds a Service to what it asks for now, or to nothing.
    pub fn bind(&mut self, service: &ObjectKey, query: Option<&HealthQuery>, now: UnixMillis) -> Rebound {
        let mut rebound = Rebound::default();
        if self.by_service.get(service) == query {
            return rebound;
        }
        if let Some(old) = self.by_service.remove(service)
            && let Some(source) = self.by_query.get_mut(&old)
        {
            source.services.remove(service);
            if source.services.is_empty() {
                self.by_query.remove(&old);
                rebound.ended = Some(old);
            }
        }
        if let Some(query) = query {
            self.by_service.insert(service.clone(), query.clone());
            let source = self.by_query.entry(query.clone()).or_insert_with(|| {
                rebound.started = Some(query.clone());
                Source { heard: now, ..Source::default() }
            });
            source.services.insert(service.clone());
        }
        rebound
    }

    /// The source of a query.
    pub fn get(&self, query: &HealthQuery) -> Option<&Source> {
        self.by_query.get(query)
    }

    /// The source of a query, to be changed.
    pub fn get_mut(&mut self, query: &HealthQuery) -> Option<&mut Source> {
        self.by_query.get_mut(query)
    }

    /// The Services that ask for a query.
    pub fn services_of(&self, query: &HealthQuery) -> Vec<ObjectKey> {
        self.by_query.get(query).map(|s| s.services.iter().cloned().collect()).unwrap_or_default()
    }

    /// All sources.
    pub fn iter(&self) -> impl Iterator<Item = (&HealthQuery, &Source)> {
        self.by_query.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str) -> HealthQuery {
        HealthQuery { name: name.into(), ..HealthQuery::default() }
    }

    #[test]
    fn a_watch_runs_while_somebody_asks_and_is_shared() {
        let mut sources = Sources::default();
        let (a, b) = (ObjectKey::new("shop", "a"), ObjectKey::new("shop", "b"));
        let now = UnixMillis(1);
        assert_eq!(sources.bind(&a, Some(&query("foo")), now).started, Some(query("foo")));
        assert_eq!(sources.bind(&b, Some(&query("foo")), now), Rebound::default());
        assert_eq!(sources.bind(&b, Some(&query("foo")), now), Rebound::default());
        assert_eq!(sources.services_of(&query("foo")), [a.clone(), b.clone()]);
        let moved = sources.bind(&a, Some(&query("bar")), now);
        assert_eq!(moved, Rebound { started: Some(query("bar")), ended: None });
        assert_eq!(sources.bind(&b, None, now).ended, Some(query("foo")));
        assert!(sources.get(&query("foo")).is_none());
    }
}
