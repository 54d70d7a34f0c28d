//! How endpoints become slices.

use expect_test::{Expect, expect};

use crate::kube::KubeSlice;
use crate::names;
use crate::world::{Stage, World};

/// A Service with instances `0..count` on living machines, and at most three endpoints in a slice.
fn stage(count: usize) -> Stage {
    let mut stage = Stage::new(World::parse("kube: service ns/foo source=consul port http 80").unwrap());
    stage.settings.max_endpoints_per_slice = 3;
    stage.alive = (0..100).map(|i| format!("vm-{i}")).collect();
    add(&mut stage, 0..count);
    stage.sync_all();
    stage
}

fn add(stage: &mut Stage, which: impl IntoIterator<Item = usize>) {
    for i in which {
        let text = format!("consul: foo@vm-{i} 10.0.0.{i}:80 passing");
        stage.world.instances.extend(World::parse(&text).unwrap().instances);
    }
}

fn drop_all(stage: &mut Stage, which: &[usize]) {
    stage.world.instances.retain(|instance| !which.iter().any(|i| instance.node == format!("vm-{i}")));
}

/// Syncs, and shows the writes and then the slices with the last digits of their addresses.
#[allow(clippy::needless_pass_by_value)]
fn check(stage: &mut Stage, expected: Expect) {
    let synced = stage.sync_all().remove(0);
    let short = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
    let writes: Vec<String> =
        synced.changes.iter().map(|change| format!("{} {}", change.action(), short(&change.key().name))).collect();
    let mut slices: Vec<&KubeSlice> = stage.world.slices.iter().collect();
    slices.sort_by(|a, b| a.key.cmp(&b.key));
    let slices: Vec<String> = slices
        .iter()
        .map(|slice| {
            let last = |address: &str| address.rsplit('.').next().unwrap_or_default().to_owned();
            let endpoints: Vec<String> = slice.endpoints.iter().map(|e| last(&e.address)).collect();
            format!("{}: {}", short(&slice.key.name), endpoints.join(" "))
        })
        .collect();
    expected.assert_eq(&format!("{}\n{}", writes.join(", "), slices.join("\n")));
}

