//! guard.md, row by row.

use std::time::Duration;

use crate::consul::Instance;
use crate::kube::ObjectKey;
use crate::plan;
use crate::time::UnixMillis;
use crate::world::{Stage, World};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const MINUTE: Duration = seconds(60);

/// Services `s0`, `s1`, … with so many instances each, all passing, on machines of their own, synced and quiet for a long time.
fn stage(counts: &[usize]) -> Stage {
    let mut world = World::default();
    for (s, count) in counts.iter().enumerate() {
        world
            .services
            .extend(World::parse(&format!("kube: service ns/s{s} source=consul port http 80")).unwrap().services);
        world.instances.extend((0..*count).map(|i| instance(s, i)));
    }
    let mut stage = Stage::new(world);
    stage.sync_all();
    stage.pass(seconds(3600));
    stage.sync_all();
    stage
}

fn instance(service: usize, i: usize) -> Instance {
    let text = format!(
        "consul: s{service}-{i}@vm-{service}-{i} name=s{service} 10.{service}.{}.{}:80 passing",
        i / 250,
        i % 250 + 1
    );
    World::parse(&text).unwrap().instances.remove(0)
}

fn key(service: usize) -> ObjectKey {
    ObjectKey::new("ns", format!("s{service}"))
}

impl Stage {
    /// The instances leave without a word: their machines are gone.
    fn lose(&mut self, service: usize, which: impl IntoIterator<Item = usize>) {
        for i in which {
            let gone = instance(service, i).reference();
            self.world.instances.retain(|instance| instance.reference() != gone);
        }
        self.sync_all();
    }

    fn gain(&mut self, service: usize, which: impl IntoIterator<Item = usize>) {
        self.world.instances.extend(which.into_iter().map(|i| instance(service, i)));
        self.sync_all();
    }

    fn count(&self, service: usize) -> usize {
        self.ready(&key(service)).len()
    }

    fn counts(&self) -> Vec<usize> {
        (0..self.world.services.len()).map(|s| self.count(s)).collect()
    }

    /// The plan text of one Service, without its instances.
    fn shown(&mut self, service: usize) -> String {
        let synced = self.sync(&key(service));
        let text = plan::text(&synced.judged.unwrap(), &synced.changes);
        let lines = text.lines().filter(|line| !line.contains("@vm"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn hold(&mut self, service: usize) -> Option<char> {
        let judged = self.sync(&key(service)).judged.unwrap();
        judged.held.first().map(|held| held.kind.letter())
    }
}

// Section 1: what happened to an endpoint → what kind of removal.

#[test]
fn critical_is_not_ready_at_once() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].checks[0].status = crate::consul::CheckStatus::Critical;
    stage.sync_all();
    assert_eq!(stage.counts(), [0]);
    assert!(!stage.world.slices[0].endpoints[0].serving);
}

#[test]
fn maintenance_drains_at_once() {
    let mut stage = stage(&[1]);
    let maintenance = World::parse("consul: s0-0@vm-0-0 name=s0 10.0.0.1:80 maintenance").unwrap();
    stage.world.instances = maintenance.instances;
    stage.sync_all();
    let endpoint = &stage.world.slices[0].endpoints[0];
    assert_eq!((endpoint.ready, endpoint.serving, endpoint.terminating), (false, true, true));
}

#[test]
fn what_the_user_no_longer_asks_for_goes_at_once() {
    for change in ["label", "gone", "name", "port"] {
        let mut stage = stage(&[2]);
        match change {
            "label" => stage.world.services[0].labels.clear(),
            "name" => {
                drop(stage.world.services[0].annotations.insert(crate::names::SERVICE_NAME.into(), "other".into()))
            }
            "port" => "renamed".clone_into(&mut stage.world.services[0].ports[0].name),
            _ => stage.world.services.clear(),
        }
        stage.sync(&key(0));
        let stands = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>();
        assert_eq!(stands, if change == "port" { 2 } else { 0 }, "{change}");
        assert!(
            stage.world.slices.iter().all(|slice| slice.ports.iter().all(|port| port.name == "renamed")),
            "{change}"
        );
    }
}

#[test]
fn what_no_longer_fits_goes_at_once() {
    let mut stage = stage(&[2]);
    "127.0.0.1".clone_into(&mut stage.world.instances[0].address);
    stage.sync_all();
    assert_eq!(stage.ready(&key(0)), ["10.0.0.2"]);
}

#[test]
fn what_moved_is_published_first_at_its_new_place() {
    let mut stage = stage(&[2]);
    stage.world.instances[0].port = 81;
    expect_test::expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: moved to 10.0.0.1 http=81
        create slice ns/s0-c3f56d55b7-1 IPv4 http=81/TCP
          10.0.0.1 ready
        update slice ns/s0-a1ad77fe6a-1 IPv4 http=80/TCP
          10.0.0.2 ready
          - 10.0.0.1: moved to 10.0.0.1 http=81
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.count(0), 2);
}

