//! Each workload undisturbed, and with a crash before and after every single write.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::run::{Plan, Report, run};
use crate::script::{Fault, Script};
use crate::workloads;

/// Rest enough to see a write that does not end.
pub(crate) const SHORTLY: Duration = Duration::from_secs(20);

/// Its caller gives up after half of it, and has written something else until it arrives.
pub(crate) const LATE: Fault = Fault::Late(Duration::from_secs(6));

fn undisturbed(number: usize, rest: Duration) -> Report {
    let report = run(Plan { rest, ..Plan::undisturbed(workloads::all().remove(number)) });
    if let Some(wrong) = report.wrong() {
        panic!("undisturbed: {wrong}");
    }
    report
}

/// How a workload ends when nothing goes wrong.
pub(crate) fn right(number: usize) -> BTreeSet<String> {
    undisturbed(number, SHORTLY).end
}

#[test]
fn undisturbed_nothing_is_lost_and_an_hour_at_rest_writes_nothing() {
    for (number, workload) in workloads::all().into_iter().enumerate() {
        let report = undisturbed(number, Duration::from_secs(3600));
        assert!(report.writes >= 4, "{} writes only {} times", workload.name, report.writes);
        let ours = report.end.iter().filter(|line| line.contains("consul8s/owner") || line.contains("consul8s-uid"));
        assert!(ours.count() > 0, "{} ends with nothing of ours: {:#?}", workload.name, report.end);
    }
}

/// Each write of each workload, with what happens to it; gives how often that was.
fn at_every_write(faults: &[Fault]) -> usize {
    let mut runs = 0;
    for (number, workload) in workloads::all().into_iter().enumerate() {
        let right = undisturbed(number, SHORTLY);
        for (write, fault) in (0..right.writes).flat_map(|write| faults.iter().map(move |fault| (write, *fault))) {
            let plan = Plan {
                script: Script::once(write, fault),
                rest: SHORTLY,
                right: Some(right.end.clone()),
                ..Plan::undisturbed(workloads::all().remove(number))
            };
            if let Some(wrong) = run(plan).wrong() {
                panic!("{}, {fault:?} at write {write}: {wrong}", workload.name);
            }
            runs += 1;
        }
    }
    runs
}

#[test]
fn a_crash_before_or_after_any_write_changes_nothing_in_the_end() {
    let runs = at_every_write(&[Fault::CrashBefore, Fault::CrashAfter]);
    assert!(runs >= 200, "only {runs} crashes");
}

#[test]
fn any_write_may_arrive_late_or_lose_its_answer() {
    let runs = at_every_write(&[LATE, Fault::Lost]);
    assert!(runs >= 200, "only {runs} writes");
}
