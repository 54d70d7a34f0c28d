//! Section 2: holds.

use expect_test::expect;

use super::{MINUTE, instance, key, seconds, stage};

#[test]
fn one_of_three_machines_is_switched_off() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [2]);
}

#[test]
fn one_of_two() {
    let mut stage = stage(&[2]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn the_only_one() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    expect![[r#"
        ns/s0
          hold h-0b4b46 (a) until 2027-01-15T09:01:00Z: [10.0.0.1 http=80]
          RemovalHeld: holding 1 of 1 endpoints that left Consul without a word (h-0b4b46, 60s): they stay ready until 2027-01-15T09:01:00Z; release with: consul8s release ns/s0
    "#]].assert_eq(&stage.shown(0));
    stage.pass(seconds(54));
    assert_eq!(stage.counts(), [1]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn two_of_three_one_after_the_other() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(300));
    assert_eq!(stage.counts(), [2]);
    stage.lose(0, [1]);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('a')));
    stage.pass(seconds(35));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn two_of_three_with_more_than_ten_minutes_between() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(610));
    stage.lose(0, [1]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn ten_six_four_two_one_none() {
    let mut stage = stage(&[10]);
    stage.lose(0, 0..4);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [6]);
    stage.lose(0, 4..6);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![6], Some('a')), "4 < 10 / 2");
    stage.pass(seconds(40));
    assert_eq!(stage.counts(), [4]);
    for (lost, left) in [(6..8, 2), (8..9, 1), (9..10, 0)] {
        let before = stage.count(0);
        stage.lose(0, lost);
        stage.pass(seconds(55));
        assert_eq!((stage.count(0), stage.hold(0)), (before, Some('a')));
        stage.pass(seconds(10));
        assert_eq!(stage.count(0), left);
    }
}

#[test]
fn blue_green() {
    let mut stage = stage(&[4]);
    stage.gain(0, 4..8);
    stage.pass(MINUTE);
    stage.lose(0, 0..4);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [4]);
}

#[test]
fn redeploy_with_new_ids_in_one_answer() {
    let mut stage = stage(&[4]);
    stage.world.instances.extend((4..8).map(|i| instance(0, i)));
    stage.lose(0, 0..4);
    assert_eq!(stage.counts(), [8]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [4]);
}

#[test]
fn newcomers_that_leave_again_are_no_consolation() {
    let mut stage = stage(&[4]);
    stage.gain(0, 4..8);
    stage.pass(seconds(300));
    stage.lose(0, 0..8);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![8], Some('a')));
}

#[test]
fn a_service_published_five_minutes_ago_that_vanishes_whole_is_a_loss() {
    let mut stage = stage(&[0]);
    stage.gain(0, 0..4);
    stage.pass(seconds(300));
    stage.lose(0, 0..4);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![4], Some('a')));
}

#[test]
fn enough_others_came() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(10));
    assert_eq!(stage.hold(0), Some('a'));
    stage.gain(0, [1]);
    assert_eq!(stage.ready(&key(0)), ["10.0.0.2"]);
}

#[test]
fn shown_again() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(10));
    let writes = stage.writes;
    stage.gain(0, [0]);
    assert_eq!((stage.counts(), stage.hold(0)), (vec![1], None));
    assert_eq!(stage.writes, writes + 1, "only the mark goes");
    stage.pass(seconds(120));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn a_host_of_five_services_is_rebooted() {
    let mut stage = stage(&[4; 5]);
    for s in 0..5 {
        let gone = instance(s, 0).reference();
        stage.world.instances.retain(|instance| instance.reference() != gone);
    }
    stage.sync_all();
    stage.pass(seconds(20));
    assert_eq!(stage.counts(), [4; 5]);
    assert_eq!(stage.hold(0), Some('b'));
    let ids: Vec<_> = stage.sync_all().iter().map(|s| s.judged.as_ref().unwrap().held[0].id.clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one id for all");
    for s in 0..5 {
        stage.gain(s, [0]);
    }
    stage.pass(seconds(700));
    assert_eq!(stage.counts(), [4; 5]);
}

#[test]
fn what_comes_back_or_is_released_leaves_the_rest_of_a_mass_held() {
    for released in [false, true] {
        let mut stage = stage(&[4; 5]);
        stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
        stage.sync_all();
        stage.pass(seconds(90));
        assert_eq!(stage.hold(0), Some('b'));
        if released {
            super::allow(&mut stage, "true");
        } else {
            stage.gain(0, [0]);
        }
        stage.sync_all();
        stage.pass(seconds(300));
        let left = if released { 3 } else { 4 };
        assert_eq!((stage.counts(), stage.hold(1)), (vec![left, 4, 4, 4, 4], Some('b')), "released: {released}");
        // One that others came for is no loss any more.
        stage.gain(1, [9]);
        assert_eq!((stage.count(1), stage.hold(1), stage.hold(2)), (4, None, Some('b')));
        stage.pass(seconds(300));
        assert_eq!(stage.counts(), [left, 4, 3, 3, 3]);
    }
}

#[test]
fn tiny_catalogs_know_no_mass() {
    // A host of everything there is: but four endpoints, or two services, are no mass.
    for counts in [vec![2; 4], vec![3; 2], vec![2]] {
        let mut stage = stage(&counts);
        stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
        stage.sync_all();
        stage.pass(seconds(5));
        let left: Vec<usize> = counts.iter().map(|count| count - 1).collect();
        assert_eq!(stage.counts(), left);
    }
    // Of services with one instance each stays what hold (a) keeps.
    let mut stage = stage(&[1; 4]);
    stage.world.instances.clear();
    stage.sync_all();
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![1; 4], Some('a')));
}

