//! Slices: ours, and those of others.

use expect_test::expect;

use super::{check, plan_of, stage};

#[test]
fn both_families_and_different_ports_go_into_different_slices() {
    check(
        "kube:   service shop/foo source=consul families=6,4 port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing
                 b@vm name=foo 10.0.0.2:8081 passing
                 c@vm name=foo [2001:db8:0::1]:8080 passing",
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 http=8080]
              b@vm: ready [10.0.0.2 http=8081]
              c@vm: ready [2001:db8::1 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready
            create slice shop/foo-5a926e9490-1 IPv6 http=8080/TCP
              2001:db8::1 ready
            create slice shop/foo-9d944f1b9b-1 IPv4 http=8081/TCP
              10.0.0.2 ready
        "#]],
    );
}

#[test]
fn nothing_to_publish_is_one_empty_slice() {
    check(
        "kube: service shop/foo source=consul port http 80",
        expect![[r#"
            shop/foo
              NoHealthyInstances: Consul service foo has no healthy instance that can be published (0 instances, 0 published as not ready); register it, or see whether the Service asks for the right one
            create slice shop/foo-2674cbe878-1 IPv4
              no endpoint
        "#]],
    );
    check(
        "kube:   service shop/foo source=consul headless families=6 port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing",
        expect![[r#"
            shop/foo
              a@vm: dropped: family [10.0.0.1 http=8080]
              NoHealthyInstances: Consul service foo has no healthy instance that can be published (1 instance, 0 published as not ready); see its checks in Consul, and here what was left out
            create slice shop/foo-4204e6f120-1 IPv6
              no endpoint
        "#]],
    );
}

#[test]
fn zones_and_hints() {
    check(
        "kube:   service shop/foo source=consul zone-aware port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing zone=z1
                 b@vm name=foo 10.0.0.2:8080 passing meta:zone=z2",
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 http=8080]
              b@vm: ready [10.0.0.2 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready zone=z1 hints=z1
              10.0.0.2 ready zone=z2 hints=z2
        "#]],
    );
    check(
        "kube:   service shop/foo source=consul zone-aware port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing zone=z1
                 b@vm name=foo 10.0.0.2:8080 passing zone=\"no label value\"",
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 http=8080]
              b@vm: ready [10.0.0.2 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready zone=z1
              10.0.0.2 ready
        "#]],
    );
}

/// All or none counts what only stays as well: kube-proxy looks at every ready endpoint.
#[test]
fn hints_count_what_is_kept() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul zone-aware port http 80
         consul: a@vm-1 name=foo 10.0.0.1:8080 passing zone=z1
                 b@vm-2 name=foo 10.0.0.2:8080 passing zone=z2",
    );
    let hints = |stage: &crate::world::Stage| -> Vec<String> {
        let endpoints = stage.world.slices.iter().flat_map(|slice| &slice.endpoints);
        endpoints.map(|endpoint| endpoint.hint_zones.join(",")).collect()
    };
    stage.sync_all();
    assert_eq!(hints(&stage), ["z1", "z2"]);
    // One leaves without a word and is kept for the moment; the other gets a place without a zone.
    stage.world.instances.remove(1);
    stage.world.instances[0].zone = None;
    let judged = stage.sync_all().remove(0).judged.unwrap();
    assert_eq!(judged.kept.len(), 1);
    assert_eq!(hints(&stage), ["", ""]);
    stage.world.instances[0].zone = Some("z1".to_owned());
    stage.sync_all();
    assert_eq!(hints(&stage), ["z1", "z2"]);
    stage.world.services[0].traffic_distribution = None;
    stage.sync_all();
    assert_eq!(hints(&stage), ["", ""], "it no longer asks");
}

#[test]
fn warnings_do_not_stop_anything() {
    check(
        "kube:   service shop/foo source=consul local port http 80 port metrics 9100
                 slice foo-x for shop/foo manager=somebody.else ports=http=80 10.9.9.9
         consul: a@vm name=foo 10.0.0.1:8080 passing",
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 http=8080,metrics=8080]
              UnmappedPorts: the Service ports http, metrics lead to the one port that an instance has (1 of 1 instance); say which with consul8s/service.ports, as in metrics=meta:KEY
              LocalTrafficPolicy: internalTrafficPolicy: Local drops all traffic: endpoints outside the cluster are on no node; use Cluster
              ForeignEndpoints: slices of other managers with ready endpoints stand beside ours, and share the traffic (1: foo-x of somebody.else); delete them, or take the Service from what makes them
            create slice shop/foo-f0bf97b593-1 IPv4 http=8080/TCP metrics=8080/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn another_installations_slices_are_left_alone_and_none_are_added() {
    check(
        "kube:   service shop/foo source=consul port http 80
                 slice foo-x for shop/foo owner=other ports=http=8080 10.0.0.1
         consul: a@vm name=foo 10.0.0.1:8080 passing",
        expect![[r#"
            shop/foo
              a@vm: not added [10.0.0.1 http=8080]
              OwnershipConflict: another installation (owner id other) fills this Service already, with 1 slice; none are added. Let only one of the two have it; those slices are taken over when the Lease of that installation has been gone or expired for 10 minutes
        "#]],
    );
}

#[test]
fn look_alikes_and_terminating_slices_are_untouched_and_passed_over() {
    let first = "foo-3440775b71-1";
    check(
        &format!(
            "kube:   service shop/foo source=consul port http 80
                     slice {first} for shop/foo owner= ports=http=8080 10.9.9.1
                     slice foo-x for shop/foo owner-uid= ports=http=8080 10.9.9.2
                     slice foo-y for shop/foo terminating ports=http=8080 10.0.0.1
             consul: a@vm name=foo 10.0.0.1:8080 passing"
        ),
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 http=8080]
              ForeignEndpoints: slices of other managers with ready endpoints stand beside ours, and share the traffic (2: foo-3440775b71-1 of controller.consul8s.io, foo-x of controller.consul8s.io); delete them, or take the Service from what makes them
            create slice shop/foo-3440775b71-2 IPv4 http=8080/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn slices_of_a_service_that_had_the_name_before_go() {
    check(
        "kube:   service shop/foo source=consul port http 80
                 slice foo-x for shop/foo owner-uid=uid-of-before ports=http=8080 10.0.0.1
         consul: a@vm name=foo 10.0.0.2:8080 passing",
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.2 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.2 ready
            delete slice shop/foo-x: intent: Service made again
        "#]],
    );
}

#[test]
fn an_installation_that_is_gone_for_good_is_taken_over() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
                 slice foo-3440775b71-1 for shop/foo owner=dead ports=http=8080 10.0.0.1 10.0.0.2
         consul: a@vm name=foo 10.0.0.1:8080 passing",
    );
    stage.sync_all();
    assert_eq!(stage.writes, 0);
    stage.abandoned.insert("dead".to_owned());
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=8080]
          confirm 10.0.0.2 http=8080: missing
        update slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
          10.0.0.1 ready
          10.0.0.2 ready
    "#]]
    .assert_eq(&plan_of(&mut stage));
    assert_eq!(stage.world.slices[0].annotations[crate::names::SLICE_OWNER], crate::world::OWNER);
}

#[test]
fn a_service_made_again_begins_anew() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing",
    );
    stage.sync_all();
    "another".clone_into(&mut stage.world.services[0].uid);
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=8080]
        create slice shop/foo-84b18f9dfb-1 IPv4 http=8080/TCP
          10.0.0.1 ready
        delete slice shop/foo-3440775b71-1: intent: Service made again
    "#]]
    .assert_eq(&plan_of(&mut stage));
}
