//! Configuration, policy and security.

mod configuration;
mod policies;
mod rights;
mod rights_of;
mod rules;
mod secrets;
mod tls;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let files = [
        configuration::SCENARIOS,
        rules::SCENARIOS,
        policies::SCENARIOS,
        rights::SCENARIOS,
        tls::SCENARIOS,
        secrets::SCENARIOS,
    ];
    files.concat()
}
