//! `cargo xtask bench register`: 1,000 Services of 3 endpoints are there when consul8s starts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::time::sleep;

use super::fleet::Fleet;
use super::idle::registrations;
use super::program::{Program, usage_of};
use super::servers::{Servers, Wanted};
use super::setting::{Common, LOOK_EVERY};
use super::table::Table;

const FLEET: Fleet = Fleet { name: "register", services: 1000, instances: 3 };
const LIMIT: Duration = Duration::from_secs(60);
/// Conditions are written beside the work: what comes after the start belongs to it.
const AFTER: Duration = Duration::from_secs(20);
/// To reach.
const SECONDS: f64 = 3.0;
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
    eprintln!("bench: {} Services of {} endpoints", FLEET.services, FLEET.instances);
    FLEET.create_namespace(&servers).await?;
    let annotations = json!({ "consul8s/service.address_source": "endpoints" });
    FLEET.create_services(&servers, "kubernetes", &annotations, true).await?;
    let consul_pid = servers.consul.pid().context("Consul has ended")?;
    let (consul_before, entries) = (usage_of(consul_pid)?, servers.raft_index().await?);
    let start = Instant::now();
    let mut program = Program::start(&binary, &servers.reach(), FLEET.name)?;
    until_registered(&mut program).await?;
    let took = start.elapsed();
    let (at_start, consul_at_start, entries_later) =
        (program.usage()?, usage_of(consul_pid)?, servers.raft_index().await?);
    sleep(AFTER).await;
    let usage = program.usage()?;
    let standing = registrations(&servers).await?;

    let mut table = Table::default();
    table.at_most("start until all are registered", took.as_secs_f64(), SECONDS, "s");
    table.exactly("registrations that stand", standing.len(), FLEET.services * FLEET.instances);
    table.at_most("resident memory, at its peak", usage.peak_mib, MEMORY_MIB, "MiB");
    table.figure("processor time until then", format!("{:.2} s", at_start.cpu_seconds));
    table.figure("the same of Consul", format!("{:.2} s", consul_at_start.cpu_seconds - consul_before.cpu_seconds));
    table.figure("entries of Consul's Raft log", entries_later - entries);
    table.figure(
        &format!("processor time in the {} s after that", AFTER.as_secs()),
        format!("{:.2} s", usage.cpu_seconds - at_start.cpu_seconds),
    );
    let over = if arguments.tls { "HTTP/2" } else { "HTTP/1.1" };
    let title = format!("{} Services of {} endpoints to register, over {over}", FLEET.services, FLEET.instances);
    table.finish(&title, arguments.common.enforce)
}

/// Waits until consul8s says that it has registered all; what stands in Consul is compared afterwards.
async fn until_registered(program: &mut Program) -> Result<()> {
    let wanted = (FLEET.services * FLEET.instances) as f64;
    let began = Instant::now();
    loop {
        // It listens only after a moment.
        let metrics = program.metrics().await.unwrap_or_default();
        let labels = ["target=\"registration\"", "action=\"create\"", "result=\"ok\""];
        let registered = metrics.sum("consul8s_writes_total", &labels);
        if registered >= wanted {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            program.check_alive()?;
            bail!("{registered} of {wanted} registered after {} s\n{}", LIMIT.as_secs(), program.log_tail());
        }
        sleep(LOOK_EVERY).await;
    }
}
