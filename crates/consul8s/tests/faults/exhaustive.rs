//! Each workload undisturbed, and with a crash before and after every single write.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::run::{Plan, Report, run};
use crate::script::{CrashAt, Script};
use crate::workloads;

fn undisturbed(number: usize) -> Report {
    let report = run(Plan::undisturbed(workloads::all().remove(number)));
    if let Some(wrong) = report.wrong() {
        panic!("undisturbed: {wrong}");
    }
    report
}

/// How a workload ends when nothing goes wrong.
pub(crate) fn right(number: usize) -> BTreeSet<String> {
    undisturbed(number).end
}

#[test]
fn undisturbed_nothing_is_lost_and_an_hour_at_rest_writes_nothing() {
    for (number, workload) in workloads::all().into_iter().enumerate() {
        let report = undisturbed(number);
        assert!(report.writes >= 4, "{} writes only {} times", workload.name, report.writes);
        let ours = report.end.iter().filter(|line| line.contains("consul8s/owner") || line.contains("consul8s-uid"));
        assert!(ours.count() > 0, "{} ends with nothing of ours: {:#?}", workload.name, report.end);
    }
}

#[test]
fn a_crash_before_or_after_any_write_changes_nothing_in_the_end() {
    let mut runs = 0;
    for (number, workload) in workloads::all().into_iter().enumerate() {
        let right = undisturbed(number);
        for write in 0..right.writes {
            for after in [false, true] {
                let at = CrashAt { write, after };
                let plan = Plan {
                    script: Script::crash(at),
                    rest: Duration::from_secs(20),
                    right: Some(right.end.clone()),
                    ..Plan::undisturbed(workloads::all().remove(number))
                };
                let report = run(plan);
                if let Some(wrong) = report.wrong() {
                    panic!("{} with {at:?}: {wrong}", workload.name);
                }
                assert!(report.journal.iter().any(|entry| entry.text.ends_with("crashed")), "{at:?} did not happen");
                runs += 1;
            }
        }
    }
    println!("{runs} crashes");
    assert!(runs >= 200, "only {runs} crashes");
}
