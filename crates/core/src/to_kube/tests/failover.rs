//! `consul8s/service.failover`.

use std::time::Duration;

use crate::consul::CheckStatus;
use crate::world::Stage;

use super::stage;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn two_datacenters(more: &str) -> Stage {
    stage(&format!(
        "kube:   service shop/foo source=consul @service.failover=dc2,dc3 {more} port http 80
         consul: a@vm-1 name=foo 10.1.0.1:80 passing
                 b@vm-2 name=foo dc=dc2 10.2.0.1:80 critical
                 c@vm-3 name=foo dc=dc3 10.3.0.1:80 passing"
    ))
}

fn ready(stage: &Stage) -> Vec<String> {
    stage.ready(&stage.world.services[0].key)
}

fn set(stage: &mut Stage, at: usize, status: CheckStatus) {
    stage.world.instances[at].checks[0].status = status;
    stage.sync_all();
}

#[test]
fn the_first_with_a_ready_instance_while_the_primary_has_none() {
    let mut stage = two_datacenters("");
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.1.0.1"]);
    set(&mut stage, 0, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.3.0.1"], "at once: it is no absence");
    let stands: usize = stage.world.slices.iter().map(|slice| slice.endpoints.len()).sum();
    assert_eq!(stands, 1);
    // Back after the primary has had one for 30 s without a break.
    set(&mut stage, 0, CheckStatus::Passing);
    stage.pass(seconds(20));
    set(&mut stage, 0, CheckStatus::Critical);
    set(&mut stage, 0, CheckStatus::Passing);
    stage.pass(seconds(29));
    assert_eq!(ready(&stage), ["10.3.0.1"]);
    stage.pass(seconds(2));
    assert_eq!(ready(&stage), ["10.1.0.1"]);
    let told: Vec<&str> = stage.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "1 ready instance of datacenter dc3 is now used: the agent's datacenter has none",
            "1 ready instance of the agent's datacenter is now used: it has had a ready one for 30s",
        ]
    );
}

#[test]
fn while_the_primary_is_silent() {
    for (more, after) in [("", 30), ("@service.max_staleness=60s", 60)] {
        let mut stage = two_datacenters(more);
        stage.sync_all();
        stage.down.insert("dc1".into());
        stage.pass(seconds(after - 2));
        assert_eq!(ready(&stage), ["10.1.0.1"]);
        stage.pass(seconds(3));
        assert_eq!(ready(&stage), ["10.3.0.1"]);
        let told = stage.events.pop().unwrap().message;
        let silent = crate::duration::print(seconds(after));
        let why = format!(
            "1 ready instance of datacenter dc3 is now used: the agent's datacenter has not answered for {silent}"
        );
        assert_eq!(told, why);
        stage.down.clear();
        stage.sync_all();
        stage.pass(seconds(31));
        assert_eq!(ready(&stage), ["10.1.0.1"]);
    }
}

#[test]
fn nowhere_a_ready_one_stays_where_it_is() {
    let mut stage = two_datacenters("");
    set(&mut stage, 2, CheckStatus::Critical);
    set(&mut stage, 0, CheckStatus::Critical);
    assert!(ready(&stage).is_empty() && stage.events.is_empty());
    assert_eq!(stage.world.slices[0].endpoints[0].address, "10.1.0.1");
}

#[test]
fn the_first_of_the_list_and_back_without_waiting() {
    let mut stage = two_datacenters("");
    set(&mut stage, 0, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.3.0.1"]);
    set(&mut stage, 1, CheckStatus::Passing);
    assert_eq!(ready(&stage), ["10.2.0.1"], "the first with a ready one");
    set(&mut stage, 1, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.3.0.1"]);
    set(&mut stage, 1, CheckStatus::Passing);
    set(&mut stage, 2, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.2.0.1"]);
    set(&mut stage, 0, CheckStatus::Passing);
    set(&mut stage, 1, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.1.0.1"], "there is nothing to wait in");
}

#[test]
fn a_hidden_primary_is_no_reason_to_leave() {
    let mut stage = two_datacenters("");
    stage.sync_all();
    stage.meta.filtered = true;
    stage.world.instances.remove(0);
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.1.0.1"]);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut stage = two_datacenters("");
    set(&mut stage, 0, CheckStatus::Critical);
    set(&mut stage, 0, CheckStatus::Passing);
    let writes = stage.writes;
    stage.restart();
    stage.sync_all();
    assert_eq!((ready(&stage), stage.writes), (vec!["10.3.0.1".to_owned()], writes));
    stage.pass(seconds(31));
    assert_eq!(ready(&stage), ["10.1.0.1"]);
}

#[test]
fn what_leaves_the_one_in_use_is_absent_like_anything_else() {
    let mut stage = two_datacenters("");
    set(&mut stage, 0, CheckStatus::Critical);
    stage.world.instances.remove(2);
    set(&mut stage, 0, CheckStatus::Critical);
    assert_eq!(ready(&stage), ["10.3.0.1"]);
    stage.pass(seconds(30));
    assert_eq!(ready(&stage), ["10.3.0.1"], "held");
}

#[test]
fn one_that_is_silent_too_is_passed_over() {
    let mut stage = two_datacenters("@service.max_staleness=60s");
    set(&mut stage, 1, CheckStatus::Passing);
    stage.down.extend(["dc1".into(), "dc2".into()]);
    stage.pass(seconds(61));
    assert_eq!(ready(&stage), ["10.3.0.1"]);
    stage.down.remove("dc2");
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.2.0.1"]);
    stage.down.insert("dc2".into());
    stage.pass(seconds(59));
    assert_eq!(ready(&stage), ["10.2.0.1"]);
    stage.pass(seconds(2));
    assert_eq!(ready(&stage), ["10.3.0.1"]);
}
