//! Rules, as worlds and the plans that they make.

mod failover;
mod frozen;
mod instances;
mod settings;
mod slices;
mod told;

use expect_test::Expect;

use crate::plan;
use crate::world::{Stage, World};

fn stage(world: &str) -> Stage {
    Stage::new(World::parse(world).unwrap())
}

/// What is planned for the first Service of a world, and what is written.
fn plan_of(stage: &mut Stage) -> String {
    let synced = stage.sync_all().remove(0);
    synced.judged.map_or_else(String::new, |judged| plan::text(&judged, &synced.changes))
}

/// The endpoints that the first Service's slices show, one line each with the ports.
fn shown(stage: &mut Stage) -> String {
    stage.sync_all();
    let mut lines: Vec<String> = Vec::new();
    for slice in stage.slices_of(&stage.world.services[0].key) {
        let ports: Vec<String> =
            slice.ports.iter().map(|port| format!("{}={}", port.name, port.port.unwrap_or_default())).collect();
        for endpoint in &slice.endpoints {
            let state = match (endpoint.ready, endpoint.serving) {
                (true, _) => "ready",
                (false, true) => "draining",
                (false, false) => "not ready",
            };
            lines.push(format!("{} {} {state}", endpoint.address, ports.join(",")));
        }
    }
    lines.sort();
    lines.join("\n")
}

#[allow(clippy::needless_pass_by_value)]
fn check(world: &str, expected: Expect) {
    let mut stage = stage(world);
    expected.assert_eq(&plan_of(&mut stage));
    let writes = stage.writes;
    stage.sync_all();
    assert_eq!(stage.writes, writes, "a converged world needs no write");
}
