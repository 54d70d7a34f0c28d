//! Events, and our condition on Services.
//!
//! kube's `Recorder` does not fit: it counts by reason alone, so that the text of the first Event stands for all that follow, and a
//! text that was written can't be changed (422). Here what is the same in every word within some minutes is counted on one Event, and
//! what says something else is another.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use consul8s_core::kube::{Condition, KubeService, ObjectKey};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ErrorKind, KubeTeller};
use consul8s_core::problem::{Reason, ReasonKind};
use consul8s_core::tell::{EventSpec, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connect::Connection;
use crate::error::Call;
use crate::item::Item;

/// For a whole call. Half of what a write may take: nobody waits for this.
const TELL_WITHIN: Duration = Duration::from_secs(5);
/// Who wrote a field, in `metadata.managedFields`: by it, and by nothing else, the API server knows which condition is ours.
const FIELD_MANAGER: &str = "consul8s";
/// Who tells, in Events.
const CONTROLLER: &str = "consul8s";
/// How long an Event is counted on; client-go ends a series after the same time.
const SERIES: Duration = Duration::from_secs(360);
/// Events that are remembered; the oldest is forgotten, and begins anew.
const REMEMBERED: usize = 1000;
/// Longest part of an object's name in an Event's, which may have 253 characters.
const MAX_NAME: usize = 200;
/// Longest name of an instance, by Kubernetes' own rule.
const MAX_INSTANCE: usize = 128;

/// Tells through a connection. A type of its own: whoever only plans has none.
#[derive(Debug)]
pub struct Teller {
    connection: Connection,
    instance: String,
    /// What was told lately.
    series: Mutex<BTreeMap<Same, Series>>,
}

/// Events that are the same in every word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    regarding: ObjectRef,
    reason: Reason,
    message: String,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    /// How often it was told; 0 = an attempt is under way, or got no answer.
    count: i32,
    last: Instant,
}

impl Teller {
    /// A teller; `instance` names this process, by its pod or host.
    #[must_use]
    pub fn new(connection: &Connection, instance: &str) -> Teller {
        let instance = if instance.is_empty() { CONTROLLER } else { instance };
        let instance = instance.chars().take(MAX_INSTANCE).collect();
        Teller { connection: connection.clone(), instance, series: Mutex::default() }
    }

    fn events(&self, key: &ObjectKey) -> Api<Event> {
        Api::namespaced(self.connection.client.clone(), &key.namespace)
    }

    /// The Event that this one may be counted on.
    fn running(&self, same: &Same, now: Instant) -> Option<Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|_, known| now.duration_since(known.last) < SERIES);
        series.get(same).cloned()
    }

    fn remember(&self, same: Same, told: Series) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.insert(same, told);
        if series.len() > REMEMBERED
            && let Some(oldest) = series.iter().min_by_key(|(_, known)| known.last).map(|(same, _)| same.clone())
        {
            series.remove(&oldest);
        }
    }

    async fn create(&self, event: &EventSpec, regarding: &ObjectRef, name: &str) -> Result<(), ApiError> {
        let uid = match &regarding.uid {
            None if regarding.kind == "Lease" => self.uid_of_lease(&regarding.key).await,
            known => known.clone(),
        };
        let about = About(regarding);
        let call = Call { verb: "create the Event", what: &about, server: &self.connection.server };
        let event = wire(event, regarding, uid, &self.instance, name, Timestamp::now());
        let how = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let events = self.events(&regarding.key);
        call.within(TELL_WITHIN, events.create(&how, &event)).await.map(drop)
    }

    async fn count(&self, call: &Call<'_>, key: &ObjectKey, series: &Series) -> Result<(), ApiError> {
        let seen = MicroTime(Timestamp::now());
        let change = json!({"series": {"count": series.count + 1, "lastObservedTime": seen}});
        let (events, how, change) = (self.events(key), PatchParams::default(), Patch::Merge(change));
        call.within(TELL_WITHIN, events.patch(&series.name, &how, &change)).await.map(drop)
    }

    /// `kubectl describe` shows only Events with the uid of their object. None where it can't be read: the Event still says the rest.
    async fn uid_of_lease(&self, key: &ObjectKey) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.connection.client.clone(), &key.namespace);
        let lease = tokio::time::timeout(TELL_WITHIN, leases.get_opt(&key.name)).await.ok()?.ok()??;
        lease.metadata.uid
    }
}

