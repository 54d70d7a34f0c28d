//! The annotations of contract §2.

use std::time::Duration;

use expect_test::expect;

use super::{check, plan_of, shown, stage};

#[test]
fn ports_by_number_meta_and_name() {
    check(
        "kube:   service shop/foo source=consul port http 80 port metrics 9100 port admin 81 port dns 53/UDP
                   @service.ports=\"metrics = meta:metrics_port, 81=8081, grpc=port:rpc\"
         consul: a@vm name=foo 10.0.0.1:8080 passing meta:metrics_port=9000 port:rpc=50051
                 b@vm name=foo 10.0.0.2:8080 passing port:rpc=50051
                 c@vm name=foo 10.0.0.3:8080 passing meta:metrics_port=+1 port:rpc=50051
                 d@vm name=foo 10.0.0.4:8080 passing meta:metrics_port=9000
                 e@vm name=foo 10.0.0.5:8080 passing meta:metrics_port=70000 port:rpc=50051"
            .replace("UDP\n", "UDP ")
            .as_str(),
        expect![[r#"
            shop/foo
              a@vm: ready [10.0.0.1 admin=8081,dns=8080/UDP,grpc=50051,http=8080,metrics=9000]
              b@vm: dropped: port (10.0.0.2)
              c@vm: dropped: port (10.0.0.3)
              d@vm: dropped: port (10.0.0.4)
              e@vm: dropped: port (10.0.0.5)
            create slice shop/foo-7481e24a62-1 IPv4 http=8080/TCP metrics=9000/TCP admin=8081/TCP dns=8080/UDP grpc=50051/TCP
              10.0.0.1 ready
        "#]],
    );
}

#[test]
fn named_ports_of_consul() {
    check(
        "kube:   service shop/foo source=consul port http 80 port metrics 9100
         consul: both@vm name=foo 10.0.0.1 passing port:http=8080 port:metrics=9100
                 one@vm name=foo 10.0.0.2 passing port:web=8080
                 odd@vm name=foo 10.0.0.3 passing port:http=0 port:metrics=9100",
        expect![[r#"
            shop/foo
              both@vm: ready [10.0.0.1 http=8080,metrics=9100]
              odd@vm: dropped: port (10.0.0.3)
              one@vm: ready [10.0.0.2 http=8080,metrics=8080]
              UnmappedPorts: the Service ports http, metrics lead to the one port that an instance has (1 of 2 instances); say which with consul8s/service.ports, as in metrics=meta:KEY
            create slice shop/foo-c3b97f6087-1 IPv4 http=8080/TCP metrics=9100/TCP
              10.0.0.1 ready
            create slice shop/foo-f0bf97b593-1 IPv4 http=8080/TCP metrics=8080/TCP
              10.0.0.2 ready
        "#]],
    );
}

#[test]
fn a_port_of_each_protocol_needs_no_mapping() {
    let mut stage = stage(
        "kube:   service shop/dns source=consul port dns 53/UDP port dns-tcp 53
         consul: dns@vm 10.0.0.1:53 passing",
    );
    assert!(!plan_of(&mut stage).contains("UnmappedPorts"));
}

#[test]
fn a_service_without_ports_needs_none_of_its_instances() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul headless
         consul: foo@vm 10.0.0.1 passing",
    );
    expect![["10.0.0.1  ready"]].assert_eq(&shown(&mut stage));
}

#[test]
fn tags_must_all_be_there() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul @service.tags=\"a, b\" port http 80
         consul: x@vm name=foo 10.0.0.1:80 passing tags=a,b,c
                 y@vm name=foo 10.0.0.2:80 passing tags=a
                 z@vm name=foo 10.0.0.3:80 passing tags=a,B",
    );
    expect![["10.0.0.1 http=80 ready"]].assert_eq(&shown(&mut stage));
    stage.world.instances[0].tags.pop();
    stage.world.instances[0].tags.pop();
    let text = plan_of(&mut stage);
    assert!(text.contains("remove 10.0.0.1 http=80: unfit: tag"), "{text}");
}