#[test]
fn deregistered_on_a_living_node_goes_at_once_even_if_it_is_the_last() {
    let mut stage = stage(&[3]);
    stage.alive.extend((0..3).map(|i| format!("vm-0-{i}")));
    stage.world.instances.clear();
    expect_test::expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: explicit: node vm-0-0 is alive without it (2027-01-15T09:00:00Z)
          remove 10.0.0.2 http=80: explicit: node vm-0-1 is alive without it (2027-01-15T09:00:00Z)
          remove 10.0.0.3 http=80: explicit: node vm-0-2 is alive without it (2027-01-15T09:00:00Z)
          NoHealthyInstances: Consul service s0 has no healthy instance that can be published (0 instances, 0 published)
        update slice ns/s0-a1ad77fe6a-1 IPv4
          no endpoint
          - 10.0.0.1: explicit: node vm-0-0 is alive without it (2027-01-15T09:00:00Z)
          - 10.0.0.2: explicit: node vm-0-1 is alive without it (2027-01-15T09:00:00Z)
          - 10.0.0.3: explicit: node vm-0-2 is alive without it (2027-01-15T09:00:00Z)
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn what_was_not_ready_goes_after_one_consistent_read() {
    let mut stage = stage(&[2]);
    stage.world.instances[0].checks[0].status = crate::consul::CheckStatus::Critical;
    stage.sync_all();
    let reads = stage.reads;
    stage.lose(0, [0]);
    assert_eq!(stage.world.slices[0].endpoints.len(), 1);
    assert_eq!(stage.reads, reads + 1);
}

#[test]
fn what_was_ready_goes_after_two_reads() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    assert_eq!(stage.counts(), [3]);
    stage.pass(seconds(1));
    assert_eq!(stage.counts(), [3]);
    stage.pass(seconds(2));
    assert_eq!(stage.counts(), [2]);
}

#[test]
fn without_consul_nothing_is_confirmed() {
    let mut stage = stage(&[3]);
    stage.world.instances.remove(0);
    stage.sync(&key(0));
    stage.answering = false;
    stage.pass(seconds(600));
    assert_eq!(stage.counts(), [3]);
    stage.answering = true;
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [2], "the read of before is too old to pair: two new ones agreed");
}

#[test]
fn what_was_never_wanted_goes_at_once() {
    let mut stage = stage(&[2]);
    let mut endpoint = stage.world.slices[0].endpoints[0].clone();
    "10.9.9.9".clone_into(&mut endpoint.address);
    stage.world.slices[0].endpoints.push(endpoint);
    expect_test::expect![[r#"
        ns/s0
          remove 10.9.9.9 http=80: never wanted
        update slice ns/s0-a1ad77fe6a-1 IPv4 http=80/TCP
          10.0.0.1 ready
          10.0.0.2 ready
          - 10.9.9.9: never wanted
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.count(0), 2);
}

#[test]
fn a_filter_that_consul_applies_makes_nothing_missing() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].meta.insert("version".into(), "1".into());
    let filter = "Service.Meta.version == 1".to_owned();
    stage.world.services[0].annotations.insert(crate::names::SERVICE_FILTER.into(), filter);
    stage.sync_all();
    assert_eq!(stage.counts(), [1]);
    stage.world.instances[0].meta.insert("version".into(), "2".into());
    expect_test::expect![[r#"
        ns/s0
          remove 10.0.0.1 http=80: unfit: filter
          NoHealthyInstances: Consul service s0 has no healthy instance that can be published (0 instances, 0 published)
        update slice ns/s0-a1ad77fe6a-1 IPv4
          no endpoint
          - 10.0.0.1: unfit: filter
    "#]]
    .assert_eq(&stage.shown(0));
    assert_eq!(stage.counts(), [0], "it no longer fits, so it goes at once");
}

#[test]
fn what_is_filtered_and_missing_is_missing() {
    let mut stage = stage(&[1]);
    stage.world.instances[0].meta.insert("version".into(), "1".into());
    let filter = "Service.Meta.version == 1".to_owned();
    stage.world.services[0].annotations.insert(crate::names::SERVICE_FILTER.into(), filter);
    stage.sync_all();
    stage.lose(0, [0]);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![1], Some('a')));
}

