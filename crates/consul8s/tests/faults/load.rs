//! How much is asked of a server that is away for an hour, and of one that comes back.

use std::time::Duration;

use consul8s_core::consul::CheckStatus::{Critical, Passing};
use consul8s_core::kube::ObjectKey;
use serde_json::json;

use crate::disturbance::Disturbance;
use crate::run::{Plan, Report, run};
use crate::workload::{Workload, create, instance, service};

const SERVICES: u8 = 40;
const AWAY_AT: Duration = Duration::from_secs(60);
const AWAY_FOR: Duration = Duration::from_secs(3600);
const BACK_AT: Duration = Duration::from_secs(3660);
/// No two attempts are further apart (contract), but for the time that one takes.
const APART: Duration = Duration::from_millis(30_100);

/// Many Services of both directions.
fn many() -> Workload {
    let mut play = Workload::new("many");
    for number in 1..=SERVICES {
        play.consul(0.0, move |catalog| {
            let instance = instance(&format!("web-{number}"), number, Passing);
            catalog.put_instance(&instance).expect("an instance");
        });
        play.kube(0.0, move |cluster| {
            create(cluster, "default", service(&format!("web-{number}"), "consul", &json!({}), &json!({})));
            let name = json!({"domainName": format!("db-{number}.example.com")});
            create(cluster, "default", service(&format!("db-{number}"), "kubernetes", &name, &json!({})));
        });
    }
    play
}

fn away(workload: Workload, what: Disturbance) -> Report {
    let disturbances = vec![(AWAY_AT, AWAY_FOR, what)];
    let report = run(Plan { disturbances, seed: 7, ..Plan::undisturbed(workload) });
    assert_eq!(report.violations, Vec::<String>::new());
    report
}

fn within(times: &[Duration], from: Duration, length: Duration) -> usize {
    times.iter().filter(|at| **at >= from && **at < from + length).count()
}

#[test]
fn while_consul_is_away_for_an_hour_it_is_asked_at_most_once_a_second_and_less_as_it_lasts() {
    let report = away(many(), Disturbance::ConsulAway);
    let watches: Vec<_> = report.requests.iter().filter(|(what, _)| what.starts_with("health web-")).collect();
    assert_eq!(watches.len(), usize::from(SERVICES));
    for (what, times) in &watches {
        let tried: Vec<Duration> = times.iter().copied().filter(|at| *at > AWAY_AT && *at < BACK_AT).collect();
        assert!((150..=400).contains(&tried.len()), "{what}: {} attempts", tried.len());
        let gaps: Vec<Duration> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= Duration::from_secs(1) && *gap <= APART), "{what}: {gaps:?}");
        let minute = Duration::from_secs(60);
        let (first, last) = (within(&tried, AWAY_AT, minute), within(&tried, BACK_AT - minute, minute));
        assert!(first > last && first <= 20, "{what}: {first} attempts in the first minute, {last} in the last");
    }
    let nodes: usize = ["node consul8s-o", "checks consul8s-o"]
        .iter()
        .map(|what| within(&report.requests[*what], AWAY_AT, AWAY_FOR))
        .sum();
    assert!(nodes <= 800, "{nodes} attempts to read our node");
    let lineage = within(&report.requests["lineage"], AWAY_AT, AWAY_FOR);
    assert!(lineage <= 125, "{lineage} attempts to read how far Consul has counted");
    assert_eq!(report.requests.get("write").map_or(0, |times| within(times, AWAY_AT, AWAY_FOR)), 0);
}

#[test]
fn when_consul_comes_back_not_all_ask_at_once_and_all_ask_soon() {
    let report = away(many(), Disturbance::ConsulAway);
    let all: Vec<Duration> = report
        .requests
        .iter()
        .filter(|(what, _)| what.starts_with("health web-"))
        .flat_map(|(_, times)| times.clone())
        .collect();
    let first: Vec<Duration> = report
        .requests
        .iter()
        .filter(|(what, _)| what.starts_with("health web-"))
        .filter_map(|(_, times)| times.iter().copied().find(|at| *at >= BACK_AT))
        .collect();
    assert_eq!(first.len(), usize::from(SERVICES));
    assert!(first.iter().all(|at| *at <= BACK_AT + APART), "{first:?}");
    for second in 0..30 {
        let at_once = within(&all, BACK_AT + Duration::from_secs(second), Duration::from_secs(1));
        // Each asks twice: for what there is, and then for what comes.
        assert!(at_once <= usize::from(SERVICES) / 2, "{at_once} requests in second {second}");
    }
}

