//! Kubernetes → Consul. The real Consul of these scenarios denies what is not allowed, and the program has a token for exactly what
//! `consul8s acl-policy` prints for its flags.

mod absence;
mod access;
mod addresses;
mod clusters;
mod compatibility;
mod documented;
mod examples;
mod held;
mod ids;
mod input;
mod loops;
mod nodes;
mod original;
mod ownership;
mod pods;
mod purge;
mod readiness;
mod registration;
mod release;
mod removal;
mod restored;
mod room;
mod settings;
mod sources;
mod unready_nodes;
mod wars;
mod which;
mod writing;

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
        release::SCENARIOS,
        removal::SCENARIOS,
        purge::SCENARIOS,
        access::SCENARIOS,
        sources::SCENARIOS,
        ids::SCENARIOS,
        pods::SCENARIOS,
        unready_nodes::SCENARIOS,
        input::SCENARIOS,
        room::SCENARIOS,
        absence::SCENARIOS,
        examples::SCENARIOS,
        restored::SCENARIOS,
        wars::SCENARIOS,
        loops::SCENARIOS,
        compatibility::SCENARIOS,
        held::SCENARIOS,
        which::SCENARIOS,
        writing::SCENARIOS,
    ];
    files.concat().into_iter().map(Scenario::with_access_control).collect()
}
