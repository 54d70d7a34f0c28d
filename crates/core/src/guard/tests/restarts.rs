//! Section 1 after a restart: what happened while nobody ran. Our slices keep the node of each endpoint, so that the reads can still tell
//! what an agent deregistered from what left without a word.

use std::time::Duration;

use expect_test::expect;

use crate::consul::CheckStatus;
use crate::names;
use crate::world::{Stage, World};

use super::{MINUTE, key, seconds, stage};

/// `vm-S-0`, `vm-S-1`, … are alive.
fn alive(stage: &mut Stage, service: usize, count: usize) {
    stage.alive.extend((0..count).map(|i| format!("vm-{service}-{i}")));
}

/// What the slices of `s0` say of nodes.
fn noted(stage: &Stage) -> Vec<Option<&str>> {
    stage.slices_of(&key(0)).iter().map(|slice| slice.annotations.get(names::SLICE_NODES).map(String::as_str)).collect()
}

/// As a version wrote them that knew nothing of nodes.
fn forget_nodes(stage: &mut Stage) {
    stage.world.slices.iter_mut().for_each(|slice| drop(slice.annotations.remove(names::SLICE_NODES)));
}

#[test]
fn slices_say_which_node_each_endpoint_is_on() {
    let mut stage = stage(&[2]);
    assert_eq!(noted(&stage), [Some("10.0.0.1 vm-0-0\n10.0.0.2 vm-0-1")]);
    // Another instance stands for the same endpoint: one write, or the node would be the wrong one.
    let writes = stage.writes;
    "elsewhere".clone_into(&mut stage.world.instances[0].node);
    stage.sync_all();
    assert_eq!((noted(&stage), stage.writes), (vec![Some("10.0.0.1 elsewhere\n10.0.0.2 vm-0-1")], writes + 1));
}

#[test]
fn critical_and_maintenance() {
    let mut stage = stage(&[2]);
    stage.restart();
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    let maintenance = World::parse("consul: s0-1@vm-0-1 name=s0 10.0.0.2:80 maintenance").unwrap();
    stage.world.instances[1] = maintenance.instances[0].clone();
    stage.sync_all();
    let conditions = stage.world.slices[0].endpoints.iter().map(|e| (e.ready, e.serving, e.terminating));
    assert_eq!(conditions.collect::<Vec<_>>(), [(false, false, false), (false, true, true)]);
}

#[test]
fn what_the_user_no_longer_asks_for() {
    for change in ["label", "gone", "name"] {
        let mut stage = stage(&[2]);
        stage.restart();
        match change {
            "label" => stage.world.services[0].labels.clear(),
            "name" => drop(stage.world.services[0].annotations.insert(names::SERVICE_NAME.into(), "other".into())),
            _ => stage.world.services.clear(),
        }
        stage.sync(&key(0));
        let stands = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>();
        assert_eq!(stands, 0, "{change}");
    }
}

#[test]
fn what_no_longer_fits() {
    let mut stage = stage(&[2]);
    stage.restart();
    stage.settings.deny_cidrs = vec![crate::address::Cidr::parse("10.0.0.1/32").unwrap()];
    stage.sync_all();
    assert_eq!(stage.ready(&key(0)), ["10.0.0.2"]);
}

