//! Properties of the way from Consul to Kubernetes: what must hold in every world, not only in those that tests think of.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use consul8s_core::consul::{Check, CheckStatus, Instance, NamedPort};
use consul8s_core::kube::{KubeSlice, ObjectKey};
use consul8s_core::packing::SliceChange;
use consul8s_core::plan;
use consul8s_core::world::{OWNER, Stage, World};
use consul8s_core::{address, names};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::ValueTree;

/// Services that cover most of what planning depends on.
const SERVICES: [&str; 6] = [
    "service ns/foo source=consul port http 80",
    "service ns/foo source=consul families=4,6 port http 80 port metrics 9100 @service.ports=metrics=meta:m",
    "service ns/foo source=consul headless publish-not-ready families=6,4 zone-aware",
    "service ns/foo source=consul @service.health=warning @service.panic_threshold=60 port - 80",
    "service ns/foo source=consul @service.tags=blue @service.tagged_address=wan zone-aware port http 80",
    "service ns/foo source=consul @service.name=Foo label:a=b port http 80/UDP",
];

fn instance() -> impl Strategy<Value = Instance> {
    let address = select(vec![
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.4",
        "2001:db8::1",
        "2001:DB8:0::2",
        "::ffff:10.0.0.5",
        "127.0.0.1",
        "",
        "010.0.0.1",
        "db.example.com",
    ]);
    let status = select(vec![CheckStatus::Passing, CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical]);
    let check = select(vec!["http", "http", "http", "_node_maintenance", "serfHealth"]);
    let tags = subsequence(vec!["blue".to_owned(), "k8s".to_owned()], 0..=2);
    let port = select(vec![0_i64, 80, 80, 81, 70_000]);
    (0..4_u8, 0..6_u8, address, port, status, check, tags, 0..4_u8).prop_map(
        |(node, id, address, port, status, check, tags, odd)| {
            let id = format!("foo-{id}");
            let of_node = check != "http";
            let mut instance = Instance {
                node: format!("vm-{node}"),
                node_address: format!("10.9.0.{}", node + 1),
                name: if odd == 1 { "Foo".to_owned() } else { "foo".to_owned() },
                address: address.to_owned(),
                port,
                tags,
                datacenter: "dc1".to_owned(),
                zone: (odd < 3).then(|| "z1".to_owned()),
                checks: vec![Check {
                    node: format!("vm-{node}"),
                    id: check.to_owned(),
                    name: check.to_owned(),
                    service_id: if of_node { String::new() } else { id.clone() },
                    status,
                    output: String::new(),
                    modify_index: 0,
                }],
                id,
                ..Instance::default()
            };
            instance.meta.insert("m".to_owned(), "9000".to_owned());
            if odd == 2 {
                instance.ports = vec![NamedPort { name: "http".to_owned(), port: 8080, default: true }];
            }
            instance
        },
    )
}

/// Instances, each identity once, as Consul has them.
fn instances() -> impl Strategy<Value = Vec<Instance>> {
    prop::collection::vec(instance(), 0..12).prop_map(|all| {
        let mut seen = BTreeSet::new();
        all.into_iter().filter(|instance| seen.insert(instance.reference())).collect()
    })
}

/// Slices that stand already: others', look-alikes, ours, broken ones.
fn slices() -> impl Strategy<Value = Vec<String>> {
    let kinds = vec![
        "manager=endpointslice-controller.k8s.io ports=http=80 10.7.0.1",
        "owner= ports=http=80 10.0.0.1",
        "owner-uid= ports=http=80 10.0.0.2",
        "owner-uid=uid-of-before ports=http=80 10.0.0.3",
        "terminating ports=http=80 10.0.0.1",
        "ports=http=80 10.0.0.1 !10.0.0.2 ~10.0.0.3",
        "ports=http=70000 10.0.0.1",
        "ports= 010.0.0.1 10.0.0.9 10.0.0.9",
        "ports=http=80 2001:db8::1 note:consul8s/absent-since=nonsense",
        "ports=http=81 10.0.0.4 \"note:consul8s/absent-since=h-000000 b 1 2 2 10.0.0.4\"",
    ];
    let count = kinds.len();
    subsequence(kinds, 0..=count).prop_map(|kinds| {
        kinds.iter().enumerate().map(|(i, kind)| format!("kube: slice foo-{i} for ns/foo {kind}")).collect()
    })
}

