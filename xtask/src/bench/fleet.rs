//! Many Services at once: instances in Consul by transactions, Services and slices in Kubernetes over several connections.

use std::net::Ipv4Addr;

use anyhow::Result;
use futures::future::try_join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::http::Connection;
use super::objects;
use super::servers::Servers;

/// Connections that write objects.
const WRITERS: usize = 8;
/// Operations in a transaction of Consul's.
const TXN_OPS: usize = 128;
/// Instances are spread over as many machines, at most.
const MACHINES: usize = 100;

/// Consul services `NAME-0`, `NAME-1`, …, each with instances, and Kubernetes Services of the same names.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Its namespace, and what the names begin with.
    pub(crate) name: &'static str,
    pub(crate) services: usize,
    /// Instances of each, or endpoints.
    pub(crate) instances: usize,
}

impl Fleet {
    /// Name of Service `index`.
    pub(crate) fn service(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    /// Address of instance `instance` of Service `index` the `version`-th time that it moves, from 0.
    pub(crate) fn address(&self, index: usize, instance: usize, version: usize) -> String {
        let number = u32::try_from(index * self.instances + instance).unwrap_or_default();
        let block = [10 + u8::try_from(version).unwrap_or_default(), 0, 0, 0];
        // Not the last byte 0 or 255, so that each looks like a machine's.
        Ipv4Addr::from(u32::from(Ipv4Addr::from(block)) + number / 250 * 256 + number % 250 + 1).to_string()
    }

    fn machine(&self, instance: usize) -> String {
        format!("{}-machine-{}", self.name, instance % MACHINES)
    }

    fn id(&self, index: usize, instance: usize) -> String {
        format!("{}-{index}-{instance}", self.name)
    }

    /// The namespace.
    pub(crate) async fn create_namespace(&self, servers: &Servers) -> Result<()> {
        let mut kube = servers.kube_api.connect().await?;
        kube.expect(Method::POST, "/api/v1/namespaces", Some(&objects::namespace(self.name))).await?;
        Ok(())
    }

    /// All instances in Consul, passing, on machines with a check of their own.
    pub(crate) async fn fill_consul(&self, servers: &Servers) -> Result<()> {
        let mut consul = servers.consul_api.connect().await?;
        for machine in 0..self.instances.min(MACHINES) {
            let machine = self.machine(machine);
            let check = json!({ "CheckID": "alive", "Name": "alive", "Status": "passing", "Output": "reachable" });
            let body = json!({ "Node": machine, "Address": "10.0.0.1", "Check": check });
            consul.expect(Method::PUT, "/v1/catalog/register", Some(&body)).await?;
        }
        let all = (0..self.services).flat_map(|index| (0..self.instances).map(move |instance| (index, instance)));
        let ops: Vec<Value> = all
            .flat_map(|(index, instance)| [self.instance(index, instance, 0), self.check(index, instance, true)])
            .collect();
        for part in ops.chunks(TXN_OPS) {
            transact(&mut consul, part).await?;
        }
        Ok(())
    }

    /// The operation that registers an instance.
    pub(crate) fn instance(&self, index: usize, instance: usize, version: usize) -> Value {
        let service = json!({
            "ID": self.id(index, instance),
            "Service": self.service(index),
            "Address": self.address(index, instance, version),
            "Port": 8080,
            "Tags": ["bench"],
            "Meta": { "version": "1.2.3" },
        });
        json!({ "Service": { "Verb": "set", "Node": self.machine(instance), "Service": service } })
    }

    /// The operation that sets an instance's check.
    pub(crate) fn check(&self, index: usize, instance: usize, passing: bool) -> Value {
        let id = self.id(index, instance);
        let check = json!({
            "Node": self.machine(instance),
            "CheckID": format!("{id}:alive"),
            "Name": "alive",
            "ServiceID": id,
            "Status": objects::status(passing),
            "Output": "HTTP GET http://10.0.0.1:8080/health: 200 OK Output: ok",
        });
        json!({ "Check": { "Verb": "set", "Check": check } })
    }

    /// Its Services in Kubernetes, for `source`, and `with` what else belongs to each.
    pub(crate) async fn create_services(
        &self,
        servers: &Servers,
        source: &str,
        annotations: &Value,
        slices: bool,
    ) -> Result<()> {
        let labels = json!({ "consul8s_source": source });
        let writers = (0..WRITERS).map(async |first| {
            let mut kube = servers.kube_api.connect().await?;
            for index in (first..self.services).step_by(WRITERS) {
                let service = objects::service(&self.service(index), &labels, annotations);
                kube.expect(Method::POST, &objects::services_path(self.name), Some(&service)).await?;
                if slices {
                    let slice = self.slice(index);
                    kube.expect(Method::POST, &objects::slices_path(self.name), Some(&slice)).await?;
                }
            }
            anyhow::Ok(())
        });
        try_join_all(writers).await?;
        Ok(())
    }

    /// The slice of Service `index`, with all its endpoints ready.
    fn slice(&self, index: usize) -> Value {
        let addresses = (0..self.instances).map(|instance| self.address(index, instance, 0));
        let endpoints: Vec<Value> = addresses.map(|address| objects::endpoint(&address, true)).collect();
        objects::slice(&self.service(index), &endpoints)
    }
}

/// Carries out operations in one transaction.
pub(crate) async fn transact(consul: &mut Connection, ops: &[Value]) -> Result<()> {
    consul.expect(Method::PUT, "/v1/txn", Some(&json!(ops))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_instance_has_an_address_of_its_own() {
        let fleet = Fleet { name: "a", services: 1000, instances: 10 };
        let all = (0..1000).flat_map(|s| (0..10).flat_map(move |i| (0..2).map(move |v| (s, i, v))));
        let addresses: BTreeSet<String> = all.map(|(s, i, v)| fleet.address(s, i, v)).collect();
        assert_eq!(addresses.len(), 20_000);
        assert_eq!((fleet.address(0, 0, 0), fleet.address(25, 0, 1)), ("10.0.0.1".to_owned(), "11.0.1.1".to_owned()));
    }
}
