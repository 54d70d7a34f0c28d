//! [`LeaseApi`] on the embedded Kubernetes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::claim::{CALL_WITHIN, Lease, LeaseWrite, Term};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ErrorKind, LeaseApi};
use consul8s_core::time::UnixMillis;
use serde_json::{Value, json};

use super::kube::{refused, texts};
use super::{Reply, admit};
use crate::model::kube::{Failure, Part, Resource, text_at};
use crate::world::KubeWorld;

/// One Lease of a world.
#[derive(Clone)]
pub struct WorldLease {
    world: KubeWorld,
    key: ObjectKey,
}

impl KubeWorld {
    /// The Lease of this name, whether or not it is there.
    #[must_use]
    pub fn lease(&self, key: ObjectKey) -> WorldLease {
        WorldLease { world: self.clone(), key }
    }
}

impl LeaseApi for WorldLease {
    async fn read(&self) -> Result<Option<Lease>, ApiError> {
        let call = async {
            let reply = admit(&self.world).await?;
            let found = self.world.read(|cluster| cluster.get(Resource::Leases, &self.key));
            reply.deliver(found.ok().map(|object| lease(&object)))
        };
        in_time(call).await
    }

    async fn create(&self, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let call = async {
            let reply = admit(&self.world).await?;
            let mut object = json!({"metadata": {"name": self.key.name}});
            lay(write, &mut object);
            let done = self.world.write(|cluster| cluster.create(Resource::Leases, &self.key.namespace, object));
            deliver(reply, done)
        };
        in_time(call).await
    }

    async fn replace(&self, seen: &Lease, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let call = async {
            let reply = admit(&self.world).await?;
            let done = self.world.write(|cluster| {
                // What others have put on it is in the object that `seen` was made of; any other, or none, is refused below.
                let stands = cluster.get(Resource::Leases, &self.key);
                let mut object =
                    stands.map_or_else(|_| json!({"metadata": {"name": self.key.name}}), |it| (*it).clone());
                object["metadata"]["uid"] = json!(seen.uid);
                object["metadata"]["resourceVersion"] = json!(seen.resource_version);
                lay(write, &mut object);
                cluster.replace(Resource::Leases, &self.key, Part::Main, object)
            });
            deliver(reply, done)
        };
        in_time(call).await
    }
}

fn deliver(reply: Reply, done: Result<Arc<Value>, Failure>) -> Result<Lease, ApiError> {
    let object = done.map_err(refused)?;
    reply.deliver(lease(&object))
}

async fn in_time<T>(call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let late = |_| Err(ApiError::new(ErrorKind::Timeout, "simulated: no answer in time"));
    tokio::time::timeout(CALL_WITHIN, call).await.unwrap_or_else(late)
}

fn lease(object: &Value) -> Lease {
    let number = |key: &str| object["spec"][key].as_u64().unwrap_or_default();
    Lease {
        uid: text_at(object, "/metadata/uid").to_owned(),
        resource_version: text_at(object, "/metadata/resourceVersion").to_owned(),
        holder: text_at(object, "/spec/holderIdentity").to_owned(),
        duration: Duration::from_secs(number("leaseDurationSeconds")),
        transitions: number("leaseTransitions"),
        acquired: text_at(object, "/spec/acquireTime").to_owned(),
        renewed: text_at(object, "/spec/renewTime").to_owned(),
        annotations: texts(object, "/metadata/annotations"),
    }
}

/// Lays what is to be written over the object; the rest of it stays.
fn lay(write: &LeaseWrite, object: &mut Value) {
    let LeaseWrite { term, now, annotations } = write;
    if let Some(Term { holder, duration, transitions, begins }) = term {
        object["spec"]["holderIdentity"] = json!(holder);
        object["spec"]["leaseDurationSeconds"] = json!(duration.as_secs());
        object["spec"]["leaseTransitions"] = json!(transitions);
        object["spec"]["renewTime"] = micro_time(*now);
        if *begins {
            object["spec"]["acquireTime"] = micro_time(*now);
        }
    }
    for (key, value) in annotations {
        let all = &mut object["metadata"]["annotations"];
        match (value, all.as_object_mut()) {
            (Some(value), _) => all[*key] = json!(value),
            (None, Some(all)) => drop(all.remove(*key)),
            (None, None) => {}
        }
    }
}

fn micro_time(at: UnixMillis) -> Value {
    let time = i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    json!(time.map(|time| time.to_string()))
}
