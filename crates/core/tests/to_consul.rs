//! Properties of Kubernetes → Consul that hold for any world.

#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core as krate;
use consul8s_core::consul::{NodeService, TxnOp};
use consul8s_core::names;
use consul8s_core::to_consul::RegistrationChange;
use consul8s_core::to_consul::candidate::Subject;
use consul8s_core::to_consul::nodes::key_of;
use proptest::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "../src/to_consul/fixture/mod.rs"]
mod fixture;

use fixture::World;

/// One line of a world: a Service as users write them, wrong ones included.
fn service() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        Just("@address=10.0.0.1"),
        Just("@address=10.0.0.2,10.0.0.1,a.example.com"),
        Just("@address=10.0.0.3"),
        Just("@domainName=b.example.com"),
        Just("type=LoadBalancer lb=203.0.113.7,lb.example.com"),
        Just("type=LoadBalancer"),
        Just("ext=198.51.100.1,127.0.0.1"),
        Just("type=NodePort"),
        Just("cluster=10.96.0.1 @address_source=cluster_ip"),
        Just("@address_source=endpoints"),
        Just("@address_source=endpoints @port_name=metrics"),
        Just("@address_source=nonsense"),
        Just("label=none"),
        Just("label=consul"),
        Just("type=ExternalName"),
    ];
    let extra = prop_oneof![
        6 => Just(""),
        1 => Just("@id=x"),
        1 => Just("@id=foreign"),
        1 => Just("@name=web"),
        1 => Just("@weight=0"),
        1 => Just("@remove_registration=true"),
        1 => Just("@on_delete=keep"),
        1 => Just("@tags=a,b"),
        1 => Just("@port_name=nope"),
        1 => Just("deleting"),
        1 => Just("uid=other"),
    ];
    (name(), kind, extra, any::<bool>(), 0..3).prop_map(|(name, kind, extra, selector, created)| {
        let selector = if selector { "selector" } else { "" };
        format!("service {name} port=http:80:30080 port=metrics:9090:30090 created={created} {selector} {kind} {extra}")
    })
}

fn name() -> impl Strategy<Value = String> {
    (prop_oneof![Just("shop"), Just("blog")], prop_oneof![Just("web"), Just("db"), Just("api")])
        .prop_map(|(namespace, name)| format!("{namespace}/{name}"))
}

fn slice() -> impl Strategy<Value = String> {
    let endpoint = (0..5, 0..4, prop_oneof![4 => Just(""), 1 => Just(",unready"), 1 => Just(",terminating")])
        .prop_map(|(last, node, state)| format!("10.1.0.{last},node=n{node}{state}"));
    let ports = prop_oneof![Just("http:8080,metrics:9091"), Just("http:8081"), Just("metrics:70000")];
    let manager = prop_oneof![4 => Just(""), 1 => Just("by=controller.consul8s.io")];
    (name(), 0..2, ports, manager, prop::collection::vec(endpoint, 0..4)).prop_map(
        |(name, n, ports, manager, endpoints)| {
            format!("slice {name}/{n} ports={ports} {manager} {}", endpoints.join(" "))
        },
    )
}

fn node() -> impl Strategy<Value = String> {
    let state =
        prop_oneof![4 => Just(""), 1 => Just("notready=1"), 1 => Just("excluded"), 1 => Just("ext=198.51.100.9")];
    (0..4, state).prop_map(|(n, state)| format!("node n{n} int=10.0.1.{n} {state}"))
}

/// Services that went, seen or not.
fn going() -> impl Strategy<Value = String> {
    (name(), prop_oneof![Just("deleted"), Just("missing")]).prop_map(|(name, how)| format!("{how} {name}"))
}

fn kubernetes() -> impl Strategy<Value = String> {
    let lines = (
        prop::collection::vec(going(), 0..2),
        prop::collection::vec(service(), 0..6),
        prop::collection::vec(slice(), 0..6),
        prop::collection::vec(node(), 0..5),
    );
    lines.prop_map(|(going, services, slices, nodes)| [going, services, slices, nodes].concat().join("\n"))
}

/// What others have in Consul: a machine of their own, and an entry on our node.
const OTHERS: &str = "
    consul vm-1 at=10.9.0.1 shop.web=web,10.9.0.1,80 x=x,10.9.0.1,80,consul8s-owner:me,external-k8s-ns:shop,external-k8s-ref-name:web
    consul consul8s-me #consul8s-owner:me #consul8s-cluster-uid:c1 #consul8s-installation:default/consul8s at=127.0.0.1
    consul consul8s-me foreign=f,10.9.0.2,80,consul8s-owner:you";

fn world(text: &str) -> World {
    let mut world = World::new();
    world.set(OTHERS);
    world.set(text);
    world
}