#[test]
fn health_policies() {
    for (policy, expected) in [
        (
            "passing",
            "10.0.0.1 http=80 ready\n10.0.0.2 http=80 not ready\n10.0.0.3 http=80 not ready\n10.0.0.4 http=80 draining",
        ),
        (
            "warning",
            "10.0.0.1 http=80 ready\n10.0.0.2 http=80 ready\n10.0.0.3 http=80 not ready\n10.0.0.4 http=80 draining",
        ),
        ("any", "10.0.0.1 http=80 ready\n10.0.0.2 http=80 ready\n10.0.0.3 http=80 ready\n10.0.0.4 http=80 draining"),
    ] {
        let mut stage = stage(&format!(
            "kube:   service shop/foo source=consul @service.health={policy} port http 80
             consul: a@vm name=foo 10.0.0.1:80 passing
                     b@vm name=foo 10.0.0.2:80 warning
                     c@vm name=foo 10.0.0.3:80 critical
                     d@vm name=foo 10.0.0.4:80 maintenance"
        ));
        assert_eq!(shown(&mut stage), expected, "{policy}");
    }
}

#[test]
fn a_tagged_address_with_its_port() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul @service.tagged_address=wan port http 80
         consul: a@vm name=foo 10.0.0.1:80 passing tagged:wan=192.0.2.1:8080
                 b@vm name=foo 10.0.0.2:80 passing tagged:wan=192.0.2.2:0
                 c@vm name=foo 10.0.0.3:80 passing
                 d@vm name=foo 10.0.0.4:80 passing tagged:wan=nonsense!:80",
    );
    stage.world.instances[2].node_tagged_addresses.insert("wan".into(), "192.0.2.3".into());
    expect![[r#"
        10.0.0.3 http=80 ready
        192.0.2.1 http=8080 ready
        192.0.2.2 http=80 ready"#]]
    .assert_eq(&shown(&mut stage));
    // Without an address of its own the node's counts, and its tagged one.
    stage.world.instances[2].address.clear();
    expect![[r#"
        192.0.2.1 http=8080 ready
        192.0.2.2 http=80 ready
        192.0.2.3 http=80 ready"#]]
    .assert_eq(&shown(&mut stage));
}

#[test]
fn below_the_panic_threshold_all_but_maintenance_are_ready() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul @service.panic_threshold=50 port http 80
         consul: a@vm name=foo 10.0.0.1:80 passing
                 b@vm name=foo 10.0.0.2:80 critical
                 c@vm name=foo 10.0.0.3:80 warning
                 d@vm name=foo 10.0.0.4:80 maintenance",
    );
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=80]
          b@vm: ready by panic threshold [10.0.0.2 http=80]
          c@vm: ready by panic threshold [10.0.0.3 http=80]
          d@vm: draining: check _service_maintenance:d is critical [10.0.0.4 http=80]
          PanicActive: 1 of 4 instances healthy, fewer than 50%: 2 unhealthy are published as ready, until their checks pass or consul8s/service.panic_threshold is lowered
        create slice shop/foo-52b56cdf27-1 IPv4 http=80/TCP
          10.0.0.1 ready
          10.0.0.2 ready
          10.0.0.3 ready
          10.0.0.4 draining
    "#]]
    .assert_eq(&plan_of(&mut stage));
    stage.world.instances[1].checks.clear();
    expect![[r#"
        10.0.0.1 http=80 ready
        10.0.0.2 http=80 ready
        10.0.0.3 http=80 not ready
        10.0.0.4 http=80 draining"#]]
    .assert_eq(&shown(&mut stage));
}

#[test]
fn the_default_threshold_is_the_flags() {
    let world = "kube:   service shop/foo source=consul port http 80
                 consul: a@vm name=foo 10.0.0.1:80 critical";
    let mut with_flag = stage(world);
    with_flag.settings.panic_threshold = 1;
    assert_eq!(shown(&mut with_flag), "10.0.0.1 http=80 ready");
    assert_eq!(shown(&mut stage(world)), "10.0.0.1 http=80 not ready");
}

#[test]
fn max_staleness_fails_closed_and_opens_again() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul @service.max_staleness=30s publish-not-ready port http 80
         consul: a@vm name=foo 10.0.0.1:80 passing",
    );
    stage.sync_all();
    stage.answering = false;
    stage.pass(Duration::from_secs(28));
    assert_eq!(stage.ready(&stage.world.services[0].key).len(), 1);
    stage.pass(Duration::from_secs(4));
    assert_eq!(stage.ready(&stage.world.services[0].key).len(), 0);
    // Also before the first answer after a restart, counted from the start.
    stage.answering = true;
    stage.sync_all();
    assert_eq!(stage.ready(&stage.world.services[0].key).len(), 1);
    stage.restart();
    stage.answering = false;
    stage.sync_all();
    stage.pass(Duration::from_secs(28));
    assert_eq!(stage.ready(&stage.world.services[0].key).len(), 1);
    stage.pass(Duration::from_secs(4));
    assert_eq!(stage.ready(&stage.world.services[0].key).len(), 0);
}

