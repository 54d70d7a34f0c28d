//! What Consul answered, by query, and which Services wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::consul::{Answer, AnswerMeta, HealthQuery, Instance};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::ApiError;
use consul8s_core::time::UnixMillis;

/// One Consul service as its blocking query shows it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The last admitted answer.
    pub answer: Option<Answer<Arc<Vec<Instance>>>>,
    /// When Consul last answered at all as it should.
    pub heard: UnixMillis,
    /// Why the last attempt was not admitted; none while all is well.
    pub trouble: Option<ApiError>,
    /// When Consul's index went back in a consistent read, if it did: it was restored or wiped.
    pub broken: Option<UnixMillis>,
    /// How long a question may wait for news: as long as the least patient of its Services lets it.
    wait: Duration,
    /// The Services that ask, each with its patience.
    services: BTreeMap<ObjectKey, Duration>,
}

/// All sources that some Service asks for.
#[derive(Debug, Default)]
pub struct Sources {
    by_query: BTreeMap<HealthQuery, Source>,
    by_service: BTreeMap<ObjectKey, Binding>,
}

/// What a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    /// Sorted, and each once. No set: most Services ask one question, and there are thousands.
    queries: Vec<HealthQuery>,
    wait: Duration,
}

/// What binding a Service changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rebound {
    /// Queries to watch from now on, or to go on watching, with questions that wait this long.
    pub watch: BTreeMap<HealthQuery, Duration>,
    /// Queries that nobody asks for any more.
    pub stop: Vec<HealthQuery>,
}

impl Sources {
    /// Binds a Service to what it asks for now, which may be nothing. Its questions wait for news for `wait` at most.
    pub fn bind(&mut self, service: &ObjectKey, queries: &[HealthQuery], wait: Duration, now: UnixMillis) -> Rebound {
        let mut rebound = Rebound::default();
        let wanted = Binding { queries: BTreeSet::from_iter(queries.iter().cloned()).into_iter().collect(), wait };
        if self.by_service.get(service).is_some_and(|before| *before == wanted) {
            return rebound;
        }
        let before = self.by_service.remove(service).map(|before| before.queries).unwrap_or_default();
        for query in before.iter().filter(|query| !wanted.queries.contains(query)) {
            self.release(service, query, &mut rebound);
        }
        for query in &wanted.queries {
            let source =
                self.by_query.entry(query.clone()).or_insert_with(|| Source { heard: now, ..Source::default() });
            source.services.insert(service.clone(), wait);
            source.settle(query, &mut rebound);
        }
        if !wanted.queries.is_empty() {
            self.by_service.insert(service.clone(), wanted);
        }
        rebound
    }

    fn release(&mut self, service: &ObjectKey, query: &HealthQuery, rebound: &mut Rebound) {
        let Some(source) = self.by_query.get_mut(query) else { return };
        source.services.remove(service);
        if source.services.is_empty() {
            self.by_query.remove(query);
            rebound.stop.push(query.clone());
        } else {
            source.settle(query, rebound);
        }
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
        self.by_query.get(query).map(|s| s.services.keys().cloned().collect()).unwrap_or_default()
    }

    /// The datacenters that are read, each with the Services that do.
    pub fn datacenters(&self) -> BTreeMap<Option<String>, BTreeSet<ObjectKey>> {
        let mut all: BTreeMap<Option<String>, BTreeSet<ObjectKey>> = BTreeMap::new();
        for (query, source) in &self.by_query {
            all.entry(query.datacenter.clone()).or_default().extend(source.services.keys().cloned());
        }
        all
    }

    /// All sources.
    pub fn iter(&self) -> impl Iterator<Item = (&HealthQuery, &Source)> {
        self.by_query.iter()
    }
}

impl Source {
    /// A read of the same showed that something is hidden from our token, which the answer in use may not have told
    /// ([`AnswerMeta::polled`]). Gives whether that is news.
    pub fn also_hides(&mut self, meta: &AnswerMeta) -> bool {
        let Some(answer) = &mut self.answer else { return false };
        let before = (answer.meta.filtered, answer.meta.anonymous_under_deny);
        answer.meta.filtered |= meta.filtered;
        answer.meta.anonymous_under_deny |= meta.anonymous_under_deny;
        before != (answer.meta.filtered, answer.meta.anonymous_under_deny)
    }

    fn settle(&mut self, query: &HealthQuery, rebound: &mut Rebound) {
        let wait = self.services.values().min().copied().unwrap_or_default();
        if std::mem::replace(&mut self.wait, wait) != wait {
            rebound.watch.insert(query.clone(), wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(300);
    const SHORT: Duration = Duration::from_secs(5);
    const NOW: UnixMillis = UnixMillis(1);

    fn query(name: &str) -> HealthQuery {
        HealthQuery { name: name.into(), ..HealthQuery::default() }
    }

    fn watch(wanted: &[(&str, Duration)]) -> Rebound {
        Rebound { watch: wanted.iter().map(|(name, wait)| (query(name), *wait)).collect(), stop: Vec::new() }
    }

    fn stop(names: &[&str]) -> Rebound {
        Rebound { watch: BTreeMap::new(), stop: names.iter().map(|name| query(name)).collect() }
    }

    #[test]
    fn a_watch_runs_while_somebody_asks_and_is_shared() {
        let mut sources = Sources::default();
        let (a, b) = (ObjectKey::new("shop", "a"), ObjectKey::new("shop", "b"));
        assert_eq!(sources.bind(&a, &[query("foo")], LONG, NOW), watch(&[("foo", LONG)]));
        assert_eq!(sources.bind(&b, &[query("foo")], LONG, NOW), Rebound::default());
        assert_eq!(sources.bind(&b, &[query("foo")], LONG, NOW), Rebound::default());
        assert_eq!(sources.services_of(&query("foo")), [a.clone(), b.clone()]);
        assert_eq!(sources.bind(&a, &[query("bar")], LONG, NOW), watch(&[("bar", LONG)]));
        assert_eq!(sources.bind(&b, &[], LONG, NOW), stop(&["foo"]));
        assert!(sources.get(&query("foo")).is_none());
    }

    #[test]
    fn a_service_may_ask_for_several() {
        let mut sources = Sources::default();
        let a = ObjectKey::new("shop", "a");
        let both = [query("foo"), query("bar")];
        assert_eq!(sources.bind(&a, &both, LONG, NOW), watch(&[("foo", LONG), ("bar", LONG)]));
        assert_eq!(sources.bind(&a, &both[..1], LONG, NOW), stop(&["bar"]));
        assert_eq!(sources.services_of(&query("foo")), [a]);
    }

    #[test]
    fn the_least_patient_of_those_who_share_a_query_decides_how_long_it_waits() {
        let mut sources = Sources::default();
        let (a, b) = (ObjectKey::new("shop", "a"), ObjectKey::new("shop", "b"));
        sources.bind(&a, &[query("foo")], LONG, NOW);
        assert_eq!(sources.bind(&b, &[query("foo")], SHORT, NOW), watch(&[("foo", SHORT)]));
        assert_eq!(sources.bind(&a, &[query("foo")], SHORT * 2, NOW), Rebound::default());
        assert_eq!(sources.bind(&b, &[query("foo")], LONG, NOW), watch(&[("foo", SHORT * 2)]));
        assert_eq!(sources.bind(&a, &[], LONG, NOW), watch(&[("foo", LONG)]));
        assert_eq!(sources.bind(&b, &[], LONG, NOW), stop(&["foo"]));
    }
}
