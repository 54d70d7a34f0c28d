//! What people and other controllers do: put objects, give addresses, write slices of pods, make them ready and unready.

use std::sync::Arc;

use consul8s_core::kube::ObjectKey;
use serde_json::{Value, json};

use super::cluster::{Cluster, Part, Preconditions};
use super::failure::Failure;
use super::object::{name_of, text_at};
use super::resource::Resource;

/// Port of a slice of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Name, equal to the Service port's.
    pub name: String,
    /// Number that the pods listen on.
    pub port: u16,
}

impl Cluster {
    /// Creates a namespace.
    ///
    /// # Errors
    /// 409 when it exists.
    pub fn create_namespace(&mut self, name: &str) -> Result<Arc<Value>, Failure> {
        self.create(Resource::Namespaces, "", json!({"metadata": {"name": name}}))
    }

    /// Creates an object, or replaces whatever stands under its name.
    ///
    /// # Errors
    /// As [`Cluster::create`] and [`Cluster::replace`].
    pub fn put_object(&mut self, resource: Resource, namespace: &str, object: Value) -> Result<Arc<Value>, Failure> {
        let key = ObjectKey::new(namespace, name_of(&object));
        if self.get(resource, &key).is_ok() {
            self.replace(resource, &key, Part::Main, object)
        } else {
            self.create(resource, namespace, object)
        }
    }

    /// Deletes an object, whatever its state.
    ///
    /// # Errors
    /// 404
    pub fn delete_object(&mut self, resource: Resource, key: &ObjectKey) -> Result<(), Failure> {
        self.delete(resource, key, &Preconditions::default()).map(|_| ())
    }

    /// Sets an annotation of a Service, or takes it away with none.
    ///
    /// # Errors
    /// 404
    pub fn annotate_service(&mut self, key: &ObjectKey, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let change = json!({"metadata": {"annotations": {name: value}}});
        self.merge_patch(Resource::Services, key, Part::Main, &change).map(|_| ())
    }

    /// Sets a label of a Service, or takes it away with none.
    ///
    /// # Errors
    /// 404
    pub fn label_service(&mut self, key: &ObjectKey, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let change = json!({"metadata": {"labels": {name: value}}});
        self.merge_patch(Resource::Services, key, Part::Main, &change).map(|_| ())
    }

    /// Gives a Service of type `LoadBalancer` these addresses, as its cloud would: IPs, or DNS names.
    ///
    /// # Errors
    /// 404, 422 for a Service of another type.
    pub fn set_load_balancer(&mut self, key: &ObjectKey, addresses: &[&str]) -> Result<(), Failure> {
        let entry = |address: &&str| {
            let kind = if address.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
            json!({kind: address})
        };
        let ingress: Vec<Value> = addresses.iter().map(entry).collect();
        let change = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        self.merge_patch(Resource::Services, key, Part::Status, &change).map(|_| ())
    }

    /// Writes the slice that the built-in controller would write for a Service's pods: `(address, ready)` each. The family is
    /// the first address's.
    ///
    /// # Errors
    /// 404 without the Service, 422 for an address that can't be.
    pub fn put_pod_slice(
        &mut self,
        service: &ObjectKey,
        ports: &[PodPort],
        pods: &[(&str, bool)],
    ) -> Result<(), Failure> {
        let owner = self.get(Resource::Services, service)?;
        let v6 = pods.first().is_some_and(|(address, _)| address.contains(':'));
        let family = if v6 { "IPv6" } else { "IPv4" };
        let endpoint = |(address, ready): &(&str, bool)| {
            let conditions = json!({"ready": ready, "serving": ready, "terminating": false});
            json!({"addresses": [address], "conditions": conditions})
        };
        let slice = json!({
            "metadata": {
                "name": pod_slice(service, family).name,
                "labels": {
                    "kubernetes.io/service-name": service.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "name": service.name, "uid": text_at(&owner, "/metadata/uid"),
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "addressType": family,
            "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": ports.iter().map(|port| json!({"name": port.name, "port": port.port})).collect::<Vec<_>>(),
        });
        self.put_object(Resource::EndpointSlices, &service.namespace, slice).map(|_| ())
    }

    /// Makes pods of such a slice ready or not: those with this address, or all with none.
    ///
    /// # Errors
    /// 404 without the slice.
    pub fn set_pods_ready(&mut self, service: &ObjectKey, address: Option<&str>, ready: bool) -> Result<(), Failure> {
        let mut found = Err(Failure::not_found(Resource::EndpointSlices, &service.name));
        for family in ["IPv4", "IPv6"] {
            let key = pod_slice(service, family);
            let Ok(old) = self.get(Resource::EndpointSlices, &key) else { continue };
            let mut slice = (*old).clone();
            for endpoint in slice["endpoints"].as_array_mut().into_iter().flatten() {
                if address.is_none_or(|address| endpoint["addresses"][0] == address) {
                    endpoint["conditions"]["ready"] = json!(ready);
                    endpoint["conditions"]["serving"] = json!(ready);
                }
            }
            found = self.replace(Resource::EndpointSlices, &key, Part::Main, slice).map(|_| ());
        }
        found
    }
}

fn pod_slice(service: &ObjectKey, family: &str) -> ObjectKey {
    ObjectKey::new(service.namespace.clone(), format!("{}-pods-{}", service.name, family.to_lowercase()))
}