#[test]
fn without_max_staleness_a_lost_source_changes_nothing() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo 10.0.0.1:80 passing",
    );
    stage.sync_all();
    let writes = stage.writes;
    stage.answering = false;
    stage.pass(Duration::from_secs(3600));
    stage.restart();
    stage.sync_all();
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.writes, writes);
}

#[test]
fn deny_and_allow_lists() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo 10.0.0.1:80 passing
                 b@vm name=foo 10.1.0.1:80 passing
                 c@vm name=foo 192.0.2.1:80 passing",
    );
    stage.settings.allow_cidrs = vec![crate::address::Cidr::parse("10.0.0.0/8").unwrap()];
    stage.settings.deny_cidrs = vec![crate::address::Cidr::parse("10.1.0.0/16").unwrap()];
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=80]
          b@vm: dropped: denied [10.1.0.1 http=80]
          c@vm: dropped: denied [192.0.2.1 http=80]
          AddressRejected: 2 of 3 instances may not be published by their address: b@vm 10.1.0.1 (denied), c@vm 192.0.2.1 (denied); register them under an address that may, or see --deny-cidr and --allow-cidr
        create slice shop/foo-52b56cdf27-1 IPv4 http=80/TCP
          10.0.0.1 ready
    "#]].assert_eq(&plan_of(&mut stage));
}

#[test]
fn a_hostname_is_published_as_what_it_resolves_to() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo Db.Example.com.:80 passing
                 b@vm name=foo evil.example.com:80 passing
                 c@vm name=foo unknown.example.com:80 passing",
    );
    let ips = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<std::net::IpAddr>>();
    stage.resolved.insert("db.example.com".into(), ips(&["10.0.0.2", "10.0.0.1", "2001:db8::1", "127.0.0.1"]));
    stage.resolved.insert("evil.example.com".into(), ips(&["169.254.169.254"]));
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=80] [10.0.0.2 http=80]
          b@vm: dropped: address: cloud metadata [169.254.169.254 http=80]
          c@vm: dropped: unresolvable (unknown.example.com)
          AddressRejected: 1 of 3 instances may not be published by their address: b@vm 169.254.169.254 (cloud metadata); register them under an address that may
        create slice shop/foo-52b56cdf27-1 IPv4 http=80/TCP
          10.0.0.1 ready
          10.0.0.2 ready
    "#]]
    .assert_eq(&plan_of(&mut stage));
    // Another answer of the name server moves it.
    stage.resolved.insert("db.example.com".into(), ips(&["10.0.0.3"]));
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.3 http=80]
          b@vm: dropped: address: cloud metadata [169.254.169.254 http=80]
          c@vm: dropped: unresolvable (unknown.example.com)
          remove 10.0.0.1 http=80: moved to 10.0.0.3 http=80
          remove 10.0.0.2 http=80: moved to 10.0.0.3 http=80
          AddressRejected: 1 of 3 instances may not be published by their address: b@vm 169.254.169.254 (cloud metadata); register them under an address that may
        update slice shop/foo-52b56cdf27-1 IPv4 http=80/TCP
          10.0.0.3 ready
          - 10.0.0.1: moved to 10.0.0.3 http=80
          - 10.0.0.2: moved to 10.0.0.3 http=80
    "#]]
    .assert_eq(&plan_of(&mut stage));
    // After a restart, before the name is looked up, what it stands for stays.
    stage.restart();
    stage.resolved.clear();
    stage.sync_all();
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.ready(&stage.world.services[0].key), ["10.0.0.3"]);
}

