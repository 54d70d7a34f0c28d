//! The seam on both worlds, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

use std::collections::BTreeMap;
use std::time::Duration;

use consul8s_core::consul::{
    CheckStatus, HealthQuery, Instance, NodeRecord, Read, Registration, ServiceId, TxnOp, TxnOutcome,
};
use consul8s_core::kube::{Endpoint, Family, KubeSlice, ObjectKey, OwnerRef, ServiceType, SlicePort, SliceSpec};
use consul8s_core::ports::{ConsulApi, ConsulWriter, ErrorKind, KubeApi, KubeWriter, Watch, WatchEvent};
use consul8s_core::time::UnixMillis;
use consul8s_sim::model::kube::{Cluster, Resource};
use consul8s_sim::{ConsulWorld, Hidden, KubeWorld};
use serde_json::json;
use tokio::time::Instant;

fn query(name: &str) -> HealthQuery {
    HealthQuery { name: name.into(), ..HealthQuery::default() }
}

fn registration() -> Registration {
    Registration {
        node: "ours".into(),
        id: ServiceId::new("s").unwrap(),
        name: "pay".into(),
        address: "10.0.0.1".into(),
        port: 80,
        tags: vec!["t".into()],
        meta: BTreeMap::from([("k".into(), "v".into())]),
        weight: 3,
        status: CheckStatus::Passing,
        output: "fine".into(),
    }
}

fn create() -> Vec<TxnOp> {
    let node = NodeRecord { name: "ours".into(), address: "127.0.0.1".into(), ..NodeRecord::default() };
    vec![
        TxnOp::SetNode { node, index: 0 },
        TxnOp::SetService { registration: registration(), index: 0 },
        TxnOp::SetCheck { registration: registration(), index: 0 },
    ]
}

#[tokio::test]
async fn a_registration_is_read_back_and_deleted_by_its_index() {
    let world = ConsulWorld::new();
    let TxnOutcome::Applied(applied) = world.txn(&create()).await.unwrap() else { panic!() };
    let index = applied.services[0].1.modify_index;
    assert_eq!((applied.nodes[0].modify_index, applied.checks[0].modify_index), (index, index));
    let found = world.health(&query("PAY"), Read::Consistent).await.unwrap();
    let instance = &found.body[0];
    assert_eq!((instance.port, instance.tags.len(), instance.datacenter.as_str()), (80, 1, "dc1"));
    assert_eq!(
        (instance.checks[0].id.as_str(), instance.checks[0].status),
        ("consul8s:readiness:s", CheckStatus::Passing)
    );
    let view = world.node("ours", None, Read::Stale).await.unwrap().body.unwrap();
    assert_eq!((view.services["s"].weight, view.checks.len()), (3, 0));
    let checks = world.node_checks("ours", None, Read::Stale).await.unwrap().body;
    assert_eq!((checks[0].output.as_str(), checks[0].service_id.as_str()), ("fine", "s"));
    assert!(world.node("none", None, Read::Stale).await.unwrap().body.is_none());
    let TxnOutcome::Refused(refusals) = world.txn(&create()).await.unwrap() else { panic!() };
    assert!(refusals.len() == 3 && refusals.iter().all(|refusal| refusal.is_conflict()));
    let delete = |index| {
        vec![TxnOp::DeleteService { node: "ours".into(), id: ServiceId::new("s").unwrap(), name: "pay".into(), index }]
    };
    assert!(matches!(world.txn(&delete(index - 1)).await, Ok(TxnOutcome::Refused(_))));
    assert!(matches!(world.txn(&delete(index)).await, Ok(TxnOutcome::Applied(_))));
    assert!(world.health(&query("pay"), Read::Stale).await.unwrap().body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_wakes_at_once_or_ends_with_its_wait() {
    let world = ConsulWorld::new();
    world.txn(&create()).await.unwrap();
    let index = world.health(&query("pay"), Read::Stale).await.unwrap().meta.index;
    let start = Instant::now();
    let read = Read::Blocking { index, wait: Duration::from_secs(300) };
    world.health(&query("pay"), read).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(300));
    let later = world.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        later.write(|catalog| catalog.service_maintenance("ours", "s", Some("why"))).unwrap();
    });
    let start = Instant::now();
    let woken = world.health(&query("pay"), read).await.unwrap();
    assert_eq!((start.elapsed(), woken.body[0].checks.len()), (Duration::from_secs(7), 2));
    assert!(woken.meta.index > index && !woken.meta.leaderless);
}

