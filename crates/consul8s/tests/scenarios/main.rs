//! The promises of consul8s, each as a small scenario, played on two worlds: `sim`, the simulated servers of
//! `crates/sim` behind real sockets, and `real`, the servers that `cargo xtask testbed build` builds. What writes to Consul (all of
//! `to_consul`) has `acl` as its real world: the same servers, with a Consul that allows the program what `consul8s acl-policy` prints for
//! its flags and no more; a few of these play on `real`, too. The program is the real binary, told everything by flags, and watched
//! through the two APIs, its metrics, logs and exit codes.
//!
//! `cargo test -p consul8s --test scenarios` plays all, `… -- real::health` those whose names contain that, `… -- --list`
//! names them. What passes on `sim` and not on `real` or `acl` is a bug in `sim`, or in the scenario.
//!
//! | file | rows of the contract |
//! | --- | --- |
//! | `to_kube/documented.rs` | §1 labels and directions, §2 slices; the original's manifest for this direction |
//! | `to_kube/health.rs` | §2 health → conditions, S1 |
//! | `to_kube/membership.rs` | D1, S3 and the guard: added, moved, gone by intent, gone without a word |
//! | `to_kube/addresses.rs` | §2 addresses and ports, names byte for byte, S8 |
//! | `to_kube/slices.rs` | §2 slices: packing, one change is one write; refused Services |
//! | `to_kube/ownership.rs` | S4, drift: edited, deleted, foreign slices |
//! | `to_kube/adoption.rs` | §2 taking over from the Python original |
//! | `to_kube/annotations.rs` | §2 annotations: ports, tags, filter, health, tagged_address, panic_threshold, suspend |
//! | `to_kube/staleness.rs`, `datacenters.rs` | §2 max_staleness; datacenter and failover |
//! | `to_kube/frozen.rs`, `refused.rs` | settings that can't be understood, or that Consul refuses: S8 |
//! | `to_kube/bad_input.rs`, `hostile.rs` | "Bad input": refused values of each annotation, and what a catalog may hold |
//! | `to_kube/services.rs`, `warnings.rs`, `zones.rs` | §2: type, selector, families, ports, labels; warnings; zones and hints; D4 |
//! | `to_kube/installations.rs`, `scope.rs` | §2 slices of another installation; §1 which namespaces |
//! | `to_kube/hostnames.rs` | §2 hostnames, with a name server |
//! | `to_kube/guide.rs` | the examples of docs/guides/to-kubernetes.md |
//! | `to_kube/holds.rs` | S3: holds, how they are released, and over a restart; sources that aren't whole |
//! | `to_kube/combined.rs` | settings and events that meet |
//! | `to_kube/while_down.rs` | S3 after a restart: what happened while nobody ran |
//! | `to_kube/release.rs` | §5 `release` |
//! | `to_consul/documented.rs` | §4 registration; the original's manifest for this direction |
//! | `to_consul/settings.rs` | §4 annotations: addresses, ID, name, port, tags, remove_registration |
//! | `to_consul/addresses.rs` | §4 each address source, and the order of `auto` |
//! | `to_consul/nodes.rs` | §4 `node_port`: the nodes of the cluster |
//! | `to_consul/registration.rs` | §4 weights, meta, flags, `on_delete`, shared names, `consul-k8s` |
//! | `to_consul/clusters.rs` | S5: several clusters and installations with one Consul |
//! | `to_consul/purge.rs` | §5 `purge` |
//! | `to_consul/access.rs` | §5 `acl-policy`, on a Consul with access control |
//! | `to_consul/original.rs` | moving from the Python original's nodes |
//! | `to_consul/readiness.rs` | §4 the readiness check |
//! | `to_consul/ownership.rs` | S5, S8: edited, deleted, foreign registrations |
//! | `to_consul/release.rs` | §5 `release` of registrations |
//! | `to_consul/removal.rs`, `absence.rs` | §4 removal; holds, absence from fresh lists |
//! | `to_consul/sources.rs`, `ids.rs`, `pods.rs`, `unready_nodes.rs`, `room.rs` | §4 sources and their order, IDs, endpoints, nodes, synthetic nodes |
//! | `to_consul/input.rs`, `examples.rs` | bad input, by the reference's table; the reference's examples |
//! | `to_consul/which.rs`, `compatibility.rs` | §1 suspended Services, `--default-sync`; §4 `consul-k8s` |
//! | `to_consul/writing.rs`, `held.rs` | §4 only differences, IDs, room in the meta, addresses; holds over time |
//! | `to_consul/restored.rs`, `wars.rs`, `loops.rs` | restored and replaced servers; S11; S7 |
//! | `import/create.rs` | §3 ConsulImport: which Services are made, and how |
//! | `import/removal.rs` | §3 ConsulImport: which Services go, and which stay |
//! | `import/telling.rs` | §3, §6: Events of an import; ports, names, age, held endpoints |
//! | `robustness/restart.rs` | D2, S9: a restart writes nothing |
//! | `robustness/outages.rs` | S2, §5 at start: either side down and up |
//! | `robustness/ha.rs` | §7, L5, S6: two replicas, one Lease |
//! | `robustness/garbage.rs` | S2, S8, S10: answers that make no sense, a Consul that forgot everything |
//! | `robustness/resources.rs`, `flood.rs` | S2, S8: file descriptors, a log that nobody reads; one service that is flooded |
//! | `security/configuration.rs` | §5 `--config`, who goes before whom, tokens in plain text |
//! | `security/rules.rs` | §1 rules |
//! | `security/policies.rs` | §5 `--policy` |
//! | `security/rights.rs` | §5 `rbac`, `acl-policy`: enough, and no more |
//! | `security/tls.rs` | §5 TLS to Consul, rotated certificates and tokens |
//! | `security/secrets.rs` | no secret in anything that is shown |
//! | `telling.rs` | §6 Events and the condition |
//! | `robustness/commands.rs` | §5 exit codes, `-1`, `plan`, listeners; §6 the original's metrics |

