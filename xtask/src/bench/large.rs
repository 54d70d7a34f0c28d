//! `cargo xtask bench large`: one service with 10,000 instances, one of which changes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::fleet::{Fleet, transact};
use super::meter::Meters;
use super::program::{Program, usage_of};
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published, until_quiet};
use super::slices::Slices;
use super::stats::Summary;
use super::table::Table;

const FLEET: Fleet = Fleet { name: "large", services: 1, instances: 10_000 };
const START_LIMIT: Duration = Duration::from_secs(60);
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
/// After a change nothing more is written. Longer than Consul's answer of this size and a write take together.
const AFTER: Duration = Duration::from_millis(1000);
const MIB: f64 = 1024.0 * 1024.0;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many instances change, one after the other.
    #[arg(long, value_name = "N", default_value_t = 20)]
    changes: usize,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let servers = Servers::start(Wanted::default()).await?;
    eprintln!("bench: {} instances of one service", FLEET.instances);
    FLEET.create_namespace(&servers).await?;
    FLEET.fill_consul(&servers).await?;
    FLEET.create_services(&servers, "consul", &json!({}), false).await?;
    let mut slices = Slices::watch(&servers).await?;
    let meters = Meters::start(&servers).await?;
    let start = Instant::now();
    let mut program = Program::start(&binary, meters.reach(), FLEET.name)?;
    let published = until_published(&FLEET, &mut slices, &mut program, START_LIMIT).await?;
    until_quiet(&program, AFTER, START_LIMIT).await?;
    slices.drain();

    let mut consul = servers.consul_api.connect().await?;
    let consul_pid = servers.consul.pid().context("Consul has ended")?;
    let (before, consul_before, moved) = (program.usage()?, usage_of(consul_pid)?, meters.traffic());
    let (mut times, mut writes) = (Vec::new(), 0);
    for change in 0..arguments.changes {
        let instance = change * 97 % FLEET.instances;
        let made = Instant::now();
        transact(&mut consul, &[FLEET.check(0, instance, false)]).await?;
        let line = timeout(CHANGE_LIMIT, slices.next()).await.context("a change did not arrive")??;
        times.push(line.at.duration_since(made));
        sleep(AFTER).await;
        writes += 1 + slices.drain();
    }
    let (usage, consul_usage, traffic) = (program.usage()?, usage_of(consul_pid)?, meters.traffic());

    let mut table = Table::default();
    let per_change = |total: f64| total / arguments.changes as f64;
    let mib = |after: u64, before: u64| format!("{:.2} MiB", per_change((after - before) as f64) / MIB);
    let times = Summary::of(&times);
    table.exactly("slices written for all changes", writes, arguments.changes);
    table.figure(
        "processor time per change",
        format!("{:.0} ms", per_change((usage.cpu_seconds - before.cpu_seconds) * 1e3)),
    );
    table.figure(
        "the same of Consul",
        format!("{:.0} ms", per_change((consul_usage.cpu_seconds - consul_before.cpu_seconds) * 1e3)),
    );
    table.figure("received from Consul per change", mib(traffic.from_consul, moved.from_consul));
    table.figure("received from Kubernetes per change", mib(traffic.from_kube, moved.from_kube));
    table.figure("sent to Kubernetes per change", mib(traffic.to_kube, moved.to_kube));
    table.figure("from just before the change until seen, p50", format!("{:.0} ms", times.p50_ms));
    table.figure("the longest", format!("{:.0} ms", times.max_ms));
    table.figure("start until published", format!("{:.2} s", published.duration_since(start).as_secs_f64()));
    table.figure("resident memory, at its peak", format!("{:.1} MiB", usage.peak_mib));
    let title = format!("One service with {} instances, {} changes", FLEET.instances, arguments.changes);
    table.finish(&title, arguments.common.enforce)
}