/// The catalog, without what two ways to the same end may differ in.
fn contents(world: &World) -> BTreeMap<(String, String), (NodeService, String)> {
    let views = world.catalog.iter();
    let services = views.flat_map(|(node, view)| view.services.values().map(move |service| (node, view, service)));
    services
        .map(|(node, view, service)| {
            let check = view.checks.values().find(|check| check.service_id == service.id);
            let check = check.map_or(String::new(), |check| format!("{} {}", check.status, check.output));
            ((node.clone(), service.id.clone()), (NodeService { modify_index: 0, ..service.clone() }, check))
        })
        .collect()
}

fn not_ours(world: &World) -> Vec<NodeService> {
    let all = world.catalog.iter().flat_map(|(node, view)| view.services.values().map(move |service| (node, service)));
    let others = all.filter(|(node, service)| {
        !node.starts_with("consul8s-me") || service.meta.get(names::META_OWNER).is_none_or(|owner| owner != "me")
    });
    others.map(|(_, service)| service.clone()).collect()
}

/// ID of everything that stands, by Service and by what it stands for.
fn ids(world: &World) -> BTreeMap<(String, Subject), String> {
    let ours = world
        .catalog
        .iter()
        .filter(|(node, _)| node.starts_with("consul8s-me"))
        .flat_map(|(_, view)| view.services.values());
    let known = ours.filter_map(|service| Some((key_of(service)?, service)));
    known.map(|(key, service)| ((key.to_string(), Subject::of(service)), service.id.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_comes_to_rest_and_stays_there(first in kubernetes(), second in kubernetes()) {
        let mut world = world(&first);
        world.settle();
        world.set(&second);
        world.settle();
        // A restart forgets the last valid wish of what is frozen, and with it the name that it claims without standing under it.
        if !["@weight=0", "nonsense", "nope"].iter().any(|bad| second.contains(bad)) {
            world.set("restart");
        }
        for key in world.keys() {
            let plan = world.plan(&key);
            prop_assert!(plan.is_empty(), "{key}: {plan}");
        }
    }

    #[test]
    fn the_order_of_lists_makes_no_difference(text in kubernetes()) {
        let mut forward = world(&text);
        let mut backward = forward.clone();
        backward.reversed = true;
        for key in forward.keys() {
            prop_assert_eq!(forward.plan(&key), backward.plan(&key));
        }
        forward.settle();
        backward.settle();
        prop_assert_eq!(contents(&forward), contents(&backward));
    }

    #[test]
    fn nothing_of_others_is_touched(first in kubernetes(), second in kubernetes()) {
        let mut world = world(&first);
        let before = not_ours(&world);
        world.settle();
        world.set(&second);
        world.settle();
        prop_assert_eq!(before, not_ours(&world));
    }

    #[test]
    fn what_stays_keeps_its_id_and_no_id_is_given_twice(first in kubernetes(), second in kubernetes()) {
        let mut world = world(&first);
        world.settle();
        let before = ids(&world);
        world.set(&second);
        world.settle();
        let after = ids(&world);
        // Another `consul8s/service.id` changes all IDs of a Service, by wish.
        if !first.contains("@id=") && !second.contains("@id=") {
            for (subject, id) in &before {
                prop_assert!(after.get(subject).is_none_or(|now| now == id), "{subject:?}: {id} → {:?}", after.get(subject));
            }
        }
        let distinct: BTreeSet<&String> = after.values().collect();
        prop_assert_eq!(distinct.len(), after.len());
    }

    #[test]
    fn plans_are_in_order_and_fenced(first in kubernetes(), second in kubernetes()) {
        let mut world = world(&first);
        world.settle();
        world.set(&second);
        for key in world.keys() {
            let plan = world.plan(&key);
            let removal = |change: &RegistrationChange| matches!(change, RegistrationChange::Deregister { .. });
            let first_removal = plan.changes.iter().position(removal).unwrap_or(plan.changes.len());
            prop_assert!(plan.changes[first_removal..].iter().all(removal), "{plan}");
            for change in &plan.changes {
                let ops = change.ops();
                let fenced = ops.iter().enumerate().all(|(i, op)| match op {
                    TxnOp::SetCheck { registration, .. } => matches!(
                        ops[..i].last(), Some(TxnOp::SetService { registration: service, .. }) if service == registration),
                    _ => true,
                });
                prop_assert!(fenced, "{change}: {ops:?}");
            }
        }
    }

    /// S9: whatever was done before it stopped, the rest follows from what stands.
    #[test]
    fn a_crash_between_two_writes_changes_nothing_in_the_end(first in kubernetes(), second in kubernetes(), writes in 0..8_usize) {
        let mut straight = world(&first);
        straight.settle();
        straight.set(&second);
        straight.set("restart");
        let mut crashed = straight.clone();
        let mut left = writes;
        for key in crashed.keys() {
            for change in crashed.plan(&key).changes.into_iter().take(left) {
                left -= 1;
                crashed.apply(&change);
            }
        }
        crashed.set("restart");
        straight.settle();
        crashed.settle();
        prop_assert_eq!(contents(&straight), contents(&crashed));
    }
}
