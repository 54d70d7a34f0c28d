//! How answers, our own writes and what is hidden come together.

use super::*;
use consul8s_core::consul::{CheckStatus, NodeRecord};

const NOW: UnixMillis = UnixMillis(1);

fn view(name: &str, services: &[&str]) -> NodeView {
    let service = |id: &&str| ((*id).to_owned(), NodeService { id: (*id).to_owned(), ..NodeService::default() });
    NodeView {
        node: NodeRecord { name: name.into(), ..NodeRecord::default() },
        services: services.iter().map(service).collect(),
        ..NodeView::default()
    }
}

fn check(service: &str) -> Check {
    Check {
        node: "n".into(),
        id: format!("c:{service}"),
        name: "c".into(),
        service_id: service.into(),
        status: CheckStatus::Passing,
        output: String::new(),
        modify_index: 7,
    }
}

#[test]
fn the_next_node_is_watched_as_soon_as_the_last_one_exists() {
    let mut registry = Registry::new("n");
    registry.take_in_checks(0, &[], 5, NOW);
    assert!(!registry.synced());
    registry.take_in_services(0, None, 5, NOW);
    assert!(registry.synced());
    assert!(registry.take_in_services(0, Some(view("n", &["a"])), 6, NOW).others);
    assert_eq!((registry.to_watch(), registry.to_watch(), registry.name(1)), (0..2, 2..2, "n-2".to_owned()));
    assert!(!registry.synced(), "the second has not answered");
    registry.take_in_services(1, None, 6, NOW);
    registry.take_in_checks(1, &[], 6, NOW);
    assert!(registry.synced());
    assert_eq!(registry.take_in_services(1, None, 7, NOW), Turned::default(), "nothing new");
}

#[test]
fn an_answer_older_than_our_own_write_is_not_news() {
    let mut registry = Registry::new("n");
    registry.take_in_services(0, Some(view("n", &[])), 5, NOW);
    let service = NodeService { id: "a".into(), modify_index: 9, ..NodeService::default() };
    registry.wrote(&TxnApplied { services: vec![("n".into(), service)], ..TxnApplied::default() }, &[]);
    let count = |registry: &Registry| registry.nodes().get("n").unwrap().services.len();
    assert_eq!(count(&registry), 1);
    registry.take_in_services(0, Some(view("n", &[])), 8, NOW);
    assert_eq!(count(&registry), 1);
    assert!(registry.take_in_services(0, Some(view("n", &[])), 10, NOW).others, "somebody removed it later");
}

#[test]
fn what_consul_forgot_is_found_out_by_a_read() {
    let mut registry = Registry::new("n");
    registry.take_in_services(0, Some(view("n", &["old"])), 5, NOW);
    registry.take_in_checks(0, &[], 5, NOW);
    let service = NodeService { id: "new".into(), modify_index: 9, ..NodeService::default() };
    registry.wrote(&TxnApplied { services: vec![("n".into(), service)], ..TxnApplied::default() }, &[]);
    assert!(registry.doubtful(NOW).is_empty());
    // Restored to what the watch had seen last: nothing new, but older than our write.
    registry.services_confirmed(0, 5, NOW);
    assert!(registry.doubtful(NOW).is_empty(), "it may only be late");
    let later = NOW.after(LATE);
    let [(0, floors)] = registry.doubtful(later)[..] else { panic!("it is in doubt") };
    let turned = registry.read(0, Some(view("n", &["old"])), 6, floors, later).unwrap();
    assert!(turned.others && registry.doubtful(later).is_empty());
    assert_eq!(registry.nodes().get("n").unwrap().services.len(), 1);
    // One that we wrote meanwhile is not believed.
    registry.forget_floor();
    let [(0, floors), ..] = registry.doubtful(later)[..] else { panic!("it is in doubt") };
    let service = NodeService { id: "newer".into(), modify_index: 12, ..NodeService::default() };
    registry.wrote(&TxnApplied { services: vec![("n".into(), service)], ..TxnApplied::default() }, &[]);
    assert_eq!(registry.read(0, Some(view("n", &["old"])), 11, floors, later), None);
}

