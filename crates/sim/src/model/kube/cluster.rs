//! The store: create, read, replace, patch. Deletion is in [`super::lifecycle`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;
use serde_json::{Value, json};

use super::admission::{clean_metadata, prepare, reset_status};
use super::failure::{Cause, Failure};
use super::history::{Change, History, Version};
use super::object::{carry, is_deleting, name_of, rfc3339, section, text_at, uid_of};
use super::patch;
use super::resource::Resource;
use super::selector::Selector;
use super::service::{self, Allocator};

/// Where creation times come from.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// A Kubernetes cluster as a value, as far as its API server shows it.
#[derive(Clone)]
pub struct Cluster {
    pub(super) clock: Clock,
    seed: u32,
    serial: u64,
    pub(super) version: Version,
    pub(super) objects: BTreeMap<Resource, BTreeMap<ObjectKey, Arc<Value>>>,
    pub(super) history: BTreeMap<Resource, History>,
    allocator: Allocator,
    /// Types of the conditions that each manager has applied, by the uid of the object and the manager.
    applied: BTreeMap<(String, String), BTreeSet<String>>,
}

/// Which half of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// All but the spec: the `status` subresource.
    Status,
}

/// What must hold for a deletion to go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object is still this one.
    pub uid: Option<String>,
    /// The object is still in this state.
    pub resource_version: Option<String>,
}

/// Name of the definition of ConsulImports.
const IMPORTS_DEFINED_BY: &str = "consulimports.consul8s.io";

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