#[test]
fn slices_are_filled_one_after_the_other() {
    let mut stage = stage(7);
    check(
        &mut stage,
        expect![[r#"

        1: 0 1 2
        2: 3 4 5
        3: 6"#]],
    );
}

#[test]
fn what_stays_keeps_its_place_and_a_gap_is_filled_first() {
    let mut stage = stage(7);
    drop_all(&mut stage, &[1]);
    check(
        &mut stage,
        expect![[r#"
        update 1
        1: 0 2
        2: 3 4 5
        3: 6"#]],
    );
    add(&mut stage, [20]);
    check(
        &mut stage,
        expect![[r#"
        update 1
        1: 0 2 20
        2: 3 4 5
        3: 6"#]],
    );
    add(&mut stage, [21]);
    check(
        &mut stage,
        expect![[r#"
        update 3
        1: 0 2 20
        2: 3 4 5
        3: 6 21"#]],
    );
    add(&mut stage, [22, 23, 24]);
    check(
        &mut stage,
        expect![[r#"
        create 4, update 3
        1: 0 2 20
        2: 3 4 5
        3: 6 21 22
        4: 23 24"#]],
    );
}

#[test]
fn a_slice_that_is_emptied_goes_and_its_number_is_free_again() {
    let mut stage = stage(7);
    drop_all(&mut stage, &[3, 4, 5]);
    check(
        &mut stage,
        expect![[r#"
        delete 2
        1: 0 1 2
        3: 6"#]],
    );
    add(&mut stage, [30, 31, 32]);
    check(
        &mut stage,
        expect![[r#"
        create 2, update 3
        1: 0 1 2
        2: 32
        3: 6 30 31"#]],
    );
}

#[test]
fn new_ones_go_into_slices_that_are_written_anyway() {
    let mut stage = stage(6);
    "127.0.0.1".clone_into(&mut stage.world.instances[1].address);
    add(&mut stage, [20]);
    check(
        &mut stage,
        expect![[r#"
        update 1
        1: 0 2 20
        2: 3 4 5"#]],
    );
}

#[test]
fn a_service_that_shrinks_at_once_leaves_no_gaps() {
    let mut stage = stage(9);
    drop_all(&mut stage, &[0, 1, 3, 4, 6, 7]);
    check(
        &mut stage,
        expect![[r#"
        update 1, delete 2, delete 3
        1: 2 8 5"#]],
    );
}

#[test]
fn the_last_one_leaves_one_empty_slice_which_is_used_again() {
    let mut stage = stage(4);
    drop_all(&mut stage, &[0, 1, 2, 3]);
    check(
        &mut stage,
        expect![[r#"
        update 1, delete 2
        1: "#]],
    );
    check(
        &mut stage,
        expect![[r#"

        1: "#]],
    );
    add(&mut stage, [5]);
    check(
        &mut stage,
        expect![[r#"
        update 1
        1: 5"#]],
    );
}

#[test]
fn a_smaller_limit_splits_what_is_too_full() {
    let mut stage = stage(6);
    stage.settings.max_endpoints_per_slice = 2;
    check(
        &mut stage,
        expect![[r#"
        create 3, update 1, update 2
        1: 0 1
        2: 3 4
        3: 2 5"#]],
    );
}

#[test]
fn a_terminating_slice_and_a_taken_name_are_passed_over() {
    let mut stage = stage(2);
    stage.world.slices[0].deleting = true;
    check(
        &mut stage,
        expect![[r#"
        create 2
        1: 0 1
        2: 0 1"#]],
    );
}

#[test]
fn what_somebody_changes_on_our_slice_is_put_right() {
    let broken: [fn(&mut KubeSlice); 7] = [
        |slice| slice.endpoints.clear(),
        |slice| slice.endpoints[0].ready = false,
        |slice| slice.endpoints[0].node_name = Some("node".to_owned()),
        |slice| slice.endpoints.reverse(),
        |slice| slice.ports[0].port = Some(9999),
        |slice| drop(slice.labels.insert("x".to_owned(), "y".to_owned())),
        |slice| drop(slice.annotations.insert(names::SLICE_APPLIED.to_owned(), "nonsense".to_owned())),
    ];
    for (i, break_it) in broken.iter().enumerate() {
        let mut stage = stage(2);
        let before = stage.world.slices[0].clone();
        break_it(&mut stage.world.slices[0]);
        let reversed = i == 3;
        stage.sync_all();
        let after = &stage.world.slices[0];
        if reversed {
            assert_eq!(stage.writes, 1, "the order of endpoints means nothing");
            continue;
        }
        assert_eq!((&before.endpoints, &before.ports), (&after.endpoints, &after.ports), "{i}");
        assert_eq!((&before.labels, &before.annotations), (&after.labels, &after.annotations), "{i}");
        assert_eq!(stage.writes, 2, "{i}");
    }
}

#[test]
fn what_somebody_adds_to_the_metadata_is_theirs() {
    let mut stage = stage(2);
    let slice = &mut stage.world.slices[0];
    slice.annotations.insert("example.com/note".to_owned(), "x".to_owned());
    slice.annotations.insert(names::TRIGGER_TIME.to_owned(), "2026-11-24T01:55:40Z".to_owned());
    stage.sync_all();
    assert_eq!(stage.writes, 1);
}

#[test]
fn a_slice_that_lost_our_mark_is_no_longer_ours() {
    for lose in [
        |slice: &mut KubeSlice| drop(slice.labels.remove(names::LABEL_MANAGED_BY)),
        |slice: &mut KubeSlice| drop(slice.annotations.remove(names::SLICE_OWNER)),
        |slice: &mut KubeSlice| slice.owners.clear(),
    ] {
        let mut stage = stage(2);
        lose(&mut stage.world.slices[0]);
        let lost = stage.world.slices[0].clone();
        stage.sync_all();
        assert_eq!(stage.world.slices.len(), 2);
        assert_eq!(stage.world.slices[0], lost);
        assert!(stage.world.slices[1].key.name.ends_with("-2"), "its name is passed over");
    }
}

#[test]
fn labels_of_the_service_are_handed_on_but_for_the_reserved() {
    let text =
        "kube:   service ns/foo source=consul headless label:app=web label:endpointslice.kubernetes.io/managed-by=x \
                  label:kubernetes.io/service-name=y label:service.kubernetes.io/headless=z port http 80
                consul: foo@vm 10.0.0.1:80 passing";
    let mut stage = Stage::new(World::parse(text).unwrap());
    stage.sync_all();
    let slice = &stage.world.slices[0];
    expect![[r#"
        {
            "app": "web",
            "consul8s_source": "consul",
            "endpointslice.kubernetes.io/managed-by": "controller.consul8s.io",
            "kubernetes.io/service-name": "foo",
            "service.kubernetes.io/headless": "",
        }
        {
            "consul8s/applied": "name=foo",
            "consul8s/installation": "default/consul8s",
            "consul8s/nodes": "10.0.0.1 vm",
            "consul8s/owner": "me",
        }"#]]
    .assert_eq(&format!("{:#?}\n{:#?}", slice.labels, slice.annotations));
    stage.world.services[0].headless = false;
    stage.sync_all();
    assert!(!stage.world.slices[0].labels.contains_key(names::LABEL_HEADLESS));
}

#[test]
fn names_stay_readable() {
    let long = "a".repeat(63);
    let mut stage = Stage::new(World::parse(&format!("kube: service ns/{long} source=consul")).unwrap());
    stage.sync_all();
    let name = &stage.world.slices[0].key.name;
    assert!(name.len() <= 63 && name.starts_with("aaaa") && name.ends_with("-1"), "{name}");
}

#[test]
fn what_is_gone_or_no_longer_ours_is_withdrawn() {
    let mut stage = stage(4);
    let foreign = "kube: slice other for ns/foo manager=x ports=http=80 10.9.0.1";
    stage.world.slices.extend(World::parse(foreign).unwrap().slices);
    stage.world.services.clear();
    let synced = stage.sync(&crate::kube::ObjectKey::new("ns", "foo"));
    let shown: Vec<String> = synced.changes.iter().map(ToString::to_string).collect();
    expect![[r#"
        delete slice ns/foo-52b56cdf27-1: intent: Service deleted
        delete slice ns/foo-52b56cdf27-2: intent: Service deleted"#]]
    .assert_eq(&shown.join("\n"));
    assert_eq!(stage.world.slices.len(), 1);
}
