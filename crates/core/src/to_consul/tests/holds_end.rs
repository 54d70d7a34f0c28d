//! How the hold over registrations ends: shown again, released, or long enough gone; and over a restart.

use expect_test::expect;

use super::mass::{ABSENT, FOUR, THREE_MISSING, THREE_UNLABELLED, UNLABELLED, gone, held, rests_with};
use super::rests;
use crate::kube::ObjectKey;
use crate::to_consul::fixture::World;

#[test]
fn until_they_are_shown_again() {
    rests_with(&[FOUR, THREE_MISSING, FOUR], "", "");
}

#[test]
fn not_before_its_time_and_without_a_limit_never() {
    for flags in ["", "flag mass-removal-hold never"] {
        let mut world = World::new();
        for step in [flags, FOUR, THREE_MISSING] {
            world.set(step);
            world.settle();
        }
        world.set(if flags.is_empty() { "later 590000" } else { "later 3600000" });
        assert_eq!(world.settle(), [""; 0], "{flags}");
        assert_eq!(world.ledger.registrations_held(), 6);
    }
}

#[test]
fn after_the_time_one_more_read_must_confirm_it() {
    rests_with(&[FOUR, THREE_MISSING, "later 600000"], &gone(&["s0", "s1", "s2"], ABSENT), "");
}

#[test]
fn a_label_that_stays_away_as_long_is_meant() {
    rests_with(&[FOUR, THREE_UNLABELLED, "later 600000"], &gone(&["s2"], UNLABELLED), "");
}

#[test]
fn what_a_hold_let_go_by_time_does_not_hold_the_next() {
    rests_with(
        &[FOUR, THREE_MISSING, "later 600000", "service shop/s3 nolabel port=http:80 @address=10.0.0.1,10.0.0.2"],
        &gone(&["s3"], UNLABELLED),
        "",
    );
}

#[test]
fn a_restart_releases_nothing() {
    let again = format!("restart {THREE_MISSING}");
    rests_with(&[FOUR, THREE_MISSING, &again], "", &held(&["s0", "s1", "s2"], "h-9e5428"));
}

#[test]
fn a_restart_goes_on_with_the_hold_of_the_lease() {
    // Held since a while: after the two reads of the new process a third one ends it.
    let long = format!("restart\nlater 600000\ncontinue h-3f9a2c 1002000 6 {THREE_MISSING}");
    rests_with(&[FOUR, THREE_MISSING, &long], &gone(&["s0", "s1", "s2"], ABSENT), "");
    let not_long = format!("restart\nlater 60000\ncontinue h-3f9a2c 1002000 6 {THREE_MISSING}");
    let mut world = World::new();
    for step in [FOUR, THREE_MISSING, not_long.as_str()] {
        world.set(step);
        world.settle();
    }
    let held = world.ledger.noted().expect("it is held");
    assert_eq!((held.id.as_str(), held.since.0), ("h-3f9a2c", 1_002_000));
}

#[test]
fn another_process_that_saw_it_too_takes_up_its_id() {
    let mut world = World::new();
    for step in [FOUR, THREE_MISSING, "continue h-3f9a2c 900000 6"] {
        world.set(step);
        world.settle();
    }
    let held = world.ledger.noted().expect("it is held");
    assert_eq!((held.id.as_str(), held.since.0), ("h-3f9a2c", 900_000));
}

#[test]
fn the_id_on_the_service_releases_its_part() {
    rests_with(
        &[
            FOUR,
            THREE_UNLABELLED,
            "service shop/s2 nolabel port=http:80 @address=10.0.0.1,10.0.0.2 @consul8s/allow-removal=h-7cc090",
        ],
        &gone(&["s2"], UNLABELLED),
        "",
    );
}

#[test]
fn until_a_release_marks_that_list() {
    rests(
        &["service shop/web rv=500 port=http:80 @address=10.0.0.1", "missing shop/web list=499 mark=499"],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: absent in 2 consistent reads over 2s
            =
        "#]],
    );
}

#[test]
fn the_lease_releases_all_of_it() {
    rests_with(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2",
            THREE_MISSING,
            "lease-release h-000000",
            "lease-release true",
        ],
        &gone(&["s0", "s1", "s2"], ABSENT),
        "",
    );
}

#[test]
fn a_release_of_an_older_list_says_which_is_to_be_believed() {
    let mut world = World::new();
    world.set("service shop/web rv=500 port=http:80 @address=10.0.0.1");
    world.settle();
    world.set("missing shop/web reads=1000000,1002000 list=499");
    let held = world.plan(&ObjectKey::new("shop", "web")).held.expect("it is held");
    world.set(&format!("lease-release {}", held.hold.id));
    let plan = world.plan(&ObjectKey::new("shop", "web"));
    let released = plan.released.expect("it is released");
    assert_eq!((released.registrations, released.list), (1, Some(499)));
    assert_eq!(plan.changes.len(), 1);
}

#[test]
fn true_on_the_service_counts_only_where_it_came_later() {
    let lose = |with: &str, before: &str| {
        format!(
            "service shop/s0 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 {with} port=http:80 @address=10.0.0.1,10.0.0.2 {before}"
        )
    };
    let asked = "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
                 service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2";
    for (before, goes) in [("", true), ("@consul8s/allow-removal=true", false)] {
        let mut world = World::new();
        world.set(asked);
        world.set(&format!("service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2 {before}"));
        world.settle();
        world.set(&lose("nolabel", "@consul8s/allow-removal=TRUE"));
        let done = world.settle();
        let went = done.iter().any(|line| line.starts_with("deregister shop.s2@"));
        assert_eq!(went, goes, "{done:#?}");
    }
}

#[test]
fn more_than_was_held_is_another_event() {
    let mut world = World::new();
    let more = format!("restart\nlater 600000\ncontinue h-3f9a2c 1002000 5 {THREE_MISSING}");
    for step in [FOUR, more.as_str()] {
        world.set(step);
        world.settle();
    }
    let held = world.ledger.noted().expect("it is held");
    assert!(held.id.as_str() != "h-3f9a2c" && held.since.0 >= 1_600_000, "{held:?}");
}