// Section 2: holds.

#[test]
fn one_of_three_machines_is_switched_off() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [2]);
}

#[test]
fn one_of_two() {
    let mut stage = stage(&[2]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn the_only_one() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    expect_test::expect![[r#"
        ns/s0
          hold h-0b4b46 (a) until 2027-01-15T09:01:00Z: [10.0.0.1 http=80]
          RemovalHeld: holding 1 of 1 endpoints that left Consul without a word (h-0b4b46, 60s): they stay ready until 2027-01-15T09:01:00Z; release with: consul8s release ns/s0
    "#]].assert_eq(&stage.shown(0));
    stage.pass(seconds(54));
    assert_eq!(stage.counts(), [1]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn two_of_three_one_after_the_other() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(300));
    assert_eq!(stage.counts(), [2]);
    stage.lose(0, [1]);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('a')));
    stage.pass(seconds(35));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn two_of_three_with_more_than_ten_minutes_between() {
    let mut stage = stage(&[3]);
    stage.lose(0, [0]);
    stage.pass(seconds(610));
    stage.lose(0, [1]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn ten_six_four_two_one_none() {
    let mut stage = stage(&[10]);
    stage.lose(0, 0..4);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [6]);
    stage.lose(0, 4..6);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![6], Some('a')), "4 < 10 / 2");
    stage.pass(seconds(40));
    assert_eq!(stage.counts(), [4]);
    for (lost, left) in [(6..8, 2), (8..9, 1), (9..10, 0)] {
        let before = stage.count(0);
        stage.lose(0, lost);
        stage.pass(seconds(55));
        assert_eq!((stage.count(0), stage.hold(0)), (before, Some('a')));
        stage.pass(seconds(10));
        assert_eq!(stage.count(0), left);
    }
}

#[test]
fn blue_green() {
    let mut stage = stage(&[4]);
    stage.gain(0, 4..8);
    stage.pass(MINUTE);
    stage.lose(0, 0..4);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [4]);
}

#[test]
fn redeploy_with_new_ids_in_one_answer() {
    let mut stage = stage(&[4]);
    stage.world.instances.extend((4..8).map(|i| instance(0, i)));
    stage.lose(0, 0..4);
    assert_eq!(stage.counts(), [8]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [4]);
}

#[test]
fn newcomers_that_leave_again_are_no_consolation() {
    let mut stage = stage(&[4]);
    stage.gain(0, 4..8);
    stage.pass(seconds(300));
    stage.lose(0, 0..8);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![8], Some('a')));
}

#[test]
fn a_service_published_five_minutes_ago_that_vanishes_whole_is_a_loss() {
    let mut stage = stage(&[0]);
    stage.gain(0, 0..4);
    stage.pass(seconds(300));
    stage.lose(0, 0..4);
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![4], Some('a')));
}

#[test]
fn enough_others_came() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(10));
    assert_eq!(stage.hold(0), Some('a'));
    stage.gain(0, [1]);
    assert_eq!(stage.ready(&key(0)), ["10.0.0.2"]);
}

#[test]
fn shown_again() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(10));
    let writes = stage.writes;
    stage.gain(0, [0]);
    assert_eq!((stage.counts(), stage.hold(0)), (vec![1], None));
    assert_eq!(stage.writes, writes + 1, "only the mark goes");
    stage.pass(seconds(120));
    assert_eq!(stage.counts(), [1]);
}

#[test]
fn a_host_of_five_services_is_rebooted() {
    let mut stage = stage(&[4; 5]);
    for s in 0..5 {
        let gone = instance(s, 0).reference();
        stage.world.instances.retain(|instance| instance.reference() != gone);
    }
    stage.sync_all();
    stage.pass(seconds(20));
    assert_eq!(stage.counts(), [4; 5]);
    assert_eq!(stage.hold(0), Some('b'));
    let ids: Vec<_> = stage.sync_all().iter().map(|s| s.judged.as_ref().unwrap().held[0].id.clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one id for all");
    for s in 0..5 {
        stage.gain(s, [0]);
    }
    stage.pass(seconds(700));
    assert_eq!(stage.counts(), [4; 5]);
}

#[test]
fn a_mass_that_stays_away_goes_after_ten_minutes() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(595));
    assert_eq!(stage.counts(), [4; 5]);
    stage.pass(seconds(10));
    assert_eq!(stage.counts(), [3; 5]);
}

#[test]
fn a_mass_is_held_for_ever_where_that_is_asked_for() {
    let mut stage = stage(&[4; 5]);
    stage.settings.mass_removal_hold = None;
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [4; 5]);
}

