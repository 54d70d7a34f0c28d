//! What goes together with much else, or from an API server that was restored.

use expect_test::expect;

use super::rests;
use crate::kube::ObjectKey;
use crate::to_consul::fixture::World;

#[test]
fn services_that_vanish_together_are_held() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
        ],
        &expect![[r#"
            =
            shop/s0:
            hold h-7cc090 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s0@consul8s-me: held: h-7cc090
            · shop.s0-b74ddad8@consul8s-me: held: h-7cc090
            shop/s1:
            hold h-7cc090 (too much went within a minute): shop.s1@consul8s-me, shop.s1-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s1@consul8s-me: held: h-7cc090
            · shop.s1-b74ddad8@consul8s-me: held: h-7cc090
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn until_they_are_shown_again() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
        ],
        &expect![[r#"
            =
        "#]],
    );
}

#[test]
fn or_released() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
            "release all",
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
fn each_for_itself() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
            "release shop/s1",
        ],
        &expect![[r#"
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            =
            shop/s0:
            hold h-7cc090 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s0@consul8s-me: held: h-7cc090
            · shop.s0-b74ddad8@consul8s-me: held: h-7cc090
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn time_alone_releases_nothing() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
            "later 3600000",
        ],
        &expect![[r#"
            =
            shop/s0:
            hold h-7cc090 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s0@consul8s-me: held: h-7cc090
            · shop.s0-b74ddad8@consul8s-me: held: h-7cc090
            shop/s1:
            hold h-7cc090 (too much went within a minute): shop.s1@consul8s-me, shop.s1-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s1@consul8s-me: held: h-7cc090
            · shop.s1-b74ddad8@consul8s-me: held: h-7cc090
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn a_restart_releases_nothing() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
            "restart
             missing shop/s0
             missing shop/s1
             missing shop/s2",
        ],
        &expect![[r#"
            =
            shop/s0:
            hold h-9e5428 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-9e5428
            · shop.s0@consul8s-me: held: h-9e5428
            · shop.s0-b74ddad8@consul8s-me: held: h-9e5428
            shop/s1:
            hold h-9e5428 (too much went within a minute): shop.s1@consul8s-me, shop.s1-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-9e5428
            · shop.s1@consul8s-me: held: h-9e5428
            · shop.s1-b74ddad8@consul8s-me: held: h-9e5428
            shop/s2:
            hold h-9e5428 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-9e5428): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-9e5428
            · shop.s2@consul8s-me: held: h-9e5428
            · shop.s2-b74ddad8@consul8s-me: held: h-9e5428
        "#]],
    );
}

#[test]
fn two_services_are_no_accident() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1",
        ],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s0-b74ddad8@consul8s-me, s0: absent in 2 consistent reads over 2s
            deregister shop.s1@consul8s-me, s1: absent in 2 consistent reads over 2s
            deregister shop.s1-b74ddad8@consul8s-me, s1: absent in 2 consistent reads over 2s
            =
        "#]],
    );
}

#[test]
fn less_than_a_sixth_is_none_either() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t3 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t4 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t5 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t6 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t7 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t8 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t9 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t10 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t11 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t12 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t13 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t14 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t15 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t16 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t17 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t18 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/t19 port=http:80 @address=10.0.0.1,10.0.0.2",
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
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
fn labels_that_are_lost_are_held_from_the_third_service_on() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "service shop/s0 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 nolabel port=http:80 @address=10.0.0.1,10.0.0.2",
        ],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: intent: no label asks for it
            deregister shop.s0-b74ddad8@consul8s-me, s0: intent: no label asks for it
            deregister shop.s1@consul8s-me, s1: intent: no label asks for it
            deregister shop.s1-b74ddad8@consul8s-me, s1: intent: no label asks for it
            =
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn what_a_watch_saw_deleted_is_not() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "deleted shop/s0
             deleted shop/s1
             deleted shop/s2",
        ],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: intent: Service deleted
            deregister shop.s0-b74ddad8@consul8s-me, s0: intent: Service deleted
            deregister shop.s1@consul8s-me, s1: intent: Service deleted
            deregister shop.s1-b74ddad8@consul8s-me, s1: intent: Service deleted
            deregister shop.s2@consul8s-me, s2: intent: Service deleted
            deregister shop.s2-b74ddad8@consul8s-me, s2: intent: Service deleted
            =
        "#]],
    );
}

#[test]
fn the_id_on_the_service_releases_its_part() {
    rests(
        &[
            "service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2",
            "service shop/s0 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s1 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
             service shop/s2 nolabel port=http:80 @address=10.0.0.1,10.0.0.2",
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
fn what_is_missing_from_an_older_list_is_held() {
    rests(
        &["service shop/web rv=500 port=http:80 @address=10.0.0.1", "missing shop/web list=499"],
        &expect![[r#"
            =
            hold h-8dede2 (missing from a list older than what was registered): shop.web@consul8s-me
            RemovalHeld: holding 1 registration (h-8dede2): the list they are missing from is older than what they were registered from, as after a restore; they stay until they are asked for again or released with: consul8s release h-8dede2
            · shop.web@consul8s-me: held: h-8dede2
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
            "missing shop/s0
             missing shop/s1
             missing shop/s2",
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
