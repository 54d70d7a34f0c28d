//! The table above, row by row.

use super::*;
use crate::kube::{AddressType, Condition, ConditionStatus, Family};
use crate::time::UnixMillis;

fn id(text: &str) -> HoldId {
    HoldId::parse(text).unwrap()
}

fn key(text: &str) -> ObjectKey {
    lease_key(text).unwrap()
}

fn slice(service: &str, marks: &str) -> KubeSlice {
    let ObjectKey { namespace, name } = key(service);
    let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    KubeSlice {
        key: ObjectKey::new(&namespace, format!("{name}-x-1")),
        uid: "u".into(),
        resource_version: "1".into(),
        deleting: false,
        labels: text(&[(names::LABEL_MANAGED_BY, names::MANAGED_BY), (names::LABEL_SERVICE_NAME, &name)]),
        annotations: text(&[(names::SLICE_INSTALLATION, "ops/consul8s"), (names::SLICE_ABSENT_SINCE, marks)]),
        owners: Vec::new(),
        address_type: AddressType::Ip(Family::V4),
        endpoints: Vec::new(),
        ports: Vec::new(),
    }
}

/// A hold (a) of one Service, a hold (b) of two, and registrations.
fn holds() -> Vec<Hold> {
    let slices = [
        slice("shop/web", "h-aaaaaa a 1 2 3 10.0.0.1,10.0.0.2;h-bbbbbb b 1 2 3 10.0.0.3"),
        slice("shop/api", "used;h-bbbbbb b 1 2 3 10.0.0.4"),
        slice("shop/db", "used"),
    ];
    let lease = BTreeMap::from([(names::LEASE_HELD.to_owned(), "h-cccccc=12,nonsense,h-zz=1".to_owned())]);
    [on_slices(&slices), on_lease(&key("ops/consul8s"), &lease)].concat()
}

#[test]
fn what_is_named() {
    let service = |text: &str| Ok(Target::Service(key(text)));
    for (text, wanted) in [
        ("web", service("here/web")),
        ("svc/web", service("here/web")),
        ("service/web", service("here/web")),
        ("shop/web", service("shop/web")),
        ("svc/shop/web", service("shop/web")),
        ("h-3f9a2c", Ok(Target::Hold(id("h-3f9a2c")))),
        ("svc/h-3f9a2c", service("here/h-3f9a2c")),
        ("h-3f9a2cc", service("here/h-3f9a2cc")),
    ] {
        assert_eq!(Target::parse(text, "here"), wanted, "{text}");
    }
    for text in ["", "/", "a/b/c", "svc/", "svc/a/b/c", "/web", "shop/"] {
        let told = Target::parse(text, "here").unwrap_err();
        assert!(told.contains("svc/NAME"), "{text}: {told}");
    }
}

#[test]
fn what_is_written() {
    let lease = key("ops/consul8s");
    let decided = |target: Target| decide(&target, Some(&lease), &holds());
    let service = |text: &str, ids: &[&str]| Write::Service(key(text), ids.iter().map(|text| id(text)).collect());
    assert_eq!(decided(Target::Service(key("shop/web"))), Ok(vec![service("shop/web", &["h-aaaaaa", "h-bbbbbb"])]));
    assert_eq!(decided(Target::Service(key("shop/api"))), Ok(vec![service("shop/api", &["h-bbbbbb"])]));
    assert_eq!(decided(Target::Hold(id("h-aaaaaa"))), Ok(vec![service("shop/web", &["h-aaaaaa"])]));
    assert_eq!(decided(Target::Hold(id("h-bbbbbb"))), Ok(vec![Write::Lease(lease.clone(), id("h-bbbbbb"))]));
    assert_eq!(decided(Target::Hold(id("h-cccccc"))), Ok(vec![Write::Lease(lease.clone(), id("h-cccccc"))]));
    assert_eq!(decided(Target::All), Ok(vec![Write::All(lease.clone())]));
}

#[test]
fn what_is_not_held_is_told_with_what_is() {
    let lease = key("ops/consul8s");
    let told = |target: Target, holds: &[Hold]| decide(&target, Some(&lease), holds).unwrap_err();
    assert_eq!(
        told(Target::Service(key("shop/db")), &holds()),
        "nothing of Service shop/db is held; held: h-aaaaaa (2 endpoints of shop/web), h-bbbbbb (1 endpoint of shop/api), \
         h-bbbbbb (1 endpoint of shop/web), h-cccccc (12 registrations, Lease ops/consul8s)"
    );
    assert_eq!(told(Target::Hold(id("h-dddddd")), &[]), "there is no hold h-dddddd, nor anything else");
    assert_eq!(told(Target::All, &[]), "nothing is held");
    let other = decide(&Target::All, Some(&key("other/consul8s")), &holds()).unwrap_err();
    assert!(other.starts_with("nothing is held; held: h-aaaaaa"), "another installation's: {other}");
}

#[test]
fn registrations_are_held_by_the_condition_of_their_service() {
    let message = "holding 2 registrations (h-cccccc): too many went; release with: consul8s release h-cccccc; also: UnknownAnnotation";
    let condition = |reason: &str| Condition {
        status: ConditionStatus::False,
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: UnixMillis(0),
    };
    let service =
        |reason| KubeService { key: key("shop/db"), condition: Some(condition(reason)), ..KubeService::default() };
    let holds = on_condition(&service("RemovalHeld"));
    assert_eq!(holds.iter().map(|hold| hold.id.as_str()).collect::<Vec<_>>(), ["h-cccccc"]);
    assert_eq!(on_condition(&service("Registered")), []);
    let written = decide(&Target::Service(key("shop/db")), None, &holds).unwrap();
    assert_eq!(written, [Write::Service(key("shop/db"), BTreeSet::from([id("h-cccccc")]))]);
}

#[test]
fn a_release_that_stands_already_is_added_to() {
    let ids = BTreeSet::from([id("h-bbbbbb")]);
    for (standing, wanted) in [
        (None, "h-bbbbbb"),
        (Some("true"), "h-bbbbbb"),
        (Some("h-cccccc, h-aaaaaa"), "h-aaaaaa,h-bbbbbb,h-cccccc"),
        (Some("h-bbbbbb"), "h-bbbbbb"),
    ] {
        assert_eq!(added(standing, &ids), wanted, "{standing:?}");
    }
}
