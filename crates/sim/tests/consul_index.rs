//! Which change moves which index and wakes which blocking query: the table measured on Consul 1.22.7, replayed.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

use std::collections::BTreeMap;

use consul8s_sim::model::consul::{
    Catalog, CheckRecord, Node, Registration, ServiceRecord, Stamp, TxnItem, TxnRequest, Verb,
};

/// `W` woken, `m` index moved. Measured with one poll in flight per column, after one service (`old`) had become extinct.
const MEASURED: &str = "
change                     | h/a h/b h/absent h/old c/a csvcs any crit pass nodes ns/m1 ns/m9 hn/m1 hn/m2 hn/m9
nothing                    | -.  -.  -.       -.    -.  -.    -.  -.   -.   -.    -.    -.    -.    -.    -.
check a critical           | Wm  -.  -.       -.    -m  -.    Wm  Wm   Wm   -.    -.    -.    Wm    -m    Wm
check a output only        | Wm  -.  -.       -.    -m  -.    Wm  Wm   -m   -.    -.    -.    Wm    -m    Wm
check a passing            | Wm  -.  -.       -.    -m  -.    Wm  Wm   Wm   -.    -.    -.    Wm    -m    Wm
check a identical          | -.  -.  -.       -.    -.  -.    -.  -.   -.   -.    -.    -.    -.    -.    -.
identical register a       | -.  -.  -.       -.    -.  -.    -.  -.   -.   -.    -.    -.    -.    -.    -.
port a                     | Wm  -.  -.       -.    Wm  Wm    -.  -.   -.   -m    Wm    -.    -.    -.    -.
node check on m1           | Wm  -.  -.       -.    -m  -.    Wm  -m   Wm   -.    -.    -.    Wm    -m    Wm
node check m1 critical     | Wm  -.  -.       -.    -m  -.    Wm  Wm   Wm   -.    -.    -.    Wm    -m    Wm
node check removed m1      | Wm  -.  -.       -.    -m  -m    Wm  Wm   -m   -.    -.    -.    Wm    -m    Wm
new node m3                | -.  -.  -.       -.    -.  -.    -.  -.   -.   Wm    -.    -.    -.    -.    -.
new service c              | -.  -.  -.       -.    -.  Wm    -.  -.   -.   -m    -.    -.    -.    -.    -.
c gets check               | -.  -.  -.       -.    -.  -.    Wm  -m   Wm   -.    -.    -.    -m    -m    Wm
c check removed            | -.  -.  -.       -.    -.  -.    Wm  -m   Wm   -.    -.    -.    -m    -m    Wm
c deregistered             | -.  -.  -m       -m    -.  Wm    -m  -m   -m   -m    -.    -.    -m    -m    -m
node m3 deregistered       | -.  -.  -.       -.    -.  -.    -.  -.   -.   Wm    -.    Wm    -.    -.    -.
second a on m2             | Wm  -.  -.       -.    Wm  Wm    -.  -.   -.   -m    -.    -.    -.    -.    -.
second a gone              | Wm  -.  -.       -.    Wm  Wm    -m  -m   -m   -m    -.    -.    -m    -m    -m
address of m1              | Wm  -.  -.       -.    Wm  -.    -.  -.   -.   Wm    Wm    -.    -.    -.    -.
meta of m1                 | Wm  -.  -.       -.    Wm  -.    -.  -.   -.   Wm    Wm    -.    -.    -.    -.
failed transaction         | -.  -.  -.       -.    -.  -.    -.  -.   -.   -.    -.    -.    -.    -.    -.
node m1 gone               | Wm  -.  -m       -m    Wm  Wm    Wm  -m   Wm   Wm    Wm    Wm    Wm    -m    Wm
";

#[test]
fn indexes_move_and_polls_wake_as_measured() {
    let mut lines = MEASURED.trim().lines();
    let columns: Vec<&str> = lines.next().unwrap().split_once('|').unwrap().1.split_whitespace().collect();
    let mut catalog = start();
    for line in lines {
        let (change, cells) = line.split_once('|').unwrap();
        let before = stamps(&catalog);
        let raft = catalog.raft_index();
        apply(&mut catalog, change.trim());
        assert_eq!(
            catalog.raft_index(),
            raft + u64::from(change.trim() != "nothing"),
            "a write costs one entry: {change}"
        );
        let after = stamps(&catalog);
        let shown: Vec<String> = columns.iter().map(|column| cell(before[column], after[column])).collect();
        assert_eq!(shown, cells.split_whitespace().collect::<Vec<_>>(), "{change} in columns {columns:?}");
    }
}

