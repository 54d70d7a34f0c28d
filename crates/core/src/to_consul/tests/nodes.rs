//! Our nodes, and the operations of a change.

use expect_test::expect;

use crate::consul::{NodeRecord, NodeService, NodeView, ServiceId, TxnApplied, TxnOp};
use crate::kube::ObjectKey;
use crate::names;
use crate::to_consul::fixture::World;
use crate::to_consul::nodes::{OurNodes, ROOM};

fn service(id: &str, of: &str) -> NodeService {
    let meta = [(names::META_OWNER, "me"), (names::META_K8S_NS, "shop"), (names::META_K8S_REF_NAME, of)];
    let meta = meta.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
    NodeService { id: id.into(), meta, ..NodeService::default() }
}

fn view(name: &str, services: usize) -> NodeView {
    let node = NodeRecord { name: name.into(), ..NodeRecord::default() };
    let services = (0..services).map(|n| format!("{name}-{n}")).map(|id| (id.clone(), service(&id, "web")));
    NodeView { node, services: services.collect(), ..NodeView::default() }
}

fn keys(nodes: &OurNodes) -> Vec<String> {
    nodes.keys().map(ToString::to_string).collect()
}

#[test]
fn nodes_are_read_until_nothing_new_appears() {
    let mut nodes = OurNodes::new("n");
    assert_eq!(nodes.to_read(), ["n"]);
    nodes.set(view("n", 1));
    nodes.set(view("n-2", 1));
    for strange in ["n-1", "n-02", "n-x", "m", "n2"] {
        nodes.set(view(strange, 1));
    }
    assert_eq!(nodes.to_read(), ["n", "n-2", "n-3"]);
    nodes.unset("n-2");
    assert_eq!(nodes.to_read(), ["n", "n-2"]);
}

#[test]
fn the_first_node_with_room_is_used() {
    let mut nodes = OurNodes::new("n");
    nodes.set(view("n", ROOM));
    nodes.set(view("n-2", ROOM - 2));
    nodes.set(view("n-3", 0));
    let place = |coming: &[(u32, usize)]| nodes.name(nodes.place(&coming.iter().copied().collect()));
    assert_eq!(place(&[]), "n-2");
    assert_eq!(place(&[(2, 1)]), "n-2");
    assert_eq!(place(&[(2, 2)]), "n-3");
    assert_eq!(place(&[(2, 2), (3, ROOM)]), "n-4");
}

#[test]
fn what_an_accepted_transaction_left_behind_is_known_without_a_read() {
    let mut nodes = OurNodes::new("n");
    nodes.applied(&TxnApplied {
        nodes: vec![NodeRecord { name: "n".into(), modify_index: 7, ..NodeRecord::default() }],
        services: vec![("n".into(), service("a", "web")), ("vm-1".into(), service("b", "other"))],
        checks: Vec::new(),
    });
    assert_eq!(keys(&nodes), ["shop/web"]);
    nodes.applied(&TxnApplied { services: vec![("n".into(), service("a", "db"))], ..TxnApplied::default() });
    assert_eq!(keys(&nodes), ["shop/db"]);
    nodes.deleted("n", &ServiceId::new("a").unwrap());
    assert!(keys(&nodes).is_empty());
}

/// A long list goes to several nodes, and each is made once.
#[test]
fn a_full_node_makes_the_next() {
    let endpoints: Vec<String> = (0..ROOM + 1).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let mut world = World::new();
    world.set("service shop/web selector port=http:80 @address_source=endpoints");
    world.set(&format!("slice shop/web ports=http:80 {}", endpoints.join(" ")));
    let plan = world.plan(&ObjectKey::new("shop", "web"));
    let made: Vec<String> =
        plan.changes.iter().filter(|change| change.action() == "node").map(ToString::to_string).collect();
    assert_eq!(made, ["create node consul8s-me", "create node consul8s-me-2"]);
    world.settle();
    assert_eq!(world.catalog["consul8s-me"].services.len(), ROOM);
    assert_eq!(world.catalog["consul8s-me-2"].services.len(), 1);
}

/// Operations in short: what, where, and on which index they rest.
fn ops(world: &mut World) -> String {
    let keys = world.keys();
    let changes = keys.iter().flat_map(|key| world.plan(key).changes).collect::<Vec<_>>();
    let shown = changes.iter().map(|change| {
        let ops = change.ops();
        let ops = ops.iter().map(|op| match op {
            TxnOp::SetNode { node, index } => format!("node {} cas {index}", node.name),
            TxnOp::RemoveNode(node) => format!("node {} delete-cas {}", node.name(), node.index()),
            TxnOp::SetService { registration, index } => {
                format!("service {} as {} cas {index}", registration.id, registration.name)
            }
            TxnOp::SetCheck { registration, index } => {
                format!("check of {} as {} {} cas {index}", registration.id, registration.name, registration.status)
            }
            TxnOp::DeleteService { id, name, index, .. } => format!("delete service {id} as {name} cas {index}"),
        });
        ops.collect::<Vec<_>>().join(", ") + "\n"
    });
    shown.collect()
}

#[test]
fn every_write_is_fenced_and_a_check_never_stands_alone() {
    let mut world = World::new();
    world.set("service shop/web selector port=http:80 @address=10.0.0.1\nslice shop/web 10.1.0.1");
    let mut shown = ops(&mut world);
    world.settle();
    for step in [
        "slice shop/web 10.1.0.1,unready",
        "service shop/web selector port=http:80 @address=10.0.0.1 @tags=a",
        "service shop/web selector port=http:80 @address=10.0.0.1 @tags=a @name=other",
        "deleted shop/web",
    ] {
        world.set(step);
        shown += &ops(&mut world);
        world.settle();
    }
    expect![[r#"
        node consul8s-me cas 0
        service shop.web as web cas 0, check of shop.web as web passing cas 0
        service shop.web as web cas 12, check of shop.web as web critical cas 12
        service shop.web as web cas 12
        service shop.web as other cas 14, check of shop.web as other critical cas 13
        delete service shop.web as other cas 15
    "#]]
    .assert_eq(&shown);
}