#[test]
fn a_rack_of_a_large_catalog() {
    let mut counts = vec![10; 40];
    counts.truncate(40);
    let mut stage = stage(&counts);
    for s in 0..3 {
        stage.lose(s, [0]);
    }
    stage.pass(seconds(5));
    assert_eq!(&stage.counts()[..4], [9, 9, 9, 10]);
}

#[test]
fn everything_deregistered_by_the_agents_themselves() {
    let mut stage = stage(&[4; 5]);
    stage.alive.extend(stage.world.instances.iter().map(|i| i.node.clone()));
    stage.world.instances.clear();
    stage.sync_all();
    assert_eq!(stage.counts(), [0; 5]);
}

#[test]
fn a_dead_rack_is_reaped() {
    let mut stage = stage(&[2; 5]);
    for instance in &mut stage.world.instances {
        instance.checks[0].status = crate::consul::CheckStatus::Critical;
    }
    stage.sync_all();
    stage.pass(seconds(72 * 3600));
    stage.world.instances.clear();
    stage.sync_all();
    let left: usize = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum();
    assert_eq!(left, 0);
}

#[test]
fn consul_comes_back_empty() {
    let mut stage = stage(&[2, 3]);
    stage.pass(MINUTE);
    stage.broken = Some(stage.now);
    stage.world.instances.clear();
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [2, 3]);
    assert_eq!(stage.hold(0), Some('c'));
    // What registers again is normal again …
    stage.gain(0, [0, 1]);
    assert_eq!(stage.hold(0), None);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1, 3]);
    // … and a living agent without the instance proves nothing about what was not seen since.
    stage.alive.extend((0..3).map(|i| format!("vm-1-{i}")));
    stage.sync_all();
    assert_eq!(stage.counts(), [1, 3]);
}

#[test]
fn consul_was_wiped_while_we_were_down() {
    let mut stage = stage(&[2]);
    stage.restart();
    stage.world.instances.clear();
    stage.broken = Some(stage.now);
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
    // Another restart, which doesn't see the break again.
    stage.restart();
    stage.broken = None;
    stage.sync_all();
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![2], Some('c')));
}

#[test]
fn a_token_that_lost_its_rights() {
    let mut stage = stage(&[2, 2]);
    let all = std::mem::take(&mut stage.world.instances);
    stage.meta.filtered = true;
    stage.sync_all();
    stage.pass(seconds(7200));
    assert_eq!(stage.counts(), [2, 2]);
    expect_test::expect![[r#"
        ns/s0
          hold h-cbeb2b (c) until shown again or released: [10.0.0.1 http=80] [10.0.0.2 http=80]
          ConsulPermissionDenied: Consul hides results from our token: what is missing is not removed; the token needs service:read and node:read (consul8s acl-policy)
          RemovalHeld: holding 2 of 2 endpoints that left Consul without a word (h-cbeb2b, no time limit): they stay ready until the source is whole again; release with: consul8s release ns/s0
    "#]].assert_eq(&stage.shown(0));
    // The source is whole again and shows all but one, which is missing from now on only.
    stage.meta.filtered = false;
    stage.world.instances = all[1..].to_vec();
    stage.sync_all();
    assert_eq!(stage.counts(), [2, 2]);
    stage.pass(seconds(5));
    assert_eq!(stage.counts(), [1, 2]);
}

#[test]
fn an_anonymous_request_under_default_deny() {
    let mut stage = stage(&[3]);
    stage.meta.anonymous_under_deny = true;
    stage.lose(0, 1..3);
    stage.pass(seconds(3600));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![3], Some('c')));
}

// Section 3: what a hold looks like, and how it ends.

#[test]
fn a_restart_continues_a_hold() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(30));
    let (id, writes) = (stage.sync(&key(0)).judged.unwrap().held[0].id.clone(), stage.writes);
    stage.restart();
    stage.sync_all();
    assert_eq!(stage.sync(&key(0)).judged.unwrap().held[0].id, id);
    assert_eq!(stage.writes, writes, "a restart writes nothing");
    stage.pass(seconds(35));
    assert_eq!(stage.counts(), [0], "60 s after it began, not after the restart");
}

#[test]
fn a_restart_continues_a_mass_hold_under_its_id() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(120));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    let writes = stage.writes;
    stage.restart();
    stage.sync_all();
    stage.pass(seconds(120));
    assert_eq!(stage.writes, writes);
    assert!((0..5).all(|s| stage.sync(&key(s)).judged.unwrap().held[0].id == id));
    stage.pass(seconds(400));
    assert_eq!(stage.counts(), [3; 5]);
}

