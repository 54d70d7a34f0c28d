//! The whole program on both embedded worlds, in virtual time, while everything goes wrong that can.
//!
//! A run is a [`workload`], one or two [`process`]es, faults of single calls ([`script`]), disturbances of whole servers and processes
//! ([`disturbance`]), and [`oracles`] that look at every write; its end is compared with that of an undisturbed run. All of it follows
//! from a seed: the program draws its jitter from it, the clock is the runtime's, and nothing is left to chance.
//!
//! A failing seed is printed with the command that runs it alone.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod disturbance;
mod exhaustive;
mod line;
mod load;
mod mutants;
mod oracles;
mod ports_consul;
mod ports_kube;
mod process;
mod run;
mod script;
mod seeds;
mod truth;
mod view;
mod workload;
mod workloads;
mod worlds;

/// The installation under test.
const OWNER: &str = "o";
/// Its node in Consul.
const NODE: &str = "consul8s-o";
/// Its Lease.
const LEASE: (&str, &str) = ("default", "consul8s");