mod harness;
mod import;
mod robustness;
mod security;
mod telling;
mod to_consul;
mod to_kube;

use std::process::ExitCode;
use std::sync::Arc;

use harness::{Kind, Scenario, Stage};
use libtest_mimic::{Arguments, Trial};

/// Scenarios mostly wait, so more than the machine has cores.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = Arc::new(Stage::new(runtime.handle().clone()));
    let trials = [Kind::Sim, Kind::Real, Kind::Acl].into_iter().flat_map(|kind| trials(&stage, kind)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        stage.tell_slowest();
    }
    // The servers end with the stage, while the runtime that some of them live in is still there.
    drop(stage);
    conclusion.exit_code()
}

fn trials(stage: &Arc<Stage>, kind: Kind) -> Vec<Trial> {
    let all = to_kube::scenarios()
        .into_iter()
        .chain(import::scenarios())
        .chain(to_consul::scenarios())
        .chain(robustness::scenarios())
        .chain(security::scenarios())
        .chain(telling::scenarios());
    let trial = |scenario: Scenario| {
        let stage = Arc::clone(stage);
        let world = match kind {
            Kind::Sim => "sim",
            Kind::Real => "real",
            Kind::Acl => "acl",
        };
        Trial::test(format!("scenario::{world}::{}", scenario.name), move || stage.play(scenario, kind))
    };
    spread(all.filter(|scenario| scenario.plays_on(kind)).collect()).into_iter().map(trial).collect()
}

/// Those that play alone take turns and take long: they begin early, apart from each other, so that the others fill the
/// time between.
fn spread(scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let (alone, mut spread): (Vec<Scenario>, Vec<Scenario>) =
        scenarios.into_iter().partition(|scenario| scenario.alone);
    let apart = spread.len() / (alone.len() + 1);
    for (number, scenario) in alone.into_iter().enumerate() {
        spread.insert(number * (apart + 1), scenario);
    }
    spread
}
