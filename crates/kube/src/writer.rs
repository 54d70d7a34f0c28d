//! The writes of the seam: one request each, never repeated here, fenced by uid and resourceVersion.

use std::time::Duration;

use consul8s_core::adopt::Endpoints;
use consul8s_core::import::{Import, NewService, Status};
use consul8s_core::kube::{KubeService, KubeSlice, ObjectKey, SliceSpec};
use consul8s_core::ports::{ApiError, ErrorKind, KubeWriter};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use crate::connect::Connection;
use crate::convert::to_wire;
use crate::endpoints;
use crate::error::Call;
use crate::imports;
use crate::item::FromWire;

/// For a whole write, as for a read; the holder of a claim bounds it further by what is left of that.
pub(crate) const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Who wrote a field, in `metadata.managedFields`.
pub(crate) const FIELD_MANAGER: &str = "consul8s";

/// Writes EndpointSlices through a connection. A type of its own: whoever only plans has none.
#[derive(Clone, Debug)]
pub struct SliceWriter {
    connection: Connection,
}

impl SliceWriter {
    /// A writer.
    #[must_use]
    pub fn new(connection: &Connection) -> SliceWriter {
        SliceWriter { connection: connection.clone() }
    }

    fn api(&self, key: &ObjectKey) -> Api<EndpointSlice> {
        Api::namespaced(self.connection.client.clone(), &key.namespace)
    }
}

impl KubeWriter for SliceWriter {
    async fn create_slice(&self, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let slice = Slice(&spec.key);
        let call = Call { verb: "create", what: &slice, server: &self.connection.server };
        let object = to_wire(spec);
        let written = call.within(WRITE_WITHIN, self.api(&spec.key).create(&by_us(), &object)).await?;
        Ok(KubeSlice::from_wire(written))
    }

    async fn update_slice(&self, uid: &str, resource_version: &str, spec: &SliceSpec) -> Result<KubeSlice, ApiError> {
        let slice = Slice(&spec.key);
        let call = Call { verb: "update", what: &slice, server: &self.connection.server };
        let mut object = to_wire(spec);
        // Both in the object itself: the API server refuses the write when either is no longer so.
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(resource_version.to_owned());
        let api = self.api(&spec.key);
        let written = call.within(WRITE_WITHIN, api.replace(&spec.key.name, &by_us(), &object)).await?;
        Ok(KubeSlice::from_wire(written))
    }

    async fn delete_slice(&self, key: &ObjectKey, uid: &str, resource_version: &str) -> Result<(), ApiError> {
        let slice = Slice(key);
        let call = Call { verb: "delete", what: &slice, server: &self.connection.server };
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let how = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        match call.within(WRITE_WITHIN, self.api(key).delete(&key.name, &how)).await {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn adopt_endpoints(&self, endpoints: &Endpoints, owner: Option<&str>) -> Result<(), ApiError> {
        endpoints::mark(&self.connection, endpoints, owner).await
    }

    async fn create_service(&self, new: &NewService) -> Result<KubeService, ApiError> {
        imports::create(&self.connection, new).await
    }

    async fn delete_service(&self, service: &KubeService) -> Result<(), ApiError> {
        imports::delete(&self.connection, service).await
    }

    async fn orphan_service(&self, service: &KubeService) -> Result<(), ApiError> {
        imports::orphan(&self.connection, service).await
    }

    async fn remember_forgotten(&self, service: &KubeService, forgotten: bool) -> Result<(), ApiError> {
        imports::remember_forgotten(&self.connection, service, forgotten).await
    }

    async fn set_finalizers(&self, import: &Import, finalizers: &[String]) -> Result<(), ApiError> {
        imports::set_finalizers(&self.connection, import, finalizers).await
    }

    async fn set_import_status(&self, import: &Import, status: &Status) -> Result<(), ApiError> {
        imports::set_status(&self.connection, import, status).await
    }
}

/// How we sign what we write.
pub(crate) fn by_us() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// For the texts of errors.
struct Slice<'a>(&'a ObjectKey);

impl std::fmt::Display for Slice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EndpointSlice {}", self.0)
    }
}
