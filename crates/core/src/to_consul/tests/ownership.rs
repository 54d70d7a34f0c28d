//! Whose a name, an ID and a node is.

use expect_test::expect;

use super::{check, rests};

#[test]
fn a_name_is_for_one_namespace_and_the_older_keeps_it() {
    check(
        &["service shop/web created=2 port=http:80 @address=10.0.0.1
             service blog/web created=1 port=http:80 @address=10.0.0.2"],
        &expect![[r#"
            blog/web:
            create node consul8s-me
            register blog.web@consul8s-me as web at 10.0.0.2:80, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            · blog.web@consul8s-me: registered, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            shop/web:
            SharedName: the Consul name "web" is that of the Service blog/web, which had it first; to share it, both must say so in consul8s/service.name, or give another name there
        "#]],
    );
}

#[test]
fn unless_both_say_so() {
    check(
        &["service shop/web created=2 port=http:80 @address=10.0.0.1 @name=web
             service blog/web created=1 port=http:80 @address=10.0.0.2 @name=web"],
        &expect![[r#"
            blog/web:
            create node consul8s-me
            register blog.web@consul8s-me as web at 10.0.0.2:80, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            · blog.web@consul8s-me: registered, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            shop/web:
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.1:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn one_alone_can_not_say_so() {
    check(
        &["service shop/web created=2 port=http:80 @address=10.0.0.1 @name=web
             service blog/web created=1 port=http:80 @address=10.0.0.2"],
        &expect![[r#"
            blog/web:
            create node consul8s-me
            register blog.web@consul8s-me as web at 10.0.0.2:80, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            · blog.web@consul8s-me: registered, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            shop/web:
            SharedName: the Consul name "web" is that of the Service blog/web, which had it first; to share it, both must say so in consul8s/service.name, or give another name there
        "#]],
    );
}

#[test]
fn in_one_namespace_a_name_may_be_shared() {
    check(
        &["service shop/web created=2 port=http:80 @address=10.0.0.1
             service shop/web2 created=1 port=http:80 @address=10.0.0.2 @name=web"],
        &expect![[r#"
            shop/web:
            create node consul8s-me
            register shop.web@consul8s-me as web at 10.0.0.1:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            shop/web2:
            create node consul8s-me
            register shop.web2@consul8s-me as web at 10.0.0.2:80, passing: shop/web2 has neither selector nor EndpointSlices: nothing to judge by
            · shop.web2@consul8s-me: registered, passing: shop/web2 has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn of_two_services_with_one_id_the_older_has_it() {
    check(
        &["service shop/a created=2 port=http:80 @address=10.0.0.1 @id=x
             service shop/b created=1 port=http:80 @address=10.0.0.2 @id=x"],
        &expect![[r#"
            shop/a:
            OwnershipConflict: the ID "x" is that of the Service shop/b, which had it first; give another one in consul8s/service.id
            shop/b:
            create node consul8s-me
            register x@consul8s-me as b at 10.0.0.2:80, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            · x@consul8s-me: registered, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn but_who_stands_under_it_keeps_it() {
    check(
        &[
            "service shop/b created=2 port=http:80 @address=10.0.0.1 @id=x",
            "service shop/a created=1 port=http:80 @address=10.0.0.2 @id=x",
        ],
        &expect![[r#"
            shop/a:
            OwnershipConflict: the ID "x" is that of the Service shop/b, which had it first; give another one in consul8s/service.id
            · x@consul8s-me: registered, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn an_id_that_still_stands_for_a_lost_service_is_waited_for() {
    check(
        &[
            "service shop/b port=http:80 @address=10.0.0.1 @id=x",
            "missing shop/b
             service shop/a port=http:80 @address=10.0.0.2 @id=x",
        ],
        &expect![[r#"
            shop/a:
            OwnershipConflict: the ID of x@consul8s-me still stands for shop/b; it is taken as soon as that is removed
            · x: not registered: the ID is taken
            shop/b:
            need a read of Service shop/b at 1000000ms
            · x@consul8s-me: stays: its Service is missing, to be confirmed
        "#]],
    );
}

#[test]
fn an_id_of_somebody_else_on_our_node_stays_theirs() {
    check(
        &[
            "service shop/other port=http:80 @address=10.0.0.9",
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2
             consul consul8s-me shop.web=x,10.9.9.9,80,consul8s-owner:somebody",
        ],
        &expect![[r#"
            · shop.other@consul8s-me: registered, passing: shop/other has neither selector nor EndpointSlices: nothing to judge by
            shop/web:
            register shop.web-b74ddad8@consul8s-me as web at 10.0.0.2:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            OwnershipConflict: the ID of shop.web@consul8s-me was registered by somebody else and stays theirs; give another one in consul8s/service.id
            · shop.web: not registered: the ID is taken
            · shop.web-b74ddad8@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn what_lost_our_mark_is_no_longer_ours() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "consul consul8s-me shop.web=web,10.0.0.1,80,external-k8s-ns:shop",
        ],
        &expect![[r#"
            OwnershipConflict: the ID of shop.web@consul8s-me was registered by somebody else and stays theirs; give another one in consul8s/service.id
            · shop.web: not registered: the ID is taken
        "#]],
    );
}

#[test]
fn what_only_kept_our_mark_is_mended() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "consul consul8s-me shop.web=web,10.6.6.6,81,consul8s-owner:me",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: address 10.6.6.6:81 → 10.0.0.1:80; meta consul8s-cluster - → c1; meta consul8s-uid - → uid-shop/web; meta external-k8s-ns - → shop; meta external-k8s-ref-kind - → Service; meta external-k8s-ref-name - → web; meta external-source - → kubernetes; meta port-http - → 80
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn an_edited_registration_is_mended() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1",
            "consul consul8s-me shop.web=web,10.6.6.6,80,consul8s-owner:me,external-k8s-ns:shop,external-k8s-ref-kind:Service,external-k8s-ref-name:web,extra:x",
        ],
        &expect![[r#"
            change shop.web@consul8s-me: address 10.6.6.6:80 → 10.0.0.1:80; meta consul8s-cluster - → c1; meta consul8s-uid - → uid-shop/web; meta external-source - → kubernetes; meta extra x → -; meta port-http - → 80
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_node_of_somebody_else_blocks_everything() {
    check(
        &[
            "flag owner me",
            "service shop/web port=http:80 @address=10.0.0.1
             service shop/x nolabel port=http:80
             consul consul8s-me #consul8s-owner:me #consul8s-cluster-uid:c2 #consul8s-installation:default/consul8s at=127.0.0.1 shop.y=y,10.0.0.1,80,consul8s-owner:me,external-k8s-ns:shop,external-k8s-ref-name:y",
        ],
        &expect![[r#"
            shop/web:
            blocked, OwnershipConflict: Consul node consul8s-me belongs to owner me, cluster c2, installation default/consul8s; we are me, c1, default/consul8s: nothing is registered; choose another --consul-node-name or --owner-id, or make it ours with --take-over
            shop/y:
            blocked, OwnershipConflict: Consul node consul8s-me belongs to owner me, cluster c2, installation default/consul8s; we are me, c1, default/consul8s: nothing is registered; choose another --consul-node-name or --owner-id, or make it ours with --take-over
        "#]],
    );
}

#[test]
fn an_agents_node_is_not_even_taken_over() {
    check(
        &[
            "flag owner me",
            "service shop/web port=http:80 @address=10.0.0.1
             flag take-over
             consul consul8s-me #consul8s-owner:old at=10.0.0.9 agent theirs=theirs,10.0.0.9,80",
        ],
        &expect![[r#"
            blocked, OwnershipConflict: Consul node consul8s-me is an agent's: nothing is registered on it, not even with --take-over; choose another --consul-node-name
        "#]],
    );
}

#[test]
fn until_it_is_taken_over() {
    check(
        &[
            "flag owner me",
            "service shop/web port=http:80 @address=10.0.0.1
             flag take-over
             consul consul8s-me #consul8s-owner:old #consul8s-cluster-uid:c2 #consul8s-installation:x/y at=127.0.0.1 shop.web=web,10.0.0.1,80,consul8s-owner:old,external-k8s-ns:shop,external-k8s-ref-name:web shop.y=y,10.0.0.1,80,consul8s-owner:old,external-k8s-ns:shop,external-k8s-ref-name:y",
        ],
        &expect![[r#"
            shop/web:
            take over node consul8s-me
            change shop.web@consul8s-me: meta consul8s-cluster - → c1; meta consul8s-owner old → me; meta consul8s-uid - → uid-shop/web; meta external-k8s-ref-kind - → Service; meta external-source - → kubernetes; meta port-http - → 80; no check → passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            shop/y:
            take over node consul8s-me
            need a read of Service shop/y at 1000000ms
            · shop.y@consul8s-me: stays: its Service is missing, to be confirmed
        "#]],
    );
}

#[test]
fn a_name_that_stands_is_kept_also_against_an_older_service() {
    check(
        &[
            "service shop/web created=2 port=http:80 @address=10.0.0.1",
            "service blog/old created=1 port=http:80 @name=web @address=10.0.0.2",
        ],
        &expect![[r#"
            blog/old:
            SharedName: the Consul name "web" is that of the Service shop/web, which had it first; to share it, both must say so in consul8s/service.name, or give another name there
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn when_it_is_gone_the_other_one_gets_it() {
    rests(
        &[
            "service shop/web created=2 port=http:80 @address=10.0.0.1 @id=x",
            "service blog/web created=1 port=http:80 @address=10.0.0.2 @id=x",
            "deleted shop/web",
        ],
        &expect![[r#"
            deregister x@consul8s-me, web: intent: Service deleted
            register x@consul8s-me as web at 10.0.0.2:80, passing: blog/web has neither selector nor EndpointSlices: nothing to judge by
            =
        "#]],
    );
}

#[test]
fn an_id_given_up_is_taken_without_a_gap() {
    rests(
        &[
            "service shop/a port=http:80 @address=10.0.0.1 @id=x",
            "service shop/a port=http:80 @address=10.0.0.1 @id=y
             service shop/0 port=http:80 @address=10.0.0.2 @id=x",
        ],
        &expect![[r#"
            register y@consul8s-me as a at 10.0.0.1:80, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            deregister x@consul8s-me, a: moved to y@consul8s-me
            register x@consul8s-me as 0 at 10.0.0.2:80, passing: shop/0 has neither selector nor EndpointSlices: nothing to judge by
            =
        "#]],
    );
}

#[test]
fn a_frozen_service_keeps_its_name_over_a_restart() {
    rests(
        &[
            "service shop/web created=2 port=http:80 @address=10.0.0.1",
            "service shop/web created=2 port=http:80 @address=10.0.0.1 @weight=0
             service blog/web created=1 port=http:80 @address=10.0.0.2
             restart",
        ],
        &expect![[r#"
            =
            blog/web:
            SharedName: the Consul name "web" is that of the Service shop/web, which had it first; to share it, both must say so in consul8s/service.name, or give another name there
            shop/web:
            InvalidAnnotation: annotation consul8s/service.weight: "0" is not a weight between 1 and 65535; the last valid settings stay in force until it is corrected or removed
            · shop.web@consul8s-me: stays: frozen, only its check follows
        "#]],
    );
}

#[test]
fn what_is_to_get_a_taken_id_stays_under_its_old_one() {
    check(
        &[
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2
             consul consul8s-me x=x,10.9.9.9,80,consul8s-owner:somebody #consul8s-owner:me #consul8s-cluster-uid:c1 #consul8s-installation:default/consul8s",
            "service shop/web port=http:80 @address=10.0.0.1,10.0.0.2 @id=x",
        ],
        &expect![[r#"
            register x-b74ddad8@consul8s-me as web at 10.0.0.2:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            deregister shop.web-b74ddad8@consul8s-me, web: moved to x-b74ddad8@consul8s-me
            OwnershipConflict: the ID of x@consul8s-me was registered by somebody else and stays theirs; give another one in consul8s/service.id
            · x: not registered: the ID is taken
            · x-b74ddad8@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: stays: the ID it is to get is taken
            · shop.web-b74ddad8@consul8s-me: goes: moved to x-b74ddad8@consul8s-me
        "#]],
    );
}

#[test]
fn two_services_may_exchange_their_ids() {
    rests(
        &[
            "service shop/a created=1 port=http:80 @address=10.0.0.1 @id=x
             service shop/b created=2 port=http:80 @address=10.0.0.2 @id=y",
            "service shop/a created=1 port=http:80 @address=10.0.0.1 @id=y
             service shop/b created=2 port=http:80 @address=10.0.0.2 @id=x",
        ],
        &expect![[r#"
            deregister y@consul8s-me, b: intent: another Service has the name or the ID
            register y@consul8s-me as a at 10.0.0.1:80, passing: shop/a has neither selector nor EndpointSlices: nothing to judge by
            deregister x@consul8s-me, a: moved to y@consul8s-me
            register x@consul8s-me as b at 10.0.0.2:80, passing: shop/b has neither selector nor EndpointSlices: nothing to judge by
            =
        "#]],
    );
}

#[test]
fn names_that_differ_only_in_case_are_one_as_consul_has_it() {
    check(
        &["service shop/web created=1 port=http:80 @address=10.0.0.1 @name=Payments
             service blog/payments created=2 port=http:80 @address=10.0.0.2"],
        &expect![[r#"
            blog/payments:
            SharedName: the Consul name "payments" is that of the Service shop/web, which had it first; to share it, both must say so in consul8s/service.name, or give another name there
            shop/web:
            create node consul8s-me
            register shop.web@consul8s-me as Payments at 10.0.0.1:80, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
}

#[test]
fn a_service_that_another_installation_has_registered_is_left_to_it() {
    check(
        &["service shop/web port=http:80 @address=10.0.0.1
           elsewhere shop/web you"],
        &expect![[r#"
            OwnershipConflict: another installation in this cluster (owner you) has registered this Service as shop/web@theirs; let only one have the namespace shop in its scope
        "#]],
    );
}

#[test]
fn where_both_have_registered_it_the_smaller_owner_id_keeps_it() {
    let service = "service shop/web port=http:80 @address=10.0.0.1";
    check(
        &[service, "elsewhere shop/web you"],
        &expect![[r#"
            · shop.web@consul8s-me: registered, passing: shop/web has neither selector nor EndpointSlices: nothing to judge by
        "#]],
    );
    check(
        &[service, "elsewhere shop/web he"],
        &expect![[r#"
        deregister shop.web@consul8s-me, web: intent: another installation has registered the Service
        OwnershipConflict: another installation in this cluster (owner he) has registered this Service as shop/web@theirs; let only one have the namespace shop in its scope
        · shop.web@consul8s-me: goes: intent: another installation has registered the Service
    "#]],
    );
    // One of them is smaller than ours.
    check(
        &[service, "elsewhere shop/web you", "elsewhere shop/web he"],
        &expect![[r#"
        deregister shop.web@consul8s-me, web: intent: another installation has registered the Service
        OwnershipConflict: another installation in this cluster (owner he) has registered this Service as shop/web@theirs; let only one have the namespace shop in its scope
        · shop.web@consul8s-me: goes: intent: another installation has registered the Service
    "#]],
    );
    check(
        &[service, "flag policy upsert-only\nelsewhere shop/web he"],
        &expect![[r#"
        OwnershipConflict: another installation in this cluster (owner he) has registered this Service as shop/web@theirs; let only one have the namespace shop in its scope
        · shop.web@consul8s-me: stays: --policy upsert-only removes nothing
    "#]],
    );
}
