//! Consul → Kubernetes.

mod addresses;
mod adoption;
mod annotations;
mod bad_input;
mod combined;
mod datacenters;
mod documented;
mod frozen;
mod guide;
mod health;
mod holds;
mod hostile;
mod hostnames;
mod installations;
mod membership;
mod ownership;
mod refused;
mod release;
mod scope;
mod services;
mod slices;
mod staleness;
mod warnings;
mod while_down;
mod zones;

use crate::harness::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let files = [
        documented::SCENARIOS,
        health::SCENARIOS,
        membership::SCENARIOS,
        addresses::SCENARIOS,
        slices::SCENARIOS,
        ownership::SCENARIOS,
        adoption::SCENARIOS,
        annotations::SCENARIOS,
        datacenters::SCENARIOS,
        frozen::SCENARIOS,
        holds::SCENARIOS,
        refused::SCENARIOS,
        release::SCENARIOS,
        staleness::SCENARIOS,
        bad_input::SCENARIOS,
        combined::SCENARIOS,
        guide::SCENARIOS,
        hostile::SCENARIOS,
        hostnames::SCENARIOS,
        installations::SCENARIOS,
        scope::SCENARIOS,
        services::SCENARIOS,
        warnings::SCENARIOS,
        while_down::SCENARIOS,
        zones::SCENARIOS,
    ];
    files.concat()
}
