//! What people are told of a Service that is filled from Consul: each message says what is wrong, which object it is about, in which
//! numbers, and what to do next.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use crate::kube::ObjectKey;
use crate::problem::{Problem, Reason, ReasonKind};
use crate::world::{Stage, World};

/// Words that say what to do next.
const WAYS: [&str; 16] = [
    "correct",
    "remove",
    "rename",
    "delete",
    "use ",
    "say which",
    "see ",
    "register ",
    "release with",
    "patch",
    "needs",
    "Let ",
    "lowered",
    "Use ",
    "give another",
    "find out",
];

fn problems(stage: &mut Stage) -> Vec<Problem> {
    let key = ObjectKey::new("shop", "foo");
    let service = stage.world.services[0].clone();
    let mut told = crate::intent::parse(&service, &stage.settings).problems;
    told.extend(stage.sync(&key).judged.into_iter().flat_map(|judged| judged.problems));
    told
}

/// The one problem of a world, which says what to do; gives its reason.
fn tells(world: &str, expected: Expect) -> Reason {
    tells_of(Stage::new(World::parse(world).unwrap()), expected)
}

#[expect(clippy::needless_pass_by_value, reason = "its calls are a table")]
fn tells_of(mut stage: Stage, expected: Expect) -> Reason {
    let told = problems(&mut stage);
    let [problem] = told.as_slice() else { panic!("{told:#?}") };
    expected.assert_eq(&problem.to_string());
    assert!(WAYS.iter().any(|way| problem.message.contains(way)), "says what to do: {problem}");
    problem.reason
}

const ONE: &str = "consul: a@vm name=foo 10.0.0.1:8080 passing";

#[test]
fn settings_and_kinds_of_services() {
    let mut told = BTreeSet::new();
    for (service, expected) in [
        (
            "source=consul port http 80 @service.health=fine",
            expect![[
                r#"InvalidAnnotation: annotation consul8s/service.health: "fine" is none of passing, warning, any; the last valid settings stay in force until it is corrected or removed"#
            ]],
        ),
        (
            "source=consul port http 80 @service.tag=a",
            expect![[
                r#"UnknownAnnotation: annotation consul8s/service.tag does not exist; nearest: consul8s/service.tags; rename or remove it, it does nothing"#
            ]],
        ),
        (
            "source=consul port http 80 selector=app=web",
            expect![[
                r#"SelectorPresent: the Service has a selector, so Kubernetes fills it from pods; to fill it from Consul: kubectl -n shop patch service foo --type=json -p '[{"op":"remove","path":"/spec/selector"}]'"#
            ]],
        ),
        (
            "source=consul port http 80 type=ExternalName",
            expect![[
                r#"UnsupportedType: type ExternalName has no endpoints to fill; use ClusterIP, or clusterIP: None for a headless Service"#
            ]],
        ),
        (
            "source=elsewhere port http 80",
            expect![[
                r#"UnknownSource: the label consul8s_source=elsewhere is none of consul, kubernetes, none; what is published stays as it is until it is corrected or removed"#
            ]],
        ),
        (
            "source=kubernetes label:registration=consul port http 80",
            expect![[
                r#"ConflictingLabels: the labels consul8s_source=kubernetes and registration=consul contradict each other; remove one of them"#
            ]],
        ),
        (
            "source=consul local port http 80",
            expect![[
                r#"LocalTrafficPolicy: internalTrafficPolicy: Local drops all traffic: endpoints outside the cluster are on no node; use Cluster"#
            ]],
        ),
    ] {
        told.insert(tells(&format!("kube: service shop/foo {service}\n{ONE}"), expected));
    }
    assert_eq!(told.len(), 7);
}