#[test]
fn a_mass_that_stays_away_goes_after_ten_minutes() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(595));
    assert_eq!(stage.counts(), [4; 5]);
    stage.pass(seconds(10));
    assert_eq!(stage.counts(), [3; 5]);
}

#[test]
fn a_mass_is_held_for_ever_where_that_is_asked_for() {
    let mut stage = stage(&[4; 5]);
    stage.settings.mass_removal_hold = None;
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [4; 5]);
}

#[test]
fn a_rack_of_a_large_catalog() {
    // Thirty endpoints of three services, but far less than 15 % of all; and no service loses more than half.
    let mut counts = vec![30; 3];
    counts.resize(10, 100);
    let mut stage = stage(&counts);
    for s in 0..3 {
        stage.lose(s, 0..10);
    }
    stage.pass(seconds(5));
    assert_eq!(&stage.counts()[..4], [20, 20, 20, 100]);
}

#[test]
fn everything_deregistered_by_the_agents_themselves() {
    let mut stage = stage(&[4; 5]);
    stage.alive.extend(stage.world.instances.iter().map(|i| i.node.clone()));
    stage.world.instances.clear();
    stage.sync_all();
    assert_eq!(stage.counts(), [0; 5]);
}

#[test]
fn a_dead_rack_is_reaped() {
    let mut stage = stage(&[2; 5]);
    for instance in &mut stage.world.instances {
        instance.checks[0].status = crate::consul::CheckStatus::Critical;
    }
    stage.sync_all();
    stage.pass(seconds(72 * 3600));
    stage.world.instances.clear();
    stage.sync_all();
    let left: usize = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum();
    assert_eq!(left, 0);
}

#[test]
fn consul_comes_back_empty() {
    let mut stage = stage(&[2, 3]);
    stage.pass(MINUTE);
    stage.broken = Some(stage.now);
    stage.world.instances.clear();
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [2, 3]);
    assert_eq!(stage.hold(0), Some('c'));
    // What registers again is normal again …
    stage.gain(0, [0, 1]);
    assert_eq!(stage.hold(0), None);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1, 3]);
    // … and a living agent without the instance proves nothing about what was not seen since.
    stage.alive.extend((0..3).map(|i| format!("vm-1-{i}")));
    stage.sync_all();
    assert_eq!(stage.counts(), [1, 3]);
}

#[test]
fn consul_was_wiped_while_we_were_down() {
    let mut stage = stage(&[2]);
    stage.restart();
    stage.world.instances.clear();
    stage.broken = Some(stage.now);
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
    // Another restart, which doesn't see the break again.
    stage.restart();
    stage.broken = None;
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
}

#[test]
fn a_token_that_lost_its_rights() {
    let mut stage = stage(&[2, 2]);
    let all = std::mem::take(&mut stage.world.instances);
    stage.meta.filtered = true;
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [2, 2]);
    expect![[r#"
        ns/s0
          hold h-cbeb2b (c) until shown again or released: [10.0.0.1 http=80] [10.0.0.2 http=80]
          ConsulPermissionDenied: Consul hides results from our token: what is missing is not removed; the token needs service:read and node:read (consul8s acl-policy)
          RemovalHeld: holding 2 of 2 endpoints that left Consul without a word (h-cbeb2b, no time limit): they stay ready until the source is whole again; release with: consul8s release ns/s0
    "#]].assert_eq(&stage.shown(0));
    // The source is whole again and shows all but one, which is missing from now on only.
    stage.meta.filtered = false;
    stage.world.instances = all[1..].to_vec();
    stage.sync_all();
    assert_eq!(stage.counts(), [2, 2]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1, 2]);
}

#[test]
fn an_anonymous_request_under_default_deny() {
    let mut stage = stage(&[3]);
    stage.meta.anonymous_under_deny = true;
    stage.lose(0, 1..3);
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![3], Some('c')));
}

#[test]
fn a_broken_lineage_outlives_a_source_that_is_hidden_for_a_while() {
    let mut stage = stage(&[2]);
    stage.restart();
    stage.world.instances.clear();
    stage.broken = Some(stage.now);
    stage.sync_all();
    stage.restart();
    stage.broken = None;
    stage.meta.filtered = true;
    stage.sync_all();
    stage.pass(MINUTE);
    stage.meta.filtered = false;
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
}
