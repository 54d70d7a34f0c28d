//! The slice writer: what is written, and what is refused.

use std::collections::BTreeMap;

use consul8s_core::kube::{Endpoint, Family, KubeSlice, ObjectKey, OwnerRef, Protocol, SlicePort, SliceSpec};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ErrorKind, KubeWriter};
use consul8s_core::time::UnixMillis;
use consul8s_kube::SliceWriter;
use serde_json::Value;

use crate::world::{World, connect, done, namespace, service, slices};

/// Creates, changes, deletes.
pub(crate) async fn writes(world: &impl World) {
    namespace(world, "writing").await;
    let uid = service(world, "writing", "web").await;
    let writer = SliceWriter::new(&connect(world).await);
    let first = spec("writing", "web-1", &uid, &["10.0.0.1", "10.0.0.2"]);

    let created = writer.create_slice(&first).await.unwrap();
    same(&created, &first);
    let object = get(world, "writing", "web-1").await;
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], uid.as_str());
    assert_eq!(object["metadata"]["annotations"][names::TRIGGER_TIME], "2026-11-18T11:06:40.123Z");

    let second = SliceSpec { trigger: None, ..spec("writing", "web-1", &uid, &["10.0.0.2"]) };
    let updated = writer.update_slice(&created.uid, &created.resource_version, &second).await.unwrap();
    same(&updated, &second);
    assert_eq!(updated.uid, created.uid);
    assert_ne!(updated.resource_version, created.resource_version);
    let object = get(world, "writing", "web-1").await;
    assert_eq!(object["metadata"]["annotations"][names::TRIGGER_TIME], Value::Null, "removed where unknown");

    // Nothing to change is no change: the slice stays the one it was.
    let again = writer.update_slice(&updated.uid, &updated.resource_version, &second).await.unwrap();
    assert_eq!(again.resource_version, updated.resource_version);

    writer.delete_slice(&second.key, &updated.uid, &updated.resource_version).await.unwrap();
    writer.delete_slice(&second.key, &updated.uid, &updated.resource_version).await.expect("gone already is success");

    // No ports and no endpoints: a place held for a Service with nothing to offer.
    let empty = SliceSpec { endpoints: Vec::new(), ports: Vec::new(), ..spec("writing", "web-2", &uid, &[]) };
    same(&writer.create_slice(&empty).await.unwrap(), &empty);
}

/// Every write rests on what was read.
pub(crate) async fn writes_only_what_it_knows(world: &impl World) {
    namespace(world, "fences").await;
    let uid = service(world, "fences", "web").await;
    let writer = SliceWriter::new(&connect(world).await);
    let slice = spec("fences", "web-1", &uid, &["10.0.0.1"]);
    let made = writer.create_slice(&slice).await.unwrap();
    let changed = SliceSpec { endpoints: endpoints(&["10.0.0.9"]), ..slice.clone() };
    let newer = writer.update_slice(&made.uid, &made.resource_version, &changed).await.unwrap();

    let other = "00000000-0000-0000-0000-000000000000";
    let kind = |result: Result<KubeSlice, ApiError>| result.unwrap_err().kind;
    assert_eq!(kind(writer.create_slice(&slice).await), ErrorKind::Conflict, "the name is taken");
    assert_eq!(
        kind(writer.update_slice(&made.uid, &made.resource_version, &slice).await),
        ErrorKind::Conflict,
        "stale"
    );
    assert_eq!(kind(writer.update_slice(other, &newer.resource_version, &slice).await), ErrorKind::Conflict, "another");
    let delete = async |uid, version| writer.delete_slice(&slice.key, uid, version).await.unwrap_err().kind;
    assert_eq!(delete(&newer.uid, &made.resource_version).await, ErrorKind::Conflict, "stale");
    assert_eq!(delete(other, &newer.resource_version).await, ErrorKind::Conflict, "another");

    let now = get(world, "fences", "web-1").await;
    assert_eq!(now["metadata"]["resourceVersion"], newer.resource_version.as_str(), "and nothing was written");

    done(world, "DELETE", &format!("{}/web-1", slices("fences")), None).await;
    let gone = kind(writer.update_slice(&newer.uid, &newer.resource_version, &slice).await);
    println!("update of a slice that is gone: {gone:?}");
    assert!(matches!(gone, ErrorKind::NotFound | ErrorKind::Conflict), "{gone:?}");
}

/// What the API will not have.
pub(crate) async fn says_what_is_refused(world: &impl World) {
    namespace(world, "refused").await;
    let writer = SliceWriter::new(&connect(world).await);
    let bad = spec("refused", "web-1", "u", &["127.0.0.1"]);
    let error = writer.create_slice(&bad).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(
        error.what.contains("create EndpointSlice refused/web-1") && error.what.contains("127.0.0.1"),
        "{}",
        error.what
    );

    let nowhere = spec("no-such-namespace", "web-1", "u", &["10.0.0.1"]);
    assert_eq!(writer.create_slice(&nowhere).await.unwrap_err().kind, ErrorKind::NotFound);
}

/// A slice as the planner might want it.
pub(crate) fn spec(namespace: &str, name: &str, owner: &str, addresses: &[&str]) -> SliceSpec {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    SliceSpec {
        key: ObjectKey::new(namespace, name),
        family: Family::V4,
        labels: map(&[(names::LABEL_SERVICE_NAME, "web"), (names::LABEL_MANAGED_BY, names::MANAGED_BY)]),
        annotations: map(&[(names::SLICE_OWNER, "abc")]),
        owner: OwnerRef { kind: "Service".to_owned(), name: "web".to_owned(), uid: owner.to_owned() },
        endpoints: endpoints(addresses),
        ports: vec![SlicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: Some(8080),
            app_protocol: Some("http".to_owned()),
        }],
        trigger: Some(UnixMillis(1_795_000_000_123)),
    }
}

fn endpoints(addresses: &[&str]) -> Vec<Endpoint> {
    let one = |address: &&str| Endpoint {
        address: (*address).to_owned(),
        ready: true,
        serving: true,
        zone: Some("z1".to_owned()),
        ..Endpoint::default()
    };
    addresses.iter().map(one).collect()
}

fn same(slice: &KubeSlice, spec: &SliceSpec) {
    let SliceSpec { key, family: _, labels, annotations, owner, endpoints, ports, trigger: _ } = spec;
    assert_eq!(&slice.key, key);
    assert_eq!(&slice.labels, labels);
    assert_eq!(&slice.annotations, annotations);
    assert_eq!(slice.owners, std::slice::from_ref(owner));
    assert_eq!(&slice.endpoints, endpoints);
    assert_eq!(&slice.ports, ports);
}

async fn get(world: &impl World, namespace: &str, name: &str) -> Value {
    done(world, "GET", &format!("{}/{name}", slices(namespace)), None).await
}
