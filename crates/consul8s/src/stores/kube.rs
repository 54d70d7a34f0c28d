//! What the watches of Kubernetes have shown, by key. A store can be read only when every watch behind it has listed once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey};
use consul8s_core::ports::WatchEvent;

/// An object with key and version, as the stores need it.
pub trait Stored: Clone {
    /// Namespace and name.
    fn key(&self) -> &ObjectKey;
    /// UID.
    fn uid(&self) -> &str;
    /// resourceVersion.
    fn version(&self) -> &str;
    /// The Service that is to be looked at when this object changes.
    fn concerns(&self) -> Option<ObjectKey>;
}

impl Stored for KubeService {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> &str {
        &self.resource_version
    }
    fn concerns(&self) -> Option<ObjectKey> {
        Some(self.key.clone())
    }
}

impl Stored for KubeSlice {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> &str {
        &self.resource_version
    }
    fn concerns(&self) -> Option<ObjectKey> {
        self.service()
    }
}

/// What an event changed.
#[derive(Debug, Default)]
pub struct Changed<T> {
    /// Services to look at.
    pub concerns: BTreeSet<ObjectKey>,
    /// Objects that a running watch saw go.
    pub seen_deleted: Vec<Arc<T>>,
    /// Objects that were only missing from a fresh list.
    pub missing: Vec<Arc<T>>,
}

/// Objects of one kind. The watches behind it are numbered from 0, one for each namespace in scope or one for all.
#[derive(Debug)]
pub struct Objects<T> {
    by_key: BTreeMap<ObjectKey, Arc<T>>,
    by_service: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Namespaces of the watches; none = all namespaces.
    watches: Vec<Option<String>>,
    listed: BTreeSet<usize>,
}

impl<T: Stored> Objects<T> {
    /// An empty store fed by one watch for each of these namespaces (none = all).
    pub fn new(watches: Vec<Option<String>>) -> Self {
        Objects { by_key: BTreeMap::new(), by_service: BTreeMap::new(), watches, listed: BTreeSet::new() }
    }

    /// Whether every watch has listed once: only then is what is missing here absent.
    pub fn synced(&self) -> bool {
        self.listed.len() == self.watches.len()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.by_key.get(key)
    }

    /// All objects, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_key.values()
    }

    /// The objects that concern a Service.
    pub fn of_service(&self, service: &ObjectKey) -> impl Iterator<Item = &Arc<T>> {
        self.by_service.get(service).into_iter().flatten().filter_map(|key| self.by_key.get(key))
    }

    /// Takes in what watch number `watch` told.
    pub fn take_in(&mut self, watch: usize, event: WatchEvent<T>) -> Changed<T> {
        let mut changed = Changed { concerns: BTreeSet::new(), seen_deleted: Vec::new(), missing: Vec::new() };
        match event {
            WatchEvent::Applied(object) => self.put(object, &mut changed),
            WatchEvent::Deleted(object) => {
                if self.by_key.get(object.key()).is_none_or(|ours| !newer(ours.version(), object.version())) {
                    let key = object.key().clone();
                    let old = self.drop_key(&key, &mut changed).unwrap_or_else(|| Arc::new(object));
                    changed.seen_deleted.push(old);
                }
            }
            WatchEvent::Listed(objects) => self.replace(watch, objects, &mut changed),
            // What was listed still stands.
            WatchEvent::Failed(_) => {}
        }
        changed
    }

    /// Takes in what we wrote ourselves, ahead of the watch.
    pub fn wrote(&mut self, object: T) {
        self.put(object, &mut Changed { concerns: BTreeSet::new(), seen_deleted: Vec::new(), missing: Vec::new() });
    }

    /// Takes out what we deleted ourselves, or found gone, ahead of the watch.
    pub fn removed(&mut self, key: &ObjectKey, uid: &str) {
        if self.by_key.get(key).is_some_and(|o| o.uid() == uid) {
            self.drop_key(
                key,
                &mut Changed { concerns: BTreeSet::new(), seen_deleted: Vec::new(), missing: Vec::new() },
            );
        }
    }

    fn put(&mut self, object: T, changed: &mut Changed<T>) {
        if self.by_key.get(object.key()).is_some_and(|ours| !newer(object.version(), ours.version())) {
            return;
        }
        let key = object.key().clone();
        let concern = object.concerns();
        if let Some(old) = self.by_key.insert(key.clone(), Arc::new(object)) {
            self.unindex(&old);
            changed.concerns.extend(old.concerns());
        }
        if let Some(service) = concern {
            self.by_service.entry(service.clone()).or_default().insert(key);
            changed.concerns.insert(service);
        }
    }

    fn drop_key(&mut self, key: &ObjectKey, changed: &mut Changed<T>) -> Option<Arc<T>> {
        let old = self.by_key.remove(key)?;
        self.unindex(&old);
        changed.concerns.extend(old.concerns());
        Some(old)
    }

    fn unindex(&mut self, object: &Arc<T>) {
        let Some(service) = object.concerns() else { return };
        if let Some(keys) = self.by_service.get_mut(&service) {
            keys.remove(object.key());
            if keys.is_empty() {
                self.by_service.remove(&service);
            }
        }
    }

    fn replace(&mut self, watch: usize, objects: Vec<T>, changed: &mut Changed<T>) {
        let namespace = self.watches.get(watch).cloned().flatten();
        let listed: BTreeSet<ObjectKey> = objects.iter().map(|o| o.key().clone()).collect();
        let gone: Vec<ObjectKey> = self
            .by_key
            .keys()
            .filter(|k| namespace.as_ref().is_none_or(|n| *n == k.namespace) && !listed.contains(k))
            .cloned()
            .collect();
        for key in gone {
            let gone = self.drop_key(&key, changed);
            changed.missing.extend(gone);
        }
        for object in objects {
            // A list is the truth, also where a restored server counts from a lower version. Should it be older than a write of ours,
            // the watch that goes on from it brings that write, and until then a wrong plan meets a conflict.
            let key = object.key().clone();
            if self.by_key.get(&key).is_some_and(|ours| ours.version() != object.version()) {
                self.drop_key(&key, changed);
            }
            self.put(object, changed);
        }
        self.listed.insert(watch);
    }
}

