//! `rules:` and `--policy upsert-only`.

use expect_test::expect;

use super::rests;

#[test]
fn a_rule_acts_at_once() {
    rests(
        &["service shop/web port=http:80 @address=10.0.0.1", "flag deny w*"],
        &expect![[r#"
        deregister shop.web@consul8s-me, web: intent: forbidden by a rule
        =
        NotAllowed: namespace shop may not register under the Consul name "web": rule 1 (namespaces: *) denies it in to_consul.deny by "w*". Use a name that is allowed, or have the administrator of consul8s change `rules:` in its configuration file
    "#]],
    );
}

#[test]
fn also_on_a_service_that_is_frozen_after_a_restart() {
    rests(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "restart
             service shop/web port=http:80 @address=10.0.0.1 @weight=none
             flag deny w*",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: forbidden by a rule
            =
            InvalidAnnotation: annotation consul8s/service.weight: "none" is not a weight between 1 and 65535; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
}

#[test]
fn also_on_a_service_that_is_suspended() {
    rests(
        &[
            "service shop/web port=http:80 @address=10.0.0.1
             service shop/api port=http:80 @address=10.0.0.2",
            "service shop/web port=http:80 @address=10.0.0.1 @name=allowed @consul8s/suspend=true
             service shop/api port=http:80 @address=10.0.0.2 @consul8s/suspend=true
             flag deny w*",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: forbidden by a rule
            =
            shop/api:
            · shop.api@consul8s-me: stays: suspended
        "#]],
    );
}

#[test]
fn upsert_only_keeps_what_nobody_asks_for() {
    rests(
        &[
            "flag policy upsert-only
             service shop/web port=http:80 @address=10.0.0.1
             service shop/db port=http:80 @address=10.0.0.2,10.0.0.3
             service shop/api port=http:80 @address=10.0.0.4",
            "deleted shop/web
             service shop/db port=http:80 @address=10.0.0.3,10.0.0.5
             service shop/api port=http:80 label=none",
        ],
        &expect![[r#"
            change shop.db@consul8s-me: address 10.0.0.2:80 → 10.0.0.5:80
            =
            shop/api:
            · shop.api@consul8s-me: stays: --policy upsert-only removes nothing
            shop/web:
            · shop.web@consul8s-me: stays: --policy upsert-only removes nothing
        "#]],
    );
}
