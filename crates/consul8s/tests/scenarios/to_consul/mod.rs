//! Kubernetes → Consul.

mod access;
mod addresses;
mod clusters;
mod documented;
mod nodes;
mod original;
mod ownership;
mod purge;
mod readiness;
mod registration;
mod removal;
mod settings;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let files = [
        documented::SCENARIOS,
        settings::SCENARIOS,
        addresses::SCENARIOS,
        nodes::SCENARIOS,
        registration::SCENARIOS,
        readiness::SCENARIOS,
        ownership::SCENARIOS,
        clusters::SCENARIOS,
        original::SCENARIOS,
        removal::SCENARIOS,
        purge::SCENARIOS,
        access::SCENARIOS,
    ];
    files.concat()
}
