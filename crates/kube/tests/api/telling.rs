//! Events and our condition: what stands afterwards, and what stays untouched.

use consul8s_core::kube::{Condition, ConditionStatus, ObjectKey};
use consul8s_core::ports::{ErrorKind, KubeApi, KubeTeller, WatchEvent};
use consul8s_core::problem::Reason;
use consul8s_core::tell::{EventSpec, ObjectRef};
use consul8s_core::time::UnixMillis;
use consul8s_kube::{Kube, Teller};
use serde_json::{Value, json};

use crate::world::{World, connect, done, namespace, next, service, services};

fn condition(status: ConditionStatus, message: &str) -> Condition {
    let since = UnixMillis(1_795_000_000_000);
    Condition { status, reason: "EndpointsUpdated".to_owned(), message: message.to_owned(), since }
}

/// Sets it, changes it, takes it away; what others put on the Service stays.
pub(crate) async fn sets_our_condition(world: &impl World) {
    namespace(world, "conditions").await;
    let uid = service(world, "conditions", "web").await;
    let connection = connect(world).await;
    let (kube, teller) = (Kube::new(&connection), Teller::new(&connection, "test"));
    let key = ObjectKey::new("conditions", "web");
    let path = format!("{}/web", services("conditions"));
    let theirs = json!({"type": "example.com/Other", "status": "True", "reason": "Theirs", "message": "",
                        "lastTransitionTime": "2026-11-18T11:06:40Z"});
    let mut object = done(world, "GET", &path, None).await;
    object["status"]["conditions"] = json!([theirs]);
    done(world, "PUT", &format!("{path}/status"), Some(object)).await;

    let first = condition(ConditionStatus::True, "2 of 3 published");
    let set = teller.set_condition(&key, &uid, Some(&first)).await.unwrap();
    assert_eq!((set.condition.as_ref(), &set.uid), (Some(&first), &uid));
    let again = teller.set_condition(&key, &uid, Some(&first)).await.unwrap();
    assert_eq!(again.resource_version, set.resource_version, "the same again is no write");

    // Somebody edits it by hand; it is ours all the same.
    let mut edited = done(world, "GET", &path, None).await;
    for condition in edited["status"]["conditions"].as_array_mut().unwrap() {
        condition["message"] = json!("by hand");
    }
    done(world, "PUT", &format!("{path}/status"), Some(edited)).await;
    assert_eq!(kube.service(&key).await.unwrap().unwrap().condition.unwrap().message, "by hand");
    let second = condition(ConditionStatus::False, "holding 1 of 3 endpoints");
    let set = teller.set_condition(&key, &uid, Some(&second)).await.unwrap();
    assert_eq!(set.condition.as_ref(), Some(&second));
    assert_eq!(kube.service(&key).await.unwrap().unwrap(), set, "as it is read");

    let without = teller.set_condition(&key, &uid, None).await.unwrap();
    assert_eq!(without.condition, None);
    let object = done(world, "GET", &path, None).await;
    let left = object["status"]["conditions"].as_array().unwrap();
    assert_eq!((left.len(), &left[0]["type"]), (1, &theirs["type"]), "only ours is gone");
    let again = teller.set_condition(&key, &uid, None).await.unwrap();
    assert_eq!(again.resource_version, without.resource_version, "gone already is no write");
}

/// It is set on the Service that was looked at, and on no other, and never makes one.
pub(crate) async fn sets_it_on_no_other_service(world: &impl World) {
    namespace(world, "another").await;
    service(world, "another", "web").await;
    let connection = connect(world).await;
    let teller = Teller::new(&connection, "test");
    let other = "00000000-0000-0000-0000-000000000000";
    let message = condition(ConditionStatus::True, "m");
    for (name, condition) in [("web", Some(&message)), ("web", None), ("gone", Some(&message)), ("gone", None)] {
        let error = teller.set_condition(&ObjectKey::new("another", name), other, condition).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{name}: {error}");
    }
    let web = Kube::new(&connection).service(&ObjectKey::new("another", "web")).await.unwrap().unwrap();
    assert_eq!(web.condition, None);
    assert_eq!(Kube::new(&connection).service(&ObjectKey::new("another", "gone")).await.unwrap(), None);
}