fn stage(service: usize, slices: &[String], instances: &[Instance]) -> Stage {
    let text = format!("kube: {}\n{}", SERVICES[service], slices.join("\n"));
    let mut world = World::parse(&text).expect("a world");
    world.instances = instances.to_vec();
    Stage::new(world)
}

fn key() -> ObjectKey {
    ObjectKey::new("ns", "foo")
}

/// What is planned and written in one sync.
fn sync(stage: &mut Stage) -> String {
    let synced = stage.sync(&key());
    plan::text(&synced.judged.expect("a plan"), &synced.changes)
}

fn is_ours(slice: &KubeSlice) -> bool {
    let managed = slice.labels.get(names::LABEL_MANAGED_BY).is_some_and(|by| by == names::MANAGED_BY);
    let owner = slice.annotations.get(names::SLICE_OWNER).is_some_and(|owner| owner == OWNER);
    managed && owner && slice.owners.iter().any(|owner| owner.kind == "Service" && owner.name == "foo")
}

fn shuffled<T: Clone>(all: &[T], order: &[Index]) -> Vec<T> {
    let mut rest = all.to_vec();
    let mut out = Vec::new();
    for index in order {
        if !rest.is_empty() {
            out.push(rest.remove(index.index(rest.len())));
        }
    }
    out.extend(rest);
    out
}

/// What happens to a world.
#[derive(Clone, Debug)]
enum Event {
    Answer(Vec<Instance>),
    Pass(u64),
    Restart,
    Lead,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => instances().prop_map(Event::Answer),
        3 => select(vec![1_u64, 3, 12, 61, 300, 700]).prop_map(Event::Pass),
        1 => Just(Event::Restart),
        1 => Just(Event::Lead),
    ]
}