#[test]
fn what_was_missing_while_we_were_down_is_confirmed_like_anything_else() {
    let mut stage = stage(&[3, 1]);
    stage.restart();
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    assert_eq!(stage.counts(), [3, 1]);
    stage.pass(seconds(5));
    assert_eq!((stage.counts(), stage.hold(1)), (vec![2, 1], Some('a')));
}

#[test]
fn a_release_by_id_and_one_that_means_another_hold() {
    let mut stage = stage(&[1]);
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    allow(&mut stage, "h-000000");
    assert_eq!(stage.counts(), [1]);
    allow(&mut stage, id.as_str());
    assert_eq!(stage.counts(), [0]);
}

#[test]
fn true_releases_once_until_it_is_taken_away() {
    let mut stage = stage(&[2]);
    stage.lose(0, 0..2);
    stage.pass(seconds(5));
    allow(&mut stage, "true");
    assert_eq!(stage.counts(), [0]);
    // It stands there still when the next hold begins, over a restart too.
    for restart in [false, true] {
        stage.gain(0, [0]);
        if restart {
            stage.restart();
            stage.sync_all();
        }
        stage.lose(0, [0]);
        stage.pass(seconds(10));
        assert_eq!((stage.counts(), stage.hold(0)), (vec![1], Some('a')), "restart: {restart}");
        stage.pass(seconds(70));
        assert_eq!(stage.counts(), [0]);
        stage.pass(seconds(700));
    }
    stage.gain(0, [0]);
    stage.world.services[0].annotations.clear();
    stage.sync_all();
    stage.lose(0, [0]);
    stage.pass(seconds(5));
    allow(&mut stage, "true");
    assert_eq!(stage.counts(), [0], "taken away in between, it counts again");
}

#[test]
fn a_release_on_the_lease_is_for_all() {
    let mut stage = stage(&[1, 2]);
    stage.meta.filtered = true;
    stage.world.instances.clear();
    stage.sync_all();
    assert_eq!(stage.counts(), [1, 2]);
    stage.lease_release = Some("true".to_owned());
    stage.sync_all();
    assert_eq!(stage.counts(), [0, 0]);
}

#[test]
fn a_release_of_a_mass_hold_on_a_service_releases_its_part() {
    let mut stage = stage(&[4; 5]);
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync_all();
    stage.pass(seconds(10));
    let id = stage.sync(&key(0)).judged.unwrap().held[0].id.clone();
    allow(&mut stage, id.as_str());
    assert_eq!(stage.counts(), [3, 4, 4, 4, 4]);
}

fn allow(stage: &mut Stage, what: &str) {
    stage.world.services[0].annotations.insert(crate::names::ALLOW_REMOVAL.into(), what.into());
    stage.sync_all();
}

#[test]
fn held_endpoints_stay_exactly_as_they_stand_beside_what_changes() {
    let mut stage = stage(&[6]);
    stage.lose(0, 0..6);
    stage.pass(seconds(5));
    let held = stage.world.slices[0].endpoints.clone();
    stage.gain(0, [6]);
    assert_eq!(stage.world.slices[0].endpoints[..6], held[..]);
    assert_eq!(stage.count(0), 7);
}

#[test]
fn an_endpoint_that_a_new_leader_does_not_know_yet_is_no_drift() {
    let mut stage = stage(&[2]);
    let mut endpoint = stage.world.slices[0].endpoints[0].clone();
    "10.9.9.9".clone_into(&mut endpoint.address);
    stage.world.slices[0].endpoints.push(endpoint);
    stage.lead();
    stage.sync_all();
    assert_eq!(stage.counts(), [3], "the leader before us may have had a newer answer");
}

#[test]
fn time_is_never_negative() {
    assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
}

#[test]
fn at_start_nothing_goes_by_absence_before_all_services_were_looked_at() {
    let mut stage = stage(&[4; 5]);
    stage.restart();
    stage.world.instances.retain(|instance| !instance.id.ends_with("-0"));
    stage.sync(&key(0));
    stage.pass(seconds(10));
    assert_eq!(stage.count(0), 4, "two reads agreed, but nobody knows about the others yet");
    stage.sync_all();
    stage.pass(seconds(30));
    assert_eq!((stage.counts(), stage.hold(0)), (vec![4; 5], Some('b')));
    // Where one Service alone is looked at for a while, that must do.
    stage.restart();
    stage.sync(&key(0));
    stage.pass(seconds(20));
    assert_eq!(stage.count(0), 3);
}
