//! Section 1: what happened to an endpoint, and what kind of removal that makes.

use expect_test::expect;

use crate::world::World;

use super::{key, seconds, stage};

#[test]
fn critical_is_not_ready_at_once() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].checks[0].status = crate::consul::CheckStatus::Critical;
    stage.sync_all();
    assert_eq!(stage.counts(), [0]);
    assert!(!stage.world.slices[0].endpoints[0].serving);
}

#[test]
fn maintenance_drains_at_once() {
    let mut stage = stage(&[1]);
    let maintenance = World::parse("consul: s0-0@vm-0-0 name=s0 10.0.0.1:80 maintenance").unwrap();
    stage.world.instances = maintenance.instances;
    stage.sync_all();
    let endpoint = &stage.world.slices[0].endpoints[0];
    assert_eq!((endpoint.ready, endpoint.serving, endpoint.terminating), (false, true, true));
}

#[test]
fn what_the_user_no_longer_asks_for_goes_at_once() {
    for change in ["label", "gone", "name", "port"] {
        let mut stage = stage(&[2]);
        match change {
            "label" => stage.world.services[0].labels.clear(),
            "name" => {
                drop(stage.world.services[0].annotations.insert(crate::names::SERVICE_NAME.into(), "other".into()))
            }
            "port" => "renamed".clone_into(&mut stage.world.services[0].ports[0].name),
            _ => stage.world.services.clear(),
        }
        stage.sync(&key(0));
        let stands = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>();
        assert_eq!(stands, if change == "port" { 2 } else { 0 }, "{change}");
        assert!(
            stage.world.slices.iter().all(|slice| slice.ports.iter().all(|port| port.name == "renamed")),
            "{change}"
        );
    }
}

#[test]
fn what_no_longer_fits_goes_at_once() {
    let mut stage = stage(&[2]);
    "127.0.0.1".clone_into(&mut stage.world.instances[0].address);
    stage.sync_all();
    assert_eq!(stage.ready(&key(0)), ["10.0.0.2"]);
}

#[test]
fn what_no_longer_fits_goes_at_once_whatever_it_is() {
    for change in ["tag", "port", "denied"] {
        let mut stage = stage(&[2]);
        stage.world.services[0].annotations.insert(crate::names::SERVICE_TAGS.into(), "v1".into());
        stage.world.instances.iter_mut().for_each(|instance| instance.tags = vec!["v1".into()]);
        stage.sync_all();
        assert_eq!(stage.counts(), [2]);
        match change {
            "tag" => stage.world.instances[0].tags.clear(),
            "port" => stage.world.instances[0].port = 0,
            _ => stage.settings.deny_cidrs = vec![crate::address::Cidr::parse("10.0.0.1/32").unwrap()],
        }
        stage.sync_all();
        assert_eq!(stage.ready(&key(0)), ["10.0.0.2"], "{change}");
    }
}

#[test]
fn a_node_that_is_there_without_proof_of_life_proves_nothing() {
    // Another service is on the node still: no serfHealth, or a critical one.
    for alive in [false, true] {
        let mut stage = stage(&[3]);
        let mut other = crate::world::World::parse("consul: other-0@vm-0-0 name=other 10.0.0.9:80 passing").unwrap();
        stage.world.instances.append(&mut other.instances);
        if alive {
            stage.alive.insert("vm-0-0".into());
        }
        stage.lose(0, [0]);
        assert_eq!(stage.counts(), [if alive { 2 } else { 3 }], "alive: {alive}");
        stage.pass(seconds(3));
        assert_eq!(stage.counts(), [2], "alive: {alive}");
    }
}

#[test]
fn what_moved_is_published_first_at_its_new_place() {
    let mut stage = stage(&[2]);
    stage.world.instances[0].port = 81;
    expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: moved to 10.0.0.1 http=81
        create slice ns/s0-c3f56d55b7-1 IPv4 http=81/TCP
          10.0.0.1 ready
        update slice ns/s0-a1ad77fe6a-1 IPv4 http=80/TCP
          10.0.0.2 ready
          - 10.0.0.1: moved to 10.0.0.1 http=81
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.count(0), 2);
}

