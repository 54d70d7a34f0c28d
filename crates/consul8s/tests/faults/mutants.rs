//! Programs that are wrong in one way each, and must be found out: an oracle that nothing can fail proves nothing.

use std::time::Duration;

use consul8s_core::consul::CheckStatus::Passing;
use serde_json::json;

use crate::disturbance::Disturbance;
use crate::exhaustive::{LATE, SHORTLY, right};
use crate::run::{Plan, run};
use crate::script::Script;
use crate::workload::Workload;
use crate::workloads;

/// How a process is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// It writes over whatever stands.
    NoPreconditions,
    /// It takes what is hidden from it for absent.
    BelievesAll,
    /// It does not ask whether another leads.
    AsksNobody,
    /// It says that it has deregistered what it has not.
    PretendsToDelete,
}

#[track_caller]
fn is_found_out(mutant: Mutant, by: &str, plans: impl IntoIterator<Item = (usize, Plan)>) {
    let found = plans.into_iter().find_map(|(number, plan)| {
        run(Plan { mutant: Some(mutant), right: Some(right(number)), rest: SHORTLY, ..plan }).wrong()
    });
    let wrong = found.unwrap_or_else(|| panic!("{mutant:?} is not found out"));
    assert!(wrong.contains(by), "{mutant:?} is found out by something else: {wrong}");
}

/// Instances that stay; another comes, which wakes who waits.
fn grows() -> Workload {
    let mut play = Workload::new("grows");
    play.service(0.0, "web", "consul", json!({}));
    (1..=4).for_each(|number| play.instance(0.0, "web", number, Passing));
    play.instance(10.0, "web", 5, Passing);
    play
}

fn first() -> Plan {
    Plan::undisturbed(workloads::all().remove(0))
}

#[test]
fn one_without_preconditions_is_found_out() {
    // Each of these plans does no harm to a program that is right.
    let late = (0..8).map(|write| (0, Plan { script: Script::once(write, LATE), ..first() }));
    is_found_out(Mutant::NoPreconditions, "took away", late);
}

#[test]
fn one_that_believes_what_is_hidden_to_be_absent_is_found_out() {
    let hidden = Disturbance::Hidden { anonymous: true };
    let disturbances = vec![(Duration::from_secs(2), Duration::from_secs(30), hidden)];
    let plan = Plan { disturbances, ..Plan::undisturbed(grows()) };
    let wrong = run(Plan { mutant: Some(Mutant::BelievesAll), ..plan }).wrong().unwrap_or_default();
    assert!(wrong.contains("took away"), "it is not found out: {wrong}");
}

#[test]
fn one_that_does_not_ask_who_leads_is_found_out() {
    is_found_out(Mutant::AsksNobody, "holds the Lease", [(0, Plan { replicas: 2, ..first() })]);
}

#[test]
fn one_that_only_says_that_it_deregistered_is_found_out() {
    let registrations = Plan::undisturbed(workloads::all().remove(6));
    is_found_out(Mutant::PretendsToDelete, "wrong:", [(6, registrations)]);
}
