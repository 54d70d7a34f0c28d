//! `Endpoints` objects: those of the Python original are read, and marked as taken over. Nothing else of them is ever written.

use consul8s_core::adopt::Endpoints;
use consul8s_core::kube::ObjectKey;
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ErrorKind};
use k8s_openapi::api::core::v1 as wire;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::api::READ_WITHIN;
use crate::connect::Connection;
use crate::convert::key;
use crate::error::Call;
use crate::item::{FromWire, Item};
use crate::writer::{FIELD_MANAGER, WRITE_WITHIN};

impl FromWire for Endpoints {
    type Wire = wire::Endpoints;

    fn from_wire(object: wire::Endpoints) -> Endpoints {
        let meta = object.metadata;
        let subsets = object.subsets.unwrap_or_default();
        Endpoints {
            key: key(&meta),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owned: !meta.owner_references.unwrap_or_default().is_empty(),
            ready: subsets.iter().map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum(),
        }
    }
}

/// One object; none on 404.
pub(crate) async fn read(connection: &Connection, key: &ObjectKey) -> Result<Option<Endpoints>, ApiError> {
    let api: Api<Item<Endpoints>> = Api::namespaced(connection.client.clone(), &key.namespace);
    let what = format!("Endpoints {key}");
    let call = Call { verb: "read", what: &what, server: &connection.server };
    match call.within(READ_WITHIN, api.get(&key.name)).await {
        Ok(item) => item.content.map(Some).map_err(|why| call.garbage(why)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets the label that ends its mirroring and our annotation, or takes both away.
pub(crate) async fn mark(connection: &Connection, seen: &Endpoints, owner: Option<&str>) -> Result<(), ApiError> {
    let api: Api<Item<Endpoints>> = Api::namespaced(connection.client.clone(), &seen.key.namespace);
    let what = format!("Endpoints {}", seen.key);
    let call = Call { verb: "patch", what: &what, server: &connection.server };
    let how = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let change = Patch::Merge(patch(seen, owner));
    match call.within(WRITE_WITHIN, api.patch(&seen.key.name, &how, &change)).await {
        // Gone already, with what was to be taken back.
        Err(error) if error.kind == ErrorKind::NotFound && owner.is_none() => Ok(()),
        answer => answer.map(drop),
    }
}

/// Both fences in the object itself: the API server refuses it (409) when either is no longer so.
fn patch(seen: &Endpoints, owner: Option<&str>) -> Value {
    json!({"metadata": {
        "uid": seen.uid, "resourceVersion": seen.resource_version,
        "labels": {names::LABEL_SKIP_MIRROR: owner.map(|_| "true")},
        "annotations": {names::ADOPTED: owner},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_holds_is_counted_over_all_subsets() {
        let object = json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "labels": {"name": "web"}},
            "subsets": [
                {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}]},
                {"notReadyAddresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 80}]},
                {"addresses": null},
            ],
        });
        let read = Endpoints::from_wire(serde_json::from_value(object).unwrap());
        assert_eq!((read.ready, read.owned, read.is_original()), (2, false, true));
        let empty = json!({"metadata": {"namespace": "shop", "name": "web", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "s"}]}});
        let read = Endpoints::from_wire(serde_json::from_value(empty).unwrap());
        assert_eq!((read.ready, read.owned, read.is_original()), (0, true, false));
    }

    #[test]
    fn what_is_given_back_is_taken_away() {
        let seen = Endpoints { uid: "u".into(), resource_version: "7".into(), ..Endpoints::default() };
        assert_eq!(
            patch(&seen, None),
            json!({"metadata": {"uid": "u", "resourceVersion": "7",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": null}, "annotations": {"consul8s/adopted": null}}})
        );
    }
}
