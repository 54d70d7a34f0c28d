//! What the Lease remembers.

use std::collections::BTreeMap;

use crate::claim::{Notebook, Notes};
use crate::names;

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn notebook(lineage: &str) -> Notebook {
    Notebook::read(&annotations(&[(names::LEASE_LINEAGE, lineage)]))
}

fn written(notes: &Notes, before: &Notebook) -> Vec<String> {
    let changes = notes.onto(before).changes_from(before);
    changes.into_iter().map(|(key, value)| format!("{key}: {}", value.unwrap_or("-".to_owned()))).collect()
}

#[test]
fn it_is_read_as_far_as_it_can_be() {
    for (text, wanted) in [
        ("dc1=123,dc2=45", vec![("dc1", 123), ("dc2", 45)]),
        (" dc1 = 123 , ,dc2", vec![("dc1", 123)]),
        ("dc1=-1,dc2=99999999999999999999999,dc3=7", vec![("dc3", 7)]),
        ("", vec![]),
    ] {
        let read: Vec<(String, u64)> = notebook(text).lineage.into_iter().collect();
        let wanted: Vec<(String, u64)> = wanted.into_iter().map(|(name, index)| (name.to_owned(), index)).collect();
        assert_eq!(read, wanted, "{text}");
    }
    let all = Notebook::read(&annotations(&[
        (names::ALLOW_REMOVAL, " apple "),
        (names::LEASE_LIST_MARK, "77"),
        ("helm.sh/release", "x"),
    ]));
    assert_eq!(all, Notebook { allow_removal: Some("apple".into()), list_mark: Some(77), ..Notebook::default() });
    assert_eq!(
        Notebook::read(&annotations(&[(names::LEASE_LIST_MARK, "x"), (names::ALLOW_REMOVAL, " ")])),
        Notebook::default()
    );
}

#[test]
fn an_index_only_rises_unless_the_lineage_is_broken() {
    let before = notebook("dc1=100,dc2=5");
    let mut notes = Notes::default();
    notes.saw("dc1", 90);
    assert_eq!(written(&notes, &before), Vec::<String>::new());
    notes.saw("dc1", 120);
    notes.saw("dc3", 1);
    assert_eq!(written(&notes, &before), ["consul8s/lineage: dc1=120,dc2=5,dc3=1"]);
    notes.restarted("dc1", 7);
    assert_eq!(written(&notes, &before), ["consul8s/lineage: dc1=7,dc2=5,dc3=1"]);
    notes.saw("dc1", 9);
    assert_eq!(written(&notes, &before), ["consul8s/lineage: dc1=9,dc2=5,dc3=1"]);
}

#[test]
fn a_release_is_taken_away_unless_it_is_another_by_now() {
    let before = |text: &str| Notebook { allow_removal: Some(text.to_owned()), ..Notebook::default() };
    let mut notes = Notes::default();
    notes.used("apple");
    assert_eq!(written(&notes, &before("apple")), ["consul8s/allow-removal: -"]);
    assert_eq!(written(&notes, &before("pear")), Vec::<String>::new());
    assert_eq!(written(&notes, &Notebook::default()), Vec::<String>::new());
}

#[test]
fn the_mark_of_a_list_is_set_and_dropped() {
    let before = Notebook { list_mark: Some(3), ..Notebook::default() };
    let mut notes = Notes::default();
    notes.list_mark(Some(9));
    assert_eq!(written(&notes, &before), ["consul8s/list-mark: 9"]);
    notes.list_mark(None);
    assert_eq!(written(&notes, &before), ["consul8s/list-mark: -"]);
    assert_eq!(written(&Notes::default(), &before), Vec::<String>::new());
}

#[test]
fn notes_that_were_not_written_come_before_those_made_meanwhile() {
    let mut first = Notes::default();
    first.saw("dc1", 50);
    first.saw("dc2", 50);
    first.used("apple");
    first.list_mark(Some(1));
    let mut second = Notes::default();
    second.restarted("dc1", 5);
    second.saw("dc2", 40);
    second.list_mark(None);
    let all = first.then(second);
    let before = Notebook { allow_removal: Some("apple".into()), list_mark: Some(1), ..notebook("dc1=50") };
    assert_eq!(
        written(&all, &before),
        ["consul8s/allow-removal: -", "consul8s/lineage: dc1=5,dc2=50", "consul8s/list-mark: -"]
    );
    assert!(all.is_urgent() && !all.is_empty());
}

#[test]
fn what_is_held_is_noted_until_it_is_not() {
    let held = |text: &str| Notebook::read(&annotations(&[(names::LEASE_HELD, text)])).held;
    assert_eq!(held("h-3f9a2c=12, h-000000 = 1@7,h-x=3,h-aaaaaa=many,h-bbbbbb=1@then").len(), 2);
    let mut notes = Notes::default();
    notes.held(held("h-000000 = 1 @ 7,h-3f9a2c=12"));
    assert!(notes.is_urgent());
    let before = Notebook::default();
    assert_eq!(written(&notes, &before), ["consul8s/held: h-000000=1@7,h-3f9a2c=12"]);
    let after = notes.onto(&before);
    let mut later = Notes::default();
    later.held(BTreeMap::new());
    assert_eq!(written(&notes.then(later), &after), ["consul8s/held: -"]);
}

#[test]
fn only_so_many_datacenters_are_remembered() {
    let mut notes = Notes::default();
    for number in 0..1000 {
        notes.saw(&format!("dc{number:04}"), number);
    }
    let after = notes.onto(&notebook("old=1"));
    assert_eq!(after.lineage.len(), 500);
    assert!(after.lineage.contains_key("old"), "what stands is not pushed out");
}