#[test]
fn instances() {
    tells(
        "kube:   service shop/foo source=consul port http 80 port admin 81
         consul: a@vm name=foo 10.0.0.1:8080 passing
                 b@vm name=foo 10.0.0.2:8080 passing port:admin=9090",
        expect![[
            r#"UnmappedPorts: the Service ports http, admin lead to the one port that an instance has (1 of 2 instances); say which with consul8s/service.ports, as in admin=meta:KEY"#
        ]],
    );
    tells(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo 10.0.0.1:8080 passing
                 b@vm name=foo 127.0.0.1:8080 passing",
        expect![[
            r#"AddressRejected: 1 of 2 instances may not be published by their address: b@vm 127.0.0.1 (loopback); register them under an address that may"#
        ]],
    );
    tells(
        "kube:   service shop/foo source=consul port http 80",
        expect![[
            r#"NoHealthyInstances: Consul service foo has no healthy instance that can be published (0 instances, 0 published as not ready); register it, or see whether the Service asks for the right one"#
        ]],
    );
    tells(
        "kube:   service shop/foo source=consul port http 80
         consul: a@vm name=foo 10.0.0.1:8080 critical
                 b@vm name=foo 10.0.0.2:8080 warning
                 c@vm name=foo 10.0.0.3:0 passing",
        expect![[
            r#"NoHealthyInstances: Consul service foo has no healthy instance that can be published (3 instances, 2 published as not ready); see its checks in Consul, and here what was left out"#
        ]],
    );
    tells(
        "kube:   service shop/foo source=consul port http 80 @service.panic_threshold=60
         consul: a@vm name=foo 10.0.0.1:8080 passing
                 b@vm name=foo 10.0.0.2:8080 critical
                 c@vm name=foo 10.0.0.3:8080 critical
                 d@vm name=foo 10.0.0.4:8080 maintenance",
        expect![
            "PanicActive: 1 of 4 instances healthy, fewer than 60%: 2 unhealthy are published as ready, until their checks pass or consul8s/service.panic_threshold is lowered"
        ],
    );
}

#[test]
fn slices_of_others() {
    let world = |slices: &str| format!("kube: service shop/foo source=consul port http 80\n {slices}\n{ONE}");
    tells(
        &world("slice foo-x for shop/foo manager=somebody.example.com ports=http=80 10.9.9.9"),
        expect![
            "ForeignEndpoints: slices of other managers with ready endpoints stand beside ours, and share the traffic (1: foo-x of somebody.example.com); delete them, or take the Service from what makes them"
        ],
    );
    tells(
        &world(
            "slice foo-x for shop/foo manager=endpointslicemirroring-controller.k8s.io ports=http=80 10.9.9.9\n slice foo-y for shop/foo owner-uid= ports=http=80 10.9.9.8",
        ),
        expect![
            "ForeignEndpoints: slices of other managers with ready endpoints stand beside ours, and share the traffic (2: foo-x of endpointslicemirroring-controller.k8s.io, foo-y of controller.consul8s.io); delete Endpoints shop/foo, of which they are mirrored, and what else makes slices"
        ],
    );
    for owner_uid in ["", "owner-uid="] {
        tells(
            &world(&format!(
                "slice foo-x for shop/foo owner=them {owner_uid} note:consul8s/installation=prod/consul8s ports=http=80 10.0.0.1"
            )),
            expect![[
                r#"OwnershipConflict: another installation prod/consul8s (owner id them) fills this Service already, with 1 slice; none are added. Let only one of the two have it; those slices are taken over when the Lease of that installation has been gone or expired for 10 minutes"#
            ]],
        );
    }
}

#[test]
fn what_consul_hides_what_is_held_and_what_a_rule_forbids() {
    let world = || World::parse(&format!("kube: service shop/foo source=consul port http 80\n{ONE}")).unwrap();
    let mut stage = Stage::new(world());
    stage.meta.filtered = true;
    tells_of(
        stage,
        expect![[
            r#"ConsulPermissionDenied: Consul hides results from our token: what is missing is not removed; the token needs service:read and node:read (consul8s acl-policy)"#
        ]],
    );
    let mut stage = Stage::new(world());
    stage.sync_all();
    stage.world.instances.clear();
    stage.sync_all();
    stage.pass(std::time::Duration::from_secs(10));
    tells_of(
        stage,
        expect![
            "RemovalHeld: holding 1 of 1 endpoints that left Consul without a word (h-9cab37, 60s): they stay ready until 2027-01-15T08:01:00Z; release with: consul8s release shop/foo"
        ],
    );
    let mut stage = Stage::new(world());
    stage.settings.rules.deny_by_default = true;
    tells_of(
        stage,
        expect![[
            r#"NotAllowed: namespace shop may not be filled from the Consul name "foo": defaultRule is deny, and no rule is for namespace shop: it allows nothing. Use a name that is allowed, or have the administrator of consul8s change `rules:` in its configuration file"#
        ]],
    );
}

/// Warnings that come from elsewhere: of the other direction, of imports (`import::telling`), and of what concerns all Services.
const ELSEWHERE: [Reason; 6] = [
    Reason::PortNameNotFound,
    Reason::NoAddress,
    Reason::SharedName,
    Reason::NameConflict,
    Reason::ConsulUnavailable,
    Reason::OwnershipConflict,
];

#[test]
fn no_reason_of_this_direction_is_left_out() {
    let here = include_str!("told.rs");
    let told = |reason: &Reason| here.contains(&format!("{reason}: ")) || ELSEWHERE.contains(reason);
    let left_out: Vec<&Reason> =
        Reason::ALL.iter().filter(|reason| reason.kind() == ReasonKind::Warning && !told(reason)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
