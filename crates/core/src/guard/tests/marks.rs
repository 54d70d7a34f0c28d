//! Section 3: what a hold looks like, how it goes on over a restart, and how it is released.

use super::{allow, key, seconds, stage};

#[test]
fn a_restart_continues_a_hold() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(30));
    let (id, writes) = (stage.sync(&key(0)).judged.unwrap().held[0].id.clone(), stage.writes);
    stage.restart();
    stage.sync_all();
    assert_eq!(stage.sync(&key(0)).judged.unwrap().held[0].id, id);
    assert_eq!(stage.writes, writes, "a restart writes nothing");
    stage.pass(seconds(35));
    assert_eq!(stage.counts(), [0], "60 s after it began, not after the restart");
}

#[test]
fn a_restart_continues_a_mass_hold_under_its_id() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(120));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    let writes = stage.writes;
    stage.restart();
    stage.sync_all();
    stage.pass(seconds(120));
    assert_eq!(stage.writes, writes);
    assert!((0..5).all(|s| stage.sync(&key(s)).judged.unwrap().held[0].id == id));
    stage.pass(seconds(400));
    assert_eq!(stage.counts(), [3; 5]);
}

#[test]
fn what_was_missing_while_we_were_down_is_confirmed_like_anything_else() {
    let mut stage = stage(&[3, 1]);
    stage.restart();
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    assert_eq!(stage.counts(), [3, 1]);
    stage.pass(seconds(5));
    assert_eq!((stage.counts(), stage.hold(1)), (vec![2, 1], Some('a')));
}

#[test]
fn a_release_by_id_and_one_that_means_another_hold() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    allow(&mut stage, "h-000000");
    assert_eq!(stage.counts(), [1]);
    allow(&mut stage, id.as_str());
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn true_releases_once_until_it_is_taken_away() {
    let mut stage = stage(&[2]);
    stage.lose(0, 0..2);
    stage.pass(seconds(5));
    allow(&mut stage, "true");
    assert_eq!(stage.counts(), [0]);
    // It stands there still when the next hold begins, over a restart too.
    for restart in [false, true] {
        stage.gain(0, [0]);
        if restart {
            stage.restart();
            stage.sync_all();
        }
        stage.lose(0, [0]);
        stage.pass(seconds(10));
        assert_eq!((stage.counts(), stage.hold(0)), (vec![1], Some('a')), "restart: {restart}");
        stage.pass(seconds(70));
        assert_eq!(stage.counts(), [0]);
        stage.pass(seconds(700));
    }
    stage.gain(0, [0]);
    stage.world.services[0].annotations.clear();
    stage.sync_all();
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    allow(&mut stage, "true");
    assert_eq!(stage.counts(), [0], "taken away in between, it counts again");
}

#[test]
fn a_release_on_the_lease_is_for_all() {
    let mut stage = stage(&[1, 2]);
    stage.meta.filtered = true;
    stage.world.instances.clear();
    stage.sync_all();
    assert_eq!(stage.counts(), [1, 2]);
    stage.lease_release = Some("true".to_owned());
    stage.sync_all();
    assert_eq!(stage.counts(), [0, 0]);
}

#[test]
fn a_release_of_a_mass_hold_on_a_service_releases_its_part() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(10));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    allow(&mut stage, id.as_str());
    assert_eq!(stage.counts(), [3, 4, 4, 4, 4]);
}

#[test]
fn held_endpoints_stay_exactly_as_they_stand_beside_what_changes() {
    let mut stage = stage(&[6]);
    stage.lose(0, 0..6);
    stage.pass(seconds(5));
    let held = stage.world.slices[0].endpoints.clone();
    stage.gain(0, [6]);
    assert_eq!(stage.world.slices[0].endpoints[..6], held[..]);
    assert_eq!(stage.count(0), 7);
}

#[test]
fn an_endpoint_that_a_new_leader_does_not_know_yet_is_no_drift() {
    let mut stage = stage(&[2]);
    let mut endpoint = stage.world.slices[0].endpoints[0].clone();
    "10.9.9.9".clone_into(&mut endpoint.address);
    stage.world.slices[0].endpoints.push(endpoint);
    stage.lead();
    stage.sync_all();
    assert_eq!(stage.counts(), [3], "the leader before us may have had a newer answer");
}

#[test]
fn at_start_nothing_goes_by_absence_before_all_services_were_looked_at() {
    let mut stage = stage(&[4; 5]);
    stage.restart();
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync(&key(0));
    stage.pass(seconds(10));
    assert_eq!(stage.count(0), 4, "two reads agreed, but nobody knows about the others yet");
    stage.sync_all();
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![4; 5], Some('b')));
    // What was held before a restart stays so, also where one Service alone is looked at.
    stage.restart();
    stage.sync(&key(0));
    stage.pass(seconds(20));
    assert_eq!((stage.count(0), stage.hold(0)), (4, Some('b')));
}

#[test]
fn where_one_service_alone_is_looked_at_for_a_while_that_must_do() {
    let mut stage = stage(&[4; 5]);
    stage.restart();
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync(&key(0));
    stage.pass(seconds(20));
    assert_eq!(stage.count(0), 3);
}