#[test]
fn an_answer_older_than_our_own_deletion_shows_nothing_anew() {
    let mut registry = Registry::new("n");
    registry.take_in_services(0, Some(view("n", &["a", "b"])), 5, NOW);
    let id = ServiceId::new("a").unwrap();
    registry.wrote(&TxnApplied::default(), &[("n".into(), id.clone())]);
    let shown = |registry: &Registry| registry.nodes().get("n").unwrap().services.keys().cloned().collect::<Vec<_>>();
    assert_eq!(registry.take_in_services(0, Some(view("n", &["a", "b"])), 5, NOW), Turned::default());
    assert_eq!(shown(&registry), ["b"]);
    registry.take_in_services(0, Some(view("n", &["b"])), 6, NOW);
    registry.take_in_services(0, Some(view("n", &["a", "b"])), 7, NOW);
    assert_eq!(shown(&registry), ["a", "b"], "somebody registered it");
    // Restored from an old snapshot, it stands again as it stood.
    registry.wrote(&TxnApplied::default(), &[("n".into(), id)]);
    registry.forget_floor();
    registry.take_in_services(0, Some(view("n", &["a", "b"])), 3, NOW);
    assert_eq!(shown(&registry), ["a", "b"]);
}

#[test]
fn a_node_that_refused_a_write_is_read() {
    let mut registry = Registry::new("n");
    registry.doubt("somebody's");
    assert!(registry.doubtful(NOW).is_empty());
    registry.doubt("n");
    let [(0, floors)] = registry.doubtful(NOW)[..] else { panic!("it is in doubt") };
    registry.read(0, None, 6, floors, NOW).unwrap();
    assert!(registry.doubtful(NOW).is_empty());
}

#[test]
fn what_is_hidden_does_not_look_absent() {
    let mut registry = Registry::new("n");
    assert_eq!(registry.with_hidden_services(0, None), None, "nothing is known of it");
    registry.take_in_services(0, Some(view("n", &["a", "b"])), 5, NOW);
    registry.take_in_checks(0, &[check("a")], 5, NOW);
    for shown in [None, Some(view("n", &["b"])), Some(view("n", &["a", "b"]))] {
        let view = registry.with_hidden_services(0, shown);
        let checks = registry.with_hidden_checks(0, &[]);
        assert_eq!(registry.take_in_services(0, view, 6, NOW), Turned::default());
        assert_eq!(registry.take_in_checks(0, &checks, 6, NOW), Turned::default());
    }
}

#[test]
fn a_check_that_came_before_its_service_waits_for_it() {
    let mut registry = Registry::new("n");
    registry.take_in_services(0, Some(view("n", &[])), 5, NOW);
    registry.take_in_checks(0, &[check("a")], 7, NOW);
    assert_eq!(registry.nodes().get("n").unwrap().checks.len(), 0);
    registry.take_in_services(0, Some(view("n", &["a"])), 7, NOW);
    assert_eq!(registry.nodes().get("n").unwrap().checks.len(), 1);
}

#[test]
fn a_node_that_is_hidden_is_not_one_that_is_absent() {
    let mut registry = Registry::new("n");
    registry.take_in_checks(0, &[], 5, NOW);
    registry.hide(0, NOW);
    assert!(!registry.synced() && registry.doubtful(NOW).is_empty());
    assert_eq!(registry.hidden().as_deref(), Some("n"));
    let later = NOW.after(HIDDEN_AGAIN);
    let [(0, floors)] = registry.doubtful(later)[..] else { panic!("it is read again") };
    registry.hide(0, later);
    assert!(registry.doubtful(later).is_empty(), "and not all the time");
    registry.read(0, None, 6, floors, later).unwrap();
    assert!(registry.synced() && registry.hidden().is_none());
}
