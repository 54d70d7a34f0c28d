//! When a registration goes.

use expect_test::expect;

use super::check;

#[test]
fn deleted_under_a_running_watch() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1,10.0.0.2", "deleted shop/web"],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: Service deleted
            deregister shop.web-b74ddad8@consul8s-me, web: intent: Service deleted
            · shop.web@consul8s-me: goes: intent: Service deleted
            · shop.web-b74ddad8@consul8s-me: goes: intent: Service deleted
        "#]],
    );
}

#[test]
fn being_deleted() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.1 deleting",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: Service deleted
            · shop.web@consul8s-me: goes: intent: Service deleted
        "#]],
    );
}

#[test]
fn suspended_and_deleted() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.1 @consul8s/suspend=true",
            "deleted shop/web",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: Service deleted
            · shop.web@consul8s-me: goes: intent: Service deleted
        "#]],
    );
}

#[test]
fn label_gone_or_turned() {
    check(
        &[
            "service shop/a port=http:80 @address=10.0.0.1
             service shop/b port=http:80 @address=10.0.0.1
             service shop/c port=http:80 @address=10.0.0.1",
            "service shop/a port=http:80 @address=10.0.0.1 nolabel
             service shop/b port=http:80 @address=10.0.0.1 label=none
             service shop/c port=http:80 label=consul",
        ],
        &expect![[r#"
            shop/a:
            deregister shop.a@consul8s-me, a: intent: no label asks for it
            · shop.a@consul8s-me: goes: intent: no label asks for it
            shop/b:
            deregister shop.b@consul8s-me, b: intent: consul8s_source: none
            · shop.b@consul8s-me: goes: intent: consul8s_source: none
            shop/c:
            deregister shop.c@consul8s-me, c: intent: the label says the other direction
            · shop.c@consul8s-me: goes: intent: the label says the other direction
        "#]],
    );
}

#[test]
fn remove_registration() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "service shop/web port=http:80 @address=10.0.0.1 @remove_registration=TRUE",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: remove_registration
            · shop.web@consul8s-me: goes: intent: remove_registration
        "#]],
    );
}

#[test]
fn out_of_scope() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "flag namespace blog
             missing shop/web",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: namespace out of scope
            · shop.web@consul8s-me: goes: intent: namespace out of scope
        "#]],
    );
}

#[test]
fn an_address_gone() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2",
            "service shop/web port=http:80 @address=10.0.0.1",
        ],
        &expect![[r#"
            deregister shop.web-b74ddad8@consul8s-me, web: intent: address no longer given
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web-b74ddad8@consul8s-me: goes: intent: address no longer given
        "#]],
    );
}

#[test]
fn the_last_address_gone() {
    check(
        &[
            "service shop/web type=LoadBalancer port=http:80 lb=203.0.113.7",
            "service shop/web type=LoadBalancer port=http:80",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: address no longer given
            NoAddress: the load balancer is still pending: status.loadBalancer has no address yet; give one in consul8s/service.address or domainName, or set consul8s/service.address_source to cluster_ip (reachable where cluster IPs are routed) or endpoints (the pods' own)
            · shop.web@consul8s-me: goes: intent: address no longer given
        "#]],
    );
}

#[test]
fn a_pod_gone_or_terminating() {
    check(
        &[
            "service shop/web selector port=http:80 @address_source=endpoints
             slice shop/web ports=http:8080 10.1.0.1 10.1.0.2 10.1.0.3",
            "slice shop/web ports=http:8080 10.1.0.1 10.1.0.2,terminating",
        ],
        &expect![[r#"
            deregister shop.web-564a1141@consul8s-me, web: intent: address no longer given
            deregister shop.web-d9781818@consul8s-me, web: intent: address no longer given
            · 10.1.0.2: left out: terminating
            · shop.web@consul8s-me: registered, passing: endpoint 10.1.0.1 of shop/web is serving
            · shop.web-564a1141@consul8s-me: goes: intent: address no longer given
            · shop.web-d9781818@consul8s-me: goes: intent: address no longer given
        "#]],
    );
}

#[test]
fn scaled_to_zero() {
    check(
        &[
            "service shop/web selector port=http:80 @address_source=endpoints
             slice shop/web ports=http:8080 10.1.0.1 10.1.0.2",
            "slice shop/web",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: address no longer given
            deregister shop.web-564a1141@consul8s-me, web: intent: address no longer given
            · shop.web@consul8s-me: goes: intent: address no longer given
            · shop.web-564a1141@consul8s-me: goes: intent: address no longer given
        "#]],
    );
}

#[test]
fn no_slices_at_all_prove_nothing() {
    check(
        &[
            "service shop/web selector port=http:80 @address_source=endpoints
             slice shop/web ports=http:8080 10.1.0.1 10.1.0.2",
            "noslice shop/web",
        ],
        &expect![[r#"
            check shop.web@consul8s-me: passing → critical: endpoint 10.1.0.1 of shop/web is in no EndpointSlice
            check shop.web-564a1141@consul8s-me: passing → critical: endpoint 10.1.0.2 of shop/web is in no EndpointSlice
            · shop.web@consul8s-me: stays: its Service has no EndpointSlice at all, which proves nothing
            · shop.web-564a1141@consul8s-me: stays: its Service has no EndpointSlice at all, which proves nothing
        "#]],
    );
}

#[test]
fn on_delete_keep() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1 @on_delete=keep", "missing shop/web"],
        &expect![[r#"
            · shop.web@consul8s-me: stays: on_delete: keep
        "#]],
    );
}

#[test]
fn on_delete_keep_is_taken_back() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1 @on_delete=keep",
            "deleted shop/web",
            "service shop/web uid=new port=http:80 @address=10.0.0.1",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: meta consul8s-on-delete keep → -; meta consul8s-uid uid-shop/web → new
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn on_delete_keep_does_not_keep_an_unlabelled_one() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1 @on_delete=keep",
            "service shop/web port=http:80 @address=10.0.0.1 @on_delete=keep nolabel",
        ],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: intent: no label asks for it
            · shop.web@consul8s-me: goes: intent: no label asks for it
        "#]],
    );
}

#[test]
fn missing_is_read_by_name_first() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "missing shop/web list=100"],
        &expect![[r#"
            need a read of Service shop/web at 1000000ms
            · shop.web@consul8s-me: stays: its Service is missing, to be confirmed
        "#]],
    );
}

#[test]
fn then_a_second_time() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "missing shop/web reads=999000 list=100"],
        &expect![[r#"
            need a read of Service shop/web at 1001000ms
            · shop.web@consul8s-me: stays: its Service is missing, to be confirmed
        "#]],
    );
}

#[test]
fn reads_too_close_or_too_far_apart_do_not_count() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "missing shop/web reads=990000,994001,996000 list=100"],
        &expect![[r#"
            need a read of Service shop/web at 1000000ms
            · shop.web@consul8s-me: stays: its Service is missing, to be confirmed
        "#]],
    );
}

#[test]
fn two_reads_confirm() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1", "missing shop/web reads=990000,997000,999100 list=100"],
        &expect![[r#"
            deregister shop.web@consul8s-me, web: absent in 2 consistent reads over 2s100ms
            · shop.web@consul8s-me: goes: absent in 2 consistent reads over 2s100ms
        "#]],
    );
}
