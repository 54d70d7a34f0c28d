//! The check of a registration.

use expect_test::expect;

use super::check;

#[test]
fn an_endpoint_that_serves_is_enough() {
    check(
        &["service shop/web selector port=http:80 @address=10.0.0.7
             slice shop/web 10.1.0.1,unready 10.1.0.2"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.7:80, passing: an endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, passing: an endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn a_terminating_endpoint_does_not_serve() {
    check(
        &[
            "service shop/web selector port=http:80 @address=10.0.0.7
             slice shop/web 10.1.0.1 10.1.0.2",
            "slice shop/web 10.1.0.1,unready 10.1.0.2,terminating",
        ],
        &expect![[r#"
            check shop.web@consul8s-me: passing → critical: no endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, critical: no endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn how_many_serve_is_not_written() {
    check(
        &[
            "service shop/web selector port=http:80 @address=10.0.0.7
             slice shop/web 10.1.0.1 10.1.0.2 10.1.0.3",
            "slice shop/web 10.1.0.1,unready 10.1.0.4",
        ],
        &expect![[r#"
            · shop.web@consul8s-me: registered, passing: an endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn without_slices_a_selector_means_critical() {
    check(
        &["service shop/web selector port=http:80 @address=10.0.0.7"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.7:80, critical: no endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, critical: no endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn empty_slices_mean_critical_also_without_selector() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.7
             slice shop/web"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.7:80, critical: no endpoint of shop/web is serving
            · shop.web@consul8s-me: registered, critical: no endpoint of shop/web is serving
        "#]],
    );
}

#[test]
fn slices_that_consul8s_fills_say_nothing() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.7
             slice shop/web by=controller.consul8s.io 10.9.0.1,unready"],
        &expect![[r#"
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.7:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn each_endpoint_has_its_own() {
    check(
        &[
            "service shop/web selector port=http:80 @address_source=endpoints
             slice shop/web ports=http:8080 10.1.0.1 10.1.0.2",
            "slice shop/web ports=http:8080 10.1.0.1 10.1.0.2,unready",
        ],
        &expect![[r#"
            check shop.web-564a1141@consul8s-me: passing → critical: endpoint 10.1.0.2 of shop/web is not serving
            · shop.web@consul8s-me: registered, passing: endpoint 10.1.0.1 of shop/web is serving
            · shop.web-564a1141@consul8s-me: registered, critical: endpoint 10.1.0.2 of shop/web is not serving
        "#]],
    );
}

#[test]
fn a_node_must_be_ready_and_host_one_that_serves() {
    check(
        &[
            "service shop/web type=NodePort selector port=http:80:30080
             node n1 int=10.0.0.1
             node n2 int=10.0.0.2
             slice shop/web 10.1.0.1,node=n1 10.1.0.2,node=n2",
            "node n1 int=10.0.0.1 notready=5
             slice shop/web 10.1.0.1,node=n1 10.1.0.2,node=n2,unready",
        ],
        &expect![[r#"
            check shop.web@consul8s-me: passing → critical: node n1 is not Ready
            check shop.web-b3cdf8fc@consul8s-me: passing → critical: no endpoint of shop/web on node n2 is serving
            · shop.web@consul8s-me: registered, critical: node n1 is not Ready
            · shop.web-b3cdf8fc@consul8s-me: registered, critical: no endpoint of shop/web on node n2 is serving
        "#]],
    );
}

#[test]
fn more_than_half_of_the_nodes_at_once_is_no_fault_of_the_nodes() {
    check(
        &[
            "service shop/web type=NodePort selector port=http:80:30080
             node n1 int=10.0.0.1
             node n2 int=10.0.0.2
             node n3 int=10.0.0.3
             node n4 int=10.0.0.4
             slice shop/web 10.1.0.1,node=n1 10.1.0.2,node=n2 10.1.0.3,node=n3",
            "node n1 int=10.0.0.1 notready=1000
             node n2 int=10.0.0.2 notready=31000
             node n3 int=10.0.0.3 notready=61000",
        ],
        &expect![[r#"
            · shop.web@consul8s-me: registered, passing: node n1 is Ready and an endpoint of shop/web on it is serving
            · shop.web-b3cdf8fc@consul8s-me: registered, passing: node n2 is Ready and an endpoint of shop/web on it is serving
            · shop.web-d33df690@consul8s-me: registered, passing: node n3 is Ready and an endpoint of shop/web on it is serving
        "#]],
    );
}

#[test]
fn half_of_them_or_one_after_the_other_is() {
    check(
        &[
            "service shop/web type=NodePort selector port=http:80:30080
             node n1 int=10.0.0.1
             node n2 int=10.0.0.2
             node n3 int=10.0.0.3
             node n4 int=10.0.0.4
             slice shop/web 10.1.0.1,node=n1 10.1.0.2,node=n2 10.1.0.3,node=n3",
            "node n1 int=10.0.0.1 notready=1000
             node n2 int=10.0.0.2 notready=31000
             node n3 int=10.0.0.3 notready=61001",
        ],
        &expect![[r#"
            check shop.web@consul8s-me: passing → critical: node n1 is not Ready
            check shop.web-b3cdf8fc@consul8s-me: passing → critical: node n2 is not Ready
            check shop.web-d33df690@consul8s-me: passing → critical: node n3 is not Ready
            · shop.web@consul8s-me: registered, critical: node n1 is not Ready
            · shop.web-b3cdf8fc@consul8s-me: registered, critical: node n2 is not Ready
            · shop.web-d33df690@consul8s-me: registered, critical: node n3 is not Ready
        "#]],
    );
}