#[test]
fn what_moved_goes_at_once_when_its_new_place_stands() {
    let mut stage = stage(&[1]);
    stage.restart();
    alive(&mut stage, 0, 1);
    stage.world.instances[0].port = 81;
    let synced = stage.sync(&key(0));
    let text: Vec<String> = synced.changes.iter().map(ToString::to_string).collect();
    expect![[r#"
        [
            "create slice ns/s0-c3f56d55b7-1 IPv4 http=81/TCP\n  10.0.0.1 ready",
            "delete slice ns/s0-a1ad77fe6a-1: empty\n  - 10.0.0.1: explicit: node vm-0-0 is alive without it (2027-01-15T09:00:00Z)",
        ]
    "#]]
    .assert_debug_eq(&text);
}

#[test]
fn deregistered_on_a_living_node_goes_at_once_even_if_it_is_the_last() {
    let mut stage = stage(&[3, 1]);
    stage.restart();
    alive(&mut stage, 0, 3);
    alive(&mut stage, 1, 1);
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
    stage.sync_all();
    assert_eq!(stage.counts(), [0, 0]);
}

#[test]
fn what_was_not_ready_goes_after_one_consistent_read() {
    let mut stage = stage(&[2]);
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    stage.restart();
    let reads = stage.reads;
    stage.world.instances.remove(0);
    stage.sync_all();
    assert_eq!((stage.world.slices[0].endpoints.len(), stage.reads), (1, reads + 1));
}

#[test]
fn what_left_without_a_word_is_confirmed_and_held_as_ever() {
    // The node is gone too, or it is there and not alive.
    for stands in [false, true] {
        let mut stage = stage(&[3, 1]);
        if stands {
            let text =
                "consul: other-0@vm-1-0 name=other 10.0.0.9:80 passing\n other-1@vm-0-0 name=other 10.0.0.8:80 passing";
            stage.world.instances.extend(World::parse(text).unwrap().instances);
        }
        stage.restart();
        stage.world.instances.retain(|instance| instance.name == "other" || !instance.id.ends_with("-0"));
        stage.sync_all();
        assert_eq!(stage.counts(), [3, 1], "{stands}");
        stage.pass(seconds(5));
        assert_eq!((stage.counts(), stage.hold(1)), (vec![2, 1], Some('a')), "{stands}");
        stage.pass(MINUTE);
        assert_eq!(stage.counts(), [2, 0], "{stands}");
    }
}

#[test]
fn a_source_that_is_not_whole() {
    let mut stage = stage(&[2]);
    stage.restart();
    alive(&mut stage, 0, 2);
    stage.world.instances.clear();
    stage.meta.filtered = true;
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
}

#[test]
fn a_wiped_consul_knows_its_agents_before_their_services() {
    let mut stage = stage(&[2]);
    stage.restart();
    alive(&mut stage, 0, 2);
    stage.world.instances.clear();
    stage.uncompared = true;
    stage.sync_all();
    stage.pass(seconds(1));
    assert_eq!(stage.counts(), [2], "nobody knows yet whether it counts on from where it was");
    (stage.uncompared, stage.broken) = (false, Some(stage.now));
    stage.pass(seconds(3600));
    stage.sync_all();
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
}

#[test]
fn what_waited_for_the_comparison_goes_when_all_is_well() {
    let mut stage = stage(&[2]);
    stage.restart();
    alive(&mut stage, 0, 2);
    stage.world.instances.clear();
    stage.uncompared = true;
    stage.sync_all();
    // As long as it takes until a dead one's Lease has run out; what is proven is not called held meanwhile.
    stage.pass(seconds(15));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], None));
    stage.uncompared = false;
    stage.sync_all();
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn what_consul_filters_out_is_not_taken_for_deregistered() {
    let mut stage = stage(&[1]);
    alive(&mut stage, 0, 1);
    stage.world.instances[0].meta.insert("version".into(), "1".into());
    let filter = "Service.Meta.version == 1".to_owned();
    stage.world.services[0].annotations.insert(names::SERVICE_FILTER.into(), filter);
    stage.sync_all();
    stage.restart();
    stage.world.instances[0].meta.insert("version".into(), "2".into());
    let text = stage.shown(0);
    assert!(text.contains("remove 10.0.0.1 http=80: unfit: filter"), "{text}");
}

#[test]
fn a_hold_of_before_ends_when_the_agent_is_back_without_it() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(10));
    assert_eq!(stage.hold(0), Some('a'));
    stage.restart();
    stage.sync_all();
    assert_eq!(stage.counts(), [1]);
    alive(&mut stage, 0, 1);
    stage.pass(seconds(40));
    assert_eq!(stage.counts(), [0], "its last read found the agent");
}

#[test]
fn slices_of_an_older_version_are_not_rewritten_but_filled_when_they_are_written() {
    let mut stage = stage(&[2]);
    forget_nodes(&mut stage);
    let writes = stage.writes;
    for _ in 0..3 {
        stage.restart();
        stage.sync_all();
        stage.pass(Duration::from_secs(3600));
    }
    assert_eq!((stage.writes, noted(&stage)), (writes, vec![None]));
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    assert_eq!((stage.writes, noted(&stage)), (writes + 1, vec![Some("10.0.0.1 vm-0-0\n10.0.0.2 vm-0-1")]));
}

#[test]
fn what_an_older_version_wrote_is_held_as_before() {
    let mut stage = stage(&[2]);
    forget_nodes(&mut stage);
    stage.restart();
    alive(&mut stage, 0, 2);
    stage.world.instances.clear();
    stage.sync_all();
    stage.pass(seconds(10));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('a')));
}

#[test]
fn what_is_held_keeps_its_node_also_on_a_slice_that_did_not_say_it() {
    let mut stage = stage(&[2]);
    forget_nodes(&mut stage);
    stage.lose(0, 0..2);
    stage.pass(seconds(10));
    assert_eq!((stage.hold(0), noted(&stage)), (Some('a'), vec![Some("10.0.0.1 vm-0-0\n10.0.0.2 vm-0-1")]));
}