#[test]
fn changed_ports_of_the_service() {
    // A port is added, then renamed as announced, then taken away: no endpoint is ever missing for a port that stays.
    let mut stage = stage(
        "kube:   service shop/foo source=consul port http 80
         consul: foo@vm 10.0.0.1:8080 passing",
    );
    stage.sync_all();
    let port = stage.world.services[0].ports[0].clone();
    stage.world.services[0].ports.push(crate::kube::ServicePort { name: "admin".into(), port: 81, ..port });
    expect![[r#"
        shop/foo
          foo@vm: ready [10.0.0.1 admin=8080,http=8080]
          remove 10.0.0.1 http=8080: moved to 10.0.0.1 admin=8080,http=8080
          UnmappedPorts: the Service ports http, admin lead to the one port that an instance has (1 of 1 instance); say which with consul8s/service.ports, as in admin=meta:KEY
        create slice shop/foo-11e9b4f9b8-1 IPv4 http=8080/TCP admin=8080/TCP
          10.0.0.1 ready
        delete slice shop/foo-3440775b71-1: empty
          - 10.0.0.1: moved to 10.0.0.1 admin=8080,http=8080
    "#]].assert_eq(&plan_of(&mut stage));
    stage.world.services[0].ports.remove(0);
    expect![[r#"
        shop/foo
          foo@vm: ready [10.0.0.1 admin=8080]
          remove 10.0.0.1 admin=8080,http=8080: moved to 10.0.0.1 admin=8080
        create slice shop/foo-2be1bc39ab-1 IPv4 admin=8080/TCP
          10.0.0.1 ready
        delete slice shop/foo-11e9b4f9b8-1: empty
          - 10.0.0.1: moved to 10.0.0.1 admin=8080
    "#]]
    .assert_eq(&plan_of(&mut stage));
    "renamed".clone_into(&mut stage.world.services[0].ports[0].name);
    expect![[r#"
        shop/foo
          foo@vm: ready [10.0.0.1 renamed=8080]
          remove 10.0.0.1 admin=8080: intent: ports changed
        create slice shop/foo-303b976780-1 IPv4 renamed=8080/TCP
          10.0.0.1 ready
        delete slice shop/foo-2be1bc39ab-1: empty
          - 10.0.0.1: intent: ports changed
    "#]]
    .assert_eq(&plan_of(&mut stage));
}

#[test]
fn an_order_of_ports_or_a_new_app_protocol_moves_nothing() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul port a 80 port b 81 @service.ports=b=81
         consul: foo@vm 10.0.0.1:8080 passing",
    );
    stage.sync_all();
    stage.world.services[0].ports.reverse();
    stage.world.services[0].ports[0].app_protocol = Some("kubernetes.io/h2c".into());
    expect![[r#"
        shop/foo
          foo@vm: ready [10.0.0.1 a=8080,b=81]
        update slice shop/foo-57019322af-1 IPv4 b=81/TCP (kubernetes.io/h2c) a=8080/TCP
          10.0.0.1 ready
    "#]]
    .assert_eq(&plan_of(&mut stage));
}

#[test]
fn changed_families_of_the_service() {
    let mut stage = stage(
        "kube:   service shop/foo source=consul families=4,6 port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing
                 b@vm name=foo [2001:db8::1]:8080 passing",
    );
    stage.sync_all();
    stage.world.services[0].ip_families.pop();
    expect![[r#"
        shop/foo
          a@vm: ready [10.0.0.1 http=8080]
          b@vm: dropped: family [2001:db8::1 http=8080]
          remove 2001:db8::1 http=8080: intent: families changed
        delete slice shop/foo-5a926e9490-1: empty
          - 2001:db8::1: intent: families changed
    "#]]
    .assert_eq(&plan_of(&mut stage));
}