impl KubeTeller for Teller {
    async fn event(&self, event: &EventSpec, regarding: &ObjectRef) -> Result<(), ApiError> {
        let about = About(regarding);
        let same = Same { regarding: regarding.clone(), reason: event.reason, message: event.message.clone() };
        let now = Instant::now();
        let running = self.running(&same, now);
        if let Some(series) = running.clone().filter(|series| series.count > 0) {
            let call = Call { verb: "count the Event", what: &about, server: &self.connection.server };
            match self.count(&call, &regarding.key, &series).await {
                Ok(()) => {
                    self.remember(same, Series { count: series.count + 1, last: now, ..series });
                    return Ok(());
                }
                // It is gone, or somebody has made it what can't be counted on.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid) => {}
                Err(error) => return Err(error),
            }
        }
        // An attempt that got no answer may have made it: the next one has the same name, so that it is told once.
        let attempted = running.filter(|series| series.count == 0);
        let name =
            attempted.as_ref().map_or_else(|| event_name(regarding, Timestamp::now()), |series| series.name.clone());
        self.remember(same.clone(), Series { name: name.clone(), count: 0, last: now });
        match self.create(event, regarding, &name).await {
            Err(error) if error.kind == ErrorKind::Conflict && attempted.is_some() => {}
            made => made?,
        }
        self.remember(same, Series { name, count: 1, last: now });
        Ok(())
    }

    async fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &str,
        condition: Option<&Condition>,
    ) -> Result<KubeService, ApiError> {
        let services: Api<Item<KubeService>> = Api::namespaced(self.connection.client.clone(), &key.namespace);
        let what = format!("the condition {} of Service {key}", names::CONDITION_SYNCED);
        let call = Call { verb: "set", what: &what, server: &self.connection.server };
        // Forced: who edits it by hand becomes its owner, and it would be wrong from then on. It is nobody else's type.
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let body = applied(key, uid, condition);
        let patched = call.within(TELL_WITHIN, services.patch_status(&key.name, &how, &Patch::Apply(&body))).await;
        patched.map_err(|error| not_this_one(error, uid))?.content.map_err(|why| call.garbage(why))
    }
}

/// All that we own of a Service. The uid is the fence: for another one the API server refuses (422), and it never makes a Service (409).
fn applied(key: &ObjectKey, uid: &str, condition: Option<&Condition>) -> Value {
    let mut body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
    });
    if let Some(Condition { status, reason, message, since }) = condition {
        body["status"]["conditions"] = json!([{
            "type": names::CONDITION_SYNCED, "status": status.as_str(), "reason": reason, "message": message,
            "lastTransitionTime": since.rfc3339(),
        }]);
    }
    body
}

/// That another Service has the name is no fault of the request.
fn not_this_one(error: ApiError, uid: &str) -> ApiError {
    let fence = error.kind == ErrorKind::Invalid && error.what.contains("metadata.uid") && error.what.contains(uid);
    if fence { ApiError { kind: ErrorKind::Conflict, ..error } } else { error }
}

/// A name that no other Event has.
fn event_name(regarding: &ObjectRef, now: Timestamp) -> String {
    let name: String = regarding.key.name.chars().take(MAX_NAME).collect();
    format!("{name}.{:x}", now.as_nanosecond())
}

fn wire(
    event: &EventSpec,
    regarding: &ObjectRef,
    uid: Option<String>,
    instance: &str,
    name: &str,
    now: Timestamp,
) -> Event {
    let ObjectRef { api_version, kind, key, uid: _ } = regarding;
    let EventSpec { reason, message, action } = event;
    Event {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(match reason.kind() {
            ReasonKind::Normal => "Normal".to_owned(),
            ReasonKind::Warning => "Warning".to_owned(),
        }),
        reason: Some(reason.as_str().to_owned()),
        note: Some(message.clone()),
        action: Some((*action).to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some((*api_version).to_owned()),
            kind: Some((*kind).to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid,
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// For the texts of errors.
struct About<'a>(&'a ObjectRef);

impl std::fmt::Display for About<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "about {} {}", self.0.kind, self.0.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::Access;

    #[tokio::test]
    async fn only_so_many_events_are_remembered_the_latest() {
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]";
        std::fs::write(kubeconfig.path(), text).unwrap();
        let access = Access { kubeconfig: Some(kubeconfig.path().to_owned()), context: None };
        let teller = Teller::new(&access.connect().await.unwrap(), "me");
        let same = |number: usize| Same {
            regarding: ObjectRef {
                api_version: "v1",
                kind: "Service",
                key: ObjectKey::new("shop", format!("s{number}")),
                uid: None,
            },
            reason: Reason::Registered,
            message: String::new(),
        };
        let start = Instant::now();
        for number in 0..REMEMBERED + 5 {
            let last = start + Duration::from_millis(number as u64);
            teller.remember(same(number), Series { name: String::new(), count: 1, last });
        }
        assert_eq!(teller.series.lock().unwrap().len(), REMEMBERED);
        assert!(teller.running(&same(4), start).is_none() && teller.running(&same(5), start).is_some());
        assert!(teller.running(&same(REMEMBERED), start + SERIES * 2).is_none(), "a series ends");
    }
}
