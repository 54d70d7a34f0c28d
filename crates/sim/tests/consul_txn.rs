//! Transactions: compare-and-set as tried on Consul 1.22.7.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

use consul8s_sim::model::consul::{Catalog, CheckRecord, Node, Registration, ServiceRecord, TxnItem, TxnRequest, Verb};

fn node(verb: Verb, name: &str, index: u64) -> TxnRequest {
    let node = Node { name: name.into(), address: "127.0.0.1".into(), modify_index: index, ..Node::default() };
    TxnRequest { verb, item: TxnItem::Node(node) }
}

fn service(verb: Verb, id: &str, name: &str, port: i64, index: u64) -> TxnRequest {
    let record =
        ServiceRecord { id: id.into(), name: name.into(), port, modify_index: index, ..ServiceRecord::default() };
    TxnRequest { verb, item: TxnItem::Service("n1".into(), Box::new(record)) }
}

fn check(verb: Verb, service_id: &str, status: &str, index: u64) -> TxnRequest {
    let record = CheckRecord {
        node: "n1".into(),
        id: "c".into(),
        name: "c".into(),
        service_id: service_id.into(),
        status: status.into(),
        modify_index: index,
        ..CheckRecord::default()
    };
    TxnRequest { verb, item: TxnItem::Check(record) }
}

/// A node `n1` with instance `s` (`pay`, port 80) and its check `c`; gives the one index of all three.
fn start() -> (Catalog, u64) {
    let mut catalog = Catalog::new("dc1", "server");
    let ops =
        vec![node(Verb::Cas, "n1", 0), service(Verb::Cas, "s", "pay", 80, 0), check(Verb::Cas, "s", "passing", 0)];
    assert_eq!(catalog.txn(ops).unwrap().len(), 3);
    let index = catalog.raft_index();
    assert_eq!(indexes(&catalog), [Some(index); 3]);
    (catalog, index)
}

/// ModifyIndexes of node, service and check.
fn indexes(catalog: &Catalog) -> [Option<u64>; 3] {
    [
        catalog.node("n1").map(|found| found.modify_index),
        catalog.service("n1", "s").map(|found| found.modify_index),
        catalog.check("n1", "c").map(|found| found.modify_index),
    ]
}

fn whats(catalog: &mut Catalog, ops: Vec<TxnRequest>) -> Vec<String> {
    let errors = catalog.txn(ops).unwrap_err();
    errors.into_iter().map(|error| format!("{}: {}", error.op, error.what)).collect()
}

#[test]
fn each_operation_that_is_refused_says_why_and_changes_nothing() {
    let needs_name = "0: Must provide service name (Service.Service) when service ID is provided";
    let table: Vec<(TxnRequest, &str)> = vec![
        (node(Verb::Cas, "n1", 0), "0: failed to set node \"n1\", index is stale"),
        (node(Verb::Cas, "n9", 5), "0: failed to set node \"n9\", index is stale"),
        (node(Verb::DeleteCas, "n1", 1), "0: failed to delete node \"n1\", index is stale"),
        (node(Verb::Get, "n9", 0), "0: node \"n9\" doesn't exist"),
        (node(Verb::Set, "", 0), "0: Must provide node"),
        (node(Verb::Unknown("zap".into()), "n1", 0), "0: unknown node operation: zap"),
        (service(Verb::Cas, "s", "pay", 81, 0), "0: failed to set service \"s\" on node \"n1\", index is stale"),
        (service(Verb::Cas, "t", "pay", 81, 5), "0: failed to set service \"t\" on node \"n1\", index is stale"),
        (
            service(Verb::DeleteCas, "s", "pay", 0, 1),
            "0: failed to delete service \"s\" on node \"n1\", index is stale",
        ),
        (service(Verb::DeleteCas, "s", "", 0, 1), needs_name),
        (service(Verb::Delete, "s", "", 0, 0), needs_name),
        (service(Verb::Unknown("zap".into()), "s", "pay", 0, 0), "0: unknown service operation: zap"),
        (check(Verb::Cas, "s", "passing", 0), "0: failed to set check \"c\" on node \"n1\", index is stale"),
        (check(Verb::DeleteCas, "s", "", 1), "0: failed to delete check \"c\" on node \"n1\", index is stale"),
        (check(Verb::Set, "nope", "passing", 0), "0: Missing service registration"),
        (check(Verb::Unknown("zap".into()), "s", "", 0), "0: unknown check operation: zap"),
    ];
    for (op, expected) in table {
        let (mut catalog, _) = start();
        let before = indexes(&catalog);
        assert_eq!(whats(&mut catalog, vec![op]), [expected]);
        assert_eq!(indexes(&catalog), before, "{expected}");
    }
}