/// Whether resourceVersion `a` is newer than `b`. Both come from one server and one kind, where they may be compared as numbers.
fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, uid: &str, version: u64) -> KubeService {
        KubeService {
            key: ObjectKey::new("shop", name),
            uid: uid.into(),
            resource_version: version.to_string(),
            ..KubeService::default()
        }
    }

    fn names(store: &Objects<KubeService>) -> Vec<(String, String)> {
        store.iter().map(|s| (s.key.name.clone(), s.resource_version.clone())).collect()
    }

    #[test]
    fn a_store_is_synced_when_every_watch_has_listed() {
        let mut store = Objects::<KubeService>::new(vec![Some("shop".into()), Some("bank".into())]);
        store.take_in(0, WatchEvent::Listed(vec![service("a", "1", 5)]));
        assert!(!store.synced());
        store.take_in(1, WatchEvent::Listed(vec![]));
        assert!(store.synced());
        assert_eq!(store.iter().count(), 1, "a list of one namespace says nothing about another");
    }

    #[test]
    fn older_news_is_not_news() {
        let mut store = Objects::<KubeService>::new(vec![None]);
        store.take_in(0, WatchEvent::Listed(vec![service("a", "1", 5)]));
        store.wrote(service("a", "1", 9));
        assert!(store.take_in(0, WatchEvent::Applied(service("a", "1", 7))).concerns.is_empty());
        assert!(store.take_in(0, WatchEvent::Deleted(service("a", "0", 8))).seen_deleted.is_empty());
        assert_eq!(names(&store), [("a".into(), "9".into())]);
    }

    #[test]
    fn a_list_is_the_truth_also_after_a_restore() {
        let mut store = Objects::<KubeService>::new(vec![None]);
        store.take_in(0, WatchEvent::Listed(vec![service("a", "1", 50)]));
        let changed = store.take_in(0, WatchEvent::Listed(vec![service("a", "1", 7)]));
        assert_eq!(names(&store), [("a".into(), "7".into())]);
        assert_eq!(changed.concerns.len(), 1);
        assert!(changed.missing.is_empty());
    }

    #[test]
    fn seen_to_go_and_only_missing_are_told_apart() {
        let mut store = Objects::<KubeService>::new(vec![None]);
        store.take_in(0, WatchEvent::Listed(vec![service("a", "1", 5), service("b", "2", 6)]));
        let seen = store.take_in(0, WatchEvent::Deleted(service("a", "1", 8)));
        assert_eq!((seen.seen_deleted.len(), seen.missing.len()), (1, 0));
        let missing = store.take_in(0, WatchEvent::Listed(vec![]));
        assert_eq!((missing.seen_deleted.len(), missing.missing.len()), (0, 1));
        assert_eq!(missing.concerns.len(), 1);
    }
}
