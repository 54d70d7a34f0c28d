//! Names, IDs, ports, meta, and what is frozen.

use expect_test::expect;

use super::check;

#[test]
fn everything_that_is_registered() {
    check(
        &[
            "service shop/web type=LoadBalancer lb=203.0.113.7 port=http:80 port=metrics:9090 @name=shop-web @id=web @port_name=metrics @tags=v2,+blue,,v2 @weight=10 @meta.team=a @meta.port-http=8888",
        ],
        &expect![[r#"
            create node consul8s-me
            register web@consul8s-me as shop-web at 203.0.113.7:9090, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn further_addresses_have_a_hash_and_the_plain_id_waits_for_the_next() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2",
            "service shop/web port=http:80 @address=10.0.0.2",
            "service shop/web port=http:80 @address=10.0.0.3,10.0.0.2",
        ],
        &expect![[r#"
            register shop.web@consul8s-me as web at 10.0.0.3:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web-b74ddad8@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn an_address_that_replaces_another_takes_its_registration_over() {
    check(
        &[
            "service shop/web type=LoadBalancer port=http:80 lb=203.0.113.7",
            "service shop/web type=LoadBalancer port=http:80 lb=203.0.113.8 rv=101",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: address 203.0.113.7:80 → 203.0.113.8:80
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn the_order_of_addresses_moves_nothing() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2",
            "service shop/web port=http:80 @address=10.0.0.2,10.0.0.1",
        ],
        &expect![[r#"
            · shop.web-b74ddad8@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn another_id_is_registered_before_the_old_one_goes() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.1 @id=other",
        ],
        &expect![[r#"
            register other@consul8s-me as web at 10.0.0.1:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            deregister shop.web@consul8s-me, web: moved to other@consul8s-me
            · other@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: goes: moved to other@consul8s-me
        "#]],
    );
}

#[test]
fn another_name_takes_the_check_along() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.1 @name=other",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: name web → other
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_resource_version_is_no_reason_to_write() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "service shop/web port=http:80 @address=10.0.0.1 rv=999"],
        &expect![[r#"
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_service_made_again_takes_its_registration_over() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "service shop/web port=http:80 @address=10.0.0.1 uid=new"],
        &expect![[r#"
            change shop.web@consul8s-me: meta consul8s-uid uid-shop/web → new
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn templates_and_defaults() {
    check(
        &["flag name-template {name}-{namespace}.{cluster}
             flag default-tags k8s,blue
             service shop/a port=http:80 @address=10.0.0.1
             service shop/b port=http:80 @address=10.0.0.2 @tags= @name=b"],
        &expect![[r#"
            shop/a:
            create node consul8s-me
            register shop.a@consul8s-me as a-shop.c1 at 10.0.0.1:80, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            · shop.a@consul8s-me: registered, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            shop/b:
            create node consul8s-me
            register shop.b@consul8s-me as b at 10.0.0.2:80, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            · shop.b@consul8s-me: registered, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_bad_value_freezes_and_the_check_follows() {
    check(
        &[
            "service shop/web selector port=http:80 @address=10.0.0.1 @tags=a
             slice shop/web 10.1.0.1",
            "service shop/web selector port=http:80 @address=10.0.0.1 @tags=b @weight=0
             slice shop/web 10.1.0.1,unready",
        ],
        &expect![[r#"
            InvalidAnnotation: annotation consul8s/service.weight: "0" is not a weight between 1 and 65535; the last valid settings stay in force until it is corrected or removed
            check shop.web@consul8s-me: passing → critical: no endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, critical: no endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn also_after_a_restart() {
    check(
        &[
            "service shop/web selector port=http:80 @address=10.0.0.1 @tags=a
             slice shop/web 10.1.0.1",
            "service shop/web selector port=http:80 @address=10.0.0.9 @tags=b @port_name=nope
             slice shop/web 10.1.0.1,unready
             restart",
        ],
        &expect![[r#"
            PortNameNotFound: annotation consul8s/service.port_name: the Service has no port named "nope": its ports are http; what is registered stays as it is
            check shop.web@consul8s-me: passing → critical: no endpoint of shop/web is serving
            · shop.web@consul8s-me: stays: frozen, only its check follows
        "#]],
    );
}

#[test]
fn frozen_endpoints_follow_each_for_itself_after_a_restart() {
    check(
        &[
            "service shop/web selector port=http:80 @address_source=endpoints
             slice shop/web ports=http:8080 10.1.0.1,pod=a 10.1.0.2,pod=b 10.1.0.3",
            "service shop/web selector port=http:80 @address_source=endpoints @weight=0
             slice shop/web ports=http:8080 10.1.0.1,pod=a,unready 10.1.0.2,pod=b
             restart",
        ],
        &expect![[r#"
            InvalidAnnotation: annotation consul8s/service.weight: "0" is not a weight between 1 and 65535; the last valid settings stay in force until it is corrected or removed
            check shop.web@consul8s-me: passing → critical: pod a of shop/web is not serving
            check shop.web-d9781818@consul8s-me: passing → critical: endpoint 10.1.0.3 of shop/web is in no EndpointSlice
            · shop.web@consul8s-me: stays: frozen, only its check follows
            · shop.web-564a1141@consul8s-me: stays: frozen, only its check follows
            · shop.web-d9781818@consul8s-me: stays: frozen, only its check follows
        "#]],
    );
}

#[test]
fn suspended_stops_everything() {
    check(
        &[
            "service shop/web selector port=http:80 @address=10.0.0.1
             slice shop/web 10.1.0.1",
            "service shop/web selector port=http:80 @address=10.0.0.2 @consul8s/suspend=true
             slice shop/web 10.1.0.1,unready",
        ],
        &expect![[r#"
            · shop.web@consul8s-me: stays: suspended
        "#]],
    );
}

#[test]
fn labels_that_contradict_each_other_freeze() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.2 label=nonsense
             restart",
        ],
        &expect![[r#"
            UnknownSource: the label consul8s_source=nonsense is none of consul, kubernetes, none; what is published stays as it is until it is corrected or removed
            · shop.web@consul8s-me: stays: frozen, only its check follows
        "#]],
    );
}
