//! `cargo xtask bench churn`: instances move and fail without an end. Does the memory stay as it is?

use std::time::Duration;

use anyhow::Result;
use clap::value_parser;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::fleet::{Fleet, transact};
use super::program::Program;
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published};
use super::slices::Slices;
use super::table::Table;

const FLEET: Fleet = Fleet { name: "churn", services: 200, instances: 5 };
/// Until everything stands.
const LIMIT: Duration = Duration::from_secs(60);
/// Changes are made so often, in one transaction, and so many instances change in each: with their checks 120 operations, of 128 that
/// Consul takes.
const ROUND: Duration = Duration::from_millis(500);
const CHANGED: usize = 60;
/// An instance moves to another address each time that it is its turn, and comes back after so many.
const ADDRESSES: usize = 200;
/// Buffers and connections have grown by then.
const WARM_SECONDS: u64 = 60;
/// So long the guard remembers who left: memory grows with what has changed in that time, and not any more after it.
const REMEMBERED_SECONDS: u64 = 600;
/// What the allocator may keep besides.
const GROWTH_MIB: f64 = 4.0;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For how long, in seconds. Whether memory stays as it is shows after the ten minutes for which the guard remembers who left: with more
    /// than that, they are not counted; with less, the first minute is not.
    #[arg(long, value_name = "N", default_value_t = 170, value_parser = value_parser!(u64).range(2 * WARM_SECONDS..=86_400))]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let mut servers = Servers::start(Wanted::default()).await?;
    FLEET.create_namespace(&servers).await?;
    FLEET.fill_consul(&servers).await?;
    FLEET.create_services(&servers, "consul", &json!({}), false).await?;
    let mut slices = Slices::watch(&servers).await?;
    let mut program = Program::start(&binary, &servers.reach(), FLEET.name)?;
    until_published(&FLEET, &mut slices, &mut program, LIMIT).await?;

    eprintln!("bench: {} s of changes", arguments.seconds);
    let first = program.usage()?;
    let warm_seconds = if arguments.seconds > REMEMBERED_SECONDS { REMEMBERED_SECONDS } else { WARM_SECONDS };
    let warm_rounds = rounds(warm_seconds);
    churn(&servers, 0..warm_rounds).await?;
    let warm = program.usage()?;
    churn(&servers, warm_rounds..rounds(arguments.seconds)).await?;
    program.check_alive()?;
    servers.check_alive()?;
    let last = program.usage()?;

    let metrics = program.metrics().await?;
    let mut table = Table::default();
    table.figure("instances changed", rounds(arguments.seconds) * CHANGED);
    table.figure("slices written", metrics.sum("consul8s_writes_total", &["target=\"slice\""]));
    for (when, usage) in [("when in sync", first), ("then", warm), ("at the end", last)] {
        table.figure(&format!("resident memory {when}"), format!("{:.1} MiB", usage.resident_mib));
    }
    table.at_most(&format!("growth after {warm_seconds} s"), last.resident_mib - warm.resident_mib, GROWTH_MIB, "MiB");
    let counted = (arguments.seconds - warm_seconds) as f64;
    table.figure("processor time", format!("{:.1} ms/s", (last.cpu_seconds - warm.cpu_seconds) * 1e3 / counted));
    let title =
        format!("{} s of churn in {} Services, {} instances each", arguments.seconds, FLEET.services, FLEET.instances);
    table.finish(&title, arguments.common.enforce)
}

fn rounds(seconds: u64) -> usize {
    usize::try_from(u128::from(seconds) * 1000 / ROUND.as_millis()).unwrap_or(usize::MAX)
}

/// Makes the changes of these rounds, each at its time.
async fn churn(servers: &Servers, rounds: std::ops::Range<usize>) -> Result<()> {
    let mut consul = servers.consul_api.connect().await?;
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    for round in rounds {
        ticks.tick().await;
        transact(&mut consul, &changes(round)).await?;
    }
    eprintln!("bench: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The next instances in turn: each is elsewhere now, and every seventh fails.
fn changes(round: usize) -> Vec<Value> {
    let all = FLEET.services * FLEET.instances;
    let turns = round * CHANGED..(round + 1) * CHANGED;
    turns
        .flat_map(|turn| {
            let (number, version) = (turn % all, turn / all + 1);
            let (index, instance) = (number / FLEET.instances, number % FLEET.instances);
            let moved = FLEET.instance(index, instance, version % ADDRESSES);
            [moved, FLEET.check(index, instance, turn % 7 != 0)]
        })
        .collect()
}
