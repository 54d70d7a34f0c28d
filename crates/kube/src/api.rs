//! The reads of the seam.

use std::collections::BTreeSet;
use std::time::Duration;

use consul8s_core::adopt::Endpoints;
use consul8s_core::import::{Definition, Import};
use consul8s_core::kube::{KubeNode, KubeService, KubeSlice, ObjectKey};
use consul8s_core::neighbours::Pulse;
use consul8s_core::ports::{ApiError, ErrorKind, KubeApi};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;

use crate::connect::Connection;
use crate::endpoints;
use crate::error::Call;
use crate::imports;
use crate::item::Item;
use crate::neighbours;
use crate::watch::KubeWatch;

/// For a whole read. The API server's own goal for reading one object is 1 s; what takes ten times that is not going to answer.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(10);
/// The namespace that lives as long as its cluster.
const CLUSTER_NAMESPACE: &str = "kube-system";

/// Reads through a connection.
#[derive(Clone, Debug)]
pub struct Kube {
    connection: Connection,
}

impl Kube {
    /// A reader.
    #[must_use]
    pub fn new(connection: &Connection) -> Kube {
        Kube { connection: connection.clone() }
    }
}

impl KubeApi for Kube {
    type Services = KubeWatch<KubeService>;
    type Slices = KubeWatch<KubeSlice>;
    type Nodes = KubeWatch<KubeNode>;
    type Imports = KubeWatch<Import>;

    fn watch_services(&self, namespace: Option<&str>) -> Self::Services {
        KubeWatch::new(&self.connection, namespace)
    }

    fn watch_slices(&self, namespace: Option<&str>) -> Self::Slices {
        KubeWatch::new(&self.connection, namespace)
    }

    fn watch_nodes(&self) -> Self::Nodes {
        KubeWatch::of_cluster(&self.connection)
    }

    fn watch_imports(&self, namespace: Option<&str>) -> Self::Imports {
        KubeWatch::new(&self.connection, namespace)
    }

    async fn import_definition(&self) -> Result<Definition, ApiError> {
        imports::definition(&self.connection).await
    }

    async fn service(&self, key: &ObjectKey) -> Result<Option<KubeService>, ApiError> {
        let api: Api<Item<KubeService>> = Api::namespaced(self.connection.client.clone(), &key.namespace);
        let what = format!("Service {key}");
        let call = Call { verb: "read", what: &what, server: &self.connection.server };
        match call.within(READ_WITHIN, api.get(&key.name)).await {
            Ok(item) => item.content.map(Some).map_err(|why| call.garbage(why)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn endpoints(&self, key: &ObjectKey) -> Result<Option<Endpoints>, ApiError> {
        endpoints::read(&self.connection, key).await
    }

    async fn pulse(&self, lease: &ObjectKey) -> Result<Option<Pulse>, ApiError> {
        neighbours::pulse(&self.connection, lease).await
    }

    async fn labelled(&self) -> Result<BTreeSet<ObjectKey>, ApiError> {
        neighbours::labelled(&self.connection).await
    }

    async fn cluster_uid(&self) -> Result<String, ApiError> {
        let api: Api<Namespace> = Api::all(self.connection.client.clone());
        let call = Call { verb: "read", what: &"Namespace kube-system", server: &self.connection.server };
        let namespace = call.within(READ_WITHIN, api.get(CLUSTER_NAMESPACE)).await?;
        namespace.metadata.uid.filter(|uid| !uid.is_empty()).ok_or_else(|| call.garbage("it has no uid"))
    }

    async fn services_version(&self, namespace: Option<&str>) -> Result<Option<u64>, ApiError> {
        let client = self.connection.client.clone();
        let api: Api<Item<KubeService>> = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let call = Call { verb: "list", what: &"one Service", server: &self.connection.server };
        let one = ListParams::default().limit(1);
        let list = call.within(READ_WITHIN, api.list(&one)).await?;
        Ok(list.metadata.resource_version.and_then(|version| version.parse().ok()))
    }
}