fn happen(stage: &mut Stage, event: &Event) {
    match event {
        Event::Answer(instances) => stage.world.instances.clone_from(instances),
        Event::Pass(seconds) => stage.pass(Duration::from_secs(*seconds)),
        Event::Restart => stage.restart(),
        Event::Lead => stage.lead(),
    }
    stage.sync_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_worlds_give_equal_plans_whatever_the_order(
        service in 0..SERVICES.len(), slices in slices(), instances in instances(), order in prop::collection::vec(any::<Index>(), 12),
    ) {
        let mut one = stage(service, &slices, &instances);
        let mut other = stage(service, &shuffled(&slices, &order), &shuffled(&instances, &order));
        prop_assert_eq!(sync(&mut one), sync(&mut other));
    }

    #[test]
    fn a_converged_world_needs_no_write(
        service in 0..SERVICES.len(), slices in slices(), instances in instances(), events in prop::collection::vec(event(), 0..6),
    ) {
        let mut stage = stage(service, &slices, &instances);
        stage.sync_all();
        for event in &events {
            happen(&mut stage, event);
            // Once more: after a restart the first look at everything ends the time in which no mass can be told.
            stage.sync_all();
            let writes = stage.writes;
            stage.sync_all();
            prop_assert_eq!(stage.writes, writes, "after {:?}", event);
        }
        // What was held goes in the end; then nothing is written any more, also by a process that starts anew.
        stage.pass(Duration::from_secs(3600));
        let writes = stage.writes;
        stage.restart();
        stage.sync_all();
        stage.pass(Duration::from_secs(3600));
        prop_assert_eq!(stage.writes, writes);
    }

    #[test]
    fn what_is_not_ours_is_never_in_a_plan(
        service in 0..SERVICES.len(), slices in slices(), instances in instances(), events in prop::collection::vec(event(), 0..6),
    ) {
        let mut stage = stage(service, &slices, &instances);
        let foreign = |stage: &Stage| -> Vec<KubeSlice> {
            stage.world.slices.iter().filter(|slice| !is_ours(slice) || slice.deleting).cloned().collect()
        };
        let before = foreign(&stage);
        stage.sync_all();
        for event in &events {
            happen(&mut stage, event);
        }
        prop_assert_eq!(before, foreign(&stage));
    }

    #[test]
    fn a_source_that_is_lost_or_not_whole_removes_nothing(
        service in 0..SERVICES.len(), instances in instances(), events in prop::collection::vec(event(), 1..6), lost in 0..3,
    ) {
        let mut stage = stage(service, &[], &instances);
        stage.sync_all();
        match lost {
            0 => stage.answering = false,
            1 => stage.meta.filtered = true,
            _ => stage.meta.anonymous_under_deny = true,
        }
        let stands = |stage: &Stage| -> BTreeSet<(String, bool)> {
            let endpoints = stage.world.slices.iter().flat_map(|slice| &slice.endpoints);
            endpoints.map(|endpoint| (endpoint.address.clone(), endpoint.ready)).collect()
        };
        let before = stands(&stage);
        for event in &events {
            // An answer of which everything is hidden: nothing in it says that anything is critical, or elsewhere.
            let event = if let Event::Answer(_) = event { &Event::Answer(Vec::new()) } else { event };
            happen(&mut stage, event);
            prop_assert_eq!(&before, &stands(&stage), "{:?}", event);
        }
    }

    #[test]
    fn more_evidence_never_keeps_more(
        counts in prop::collection::vec(1..6_usize, 1..5), lost in prop::collection::vec(any::<bool>(), 30), patient in 0..90_u64,
    ) {
        let mut less = machines(&counts);
        less.sync_all();
        less.pass(Duration::from_secs(1000));
        let mut at = 0;
        less.world.instances.retain(|_| { at += 1; !lost[at - 1] });
        less.sync_all();
        less.pass(Duration::from_secs(patient));
        // The same, but the machines of what is missing turn out to be alive without it.
        let mut more = less.clone();
        let nodes = (0..counts.len()).flat_map(|s| (0..6).map(move |i| format!("vm-{s}-{i}")));
        more.alive = nodes.collect();
        for stage in [&mut less, &mut more] {
            stage.pass(Duration::from_secs(61));
            stage.sync_all();
        }
        for s in 0..counts.len() {
            let key = ObjectKey::new("ns", format!("s{s}"));
            let (less, more) = (less.ready(&key), more.ready(&key));
            prop_assert!(more.iter().all(|address| less.contains(address)), "{:?} {:?}", less, more);
        }
        // And what stands without evidence of its going always stands.
        for instance in &more.world.instances {
            let key = ObjectKey::new("ns", instance.name.clone());
            prop_assert!(more.ready(&key).contains(&instance.address));
        }
    }

    #[test]
    fn hostile_catalogs_cost_nobody_else(
        texts in prop::collection::vec(any::<String>(), 12), ports in prop::collection::vec(any::<i64>(), 4),
    ) {
        let good = World::parse("consul: good@vm name=foo 10.0.0.77:80 passing").expect("a world").instances.remove(0);
        let mut bad = good.clone();
        for (i, text) in texts.iter().enumerate() {
            match i {
                0 => bad.node.clone_from(text),
                1 => bad.id.clone_from(text),
                2 => bad.address.clone_from(text),
                3 => bad.zone = Some(text.clone()),
                4 => bad.tags = vec![text.clone(); 3],
                5 => drop(bad.meta.insert(text.clone(), text.clone())),
                6 => bad.checks.iter_mut().for_each(|check| check.id.clone_from(text)),
                7 => bad.node_address.clone_from(text),
                8 => bad.ports.push(NamedPort { name: text.clone(), port: ports[0], default: true }),
                9 => bad.kind.clone_from(text),
                _ => drop(bad.meta.insert("zone".to_owned(), text.clone())),
            }
        }
        bad.port = ports[1];
        let mut stage = stage(0, &[], &[good, bad]);
        let text = sync(&mut stage);
        prop_assert!(text.lines().all(|line| !line.contains(char::is_control)));
        prop_assert!(stage.ready(&key()).contains(&"10.0.0.77".to_owned()));
        for endpoint in stage.world.slices.iter().flat_map(|slice| &slice.endpoints) {
            let ip: IpAddr = endpoint.address.parse().expect("an address");
            prop_assert_eq!(address::never(ip), None);
            prop_assert_eq!(ip.to_string(), endpoint.address.as_str());
        }
    }
}

/// Services `s0`, `s1`, … with instances on machines of their own.
fn machines(counts: &[usize]) -> Stage {
    let mut text = String::new();
    for (s, count) in counts.iter().enumerate() {
        text += &format!("kube: service ns/s{s} source=consul port http 80\n");
        for i in 0..*count {
            text += &format!("consul: i{i}@vm-{s}-{i} name=s{s} 10.{s}.0.{}:80 passing\n", i + 1);
        }
    }
    Stage::new(World::parse(&text).expect("a world"))
}

