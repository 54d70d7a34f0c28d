//! How the hold over registrations ends: shown again, released, or long enough gone; and over a restart.

use expect_test::expect;

use super::mass::{FOUR, THREE_MISSING, THREE_UNLABELLED};
use super::rests;
use crate::kube::ObjectKey;
use crate::to_consul::fixture::World;

#[test]
fn until_they_are_shown_again() {
    rests(
        &[FOUR, THREE_MISSING, FOUR],
        &expect![[r#"
            =
        "#]],
    );
}

#[test]
fn or_released() {
    rests(
        &[FOUR, THREE_MISSING, "release all"],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s0-b74ddad8@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s2@consul8s-me, s2: absent in 2 consistent reads over 2s
            deregister shop.s2-b74ddad8@consul8s-me, s2: absent in 2 consistent reads over 2s
            =
        "#]],
    );
}

#[test]
fn each_for_itself() {
    rests(
        &[FOUR, THREE_MISSING, "release shop/s1"],
        &expect![[r#"
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            =
            shop/s0:
            hold h-7cc090 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s0@consul8s-me: held: h-7cc090
            · shop.s0-b74ddad8@consul8s-me: held: h-7cc090
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
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
    rests(
        &[FOUR, THREE_MISSING, "later 600000"],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s0-b74ddad8@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s2@consul8s-me, s2: absent in 2 consistent reads over 2s
            deregister shop.s2-b74ddad8@consul8s-me, s2: absent in 2 consistent reads over 2s
            =
        "#]],
    );
}

#[test]
fn a_label_that_stays_away_as_long_is_meant() {
    rests(
        &[FOUR, THREE_UNLABELLED, "later 600000"],
        &expect![[r#"
        deregister shop.s2@consul8s-me, s2: intent: no label asks for it
        deregister shop.s2-b74ddad8@consul8s-me, s2: intent: no label asks for it
        =
    "#]],
    );
}

#[test]
fn what_a_hold_let_go_by_time_does_not_hold_the_next() {
    rests(
        &[FOUR, THREE_MISSING, "later 600000", "service shop/s3 nolabel port=http:80 @address=10.0.0.1,10.0.0.2"],
        &expect![[r#"
            deregister shop.s3@consul8s-me, s3: intent: no label asks for it
            deregister shop.s3-b74ddad8@consul8s-me, s3: intent: no label asks for it
            =
        "#]],
    );
}

#[test]
fn a_restart_releases_nothing() {
    let again = format!("restart {THREE_MISSING}");
    rests(
        &[FOUR, THREE_MISSING, &again],
        &expect![[r#"
        =
        shop/s0:
        hold h-9e5428 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
        RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-9e5428
        · shop.s0@consul8s-me: held: h-9e5428
        · shop.s0-b74ddad8@consul8s-me: held: h-9e5428
        shop/s1:
        hold h-9e5428 (too much went within a minute): shop.s1@consul8s-me, shop.s1-b74ddad8@consul8s-me
        RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-9e5428
        · shop.s1@consul8s-me: held: h-9e5428
        · shop.s1-b74ddad8@consul8s-me: held: h-9e5428
        shop/s2:
        hold h-9e5428 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
        RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-9e5428
        · shop.s2@consul8s-me: held: h-9e5428
        · shop.s2-b74ddad8@consul8s-me: held: h-9e5428
    "#]],
    );
}

#[test]
fn a_restart_goes_on_with_the_hold_of_the_lease() {
    // Held since a while: after the two reads of the new process a third one ends it.
    let long = format!("restart\nlater 600000\ncontinue h-3f9a2c 1002000 6 {THREE_MISSING}");
    rests(
        &[FOUR, THREE_MISSING, &long],
        &expect![[r#"
        deregister shop.s0@consul8s-me, s0: absent in 2 consistent reads over 2s
        deregister shop.s0-b74ddad8@consul8s-me, s0: absent in 2 consistent reads over 2s
        deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
        deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
        deregister shop.s2@consul8s-me, s2: absent in 2 consistent reads over 2s
        deregister shop.s2-b74ddad8@consul8s-me, s2: absent in 2 consistent reads over 2s
        =
    "#]],
    );
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
    rests(
        &[
            FOUR,
            THREE_UNLABELLED,
            "service shop/s2 nolabel port=http:80 @address=10.0.0.1,10.0.0.2 @consul8s/allow-removal=h-7cc090",
        ],
        &expect![[r#"
            deregister shop.s2@consul8s-me, s2: intent: no label asks for it
            deregister shop.s2-b74ddad8@consul8s-me, s2: intent: no label asks for it
            =
        "#]],
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
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2",
            THREE_MISSING,
            "lease-release h-000000",
            "lease-release true",
        ],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s0-b74ddad8@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s2@consul8s-me, s2: absent in 2 consistent reads over 2s
            deregister shop.s2-b74ddad8@consul8s-me, s2: absent in 2 consistent reads over 2s
            =
        "#]],
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
