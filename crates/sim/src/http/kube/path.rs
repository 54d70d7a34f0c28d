//! Paths to what they name.

use consul8s_core::kube::ObjectKey;

use crate::model::kube::{Part, Resource};

/// What a path names: a collection or an object of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: Resource,
    /// Empty for cluster-scoped resources and for a collection over all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) part: Part,
}

impl Target {
    /// `/api/v1/…` or `/apis/GROUP/v1/…`, then `[namespaces/NS/]PLURAL[/NAME[/status]]`.
    pub(super) fn parse(path: &str) -> Option<Target> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (plural, name, sub) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, sub] => (*plural, Some(*name), Some(*sub)),
            _ => return None,
        };
        let known = |resource: &Resource| {
            let info = resource.info();
            (info.group, info.version, info.plural) == (group, version, plural)
        };
        let resource = Resource::ALL.into_iter().find(known)?;
        let info = resource.info();
        let part = match sub {
            None => Part::Main,
            Some("status") if info.has_status => Part::Status,
            Some(_) => return None,
        };
        let fits = if info.namespaced { namespace.is_some() || name.is_none() } else { namespace.is_none() };
        let (namespace, name) = (namespace.map(str::to_owned), name.map(str::to_owned));
        fits.then_some(Target { resource, namespace, name, part })
    }

    /// The object named.
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(self.namespace.clone().unwrap_or_default(), self.name.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_collections_objects_and_subresources() {
        let show = |path| {
            Target::parse(path).map(|target| {
                let Target { resource, namespace, name, part } = target;
                format!("{} {namespace:?} {name:?} {part:?}", resource.info().plural)
            })
        };
        let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
        for (path, expected) in [
            ("/api/v1/services", Some("services None None Main")),
            ("/api/v1/namespaces/shop/services/foo/status", Some("services Some(\"shop\") Some(\"foo\") Status")),
            ("/api/v1/namespaces/shop", Some("namespaces None Some(\"shop\") Main")),
            ("/api/v1/namespaces/shop/status", Some("namespaces None Some(\"shop\") Status")),
            (slices, Some("endpointslices Some(\"shop\") None Main")),
            ("/api/v1/services/foo", None),
            ("/api/v1/namespaces/shop/nodes", None),
            ("/api/v1/namespaces/shop/endpointslices", None),
            ("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/a/status", None),
            ("/api/v1/pods", None),
        ] {
            assert_eq!(show(path).as_deref(), expected, "{path}");
        }
    }
}
