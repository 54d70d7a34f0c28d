//! The Lease: who may write, and a few notes beside that.
//!
//! It has sockets of its own. A renewal must not wait behind a list of ten thousand Services, nor be lost with the connection that
//! carries it; and nothing here is repeated, because the elector decides what a failure means.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::claim::{CALL_WITHIN, Lease, LeaseWrite, Term};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ErrorKind, LeaseApi};
use consul8s_core::time::UnixMillis;
use k8s_openapi::api::coordination::v1 as wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;

use crate::connect::{ConnectError, Connection};
use crate::error::Call;
use crate::writer::by_us;

/// Reads and writes one Lease.
pub struct LeaseClient {
    api: Api<wire::Lease>,
    key: ObjectKey,
    server: String,
    /// The object as last seen, whole: a PUT replaces all of it, and what others have put on it must stay.
    seen: Mutex<Option<wire::Lease>>,
}

impl LeaseClient {
    /// A client with connections of its own to the same API server.
    ///
    /// # Errors
    /// As [`crate::Access::connect`].
    pub fn new(connection: &Connection, key: ObjectKey) -> Result<LeaseClient, ConnectError> {
        let api = Api::namespaced(connection.apart()?, &key.namespace);
        Ok(LeaseClient { api, key, server: connection.server.clone(), seen: Mutex::new(None) })
    }

    async fn call(
        &self,
        verb: &'static str,
        call: impl Future<Output = kube::Result<wire::Lease>>,
    ) -> Result<Lease, ApiError> {
        let what = Named(&self.key);
        let object = Call { verb, what: &what, server: &self.server }.within(CALL_WITHIN, call).await?;
        let lease = from_wire(&object);
        *self.seen() = Some(object);
        Ok(lease)
    }

    fn seen(&self) -> MutexGuard<'_, Option<wire::Lease>> {
        // Whole values go in and out, so what a panic leaves behind is one.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseApi for LeaseClient {
    async fn read(&self) -> Result<Option<Lease>, ApiError> {
        match self.call("get", self.api.get(&self.key.name)).await {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    async fn create(&self, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let metadata = ObjectMeta { name: Some(self.key.name.clone()), ..ObjectMeta::default() };
        let mut object = wire::Lease { metadata, spec: None };
        lay(write, &mut object);
        self.call("create", self.api.create(&by_us(), &object)).await
    }

    async fn replace(&self, seen: &Lease, write: &LeaseWrite) -> Result<Lease, ApiError> {
        let is_seen = |object: &wire::Lease| {
            let meta = &object.metadata;
            meta.uid.as_ref() == Some(&seen.uid) && meta.resource_version.as_ref() == Some(&seen.resource_version)
        };
        let Some(mut object) = self.seen().clone().filter(is_seen) else {
            return Err(ApiError::new(ErrorKind::Conflict, format!("{} was read again meanwhile", Named(&self.key))));
        };
        // Uid and resourceVersion are in it: the API server refuses it when either is no longer so.
        lay(write, &mut object);
        self.call("update", self.api.replace(&self.key.name, &by_us(), &object)).await
    }
}

/// For the texts of errors.
struct Named<'a>(&'a ObjectKey);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease {}", self.0)
    }
}

fn from_wire(object: &wire::Lease) -> Lease {
    let (meta, spec) = (object.metadata.clone(), object.spec.clone().unwrap_or_default());
    let text = |time: Option<MicroTime>| time.map(|MicroTime(time)| time.to_string()).unwrap_or_default();
    let count = |number: Option<i32>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
    Lease {
        uid: meta.uid.unwrap_or_default(),
        resource_version: meta.resource_version.unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(count(spec.lease_duration_seconds)),
        transitions: count(spec.lease_transitions),
        acquired: text(spec.acquire_time),
        renewed: text(spec.renew_time),
        annotations: meta.annotations.unwrap_or_default(),
    }
}

/// Lays what is to be written over the object; the rest of it stays.
fn lay(write: &LeaseWrite, object: &mut wire::Lease) {
    let LeaseWrite { term, now, annotations } = write;
    if let Some(Term { holder, duration, transitions, begins }) = term {
        let spec = object.spec.get_or_insert_default();
        let number = |number: u64| Some(i32::try_from(number).unwrap_or(i32::MAX));
        spec.holder_identity = Some(holder.clone());
        spec.lease_duration_seconds = number(duration.as_secs());
        spec.lease_transitions = number(*transitions);
        spec.renew_time = time(*now);
        if *begins {
            spec.acquire_time = time(*now);
        }
    }
    let all: &mut BTreeMap<String, String> = object.metadata.annotations.get_or_insert_default();
    for (key, value) in annotations {
        match value {
            Some(value) => all.insert((*key).to_owned(), value.clone()),
            None => all.remove(*key),
        };
    }
}

fn time(at: UnixMillis) -> Option<MicroTime> {
    let millis = i64::try_from(at.0).ok()?;
    Timestamp::from_millisecond(millis).ok().map(MicroTime)
}
