//! One object of a list or watch, turned into a core value while it is read.
//!
//! kube parses a whole page, or a whole event, at once: one object that does not parse would fail them all. An [`Item`] always
//! parses; what it could not read it says in [`Item::content`]. And since it holds the core value only, a page of objects never
//! sits in memory with its managed fields.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A core value with the API's type that it is read from.
pub trait FromWire: Clone + Debug + Send + 'static {
    /// The API's type.
    type Wire: Resource<DynamicType = ()> + DeserializeOwned;

    /// The core value. Cannot fail: missing pieces become defaults.
    fn from_wire(object: Self::Wire) -> Self;
}

/// An object, readable or not.
#[derive(Clone, Debug)]
pub(crate) struct Item<T> {
    /// Namespace, name, uid and resourceVersion, and nothing else.
    meta: ObjectMeta,
    /// The core value, or why it could not be read.
    pub(crate) content: Result<T, String>,
}

impl<T> Item<T> {
    /// `NAMESPACE/NAME`, or the name alone, for log lines.
    pub(crate) fn key(&self) -> String {
        let name = self.meta.name.as_deref().unwrap_or("?");
        self.meta.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
    }
}

impl<'de, T: FromWire> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        let meta = sparse_meta(&raw);
        // Never used here, and often the largest part.
        if let Some(Value::Object(metadata)) = raw.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let content = serde_json::from_value::<T::Wire>(raw).map(T::from_wire).map_err(|e| e.to_string());
        Ok(Item { meta, content })
    }
}

fn sparse_meta(raw: &Value) -> ObjectMeta {
    let field = |name: &str| Some(raw.get("metadata")?.get(name)?.as_str()?.to_owned());
    ObjectMeta {
        namespace: field("namespace"),
        name: field("name"),
        uid: field("uid"),
        resource_version: field("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl<T: FromWire> Resource for Item<T> {
    type DynamicType = ();
    type Scope = <T::Wire as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        T::Wire::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        T::Wire::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        T::Wire::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::Wire::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use consul8s_core::kube::KubeService;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const LIST: &str = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[
        {"metadata":{"namespace":"shop","name":"good","resourceVersion":"5","managedFields":"nonsense"},"spec":{"ports":[{"port":80}]}},
        {"metadata":{"namespace":"shop","name":"bad","resourceVersion":"6"},"spec":{"ports":"eighty"}},
        null]}"#;

    #[test]
    fn one_bad_object_leaves_the_rest_of_a_list_alone() {
        let list: ObjectList<Item<KubeService>> = serde_json::from_str(LIST).unwrap();
        let [good, bad, null] = list.items.as_slice() else { panic!("three items") };
        assert_eq!(good.content.as_ref().unwrap().ports[0].port, 80);
        assert!(bad.content.as_ref().unwrap_err().contains("eighty"));
        assert_eq!(bad.key(), "shop/bad");
        assert_eq!(bad.meta().resource_version.as_deref(), Some("6"));
        assert!(null.content.is_err());
    }

    #[test]
    fn a_bad_object_of_a_watch_keeps_its_place_in_history() {
        let line = r#"{"type":"MODIFIED","object":{"metadata":{"name":"bad","resourceVersion":"9"},"spec":7}}"#;
        let WatchEvent::Modified(item) = serde_json::from_str::<WatchEvent<Item<KubeService>>>(line).unwrap() else {
            panic!("modified")
        };
        assert!(item.content.is_err());
        assert_eq!(item.meta().resource_version.as_deref(), Some("9"));
    }
}