#[tokio::test]
async fn consuls_faults_become_the_edges_errors() {
    let world = ConsulWorld::new();
    world
        .write(|catalog| {
            catalog.put_instance(&Instance {
                node: "n".into(),
                node_address: "1".into(),
                name: "foo".into(),
                ..Instance::default()
            })
        })
        .unwrap();
    let kind = async |read| world.health(&query("foo"), read).await.unwrap_err().kind;
    for (status, expected) in [
        (400, ErrorKind::Invalid),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Conflict),
        (410, ErrorKind::Gone),
        (429, ErrorKind::Throttled),
        (500, ErrorKind::Server),
    ] {
        world.set_faults(|faults| faults.fail = Some((status, 1)));
        assert_eq!(kind(Read::Stale).await, expected);
    }
    world.set_faults(|faults| faults.truncate = true);
    assert_eq!(kind(Read::Stale).await, ErrorKind::Garbage);
    world.set_faults(|faults| (faults.truncate, faults.leaderless) = (false, true));
    assert_eq!(kind(Read::Consistent).await, ErrorKind::Server);
    assert!(world.health(&query("foo"), Read::Stale).await.unwrap().meta.leaderless);
    assert_eq!(world.leader().await.unwrap(), "");
    assert_eq!(world.txn(&create()).await.unwrap_err().kind, ErrorKind::Server);
    world.set_faults(|faults| (faults.leaderless, faults.unreachable) = (false, true));
    assert_eq!(kind(Read::Stale).await, ErrorKind::Unreachable);
    assert!(world.leader().await.is_err());
    world.set_faults(|faults| (faults.unreachable, faults.lose_replies) = (false, 1));
    assert_eq!(world.txn(&create()).await.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(world.health(&query("pay"), Read::Stale).await.unwrap().body.len(), 1, "carried out all the same");
    let wrong = HealthQuery { filter: Some("x".into()), ..query("foo") };
    assert_eq!(world.health(&wrong, Read::Stale).await.unwrap_err().kind, ErrorKind::Invalid);
    let far = HealthQuery { datacenter: Some("dc2".into()), ..query("foo") };
    assert_eq!(world.health(&far, Read::Stale).await.unwrap_err().kind, ErrorKind::Invalid);
    let many: Vec<TxnOp> = std::iter::repeat_with(create).take(43).flatten().collect();
    assert_eq!(world.txn(&many).await.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn hidden_instances_are_marked_only_for_a_token() {
    let world = ConsulWorld::new();
    world.txn(&create()).await.unwrap();
    for anonymous in [true, false] {
        world.set_faults(|faults| {
            faults.hidden = Some(Hidden { nodes: ["ours".to_owned()].into(), anonymous, ..Hidden::default() });
        });
        let health = world.health(&query("pay"), Read::Consistent).await.unwrap();
        let node = world.node("ours", None, Read::Consistent).await.unwrap();
        let checks = world.node_checks("ours", None, Read::Consistent).await.unwrap();
        assert!(health.body.is_empty() && node.body.is_none() && checks.body.is_empty());
        for meta in [health.meta, node.meta, checks.meta] {
            assert_eq!((meta.filtered, meta.anonymous_under_deny), (!anonymous, anonymous));
        }
    }
}

fn spec(owner_uid: &str) -> SliceSpec {
    SliceSpec {
        key: ObjectKey::new("shop", "s"),
        family: Family::V4,
        labels: BTreeMap::from([("kubernetes.io/service-name".into(), "foo".into())]),
        annotations: BTreeMap::new(),
        owner: OwnerRef { kind: "Service".into(), name: "foo".into(), uid: owner_uid.into() },
        endpoints: vec![Endpoint {
            address: "10.0.0.1".into(),
            ready: true,
            serving: true,
            zone: Some("z".into()),
            node_name: Some("n".into()),
            hint_zones: vec!["z".into()],
            ..Endpoint::default()
        }],
        ports: vec![SlicePort {
            name: "http".into(),
            port: Some(80),
            app_protocol: Some("h2c".into()),
            ..SlicePort::default()
        }],
        trigger: Some(UnixMillis(1_700_000_000_123)),
    }
}

fn kube_with_service() -> (KubeWorld, String) {
    let world = KubeWorld::default();
    let uid = world.write(|cluster| {
        cluster.create_namespace("shop").unwrap();
        let spec = json!({"type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]});
        let object = json!({"metadata": {"name": "foo", "labels": {"a": "b"}}, "spec": spec});
        let made = cluster.create(Resource::Services, "shop", object).unwrap();
        cluster.set_load_balancer(&ObjectKey::new("shop", "foo"), &["1.2.3.4"]).unwrap();
        made["metadata"]["uid"].as_str().unwrap().to_owned()
    });
    (world, uid)
}

#[tokio::test]
async fn a_slice_is_written_read_back_and_fenced() {
    let (world, uid) = kube_with_service();
    let made = world.create_slice(&spec(&uid)).await.unwrap();
    assert_eq!((&made.endpoints, &made.ports), (&spec(&uid).endpoints, &spec(&uid).ports));
    assert_eq!(made.annotations["endpoints.kubernetes.io/last-change-trigger-time"], "2023-11-14T22:13:20.123Z");
    assert_eq!((made.owners[0].uid.as_str(), made.service().unwrap().name), (uid.as_str(), "foo".to_owned()));
    assert_eq!(world.create_slice(&spec(&uid)).await.unwrap_err().kind, ErrorKind::Conflict);
    let mut next = spec(&uid);
    next.endpoints.clear();
    let second = world.update_slice(&made.uid, &made.resource_version, &next).await.unwrap();
    assert!(second.endpoints.is_empty());
    let lost = world.update_slice(&made.uid, &made.resource_version, &next).await.unwrap_err();
    assert_eq!(lost.kind, ErrorKind::Conflict);
    assert_eq!(
        world.update_slice("other", &second.resource_version, &next).await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    next.endpoints = vec![Endpoint { address: "127.0.0.1".into(), ..Endpoint::default() }];
    assert_eq!(
        world.update_slice(&made.uid, &second.resource_version, &next).await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    let delete = async |version: String| world.delete_slice(&next.key, &made.uid, &version).await;
    assert_eq!(delete(made.resource_version.clone()).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(delete(second.resource_version.clone()).await, Ok(()));
    assert_eq!(delete(second.resource_version).await, Ok(()), "gone already");
}

#[tokio::test]
async fn a_service_is_read_as_core_sees_it() {
    let (world, uid) = kube_with_service();
    let found = world.service(&ObjectKey::new("shop", "foo")).await.unwrap().unwrap();
    assert_eq!(
        (found.uid, found.service_type, found.load_balancer[0].ip.as_deref()),
        (uid, ServiceType::LoadBalancer, Some("1.2.3.4"))
    );
    assert_eq!(
        (found.ports[0].node_port, found.cluster_ips.len(), found.ip_families),
        (Some(30_001), 1, vec![Family::V4])
    );
    assert!(found.created.0 > 0 && !found.headless);
    assert!(world.service(&ObjectKey::new("shop", "none")).await.unwrap().is_none());
    assert!(!world.cluster_uid().await.unwrap().is_empty());
}

async fn seen(watch: &mut impl Watch<KubeSlice>) -> String {
    match watch.next().await {
        WatchEvent::Listed(all) => format!("listed {}", all.len()),
        WatchEvent::Applied(one) => format!("applied {}", one.key),
        WatchEvent::Deleted(one) => format!("deleted {}", one.key),
        WatchEvent::Failed(why) => format!("failed {}", why.kind.as_str()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_lists_follows_breaks_and_goes_on() {
    let (world, uid) = kube_with_service();
    let mut all = world.watch_slices(None);
    let mut other = world.watch_slices(Some("default"));
    assert_eq!((seen(&mut all).await, seen(&mut other).await), ("listed 0".into(), "listed 0".into()));
    let made = world.create_slice(&spec(&uid)).await.unwrap();
    assert_eq!(seen(&mut all).await, "applied shop/s");
    let idle = tokio::time::timeout(Duration::from_secs(3_600), seen(&mut other)).await;
    assert!(idle.is_err(), "another namespace");
    world.set_faults(|faults| faults.unreachable = true);
    assert_eq!(seen(&mut all).await, "failed unreachable");
    world.write(|cluster| cluster.annotate_service(&ObjectKey::new("shop", "foo"), "a", Some("b"))).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(3_600), seen(&mut all)).await.is_err(), "told once");
    world.set_faults(|faults| faults.unreachable = false);
    world.delete_slice(&spec(&uid).key, &made.uid, &made.resource_version).await.unwrap();
    assert_eq!(seen(&mut all).await, "deleted shop/s");
    world.write(|cluster| cluster.delete_object(Resource::Services, &ObjectKey::new("shop", "foo"))).unwrap();
    world.write(Cluster::compact);
    assert_eq!((seen(&mut all).await, seen(&mut all).await), ("failed gone".into(), "listed 0".into()));
}

#[tokio::test]
async fn a_watch_that_cannot_list_says_so_and_lists_later() {
    let (world, _) = kube_with_service();
    world.set_faults(|faults| faults.fail = Some((500, 1)));
    let mut watch = world.watch_services(Some("shop"));
    assert!(matches!(watch.next().await, WatchEvent::Failed(why) if why.kind == ErrorKind::Server));
    world.set_faults(|_| {});
    let WatchEvent::Listed(all) = watch.next().await else { panic!() };
    assert_eq!(all.len(), 1);
}
