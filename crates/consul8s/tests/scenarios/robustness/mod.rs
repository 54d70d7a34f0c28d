//! Both directions, when something goes wrong around them.

mod commands;
mod crashes;
mod crowd;
mod flood;
mod garbage;
mod ha;
mod idle;
mod kube_garbage;
mod leases;
mod links;
mod outages;
mod quorum;
mod resources;
mod restart;
mod under_faults;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [
        commands::SCENARIOS,
        restart::SCENARIOS,
        outages::SCENARIOS,
        garbage::SCENARIOS,
        kube_garbage::SCENARIOS,
        links::SCENARIOS,
        quorum::SCENARIOS,
        ha::SCENARIOS,
        leases::SCENARIOS,
        crashes::SCENARIOS,
        crowd::SCENARIOS,
        idle::SCENARIOS,
        resources::SCENARIOS,
        flood::SCENARIOS,
    ]
    .concat()
}
