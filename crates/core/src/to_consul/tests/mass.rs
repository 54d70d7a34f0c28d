//! What goes together with much else, or from an API server that was restored.

use expect_test::expect;

use super::{rested, rests};

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

/// Why they go.
pub(super) const ABSENT: &str = "absent in 2 consistent reads over 2s";
pub(super) const UNLABELLED: &str = "intent: no label asks for it";
pub(super) const DELETED: &str = "intent: Service deleted";

/// The changes that take both registrations of these away.
pub(super) fn gone(services: &[&str], why: &str) -> String {
    let both = |name: &&str| {
        ["", "-b74ddad8"]
            .map(|further| format!("deregister shop.{name}{further}@consul8s-me, {name}: {why}\n"))
            .concat()
    };
    services.iter().map(both).collect()
}

/// What is shown of these while both registrations of each are held.
pub(super) fn held(services: &[&str], id: &str) -> String {
    let both = |name: &&str| {
        let (one, two) = (format!("shop.{name}@consul8s-me"), format!("shop.{name}-b74ddad8@consul8s-me"));
        format!(
            "shop/{name}:\nhold {id} (too much went within a minute): {one}, {two}\n\
             RemovalHeld: holding 2 registrations ({id}): too many registrations went within a minute; they stay for 10m, or until they \
             are asked for again or released with: consul8s release {id}\n\
             · {one}: held: {id}\n· {two}: held: {id}\n"
        )
    };
    services.iter().map(both).collect()
}

/// What is done, and how it then looks.
pub(super) fn rests_with(steps: &[&str], done: &str, shown: &str) {
    assert_eq!(rested(steps), format!("{done}=\n{shown}"));
}

#[test]
fn services_that_vanish_together_are_held() {
    rests_with(&[FOUR, THREE_MISSING], "", &held(&["s0", "s1", "s2"], "h-7cc090"));
}

#[test]
fn two_services_are_no_accident() {
    rests_with(
        &[
            FOUR,
            "missing shop/s0
             missing shop/s1",
        ],
        &gone(&["s0", "s1"], ABSENT),
        "",
    );
}

#[test]
fn less_than_a_sixth_is_none_either() {
    rests_with(
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
        &gone(&["s0", "s1", "s2"], ABSENT),
        "",
    );
}

#[test]
fn labels_that_are_lost_are_held_from_the_third_service_on() {
    rests_with(&[FOUR, THREE_UNLABELLED], &gone(&["s0", "s1"], UNLABELLED), &held(&["s2"], "h-7cc090"));
}

#[test]
fn what_a_watch_saw_deleted_is_not() {
    rests_with(
        &[
            FOUR,
            "deleted shop/s0
             deleted shop/s1
             deleted shop/s2",
        ],
        &gone(&["s0", "s1", "s2"], DELETED),
        "",
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
