//! How objects go: preconditions, finalizers, the garbage collector, and namespaces that empty.

use std::sync::Arc;

use consul8s_core::kube::ObjectKey;
use serde_json::{Value, json};

use super::cluster::{Cluster, Preconditions};
use super::failure::Failure;
use super::history::Change;
use super::object::{has_finalizers, is_deleting, owners, rfc3339, section, text_at, uid_of};
use super::resource::Resource;

/// What became of an object that was to be deleted.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Its last state.
    pub object: Arc<Value>,
    /// Whether it is gone; otherwise its finalizers hold it.
    pub gone: bool,
}

impl Cluster {
    /// Deletes an object: at once, or when its finalizers let go.
    ///
    /// # Errors
    /// 404, 409 when a precondition does not hold.
    pub fn delete(&mut self, resource: Resource, key: &ObjectKey, only: &Preconditions) -> Result<Removal, Failure> {
        let object = self.get(resource, key)?;
        check(resource, key, &object, only)?;
        if resource == Resource::Namespaces {
            return Ok(self.delete_namespace(key, &object));
        }
        if !has_finalizers(&object) {
            return Ok(Removal { object: self.remove(resource, key, &object), gone: true });
        }
        if is_deleting(&object) {
            return Ok(Removal { object, gone: false });
        }
        Ok(Removal { object: self.mark(resource, key, &object), gone: false })
    }

    /// Keeps a changed object, unless it only waited for its last finalizer.
    pub(super) fn store_or_finish(&mut self, resource: Resource, key: &ObjectKey, object: Value) -> Arc<Value> {
        if is_deleting(&object) && !has_finalizers(&object) && resource != Resource::Namespaces {
            let last = Arc::new(object);
            self.remove(resource, key, &last);
            return last;
        }
        self.store(resource, key, object)
    }

    /// Collects a new object whose owners are all gone, as the garbage collector does for a late create.
    pub(super) fn collect_if_orphan(&mut self, resource: Resource, key: &ObjectKey) {
        let Ok(object) = self.get(resource, key) else { return };
        let mut named = owners(&object).peekable();
        if named.peek().is_some() && !named.any(|owner| self.lives(owner)) {
            // Nobody can have changed it since.
            let _ = self.delete(resource, key, &Preconditions::default());
        }
    }

    fn mark(&mut self, resource: Resource, key: &ObjectKey, object: &Value) -> Arc<Value> {
        let now = rfc3339((self.clock)());
        let mut marked = object.clone();
        let metadata = section(&mut marked, "metadata");
        metadata.insert("deletionTimestamp".to_owned(), json!(now));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
        self.store(resource, key, marked)
    }

    /// Takes an object out of the store, with what it owned.
    fn remove(&mut self, resource: Resource, key: &ObjectKey, last: &Arc<Value>) -> Arc<Value> {
        self.version += 1;
        let before = self.objects.entry(resource).or_default().remove(key);
        let mut shown = (**last).clone();
        section(&mut shown, "metadata").insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let shown = Arc::new(shown);
        let change = Change { version: self.version, before, after: None, shown: Arc::clone(&shown) };
        self.history.entry(resource).or_default().push(change);
        self.collect(uid_of(&shown));
        self.finish_namespace(&key.namespace);
        shown
    }

    /// The garbage collector: what only this owner kept goes too.
    fn collect(&mut self, owner: &str) {
        let mut owned = Vec::new();
        for (resource, objects) in &self.objects {
            for (key, object) in objects {
                let mut named = owners(object).peekable();
                if named.peek().is_some() && named.all(|uid| uid == owner) {
                    owned.push((*resource, key.clone()));
                }
            }
        }
        for (resource, key) in owned {
            // Gone already is as good.
            let _ = self.delete(resource, &key, &Preconditions::default());
        }
    }

    /// The namespace controller: everything in it goes, then it does.
    fn delete_namespace(&mut self, key: &ObjectKey, object: &Arc<Value>) -> Removal {
        if is_deleting(object) {
            return Removal { object: Arc::clone(object), gone: false };
        }
        let mut marked = (**object).clone();
        marked["status"]["phase"] = json!("Terminating");
        let marked = self.mark(Resource::Namespaces, key, &marked);
        let mut inside = Vec::new();
        for (resource, objects) in &self.objects {
            inside.extend(
                objects.keys().filter(|inner| inner.namespace == key.name).map(|inner| (*resource, inner.clone())),
            );
        }
        for (resource, inner) in inside {
            // What another one took along is gone already.
            let _ = self.delete(resource, &inner, &Preconditions::default());
        }
        self.finish_namespace(&key.name);
        Removal { object: marked, gone: self.get(Resource::Namespaces, key).is_err() }
    }

    fn finish_namespace(&mut self, name: &str) {
        let key = ObjectKey::new("", name);
        let Ok(namespace) = self.get(Resource::Namespaces, &key) else { return };
        let empty = !self.objects.values().any(|objects| objects.keys().any(|inner| inner.namespace == name));
        if is_deleting(&namespace) && empty {
            self.remove(Resource::Namespaces, &key, &namespace);
        }
    }

    fn lives(&self, uid: &str) -> bool {
        self.objects.values().flat_map(|objects| objects.values()).any(|object| uid_of(object) == uid)
    }
}

fn check(resource: Resource, key: &ObjectKey, object: &Value, only: &Preconditions) -> Result<(), Failure> {
    let version = text_at(object, "/metadata/resourceVersion");
    if let Some(uid) = only.uid.as_deref().filter(|uid| *uid != uid_of(object)) {
        let record = uid_of(object);
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({record}). \
             The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict(resource, &key.name, &why));
    }
    if let Some(wanted) = only.resource_version.as_deref().filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        );
        return Err(Failure::conflict(resource, &key.name, &why));
    }
    Ok(())
}
