//! Consul → Kubernetes.

mod addresses;
mod adoption;
mod annotations;
mod datacenters;
mod documented;
mod frozen;
mod health;
mod holds;
mod membership;
mod ownership;
mod refused;
mod release;
mod slices;
mod staleness;

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
    ];
    files.concat()
}
