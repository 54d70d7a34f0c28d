//! Both directions, when something goes wrong around them.

mod commands;
mod garbage;
mod ha;
mod outages;
mod restart;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [commands::SCENARIOS, restart::SCENARIOS, outages::SCENARIOS, garbage::SCENARIOS, ha::SCENARIOS].concat()
}