fn cell(before: Stamp, after: Stamp) -> String {
    let woken = after.touched != before.touched && after.index > before.index;
    format!("{}{}", if woken { "W" } else { "-" }, if after.index == before.index { "." } else { "m" })
}

fn stamps(catalog: &Catalog) -> BTreeMap<&'static str, Stamp> {
    BTreeMap::from([
        ("h/a", catalog.health_service_stamp("a")),
        ("h/b", catalog.health_service_stamp("b")),
        ("h/absent", catalog.health_service_stamp("absent")),
        ("h/old", catalog.health_service_stamp("old")),
        ("c/a", catalog.catalog_service_stamp("a")),
        ("csvcs", catalog.services().0),
        ("any", catalog.checks_in("any").0),
        ("crit", catalog.checks_in("critical").0),
        ("pass", catalog.checks_in("passing").0),
        ("nodes", catalog.nodes().0),
        ("ns/m1", catalog.node_services("m1").0),
        ("ns/m9", catalog.node_services("m9").0),
        ("hn/m1", catalog.node_checks("m1").0),
        ("hn/m2", catalog.node_checks("m2").0),
        ("hn/m9", catalog.node_checks("m9").0),
    ])
}

fn start() -> Catalog {
    let mut catalog = Catalog::new("dc1", "server");
    for (name, node) in [("a", "m1"), ("b", "m2"), ("c", "m4")] {
        put(&mut catalog, node, None, Some(service(name, name, 1)), &[]);
    }
    put(&mut catalog, "m1", None, None, &[check("ca", "a", "passing", "")]);
    put(&mut catalog, "m2", None, None, &[check("cb", "b", "passing", "")]);
    catalog.deregister_service("m4", "c");
    put(&mut catalog, "m4", None, Some(service("old", "old", 1)), &[]);
    catalog.deregister_service("m4", "old");
    catalog
}

fn apply(catalog: &mut Catalog, change: &str) {
    let a = |status, output| [check("ca", "a", status, output)];
    match change {
        "nothing" => {}
        "check a critical" => put(catalog, "m1", None, None, &a("critical", "")),
        "check a output only" => put(catalog, "m1", None, None, &a("critical", "x")),
        "check a passing" | "check a identical" => put(catalog, "m1", None, None, &a("passing", "")),
        "identical register a" => put(catalog, "m1", None, Some(service("a", "a", 1)), &[]),
        "port a" => put(catalog, "m1", None, Some(service("a", "a", 2)), &[]),
        "node check on m1" => put(catalog, "m1", None, None, &[check("nc", "", "passing", "")]),
        "node check m1 critical" => put(catalog, "m1", None, None, &[check("nc", "", "critical", "")]),
        "node check removed m1" => catalog.deregister_check("m1", "nc"),
        "new node m3" => put(catalog, "m3", None, None, &[]),
        "new service c" => put(catalog, "m4", None, Some(service("c", "c", 1)), &[]),
        "c gets check" => put(catalog, "m4", None, None, &[check("cc", "c", "passing", "")]),
        "c check removed" => catalog.deregister_check("m4", "cc"),
        "c deregistered" => catalog.deregister_service("m4", "c"),
        "node m3 deregistered" => catalog.deregister_node("m3"),
        "second a on m2" => put(catalog, "m2", None, Some(service("a2", "a", 1)), &[]),
        "second a gone" => catalog.deregister_service("m2", "a2"),
        "address of m1" => put_node(catalog, "10.0.0.9", None),
        "meta of m1" => put_node(catalog, "10.0.0.1", Some(BTreeMap::from([("k".into(), "v".into())]))),
        "failed transaction" => {
            let node = Node { name: "m2".into(), modify_index: 1, ..Node::default() };
            let refused = catalog.txn(vec![TxnRequest { verb: Verb::Cas, item: TxnItem::Node(node) }]);
            assert_eq!(refused.unwrap_err()[0].what, "failed to set node \"m2\", index is stale");
        }
        "node m1 gone" => catalog.deregister_node("m1"),
        other => panic!("unknown change {other}"),
    }
}

