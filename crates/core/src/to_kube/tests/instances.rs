//! Which instances are published, and how ready.

use expect_test::expect;

use super::{check, plan_of, stage};

#[test]
fn the_plain_form() {
    check(
        "kube:   service shop/foo source=consul port http 80
         consul: foo@vm-1 10.0.0.1:8080 passing
                 foo@vm-2 10.0.0.2:8080 critical
                 foo@vm-3 10.0.0.3:8080 warning
                 foo@vm-4 10.0.0.4:8080 maintenance
                 foo@vm-5 10.0.0.5:8080 node-critical
                 foo@vm-6 10.0.0.6:8080 node-maintenance
                 foo@vm-7 -:8080 node=10.0.0.7 unchecked
                 foo@vm-8 10.0.0.8:8080 unchecked",
        expect![[r#"
            shop/foo
              foo@vm-1: ready [10.0.0.1 http=8080]
              foo@vm-2: not ready: check http is critical [10.0.0.2 http=8080]
              foo@vm-3: not ready: check http is warning [10.0.0.3 http=8080]
              foo@vm-4: draining: check _service_maintenance:foo is critical [10.0.0.4 http=8080]
              foo@vm-5: not ready: check serfHealth is critical [10.0.0.5 http=8080]
              foo@vm-6: draining: check _node_maintenance is critical [10.0.0.6 http=8080]
              foo@vm-7: ready [10.0.0.7 http=8080]
              foo@vm-8: ready [10.0.0.8 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready
              10.0.0.2 not ready
              10.0.0.3 not ready
              10.0.0.4 draining
              10.0.0.5 not ready
              10.0.0.6 draining
              10.0.0.7 ready
              10.0.0.8 ready
        "#]],
    );
}

#[test]
fn the_label_of_the_originals_prose_and_a_name() {
    check(
        "kube:   service shop/svc-foo label:registration=consul @service.name=foo port - 80
         consul: foo@vm-1 10.0.0.1:8080 passing",
        expect![[r#"
            shop/svc-foo
              foo@vm-1: ready [10.0.0.1 8080]
            create slice shop/svc-foo-9c12edf257-1 IPv4 =8080/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn names_are_compared_byte_for_byte_and_proxies_left_out() {
    check(
        "kube:   service shop/foo source=consul port http 80
         consul: foo@vm-1 10.0.0.1:8080 passing
                 foo-2@vm-1 name=FOO 10.0.0.2:8080 passing
                 foo-3@vm-1 name=foo kind=connect-proxy 10.0.0.3:8080 passing",
        expect![[r#"
            shop/foo
              foo@vm-1: ready [10.0.0.1 http=8080]
              foo-2@vm-1: dropped: name [10.0.0.2 http=8080]
              foo-3@vm-1: dropped: kind [10.0.0.3 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn what_comes_from_this_cluster_does_not_come_back() {
    check(
        "kube:   service shop/foo source=consul port http 80
         consul: own-node@c8s name=foo 10.0.0.1:8080 passing node-meta:consul8s-cluster-uid=cluster-1
                 own-meta@c8s name=foo 10.0.0.2:8080 passing meta:consul8s-cluster=cluster-1
                 other@c8s-2 name=foo 10.0.0.3:8080 passing meta:consul8s-cluster=cluster-2 meta:consul8s-owner=x \
                    node-meta:consul8s-cluster-uid=cluster-2 meta:external-source=kubernetes meta:external-k8s-ns=a tags=k8s
                 hashi@k8s-sync name=foo 10.0.0.4:8080 passing meta:external-source=kubernetes meta:external-k8s-ns=a tags=k8s
                 nomad@vm name=foo 10.0.0.5:8080 passing meta:external-source=nomad tags=k8s"
            .replace("\\\n", "")
            .as_str(),
        expect![[r#"
            shop/foo
              own-meta@c8s: dropped: loop [10.0.0.2 http=8080]
              own-node@c8s: dropped: loop [10.0.0.1 http=8080]
              other@c8s-2: ready [10.0.0.3 http=8080]
              hashi@k8s-sync: dropped: loop [10.0.0.4 http=8080]
              nomad@vm: ready [10.0.0.5 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.3 ready
              10.0.0.5 ready
        "#]],
    );
}

#[test]
fn hostile_addresses_and_ports_cost_nobody_else() {
    check(
        "kube:   service shop/foo source=consul port http 80
         consul: good@vm name=foo 10.0.0.1:8080 passing
                 loop@vm name=foo 127.0.0.1:8080 passing
                 metadata@vm name=foo 169.254.169.254:80 passing
                 mapped@vm name=foo [::ffff:169.254.169.254]:80 passing
                 octal@vm name=foo 010.0.0.1:80 passing
                 text@vm name=foo \"not an address\" passing
                 none@vm name=foo 10.0.0.9 passing
                 huge@vm name=foo 10.0.0.9:70000 passing
                 negative@vm name=foo 10.0.0.9:-1 passing
                 six@vm name=foo [2001:db8::1]:80 passing
                 host@vm name=foo db.example.com:80 passing
                 unwrapped@vm name=foo [::ffff:10.0.0.2]:8080 passing",
        expect![[r#"
            shop/foo
              good@vm: ready [10.0.0.1 http=8080]
              host@vm: dropped: unresolvable (db.example.com)
              huge@vm: dropped: port (10.0.0.9)
              loop@vm: dropped: address: loopback [127.0.0.1 http=8080]
              mapped@vm: dropped: address: cloud metadata [169.254.169.254 http=80]
              metadata@vm: dropped: address: cloud metadata [169.254.169.254 http=80]
              negative@vm: dropped: port (10.0.0.9)
              none@vm: dropped: port (10.0.0.9)
              octal@vm: dropped: address: not an address (010.0.0.1)
              six@vm: dropped: family [2001:db8::1 http=80]
              text@vm: dropped: address: not an address (not an address)
              unwrapped@vm: ready [10.0.0.2 http=8080]
              AddressRejected: 5 of 12 instances may not be published by their address: loop@vm 127.0.0.1 (loopback), mapped@vm 169.254.169.254 (cloud metadata), metadata@vm 169.254.169.254 (cloud metadata), …; register them under an address that may
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready
              10.0.0.2 ready
        "#]],
    );
}

#[test]
fn the_healthiest_stands_for_one_address() {
    check(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm-1 name=foo 10.0.0.1:8080 critical
                 b@vm-2 name=foo 10.0.0.1:8080 passing
                 c@vm-3 name=foo 10.0.0.1:8080 maintenance
                 d@vm-4 name=foo 10.0.0.1:8081 passing",
        expect![[r#"
            shop/foo
              a@vm-1: dropped: duplicate [10.0.0.1 http=8080]
              b@vm-2: ready [10.0.0.1 http=8080]
              c@vm-3: dropped: duplicate [10.0.0.1 http=8080]
              d@vm-4: ready [10.0.0.1 http=8081]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 ready
            create slice shop/foo-9d944f1b9b-1 IPv4 http=8081/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn publish_not_ready_makes_every_ready_true() {
    check(
        "kube:   service shop/foo source=consul headless publish-not-ready port http 80
         consul: a@vm name=foo 10.0.0.1:8080 critical
                 b@vm name=foo 10.0.0.2:8080 maintenance",
        expect![[r#"
            shop/foo
              a@vm: not ready: check http is critical [10.0.0.1 http=8080]
              b@vm: draining: check _service_maintenance:b is critical [10.0.0.2 http=8080]
            create slice shop/foo-3440775b71-1 IPv4 http=8080/TCP
              10.0.0.1 not serving, published as ready
              10.0.0.2 draining, published as ready
        "#]],
    );
}

#[test]
fn the_source_has_not_answered_yet() {
    let mut stage = stage("kube: service shop/foo source=consul port http 80");
    stage.answering = false;
    expect![[r#"
        shop/foo
          the source has not answered yet: nothing is planned
    "#]]
    .assert_eq(&plan_of(&mut stage));
    assert_eq!(stage.writes, 0);
}
