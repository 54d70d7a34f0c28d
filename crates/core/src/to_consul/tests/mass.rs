//! What goes together with much else, or from an API server that was restored.

use expect_test::expect;

use super::rests;

/// Four Services of two registrations each.
pub(super) const FOUR: &str = "
    service shop/s0 port=http:80 @address=10.0.0.1,10.0.0.2
    service shop/s1 port=http:80 @address=10.0.0.1,10.0.0.2
    service shop/s2 port=http:80 @address=10.0.0.1,10.0.0.2
    service shop/s3 port=http:80 @address=10.0.0.1,10.0.0.2";
/// Three of them are missing from a fresh list.
pub(super) const THREE_MISSING: &str = "
    missing shop/s0
    missing shop/s1
    missing shop/s2";
/// Three of them have lost their label.
pub(super) const THREE_UNLABELLED: &str = "
    service shop/s0 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
    service shop/s1 nolabel port=http:80 @address=10.0.0.1,10.0.0.2
    service shop/s2 nolabel port=http:80 @address=10.0.0.1,10.0.0.2";

#[test]
fn services_that_vanish_together_are_held() {
    rests(
        &[FOUR, THREE_MISSING],
        &expect![[r#"
            =
            shop/s0:
            hold h-7cc090 (too much went within a minute): shop.s0@consul8s-me, shop.s0-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s0@consul8s-me: held: h-7cc090
            · shop.s0-b74ddad8@consul8s-me: held: h-7cc090
            shop/s1:
            hold h-7cc090 (too much went within a minute): shop.s1@consul8s-me, shop.s1-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s1@consul8s-me: held: h-7cc090
            · shop.s1-b74ddad8@consul8s-me: held: h-7cc090
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn two_services_are_no_accident() {
    rests(
        &[
            FOUR,
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
            THREE_MISSING,
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
        &[FOUR, THREE_UNLABELLED],
        &expect![[r#"
            deregister shop.s0@consul8s-me, s0: intent: no label asks for it
            deregister shop.s0-b74ddad8@consul8s-me, s0: intent: no label asks for it
            deregister shop.s1@consul8s-me, s1: intent: no label asks for it
            deregister shop.s1-b74ddad8@consul8s-me, s1: intent: no label asks for it
            =
            shop/s2:
            hold h-7cc090 (too much went within a minute): shop.s2@consul8s-me, shop.s2-b74ddad8@consul8s-me
            RemovalHeld: holding 2 registrations (h-7cc090): too many registrations went within a minute; they stay for 10m, or until they are asked for again or released with: consul8s release h-7cc090
            · shop.s2@consul8s-me: held: h-7cc090
            · shop.s2-b74ddad8@consul8s-me: held: h-7cc090
        "#]],
    );
}

#[test]
fn what_a_watch_saw_deleted_is_not() {
    rests(
        &[
            FOUR,
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