#[test]
fn what_is_refused_takes_the_rest_with_it_and_every_fault_is_told() {
    let (mut catalog, _) = start();
    let ops =
        vec![node(Verb::Set, "n2", 0), service(Verb::Cas, "s", "pay", 1, 1), check(Verb::Cas, "s", "critical", 1)];
    let told = whats(&mut catalog, ops);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(catalog.node("n2").is_none());
}

#[test]
fn an_identical_write_passes_and_moves_nothing() {
    let (mut catalog, index) = start();
    let ops = vec![
        node(Verb::Cas, "n1", index),
        service(Verb::Cas, "s", "pay", 80, index),
        check(Verb::Cas, "s", "passing", index),
    ];
    catalog.txn(ops).unwrap();
    assert_eq!(indexes(&catalog), [Some(index); 3]);
}

#[test]
fn a_services_index_moves_neither_with_its_check_nor_a_nodes_with_its_services() {
    let (mut catalog, index) = start();
    catalog.txn(vec![check(Verb::Cas, "s", "critical", index)]).unwrap();
    let after_check = catalog.raft_index();
    assert_eq!(indexes(&catalog), [Some(index), Some(index), Some(after_check)]);
    catalog.txn(vec![service(Verb::Cas, "s", "pay", 81, index)]).unwrap();
    assert_eq!(indexes(&catalog), [Some(index), Some(catalog.raft_index()), Some(after_check)]);
}

#[test]
fn a_check_passes_although_its_service_was_overwritten_unless_both_are_written() {
    let (mut catalog, index) = start();
    catalog.txn(vec![service(Verb::Set, "s", "pay", 99, 0)]).unwrap();
    assert!(catalog.txn(vec![check(Verb::Cas, "s", "critical", index)]).is_ok());
    let told =
        whats(&mut catalog, vec![service(Verb::Cas, "s", "pay", 80, index), check(Verb::Set, "s", "passing", 0)]);
    assert_eq!(told, ["0: failed to set service \"s\" on node \"n1\", index is stale"]);
}

#[test]
fn deleting_a_service_takes_its_check_and_ignores_a_wrong_name() {
    let (mut catalog, index) = start();
    let both = vec![service(Verb::DeleteCas, "s", "pay", 0, index), check(Verb::DeleteCas, "s", "", index)];
    assert_eq!(whats(&mut catalog, both), ["1: failed to delete check \"c\" on node \"n1\", index is stale"]);
    assert_eq!(catalog.txn(vec![service(Verb::DeleteCas, "s", "wrong", 0, index)]), Ok(Vec::new()));
    assert_eq!(indexes(&catalog), [Some(index), None, None]);
    let again = whats(&mut catalog, vec![service(Verb::DeleteCas, "s", "pay", 0, index)]);
    assert_eq!(again, ["0: failed to delete service \"s\" on node \"n1\", index is stale"]);
    assert_eq!(catalog.txn(vec![service(Verb::Delete, "s", "pay", 0, 0)]), Ok(Vec::new()));
}

#[test]
fn deleting_a_node_by_its_old_index_takes_foreign_services_with_it() {
    let (mut catalog, index) = start();
    catalog.txn(vec![service(Verb::Set, "foreign", "other", 1, 0)]).unwrap();
    catalog.txn(vec![node(Verb::DeleteCas, "n1", index)]).unwrap();
    assert!(catalog.health_service("other").is_empty() && catalog.node("n1").is_none());
}

#[test]
fn a_transaction_drops_locality_and_named_ports() {
    let (mut catalog, _) = start();
    let full = ServiceRecord {
        id: "s".into(),
        name: "pay".into(),
        locality: Some(("r".into(), "z".into())),
        ..ServiceRecord::default()
    };
    let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
    catalog.register(Registration { node, service: Some(full), ..Registration::default() }).unwrap();
    let TxnRequest { verb, item: TxnItem::Service(on, mut record) } = service(Verb::Set, "s", "pay", 80, 0) else {
        panic!()
    };
    record.locality = Some(("r".into(), "z".into()));
    catalog.txn(vec![TxnRequest { verb, item: TxnItem::Service(on, record) }]).unwrap();
    assert_eq!(catalog.service("n1", "s").unwrap().locality, None);
}

#[test]
fn reading_costs_no_entry() {
    let (mut catalog, index) = start();
    let found =
        catalog.txn(vec![node(Verb::Get, "n1", 0), service(Verb::Get, "s", "", 0, 0), check(Verb::Get, "s", "", 0)]);
    assert_eq!((found.unwrap().len(), catalog.raft_index()), (3, index));
}
