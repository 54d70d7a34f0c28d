//! Watches and single reads.

use std::time::{Duration, Instant};

use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ErrorKind, KubeApi, KubeWriter, WatchEvent};
use consul8s_core::time::UnixMillis;
use consul8s_kube::{Kube, SliceWriter};
use serde_json::json;

use crate::world::{World, connect, done, namespace, next, service, services, slices};
use crate::writing;

/// Far more than a change takes on a machine with nothing else to do (about a millisecond), and far less than anything that
/// collects changes before it tells them.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Nothing is retried later than this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A page is 500.
const MORE_THAN_A_PAGE: usize = 501;
/// Changes that are measured.
const CHANGES: usize = 101;

/// A watch lists, and tells what is created, changed and deleted.
pub(crate) async fn watches_services(world: &impl World) {
    namespace(world, "reading").await;
    let kube = Kube::new(&connect(world).await);
    let uid = service(world, "reading", "a").await;

    let mut watch = kube.watch_services(Some("reading"));
    let WatchEvent::Listed(listed) = next(&mut watch).await else { panic!("a list first") };
    let [a] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((a.key.to_string().as_str(), &a.uid, a.ports[0].port), ("reading/a", &uid, 80));
    assert!(a.created.0 > 0 && !a.resource_version.is_empty() && !a.deleting);

    service(world, "reading", "b").await;
    let WatchEvent::Applied(b) = next(&mut watch).await else { panic!("created") };
    assert_eq!(b.key.name, "b");

    let path = format!("{}/a", services("reading"));
    let mut object = done(world, "GET", &path, None).await;
    object["metadata"]["labels"] = json!({"consul8s_source": "consul"});
    done(world, "PUT", &path, Some(object)).await;
    let WatchEvent::Applied(changed) = next(&mut watch).await else { panic!("changed") };
    assert_eq!(changed.labels["consul8s_source"], "consul");
    assert_ne!(changed.resource_version, a.resource_version);

    done(world, "DELETE", &format!("{}/b", services("reading")), None).await;
    let WatchEvent::Deleted(gone) = next(&mut watch).await else { panic!("deleted") };
    assert_eq!(gone.uid, b.uid);
}

/// Slices of all namespaces, whoever wrote them.
pub(crate) async fn watches_slices(world: &impl World) {
    namespace(world, "reading-slices").await;
    let kube = Kube::new(&connect(world).await);
    let mut watch = kube.watch_slices(None);
    assert!(matches!(next(&mut watch).await, WatchEvent::Listed(_)));
    let body = json!({
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv6",
        "endpoints": [{"addresses": ["fd00::1"]}], "ports": [{"port": 80}],
    });
    done(world, "POST", &slices("reading-slices"), Some(body)).await;
    let WatchEvent::Applied(slice) = next(&mut watch).await else { panic!("created") };
    assert_eq!(slice.service(), Some(ObjectKey::new("reading-slices", "web")));
    assert!(slice.endpoints[0].ready && slice.ports[0].name.is_empty());
    done(world, "DELETE", &format!("{}/s", slices("reading-slices")), None).await;
    assert!(matches!(next(&mut watch).await, WatchEvent::Deleted(_)));
}

/// Nodes, which live in no namespace.
pub(crate) async fn watches_nodes(world: &impl World) {
    let mut watch = Kube::new(&connect(world).await).watch_nodes();
    assert!(matches!(next(&mut watch).await, WatchEvent::Listed(_)));
    let nodes = "/api/v1/nodes";
    done(world, "POST", nodes, Some(json!({"metadata": {"name": "n1", "labels": {"a": "b"}}}))).await;
    let WatchEvent::Applied(node) = next(&mut watch).await else { panic!("created") };
    assert_eq!((node.name.as_str(), node.labels["a"].as_str(), node.ready), ("n1", "b", false));
    let mut object = done(world, "GET", &format!("{nodes}/n1"), None).await;
    object["status"] = json!({
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-18T11:06:40Z",
                        "lastHeartbeatTime": "2026-11-18T11:06:40Z", "reason": "r", "message": ""}],
    });
    done(world, "PUT", &format!("{nodes}/n1/status"), Some(object)).await;
    let WatchEvent::Applied(node) = next(&mut watch).await else { panic!("changed") };
    assert_eq!((node.addresses.len(), node.ready, node.ready_changed.0), (1, true, 1_795_000_000_000));
    done(world, "DELETE", &format!("{nodes}/n1"), None).await;
    let WatchEvent::Deleted(gone) = next(&mut watch).await else { panic!("deleted") };
    assert_eq!(gone.name, "n1");
}

/// More objects than one page holds make one list.
pub(crate) async fn lists_in_pages(world: &impl World) {
    namespace(world, "pages").await;
    let owner = service(world, "pages", "web").await;
    let connection = connect(world).await;
    let writer = SliceWriter::new(&connection);
    for n in 0..MORE_THAN_A_PAGE {
        writer.create_slice(&writing::spec("pages", &format!("s{n}"), &owner, &["10.0.0.1"])).await.unwrap();
    }
    let mut watch = Kube::new(&connection).watch_slices(Some("pages"));
    let WatchEvent::Listed(listed) = next(&mut watch).await else { panic!("a list first") };
    assert_eq!(listed.len(), MORE_THAN_A_PAGE);
}