impl Cluster {
    /// A fresh cluster with its usual namespaces and the Service `default/kubernetes`. Clusters with different seeds share no UID.
    pub fn new(seed: u32, clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Cluster {
        let mut cluster = Cluster {
            clock: Arc::new(clock),
            seed,
            serial: 0,
            version: 0,
            objects: BTreeMap::new(),
            history: BTreeMap::new(),
            allocator: Allocator::default(),
            applied: BTreeMap::new(),
        };
        for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
            // A name of a fresh store cannot be taken.
            let _ = cluster.create(Resource::Namespaces, "", json!({"metadata": {"name": name}}));
        }
        let ports = json!([{"name": "https", "port": 443, "targetPort": 6443}]);
        let api = json!({"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1", "ports": ports}});
        let _ = cluster.create(Resource::Services, "default", api);
        cluster
    }

    /// The newest resourceVersion.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// One object.
    ///
    /// # Errors
    /// 404
    pub fn get(&self, resource: Resource, key: &ObjectKey) -> Result<Arc<Value>, Failure> {
        let found = self.objects.get(&resource).and_then(|objects| objects.get(key));
        found.cloned().ok_or_else(|| Failure::not_found(resource, &key.name))
    }

    /// The objects selected, of one namespace or of all, by namespace and name.
    #[must_use]
    pub fn list(&self, resource: Resource, namespace: Option<&str>, selector: &Selector) -> Vec<Arc<Value>> {
        let objects = self.objects.get(&resource).into_iter().flatten();
        let here = objects.filter(|(key, _)| namespace.is_none_or(|namespace| key.namespace == namespace));
        here.map(|(_, object)| object).filter(|object| selector.matches(object)).cloned().collect()
    }

    /// Creates an object.
    ///
    /// # Errors
    /// 400, 403 and 404 for a namespace that doesn't fit, is going or isn't there, 409 for a name taken, 422.
    pub fn create(&mut self, resource: Resource, namespace: &str, mut object: Value) -> Result<Arc<Value>, Failure> {
        self.check_type(resource, namespace, &object)?;
        let name = self.name_for(&object);
        section(&mut object, "metadata").insert("name".to_owned(), json!(name));
        let key = ObjectKey::new(namespace, name.clone());
        self.check_namespace(resource, &key)?;
        clean_metadata(resource, &mut object, None);
        if resource.info().namespaced {
            section(&mut object, "metadata").insert("namespace".to_owned(), json!(namespace));
        }
        reset_status(resource, &mut object);
        prepare(resource, &mut object, None)?;
        if let Ok(old) = self.get(resource, &key) {
            return Err(Failure::already_exists(resource, &name, is_deleting(&old)));
        }
        self.check_address_free(resource, &object)?;
        self.serial += 1;
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", self.seed, self.serial);
        let created = rfc3339((self.clock)());
        let metadata = section(&mut object, "metadata");
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(created));
        if matches!(resource, Resource::EndpointSlices | Resource::ConsulImports) {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if resource == Resource::Services {
            service::allocate(&mut object, &mut self.allocator);
        }
        let stored = self.store(resource, &key, object);
        self.collect_if_orphan(resource, &key);
        Ok(stored)
    }

    /// Replaces an object, or creates it where PUT does so. An identical one changes nothing.
    ///
    /// # Errors
    /// 404, 409 for another uid or resourceVersion, 422, and those of [`Cluster::create`].
    pub fn replace(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        part: Part,
        object: Value,
    ) -> Result<Arc<Value>, Failure> {
        let info = resource.info();
        let Ok(old) = self.get(resource, key) else {
            return match part {
                // It may create, but it does not make the one anew that it was meant for.
                Part::Main if info.put_creates && !uid_of(&object).is_empty() => {
                    let why =
                        format!("Precondition failed: UID in precondition: {}, UID in object meta: ", uid_of(&object));
                    Err(Failure::conflict(resource, &key.name, &why))
                }
                Part::Main if info.put_creates => self.create(resource, &key.namespace, object),
                _ => Err(Failure::not_found(resource, &key.name)),
            };
        };
        self.check_type(resource, &key.namespace, &object)?;
        if name_of(&object) != key.name {
            let (given, wanted) = (name_of(&object), &key.name);
            let why = format!("the name of the object ({given}) does not match the name on the URL ({wanted})");
            return Err(Failure::bad_request(why));
        }
        check_version(resource, key, &old, &object)?;
        self.put(resource, key, &old, part, object)
    }

    /// Lays a JSON merge patch over an object.
    ///
    /// # Errors
    /// As [`Cluster::replace`].
    pub fn merge_patch(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        part: Part,
        change: &Value,
    ) -> Result<Arc<Value>, Failure> {
        let old = self.get(resource, key)?;
        check_version(resource, key, &old, change).or_else(|why| if why.code == 422 { Ok(()) } else { Err(why) })?;
        let mut object = (*old).clone();
        patch::merge(&mut object, change);
        self.put(resource, key, &old, part, object)
    }

    /// Server-side apply of conditions, by their type: those that this manager applied before and no longer does are gone. With a uid
    /// (unless it is empty) it is about that object alone.
    ///
    /// # Errors
    /// 409 when there is no such object, 422 when it is another one.
    pub fn apply_conditions(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        uid: &str,
        manager: &str,
        conditions: &[Value],
    ) -> Result<Arc<Value>, Failure> {
        let Ok(old) = self.get(resource, key) else {
            if uid.is_empty() {
                // It would be made; of nothing but conditions none can be.
                return Err(Failure::invalid(resource, &key.name, vec![Cause::required("spec.ports")]));
            }
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Failure::conflict(resource, &key.name, &why));
        };
        if !uid.is_empty() && uid != uid_of(&old) {
            let cause = Cause::invalid("metadata.uid", format!("{uid:?}"), "field is immutable");
            return Err(Failure::invalid(resource, &key.name, vec![cause]));
        }
        let now: BTreeSet<String> = conditions.iter().map(|one| text_at(one, "/type").to_owned()).collect();
        let place = (uid_of(&old).to_owned(), manager.to_owned());
        let before = self.applied.get(&place).cloned().unwrap_or_default();
        let mut object = (*old).clone();
        patch::apply_conditions(&mut object, conditions, &before);
        let stored = self.put(resource, key, &old, Part::Status, object)?;
        self.applied.insert(place, now);
        Ok(stored)
    }

    /// Whether there is the definition of ConsulImports.
    #[must_use]
    pub fn defines_imports(&self) -> bool {
        self.get(Resource::Definitions, &ObjectKey::new("", IMPORTS_DEFINED_BY)).is_ok()
    }

    /// The time, as Kubernetes writes it.
    #[must_use]
    pub fn time(&self) -> String {
        rfc3339((self.clock)())
    }

    fn put(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        old: &Arc<Value>,
        part: Part,
        mut object: Value,
    ) -> Result<Arc<Value>, Failure> {
        match part {
            Part::Main if resource.info().has_status => carry(old, &mut object, "", "status"),
            Part::Main => {}
            Part::Status => carry(old, &mut object, "", "spec"),
        }
        clean_metadata(resource, &mut object, Some(old));
        prepare(resource, &mut object, Some(old))?;
        if resource == Resource::Services {
            service::allocate(&mut object, &mut self.allocator);
        }
        if object == **old {
            return Ok(Arc::clone(old));
        }
        if let Some(generation) = old.pointer("/metadata/generation").and_then(Value::as_i64) {
            let outside = |object: &Value| {
                let mut rest = object.clone();
                if resource == Resource::ConsulImports {
                    return rest["spec"].take();
                }
                rest["metadata"] = json!({"labels": object.pointer("/metadata/labels")});
                rest
            };
            let moved = i64::from(outside(&object) != outside(old));
            section(&mut object, "metadata").insert("generation".to_owned(), json!(generation + moved));
        }
        Ok(self.store_or_finish(resource, key, object))
    }

    /// Keeps an object under the next version, and remembers the change.
    pub(super) fn store(&mut self, resource: Resource, key: &ObjectKey, mut object: Value) -> Arc<Value> {
        self.version += 1;
        section(&mut object, "metadata").insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let stored = Arc::new(object);
        let before = self.objects.entry(resource).or_default().insert(key.clone(), Arc::clone(&stored));
        let change =
            Change { version: self.version, before, after: Some(Arc::clone(&stored)), shown: Arc::clone(&stored) };
        self.history.entry(resource).or_default().push(change);
        stored
    }

    fn name_for(&self, object: &Value) -> String {
        match (name_of(object), text_at(object, "/metadata/generateName")) {
            ("", "") => String::new(),
            ("", prefix) => format!("{prefix}{:05x}", self.serial + 1),
            (name, _) => name.to_owned(),
        }
    }

    fn check_type(&self, resource: Resource, namespace: &str, object: &Value) -> Result<(), Failure> {
        let (kind, version) = (resource.info().kind, resource.api_version());
        let (given, given_version) = (text_at(object, "/kind"), text_at(object, "/apiVersion"));
        if !object.is_object() || (!given.is_empty() && given != kind) {
            let why = format!("{given} in version {version:?} cannot be handled as a {kind}");
            return Err(Failure::bad_request(why));
        }
        if !given_version.is_empty() && given_version != version {
            let why = format!(
                "the API version in the data ({given_version}) does not match the expected API version ({version})"
            );
            return Err(Failure::bad_request(why));
        }
        let given = text_at(object, "/metadata/namespace");
        if resource.info().namespaced && !given.is_empty() && given != namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(why));
        }
        Ok(())
    }

    fn check_namespace(&self, resource: Resource, key: &ObjectKey) -> Result<(), Failure> {
        if key.name.is_empty() {
            let cause = Cause {
                message: "Required value: name or generateName is required".into(),
                ..Cause::required("metadata.name")
            };
            return Err(Failure::invalid(resource, "", vec![cause]));
        }
        if !resource.info().namespaced {
            return Ok(());
        }
        let namespace = self.get(Resource::Namespaces, &ObjectKey::new("", key.namespace.clone()))?;
        if is_deleting(&namespace) {
            return Err(Failure::terminating(resource, &key.name, &key.namespace));
        }
        Ok(())
    }

    fn check_address_free(&self, resource: Resource, object: &Value) -> Result<(), Failure> {
        let wanted = text_at(object, "/spec/clusterIP");
        if resource != Resource::Services || matches!(wanted, "" | "None") {
            return Ok(());
        }
        let taken = self.list(Resource::Services, None, &Selector::default());
        if taken.iter().any(|other| text_at(other, "/spec/clusterIP") == wanted) {
            let why = "failed to allocate IP: provided IP is already allocated";
            let cause = Cause::invalid("spec.clusterIPs", format!("[{wanted:?}]"), why);
            return Err(Failure::invalid(resource, name_of(object), vec![cause]));
        }
        Ok(())
    }
}

/// Compares what a write rests on with what is there.
fn check_version(resource: Resource, key: &ObjectKey, old: &Value, object: &Value) -> Result<(), Failure> {
    let (uid, version) = (uid_of(object), text_at(object, "/metadata/resourceVersion"));
    if !uid.is_empty() && uid != uid_of(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", uid_of(old));
        return Err(Failure::conflict(resource, &key.name, &why));
    }
    if version.is_empty() && !resource.info().put_unconditional {
        let cause = Cause::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        return Err(Failure::invalid(resource, &key.name, vec![cause]));
    }
    if !version.is_empty() && version != text_at(old, "/metadata/resourceVersion") {
        return Err(Failure::conflict(resource, &key.name, MODIFIED));
    }
    Ok(())
}