#[test]
fn deregistered_on_a_living_node_goes_at_once_even_if_it_is_the_last() {
    let mut stage = stage(&[3]);
    stage.alive.extend((0..3).map(|i| format!("vm-0-{i}")));
    stage.world.instances.clear();
    expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: explicit: node vm-0-0 is alive without it (2027-01-15T09:00:00Z)
          remove 10.0.0.2 http=80: explicit: node vm-0-1 is alive without it (2027-01-15T09:00:00Z)
          remove 10.0.0.3 http=80: explicit: node vm-0-2 is alive without it (2027-01-15T09:00:00Z)
          NoHealthyInstances: Consul service s0 has no healthy instance that can be published (0 instances, 0 published as not ready); register it, or see whether the Service asks for the right one
        update slice ns/s0-a1ad77fe6a-1 IPv4
          no endpoint
          - 10.0.0.1: explicit: node vm-0-0 is alive without it (2027-01-15T09:00:00Z)
          - 10.0.0.2: explicit: node vm-0-1 is alive without it (2027-01-15T09:00:00Z)
          - 10.0.0.3: explicit: node vm-0-2 is alive without it (2027-01-15T09:00:00Z)
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn what_was_not_ready_goes_after_one_consistent_read() {
    let mut stage = stage(&[2]);
    stage.world.instances[0].checks[0].status = crate::consul::CheckStatus::Critical;
    stage.sync_all();
    let reads = stage.reads;
    stage.lose(0, [0]);
    assert_eq!(stage.world.slices[0].endpoints.len(), 1);
    assert_eq!(stage.reads, reads + 1);
}

#[test]
fn what_was_ready_goes_after_two_reads() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    assert_eq!(stage.counts(), [3]);
    stage.pass(seconds(1));
    assert_eq!(stage.counts(), [3]);
    stage.pass(seconds(2));
    assert_eq!(stage.counts(), [2]);
}

#[test]
fn without_consul_nothing_is_confirmed() {
    let mut stage = stage(&[3]);
    stage.world.instances.remove(0);
    stage.sync(&key(0));
    stage.answering = false;
    stage.pass(seconds(600));
    assert_eq!(stage.counts(), [3]);
    stage.answering = true;
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [2], "the read of before is too old to pair: two new ones agreed");
}

#[test]
fn what_was_never_wanted_goes_at_once() {
    let mut stage = stage(&[2]);
    let mut endpoint = stage.world.slices[0].endpoints[0].clone();
    "10.9.9.9".clone_into(&mut endpoint.address);
    stage.world.slices[0].endpoints.push(endpoint);
    expect![[r#"
        ns/s0
          remove 10.9.9.9 http=80: never wanted
        update slice ns/s0-a1ad77fe6a-1 IPv4 http=80/TCP
          10.0.0.1 ready
          10.0.0.2 ready
          - 10.9.9.9: never wanted
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.count(0), 2);
}

#[test]
fn a_filter_that_consul_applies_makes_nothing_missing() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].meta.insert("version".into(), "1".into());
    let filter = "Service.Meta.version == 1".to_owned();
    stage.world.services[0].annotations.insert(crate::names::SERVICE_FILTER.into(), filter);
    stage.sync_all();
    assert_eq!(stage.counts(), [1]);
    stage.world.instances[0].meta.insert("version".into(), "2".into());
    expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: unfit: filter
          NoHealthyInstances: Consul service s0 has no healthy instance that can be published (0 instances, 0 published as not ready); register it, or see whether the Service asks for the right one
        update slice ns/s0-a1ad77fe6a-1 IPv4
          no endpoint
          - 10.0.0.1: unfit: filter
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.counts(), [0], "it no longer fits, so it goes at once");
}

#[test]
fn what_is_filtered_and_missing_is_missing() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].meta.insert("version".into(), "1".into());
    let filter = "Service.Meta.version == 1".to_owned();
    stage.world.services[0].annotations.insert(crate::names::SERVICE_FILTER.into(), filter);
    stage.sync_all();
    stage.lose(0, [0]);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![1], Some('a')));
}