#[test]
fn while_the_api_server_is_away_for_an_hour_nothing_is_written_and_then_what_has_changed_once() {
    let mut play = many();
    for round in 0..600_u32 {
        let at = 70.0 + f64::from(round) * 5.0;
        let status = if round % 2 == 0 { Critical } else { Passing };
        play.instance(at, "web-1", 1, status);
    }
    play.instance(3600.0, "web-2", 2, Critical);
    play.instance(3600.0, "web-3", 3, Critical);
    let report = away(play, Disturbance::KubeAway);
    let writes = &report.requests["write"];
    // What is under way when it goes, until the claim to write is over.
    assert!(within(writes, AWAY_AT, AWAY_FOR) <= 10, "{}", within(writes, AWAY_AT, AWAY_FOR));
    assert!(within(&report.requests["tell"], AWAY_AT, AWAY_FOR) <= 20);
    let lease = within(&report.requests["lease"], AWAY_AT, AWAY_FOR);
    assert!(lease <= 3600, "{lease} attempts to read or renew the Lease");
    assert_eq!(within(writes, BACK_AT, Duration::from_secs(30)), 2, "web-2 and web-3: web-1 is as it was");
    for what in ["definition", "labelled"] {
        let asked = report.requests.get(what).map_or(0, |times| within(times, AWAY_AT, AWAY_FOR));
        assert!(asked <= 3600, "{asked} of {what}");
    }
}

#[test]
fn what_changes_a_thousand_times_while_consul_is_away_is_tried_at_its_pace_and_written_once() {
    let mut play = many();
    for round in 0..1_000_u32 {
        play.kube(70.0 + f64::from(round), move |cluster| {
            let tags = format!("round-{round}");
            let key = ObjectKey::new("default", "db-1");
            cluster.annotate_service(&key, "consul8s/service.tags", Some(&tags)).expect("a Service");
        });
    }
    let report = away(play, Disturbance::ConsulAway);
    let writes = &report.requests["write"];
    let tried = within(writes, AWAY_AT, AWAY_FOR);
    assert!((20..=1_200).contains(&tried), "{tried} attempts");
    for second in 0..3_600 {
        let at_once = within(writes, AWAY_AT + Duration::from_secs(second), Duration::from_secs(1));
        // At first a few, as it may be over soon; then once for each change, beside the retries.
        assert!(at_once <= if second < 30 { 6 } else { 2 }, "{at_once} attempts in second {second}");
    }
    let quiet = Duration::from_secs(600);
    assert!(within(writes, BACK_AT - quiet, quiet) <= 60, "30 s apart, jitter and all");
    assert_eq!(within(writes, BACK_AT, Duration::from_secs(60)), 1);
    assert!(report.end.iter().any(|line| line.contains("round-999")), "{:#?}", report.end);
}

#[test]
fn reads_that_are_to_confirm_an_absence_are_no_loop_while_they_fail() {
    let mut play = Workload::new("missing");
    play.service(0.0, "web", "consul", json!({}));
    (1..=4).for_each(|number| play.instance(0.0, "web", number, Passing));
    // The first read is answered, the second is due while Consul fails.
    play.consul(59.5, |catalog| catalog.deregister_node("vm-1"));
    let report = away(play, Disturbance::ConsulFails);
    for what in ["health web", "node vm-1"] {
        let asked = within(&report.requests[what], AWAY_AT, AWAY_FOR);
        assert!((100..=2_300).contains(&asked), "{asked} requests for {what}");
    }
    assert!(report.end.iter().all(|line| !line.contains("10.0.0.1")), "{:#?}", report.end);
}
