//! `cargo xtask bench start`: 1,000 Services of 10 instances each are there when consul8s starts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::sleep;

use super::fleet::Fleet;
use super::program::{Program, usage_of};
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published};
use super::slices::Slices;
use super::table::Table;

const FLEET: Fleet = Fleet { name: "start", services: 1000, instances: 10 };
const START_LIMIT: Duration = Duration::from_secs(60);
/// Conditions are written beside the work, and watches take their turns: what comes after the start belongs to it.
const AFTER: Duration = Duration::from_secs(30);
/// To reach (contract D3).
const MEMORY_MIB: f64 = 64.0;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Over HTTPS, and with that over HTTP/2.
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let servers = Servers::start(Wanted { tls: arguments.tls, ..Wanted::default() }).await?;
    eprintln!("bench: {} Services of {} instances", FLEET.services, FLEET.instances);
    FLEET.create_namespace(&servers).await?;
    FLEET.fill_consul(&servers).await?;
    FLEET.create_services(&servers, "consul", &json!({}), false).await?;
    let mut slices = Slices::watch(&servers).await?;
    let consul_pid = servers.consul.pid().context("Consul has ended")?;
    let consul_before = usage_of(consul_pid)?;
    let start = Instant::now();
    let mut program = Program::start(&binary, &servers.reach(), FLEET.name)?;
    let published = until_published(&FLEET, &mut slices, &mut program, START_LIMIT).await?;
    let at_start = program.usage()?;
    let asked = program.metrics().await?.sum("consul8s_consul_requests_total", &[]);
    sleep(AFTER).await;
    let (usage, consul_usage) = (program.usage()?, usage_of(consul_pid)?);
    let metrics = program.metrics().await?;
    let writes = metrics.sum("consul8s_writes_total", &[]) as usize;

    let mut table = Table::default();
    table.figure("start until published", format!("{:.2} s", published.duration_since(start).as_secs_f64()));
    table.exactly("slices written", writes, FLEET.services);
    table.at_most("resident memory, at its peak", usage.peak_mib, MEMORY_MIB, "MiB");
    table.figure("resident memory, in the end", format!("{:.1} MiB", usage.resident_mib));
    table.figure("processor time until published", format!("{:.2} s", at_start.cpu_seconds));
    table.figure(
        &format!("processor time in the {} s after that", AFTER.as_secs()),
        format!("{:.2} s", usage.cpu_seconds - at_start.cpu_seconds),
    );
    table.figure(
        "the same of Consul, altogether",
        format!("{:.2} s", consul_usage.cpu_seconds - consul_before.cpu_seconds),
    );
    table.figure("questions to Consul answered until published", asked);
    table.at_most("watch_delay_bound_seconds", metrics.sum("consul8s_watch_delay_bound_seconds", &[]), 5.0, "s");
    let over = if arguments.tls { "HTTP/2" } else { "HTTP/1.1" };
    let title = format!("Start with {} Services of {} instances, over {over}", FLEET.services, FLEET.instances);
    table.finish(&title, arguments.common.enforce)
}
