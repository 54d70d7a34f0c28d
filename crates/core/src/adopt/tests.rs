use super::*;
use crate::evidence::UserIntent;
use crate::kube::{AddressType, Endpoint, Family, OwnerRef};

const NOW: UnixMillis = UnixMillis(1_000_000);

fn identity() -> Identity {
    Identity {
        owner: "me".into(),
        cluster: "c".into(),
        cluster_uid: "c".into(),
        installation: "default/consul8s".into(),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// As the original left it.
fn original() -> Endpoints {
    Endpoints {
        key: ObjectKey::new("shop", "web"),
        uid: "e".into(),
        resource_version: "5".into(),
        labels: map(&[("name", "web")]),
        ready: 2,
        ..Endpoints::default()
    }
}

fn skipped() -> Endpoints {
    Endpoints { labels: map(&[("name", "web"), (names::LABEL_SKIP_MIRROR, "true")]), ..original() }
}

fn adopted() -> Endpoints {
    Endpoints { annotations: map(&[(names::ADOPTED, "me")]), ..skipped() }
}

const NONE: Standing = Standing { ours: false, ours_ready: false, mirrored: false };
const STAND: Standing = Standing { ours: true, ours_ready: false, mirrored: true };
const READY: Standing = Standing { ours: true, ours_ready: true, mirrored: true };

#[test]
fn what_is_done_about_an_object() {
    let owned = Endpoints { owned: true, ..original() };
    let deleting = Endpoints { deleting: true, ..original() };
    let of_others = Endpoints { labels: map(&[("name", "another")]), ..original() };
    let idle = Endpoints { ready: 0, ..original() };
    let unlabelled = Endpoints { labels: original().labels, ..adopted() };
    let of_another_installation = Endpoints { annotations: map(&[(names::ADOPTED, "them")]), ..skipped() };
    for (case, wish, object, standing, wanted) in [
        ("ours stand", Wish::TakeOver, Some(original()), READY, Step::Adopt),
        ("ours have no ready endpoint yet", Wish::TakeOver, Some(original()), STAND, Step::Nothing),
        ("neither has a ready one", Wish::TakeOver, Some(idle.clone()), STAND, Step::Adopt),
        ("ours are not there yet", Wish::TakeOver, Some(idle), NONE, Step::Nothing),
        ("there is none", Wish::TakeOver, None, READY, Step::Nothing),
        ("it has an owner", Wish::TakeOver, Some(owned), READY, Step::Nothing),
        ("it is going", Wish::TakeOver, Some(deleting), READY, Step::Nothing),
        ("another shape", Wish::TakeOver, Some(of_others), READY, Step::Nothing),
        ("done already", Wish::TakeOver, Some(adopted()), READY, Step::Nothing),
        ("its user has done it", Wish::TakeOver, Some(skipped()), READY, Step::Nothing),
        ("the original wrote over our label", Wish::TakeOver, Some(unlabelled), READY, Step::Adopt),
        ("given back", Wish::GiveBack, Some(adopted()), READY, Step::GiveBack),
        ("its user's label stays", Wish::GiveBack, Some(skipped()), READY, Step::Nothing),
        ("another installation's", Wish::GiveBack, Some(of_another_installation), READY, Step::Nothing),
        ("nothing to give back", Wish::GiveBack, Some(original()), READY, Step::Nothing),
        ("suspended", Wish::Leave, Some(original()), READY, Step::Nothing),
    ] {
        let step = Memory::default().decide(wish, object.as_ref(), standing, &identity(), NOW);
        assert_eq!(step, wanted, "{case}");
    }
}

#[test]
fn what_a_service_asks_for_decides() {
    let none = Intent::None(UserIntent::Unlabelled);
    for (intent, wanted) in [
        (None, Wish::GiveBack),
        (Some(none), Wish::GiveBack),
        (Some(Intent::Yield), Wish::GiveBack),
        (Some(Intent::Suspended(Some(Direction::ToKube))), Wish::Leave),
        (Some(Intent::Frozen(Some(Direction::ToKube))), Wish::Leave),
        (Some(Intent::Frozen(None)), Wish::Leave),
        (Some(Intent::Frozen(Some(Direction::ToConsul))), Wish::GiveBack),
    ] {
        assert_eq!(Wish::of(intent.as_ref(), true), wanted, "{intent:?}");
    }
}

fn known(found: Found) -> Memory {
    Memory { read: Some(NOW), found }
}

#[test]
fn it_is_read_until_it_is_decided_and_then_rarely() {
    let seconds = |n| Duration::from_secs(n);
    let quiet = Standing { mirrored: false, ..READY };
    for (case, memory, wish, standing, age, wanted) in [
        ("never read", Memory::default(), Wish::TakeOver, NONE, seconds(0), true),
        ("nothing found", known(Found::Nothing), Wish::TakeOver, quiet, seconds(299), false),
        ("nothing found, long ago", known(Found::Nothing), Wish::TakeOver, quiet, RARELY, true),
        ("mirrored all the same", known(Found::Nothing), Wish::TakeOver, READY, seconds(9), false),
        ("mirrored for a while", known(Found::Nothing), Wish::TakeOver, READY, MIRRORED, true),
        ("mirrored again", known(Found::Adopted), Wish::TakeOver, READY, MIRRORED, true),
        ("waiting", known(Found::Waiting), Wish::TakeOver, STAND, seconds(29), false),
        ("waiting for long", known(Found::Waiting), Wish::TakeOver, STAND, WAITING, true),
        ("waiting, and ours are ready", known(Found::Waiting), Wish::TakeOver, READY, seconds(0), true),
        ("idle, and ours are not there", known(Found::Idle), Wish::TakeOver, NONE, seconds(29), false),
        ("idle, and ours stand", known(Found::Idle), Wish::TakeOver, STAND, seconds(0), true),
        ("not ours, never was", Memory::default(), Wish::GiveBack, NONE, seconds(0), false),
        ("ours until a moment ago", Memory::default(), Wish::GiveBack, STAND, seconds(0), true),
        ("taken over", known(Found::Adopted), Wish::GiveBack, NONE, seconds(0), true),
        ("perhaps taken over", known(Found::Waiting), Wish::GiveBack, STAND, seconds(0), true),
        ("not taken over", known(Found::Nothing), Wish::GiveBack, STAND, RARELY, false),
        ("suspended", known(Found::Adopted), Wish::Leave, READY, RARELY, false),
    ] {
        assert_eq!(memory.is_due(wish, standing, NOW.after(age)), wanted, "{case}");
    }
}

#[test]
fn a_step_is_remembered_when_it_was_taken() {
    let mut memory = Memory::default();
    assert_eq!(memory.decide(Wish::TakeOver, Some(&original()), READY, &identity(), NOW), Step::Adopt);
    assert!(memory.is_due(Wish::TakeOver, READY, NOW), "it was not taken");
    memory.done(Step::Adopt);
    assert!(!memory.is_due(Wish::TakeOver, READY, NOW));
    assert!(memory.is_due(Wish::GiveBack, NONE, NOW));
    memory.done(Step::GiveBack);
    assert!(!memory.is_due(Wish::GiveBack, NONE, NOW));
    assert!(memory.is_due(Wish::TakeOver, NONE, NOW), "the Service turned back");
    assert_eq!(memory.decide(Wish::GiveBack, Some(&original()), STAND, &identity(), NOW), Step::Nothing);
    assert!(!memory.is_due(Wish::GiveBack, STAND, NOW), "there is nothing to give back");
    assert!(memory.is_due(Wish::TakeOver, NONE, NOW), "it turned back before anything was taken over");
    memory.refused(NOW);
    assert!(!memory.is_due(Wish::TakeOver, READY, NOW.after(Duration::from_secs(1))));
}

#[test]
fn only_what_is_ours_and_ready_stands_in_its_place() {
    let service = KubeService { key: ObjectKey::new("shop", "web"), uid: "u".into(), ..KubeService::default() };
    let slice = |manager: &str, owner: &str, uid: &str, ready: bool| KubeSlice {
        key: ObjectKey::new("shop", "web-1"),
        uid: "s".into(),
        resource_version: "1".into(),
        deleting: false,
        labels: map(&[(names::LABEL_MANAGED_BY, manager)]),
        annotations: map(&[(names::SLICE_OWNER, owner)]),
        owners: vec![OwnerRef { kind: "Service".into(), name: "web".into(), uid: uid.into() }],
        address_type: AddressType::Ip(Family::V4),
        endpoints: vec![Endpoint { address: "10.0.0.1".into(), ready, ..Endpoint::default() }],
        ports: Vec::new(),
    };
    let going = KubeSlice { deleting: true, ..slice(names::MANAGED_BY, "me", "u", true) };
    let standing = |ours, ours_ready, mirrored| Standing { ours, ours_ready, mirrored };
    for (case, one, wanted) in [
        ("ours", slice(names::MANAGED_BY, "me", "u", true), standing(true, true, false)),
        ("ours, not ready", slice(names::MANAGED_BY, "me", "u", false), standing(true, false, false)),
        ("of an earlier Service", slice(names::MANAGED_BY, "me", "before", true), standing(true, false, false)),
        ("another installation's", slice(names::MANAGED_BY, "them", "u", true), standing(false, false, false)),
        ("mirrored", slice(names::MIRRORED_BY, "", "u", true), standing(false, false, true)),
        ("going", going, standing(false, false, false)),
    ] {
        assert_eq!(Standing::of(Some(&service), [&one], &identity()), wanted, "{case}");
    }
    let left = slice(names::MANAGED_BY, "me", "u", true);
    assert!(Standing::of(None, [&left], &identity()).ours, "its Service is gone");
}