/// Single reads.
pub(crate) async fn reads(world: &impl World) {
    namespace(world, "reads").await;
    let kube = Kube::new(&connect(world).await);
    let key = ObjectKey::new("reads", "a");
    assert_eq!(kube.service(&key).await.unwrap(), None);
    let uid = service(world, "reads", "a").await;
    assert_eq!(kube.service(&key).await.unwrap().map(|service| service.uid), Some(uid));
    let system = done(world, "GET", "/api/v1/namespaces/kube-system", None).await;
    assert_eq!(kube.cluster_uid().await.unwrap(), system["metadata"]["uid"].as_str().unwrap());
}

/// What lies beyond our own: Leases of others, and which Services bear our labels.
pub(crate) async fn reads_of_others(world: &impl World) {
    namespace(world, "others").await;
    let kube = Kube::new(&connect(world).await);
    let key = ObjectKey::new("others", "theirs");
    assert_eq!(kube.pulse(&key).await.unwrap(), None);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/others/leases";
    let spec =
        json!({"holderIdentity": "them", "leaseDurationSeconds": 15, "renewTime": "2026-11-18T11:06:40.000000Z"});
    for (name, spec) in [("theirs", spec), ("notebook", json!({}))] {
        done(world, "POST", leases, Some(json!({"metadata": {"name": name}, "spec": spec}))).await;
    }
    let pulse = kube.pulse(&key).await.unwrap().expect("a Lease");
    assert_eq!((pulse.renewed, pulse.duration), (Some(UnixMillis(1_795_000_000_000)), Duration::from_secs(15)));
    let notebook = kube.pulse(&ObjectKey::new("others", "notebook")).await.unwrap().expect("a Lease");
    assert!(notebook.renewed.is_none() && notebook.version != pulse.version);

    for (name, labels) in [
        ("plain", json!({})),
        ("filled", json!({"consul8s_source": "consul"})),
        ("odd", json!({"consul8s_source": "?"})),
        ("prose", json!({"registration": "consul"})),
        ("somebody-else-s", json!({"registration": "nginx"})),
    ] {
        let body = json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}});
        // A label's value is a name; the embedded world does not mind.
        let (status, answer) = world.request("POST", &services("others"), Some(body)).await;
        assert!(status < 300 || name == "odd", "{answer}");
    }
    let found = kube.labelled().await.unwrap();
    let names: Vec<&str> = found.iter().filter(|key| key.namespace == "others").map(|key| key.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name != "odd").copied().collect::<Vec<_>>(), ["filled", "prose"]);
}

/// A change is told when it happens, not some time later.
pub(crate) async fn tells_at_once(world: &impl World) {
    namespace(world, "latency").await;
    let uid = service(world, "latency", "web").await;
    let connection = connect(world).await;
    let writer = SliceWriter::new(&connection);
    let mut slice = writing::spec("latency", "web-1", &uid, &["10.0.0.1"]);
    let mut last = writer.create_slice(&slice).await.unwrap();
    let mut watch = Kube::new(&connection).watch_slices(Some("latency"));
    assert!(matches!(next(&mut watch).await, WatchEvent::Listed(_)));
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    for n in 0..CHANGES {
        slice.endpoints[0].ready = n % 2 == 1;
        let began = Instant::now();
        // Both at once: the event may be here before the answer to the write.
        let (written, event) = tokio::join!(
            async { (writer.update_slice(&last.uid, &last.resource_version, &slice).await.unwrap(), began.elapsed()) },
            async { (next(&mut watch).await, began.elapsed()) },
        );
        assert_eq!(event.0, WatchEvent::Applied(written.0.clone()), "the event shows what the write gave");
        last = written.0;
        answers.push(written.1);
        events.push(event.1);
    }
    answers.sort();
    events.sort();
    for (what, delays) in [("its answer", &answers), ("its event", &events)] {
        println!("from a write to {what}: median {:?}, longest {:?}", delays[CHANGES / 2], delays[CHANGES - 1]);
    }
    assert!(events[CHANGES / 2] < AT_ONCE, "{events:?}");
}

/// The API goes away and comes back: what was listed stands, and what happened since is told.
pub(crate) async fn survives_a_restart(mut world: impl World) {
    namespace(&world, "restart").await;
    service(&world, "restart", "a").await;
    let mut watch = Kube::new(&connect(&world).await).watch_services(Some("restart"));
    assert!(matches!(next(&mut watch).await, WatchEvent::Listed(listed) if listed.len() == 1));

    world.stop().await;
    let WatchEvent::Failed(error) = next(&mut watch).await else { panic!("a failure") };
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.what.contains("watch Services of namespace restart at http"), "{}", error.what);

    world.start().await;
    let back = Instant::now();
    service(&world, "restart", "b").await;
    loop {
        match next(&mut watch).await {
            WatchEvent::Failed(error) => println!("{:?} after the start: {error}", back.elapsed()),
            WatchEvent::Applied(b) => break assert_eq!(b.key.name, "b"),
            WatchEvent::Listed(all) => break assert_eq!(all.len(), 2),
            WatchEvent::Deleted(one) => panic!("{one:?}"),
        }
    }
    println!("the change was told {:?} after the start", back.elapsed());
    assert!(back.elapsed() < LONGEST_BACKOFF, "{:?}", back.elapsed());

    done(&world, "DELETE", &format!("{}/a", services("restart")), None).await;
    assert!(matches!(next(&mut watch).await, WatchEvent::Deleted(a) if a.key.name == "a"));
}