/// A thousand changes of one instance each: each writes one slice, two when its port changes; and there are never more slices than the
/// bound of `packing` says.
#[test]
fn a_change_of_one_instance_writes_one_slice() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let change = (0..4_u8, any::<Index>());
    let changes = prop::collection::vec(change, 1000);
    churn(4, &changes.new_tree(&mut runner).expect("changes").current());
}

/// A hundred changes of a service with a thousand instances, in slices of a hundred.
#[test]
fn a_change_of_one_instance_of_a_thousand_writes_one_slice() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let changes = prop::collection::vec((0..4_u8, any::<Index>()), 100);
    churn_of(100, &instances_of(1000), &changes.new_tree(&mut runner).expect("changes").current());
}

/// Instances of `foo`, each on a machine of its own.
fn instances_of(count: usize) -> Vec<Instance> {
    let one = |i: usize| format!("consul: i@vm-old-{i} name=foo 10.1.{}.{}:80 passing\n", i / 200, i % 200 + 1);
    World::parse(&(0..count).map(one).collect::<String>()).expect("a world").instances
}

fn churn(most: usize, changes: &[(u8, Index)]) {
    churn_of(most, &[], changes);
}

fn churn_of(most: usize, instances: &[Instance], changes: &[(u8, Index)]) {
    let mut stage = stage(0, &[], instances);
    stage.settings.max_endpoints_per_slice = most;
    stage.sync_all();
    let old = instances.iter().map(|instance| instance.node.clone());
    stage.alive = (0..2000).map(|i| format!("vm-{i}")).chain(old).collect();
    let mut peak = [instances.len(), 0];
    for (i, (kind, index)) in changes.iter().enumerate() {
        let instances = &mut stage.world.instances;
        let at = (!instances.is_empty()).then(|| index.index(instances.len()));
        // Waves: a hundred changes that rather add, then a hundred that rather remove.
        let grow = (i / 100) % 2 == 0;
        let mut allowed = 1;
        match (kind, at) {
            (0 | 1, Some(at)) if !grow => drop(instances.remove(at)),
            (2, Some(at)) => {
                let flipped = match instances[at].checks[0].status {
                    CheckStatus::Passing => CheckStatus::Critical,
                    _ => CheckStatus::Passing,
                };
                instances[at].checks[0].status = flipped;
            }
            (3, Some(at)) => {
                instances[at].port = if instances[at].port == 80 { 81 } else { 80 };
                allowed = 2;
            }
            _ => {
                let text = format!("consul: i@vm-{i} name=foo 10.0.{}.{}:80 passing", i / 250, i % 250 + 1);
                instances.extend(World::parse(&text).expect("a world").instances);
            }
        }
        // The one empty slice goes when the first endpoint has other ports than the last one had.
        let was_empty = stage.world.slices.iter().all(|slice| slice.endpoints.is_empty());
        let writes = stage.writes;
        let synced = stage.sync(&key());
        let limit = if was_empty { 2 } else { allowed };
        assert!(stage.writes - writes <= limit, "change {i}: {:?}", synced.changes);
        for (port, peak) in [80, 81].into_iter().zip(&mut peak) {
            let of_port: Vec<&KubeSlice> =
                stage.world.slices.iter().filter(|s| s.ports.iter().any(|p| p.port == Some(port))).collect();
            let count: usize = of_port.iter().map(|slice| slice.endpoints.len()).sum();
            *peak = count.max(*peak);
            assert!(
                of_port.len() <= peak.div_ceil(most),
                "change {i}: {} slices, at most {peak} endpoints",
                of_port.len()
            );
            assert!(of_port.iter().all(|slice| slice.endpoints.len() <= most));
        }
    }
    assert!(peak[0] > 3 * most, "the test must reach more than a few slices: {peak:?}");
}

/// One instance of thousands changes: one slice is written, and the others are not even looked at twice.
#[test]
fn ten_thousand_instances() {
    let mut stage = stage(0, &[], &instances_of(10_000));
    stage.sync_all();
    assert_eq!(stage.world.slices.len(), 100);
    stage.world.instances[5000].checks[0].status = CheckStatus::Critical;
    let synced = stage.sync(&key());
    let [SliceChange::Update { spec, added: 0, removed, .. }] = synced.changes.as_slice() else {
        panic!("one update");
    };
    assert!(removed.is_empty());
    assert_eq!(spec.endpoints.iter().filter(|endpoint| !endpoint.ready).count(), 1);
}