fn put_node(catalog: &mut Catalog, address: &str, meta: Option<BTreeMap<String, String>>) {
    let node = Node { name: "m1".into(), address: address.into(), meta, ..Node::default() };
    catalog.register(Registration { node, ..Registration::default() }).unwrap();
}

fn put(
    catalog: &mut Catalog,
    node: &str,
    address: Option<&str>,
    service: Option<ServiceRecord>,
    checks: &[CheckRecord],
) {
    let node = Node { name: node.into(), address: address.unwrap_or("10.0.0.1").into(), ..Node::default() };
    let checks = checks.to_vec();
    catalog.register(Registration { node, service, checks, skip_node_update: false }).unwrap();
}

fn service(id: &str, name: &str, port: i64) -> ServiceRecord {
    ServiceRecord { id: id.into(), name: name.into(), port, ..ServiceRecord::default() }
}

fn check(id: &str, service_id: &str, status: &str, output: &str) -> CheckRecord {
    CheckRecord {
        id: id.into(),
        name: id.into(),
        service_id: service_id.into(),
        status: status.into(),
        output: output.into(),
        ..CheckRecord::default()
    }
}

#[test]
fn an_absent_service_has_the_tables_index_until_some_service_became_extinct() {
    let mut catalog = Catalog::new("dc1", "server");
    put(&mut catalog, "m1", None, Some(service("a", "a", 1)), &[]);
    let first = catalog.health_service_stamp("absent");
    put(&mut catalog, "m1", None, None, &[check("ca", "a", "passing", "")]);
    let second = catalog.health_service_stamp("absent");
    assert!(second.index > first.index && second.touched == first.touched, "moves with everything, wakes with nothing");
    catalog.deregister_service("m1", "a");
    let extinct = catalog.health_service_stamp("absent").index;
    assert_eq!(extinct, catalog.raft_index());
    put(&mut catalog, "m1", None, Some(service("b", "b", 1)), &[]);
    assert_eq!(catalog.health_service_stamp("absent").index, extinct);
    put(&mut catalog, "m1", None, Some(service("absent", "Absent", 1)), &[]);
    assert_eq!(
        catalog.health_service_stamp("absent"),
        Stamp { index: catalog.raft_index(), touched: catalog.raft_index() }
    );
}

#[test]
fn a_rename_empties_the_old_name_and_keeps_the_checks_old_name() {
    let mut catalog = Catalog::new("dc1", "server");
    put(&mut catalog, "m1", None, Some(service("a", "a", 1)), &[check("ca", "a", "passing", "")]);
    let before = catalog.health_service_stamp("a");
    put(&mut catalog, "m1", None, Some(service("a", "b", 1)), &[]);
    let after = catalog.health_service_stamp("a");
    assert!(catalog.health_service("a").is_empty() && after.index > before.index);
    let (_, found, checks) = catalog.health_service("b").remove(0);
    assert_eq!((found.name.as_str(), checks[0].service_name.as_str()), ("b", "a"));
}

#[test]
fn nil_and_empty_are_two_things() {
    let mut catalog = Catalog::new("dc1", "server");
    put(&mut catalog, "m1", None, Some(service("a", "a", 1)), &[]);
    let nil = catalog.service("m1", "a").unwrap().modify_index;
    let empty = ServiceRecord { tags: Some(Vec::new()), ..service("a", "a", 1) };
    put(&mut catalog, "m1", None, Some(empty), &[]);
    assert!(catalog.service("m1", "a").unwrap().modify_index > nil);
}

#[test]
fn a_wipe_starts_indexes_from_below_and_ends_the_lineage() {
    let mut catalog = Catalog::new("dc1", "server");
    for port in 0..20 {
        put(&mut catalog, "m1", None, Some(service("a", "a", port)), &[]);
    }
    let (index, lineage) = (catalog.health_service_stamp("a").index, catalog.lineage());
    catalog.wipe();
    assert!(catalog.health_service("a").is_empty());
    assert!(catalog.health_service_stamp("a").index < index);
    assert_ne!(catalog.lineage(), lineage);
    assert_eq!(catalog.health_service("consul").len(), 1);
}
