//! Kubernetes → Consul.

mod documented;
mod ownership;
mod readiness;
mod removal;
mod settings;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let files =
        [documented::SCENARIOS, settings::SCENARIOS, readiness::SCENARIOS, ownership::SCENARIOS, removal::SCENARIOS];
    files.concat()
}