/// A watch shows the condition, and nothing else that is new.
pub(crate) async fn a_watch_shows_the_condition(world: &impl World) {
    namespace(world, "watched").await;
    let uid = service(world, "watched", "web").await;
    let connection = connect(world).await;
    let mut watch = Kube::new(&connection).watch_services(Some("watched"));
    let WatchEvent::Listed(listed) = next(&mut watch).await else { panic!("a list first") };
    let wanted = condition(ConditionStatus::Unknown, "not yet");
    let teller = Teller::new(&connection, "test");
    let set = teller.set_condition(&listed[0].key, &uid, Some(&wanted)).await.unwrap();
    let WatchEvent::Applied(seen) = next(&mut watch).await else { panic!("changed") };
    assert_eq!(seen, set);
    let mut before = listed[0].clone();
    (before.condition, before.resource_version) = (Some(wanted), seen.resource_version.clone());
    assert_eq!(seen, before);
}

/// Events: new ones, the same again counted, what says something else beside it.
pub(crate) async fn tells_events(world: &impl World) {
    namespace(world, "telling").await;
    let uid = service(world, "telling", "web").await;
    let teller = Teller::new(&connect(world).await, "host-1");
    let web = ObjectRef::service(ObjectKey::new("telling", "web"), Some(uid.clone()));
    let updated = EventSpec::new(Reason::EndpointsUpdated, "2 of 3 published; 1 left out: critical");
    for _ in 0..3 {
        teller.event(&updated, &web).await.unwrap();
    }
    teller.event(&EventSpec::new(Reason::EndpointsUpdated, "3 of 3 published"), &web).await.unwrap();
    teller.event(&EventSpec::new(Reason::NoHealthyInstances, &"ä".repeat(2000)), &web).await.unwrap();

    let mut told = events(world, "telling").await;
    told.sort_by_key(|event| event["note"].to_string());
    let [counted, single, long] = told.as_slice() else { panic!("{told:#?}") };
    let said =
        |event: &Value| [&event["type"], &event["reason"], &event["note"]].map(|it| it.as_str().unwrap().to_owned());
    assert_eq!(said(counted), ["Normal", "EndpointsUpdated", "2 of 3 published; 1 left out: critical"]);
    assert_eq!(counted["series"]["count"], 3);
    assert_eq!((said(single)[2].as_str(), &single["series"]), ("3 of 3 published", &Value::Null));
    assert_eq!(&said(long)[..2], ["Warning", "NoHealthyInstances"]);
    assert_eq!(counted["regarding"]["uid"], uid.as_str());
    assert_eq!(
        (&counted["reportingController"], &counted["reportingInstance"]),
        (&json!("consul8s"), &json!("host-1"))
    );

    // The Event that it was counted on is gone: it begins anew.
    let name = counted["metadata"]["name"].as_str().unwrap();
    done(world, "DELETE", &format!("/apis/events.k8s.io/v1/namespaces/telling/events/{name}"), None).await;
    teller.event(&updated, &web).await.unwrap();
    assert_eq!(events(world, "telling").await.len(), 3);
}

/// An Event about a Lease has its uid, by which `kubectl describe` finds it, also when who tells doesn't know it.
pub(crate) async fn tells_of_a_lease(world: &impl World) {
    namespace(world, "leases").await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/leases/leases";
    let lease = done(world, "POST", path, Some(json!({"metadata": {"name": "consul8s"}, "spec": {}}))).await;
    let teller = Teller::new(&connect(world).await, "test");
    let event = EventSpec::new(Reason::ConsulUnavailable, "no connection");
    for name in ["consul8s", "gone"] {
        teller.event(&event, &ObjectRef::lease(ObjectKey::new("leases", name), None)).await.unwrap();
    }
    let told = events(world, "leases").await;
    let uid_of =
        |name: &str| told.iter().find(|event| event["regarding"]["name"] == name).unwrap()["regarding"]["uid"].clone();
    assert_eq!(uid_of("consul8s"), lease["metadata"]["uid"]);
    assert_eq!(uid_of("gone"), Value::Null);
}

/// What can't be told says why.
pub(crate) async fn says_what_cannot_be_told(world: &impl World) {
    let teller = Teller::new(&connect(world).await, "test");
    let nowhere = ObjectRef::service(ObjectKey::new("no-such-namespace", "web"), None);
    let error = teller.event(&EventSpec::new(Reason::Registered, "…"), &nowhere).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.what.contains("create the Event about Service no-such-namespace/web"), "{error}");
}

async fn events(world: &impl World, namespace: &str) -> Vec<Value> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    done(world, "GET", &path, None).await["items"].as_array().unwrap().clone()
}
