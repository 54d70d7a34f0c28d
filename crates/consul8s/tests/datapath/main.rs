//! The data path: what clients of a Service notice of changes in Consul. Real connections through a real kube-proxy
//! (nftables) to real backends, with everything else real too, in a network namespace of this test's own.
//!
//! `cargo test -p consul8s --test datapath` runs all; nothing is needed but what `cargo xtask testbed build` puts there. As
//! root it makes the namespace itself, as anybody else inside a user namespace. Where neither is allowed, the tests are
//! reported as ignored, with the reason: they were not run, so they did not pass.
//!
//! | file | promise |
//! | --- | --- |
//! | `lossless.rs` | no request is lost while instances are replaced and move, consul8s or Consul is away, and the Python original is taken over from |
//! | `ports.rs` | D4: a Service port is added, renumbered, renamed |
//! | `latency.rs` | D1, S3, from end to end: registration → first answer, critical → last answer, deregistration → last answer |
//! | `packets.rs` | S2: packets are lost between consul8s and both servers |
//!
//! The rest is machinery: `namespace.rs` (where it runs), `backend.rs` (who answers), `load.rs` (who asks), `scene.rs` (a Service
//! with all of these).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures, and why something was not run, are for who runs it"
)]

mod backend;
#[allow(dead_code, unused_imports, reason = "it is the scenarios' harness, which need more of it")]
#[path = "../scenarios/harness/mod.rs"]
mod harness;
mod latency;
mod load;
mod lossless;
mod namespace;
mod packets;
mod ports;
mod scene;

use std::process::ExitCode;
use std::sync::Arc;

use harness::{Kind, Scenario, Stage};
use libtest_mimic::{Arguments, Trial};
use namespace::Place;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Times are measured, and Consul comes and goes: one after the other.
    arguments.test_threads = Some(1);
    let place = if arguments.list { Place::Inside } else { namespace::enter() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = Arc::new(Stage::new(runtime.handle().clone()));
    let scenarios = [lossless::SCENARIOS, ports::SCENARIOS, latency::SCENARIOS, packets::SCENARIOS].concat();
    let trials = scenarios.into_iter().map(|scenario| trial(&stage, &place, scenario)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Place::NotAllowed(why) = &place {
        eprintln!("the tests of the data path were NOT run: {why}");
    }
    runtime.block_on(scene::end());
    // The servers end with the stage, while the runtime is still there.
    drop(stage);
    conclusion.exit_code()
}

fn trial(stage: &Arc<Stage>, place: &Place, scenario: Scenario) -> Trial {
    let name = format!("on_real_servers::{}", scenario.name);
    match place {
        Place::Inside => {
            let stage = Arc::clone(stage);
            Trial::test(name, move || stage.play(scenario, Kind::Real))
        }
        Place::NotAllowed(why) => {
            let why = why.clone();
            Trial::test(name, move || Err(why.into())).with_kind("not run").with_ignored_flag(true)
        }
    }
}
