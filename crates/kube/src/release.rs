//! What `consul8s release` needs besides reads of the seam: which Leases there are, and one annotation on a Service or a Lease.

use std::collections::BTreeMap;

use consul8s_core::kube::{KubeService, ObjectKey};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ErrorKind};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::api::READ_WITHIN;
use crate::connect::Connection;
use crate::convert::key;
use crate::error::Call;
use crate::writer::{FIELD_MANAGER, WRITE_WITHIN};

/// A Lease, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundLease {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID, the precondition of a write.
    pub uid: String,
    /// resourceVersion, the precondition of a write.
    pub resource_version: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl FoundLease {
    fn of(lease: Lease) -> FoundLease {
        let meta: ObjectMeta = lease.metadata;
        FoundLease {
            key: key(&meta),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
        }
    }
}

/// Lets go what is held. A type of its own: only the command `release` has one.
#[derive(Debug)]
pub struct Releaser {
    connection: Connection,
}

impl Releaser {
    /// One for this connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Releaser {
        Releaser { connection: connection.clone() }
    }

    /// All Leases of this name.
    ///
    /// # Errors
    /// They can't be listed; [`ErrorKind::Forbidden`] where only those of some namespaces may be read.
    pub async fn leases(&self, name: &str) -> Result<Vec<FoundLease>, ApiError> {
        let api: Api<Lease> = Api::all(self.connection.client.clone());
        let what = format!("Leases {name} of all namespaces");
        let call = Call { verb: "list", what: &what, server: &self.connection.server };
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = call.within(READ_WITHIN, api.list(&only)).await?;
        Ok(found.items.into_iter().map(FoundLease::of).filter(|lease| lease.key.name == name).collect())
    }

    /// One Lease; none on 404.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn lease(&self, key: &ObjectKey) -> Result<Option<FoundLease>, ApiError> {
        let api: Api<Lease> = Api::namespaced(self.connection.client.clone(), &key.namespace);
        let what = format!("Lease {key}");
        let call = Call { verb: "read", what: &what, server: &self.connection.server };
        match call.within(READ_WITHIN, api.get(&key.name)).await {
            Ok(lease) => Ok(Some(FoundLease::of(lease))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets `consul8s/allow-removal` on a Service as it was read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it has changed since.
    pub async fn allow_on_service(&self, seen: &KubeService, text: &str) -> Result<(), ApiError> {
        let api: Api<Service> = Api::namespaced(self.connection.client.clone(), &seen.key.namespace);
        let what = format!("Service {}", seen.key);
        let call = Call { verb: "annotate", what: &what, server: &self.connection.server };
        let change = Patch::Merge(allow(&seen.uid, &seen.resource_version, text));
        call.within(WRITE_WITHIN, api.patch(&seen.key.name, &by_us(), &change)).await.map(drop)
    }

    /// Sets `consul8s/allow-removal` on a Lease as it was read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it has changed since, which its leader does every two seconds.
    pub async fn allow_on_lease(&self, seen: &FoundLease, text: &str) -> Result<(), ApiError> {
        let api: Api<Lease> = Api::namespaced(self.connection.client.clone(), &seen.key.namespace);
        let what = format!("Lease {}", seen.key);
        let call = Call { verb: "annotate", what: &what, server: &self.connection.server };
        let change = Patch::Merge(allow(&seen.uid, &seen.resource_version, text));
        call.within(WRITE_WITHIN, api.patch(&seen.key.name, &by_us(), &change)).await.map(drop)
    }
}

fn by_us() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Both fences in the object itself: the API server refuses it (409) when either is no longer so.
fn allow(uid: &str, resource_version: &str, text: &str) -> Value {
    json!({"metadata": {
        "uid": uid, "resourceVersion": resource_version, "annotations": {names::ALLOW_REMOVAL: text},
    }})
}
