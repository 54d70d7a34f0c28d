//! `cargo xtask bench turns`: more watched Services than connections, over HTTP/1.1.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::value_parser;
use serde_json::json;
use tokio::time::{sleep, sleep_until, timeout};

use super::fleet::{Fleet, transact};
use super::objects::service_of;
use super::program::{Program, usage_of};
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published};
use super::slices::Slices;
use super::stats::Summary;
use super::table::Table;

const LIMIT: Duration = Duration::from_secs(60);
/// Until watches have taken all their first turns and conditions are written.
const SETTLE: Duration = Duration::from_secs(30);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(150);
/// What the change itself and the write of the slice take, on a machine that has much to do.
const WRITE_SECONDS: f64 = 0.25;
/// To reach at 1,000 Services (contract D1).
const BOUND_SECONDS: f64 = 5.0;
/// From one Service to the next that changes: prime, so that each comes once before any comes again.
const STRIDE: usize = 389;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Watched Services.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=5000))]
    watched: u32,
    /// Changes of each kind.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=5000))]
    samples: u32,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let servers = Servers::start(Wanted::default()).await?;
    let fleet = Fleet { name: "turns", services: arguments.watched as usize, instances: 2 };
    eprintln!("bench: {} Services over HTTP/1.1", fleet.services);
    fleet.create_namespace(&servers).await?;
    fleet.fill_consul(&servers).await?;
    fleet.create_services(&servers, "consul", &json!({}), false).await?;
    let mut slices = Slices::watch(&servers).await?;
    let mut program = Program::start(&binary, &servers.reach(), fleet.name)?;
    until_published(&fleet, &mut slices, &mut program, LIMIT).await?;
    sleep(SETTLE).await;
    slices.drain();

    let consul_pid = servers.consul.pid().context("Consul has ended")?;
    let (before, consul_before, began) = (program.usage()?, usage_of(consul_pid)?, Instant::now());
    let mut table = Table::default();
    let mut longest: f64 = 0.0;
    let kinds = [
        ("checks turn critical", Change::Critical),
        ("checks pass again", Change::Passing),
        ("instances move", Change::Move),
    ];
    for (what, change) in kinds {
        let times = measure(&fleet, &servers, &mut slices, change, arguments.samples as usize).await?;
        longest = longest.max(times.max_ms / 1e3);
        let shown = format!("{:.0} / {:.0} / {:.0} ms", times.p50_ms, times.p99_ms, times.max_ms);
        table.figure(&format!("{what}: p50 / p99 / longest"), shown);
    }
    let (seconds, usage, consul_usage) = (began.elapsed().as_secs_f64(), program.usage()?, usage_of(consul_pid)?);
    let bound = program.metrics().await?.sum("consul8s_watch_delay_bound_seconds", &[]);
    table.at_most("watch_delay_bound_seconds", bound, BOUND_SECONDS, "s");
    // The bound is what taking turns may add; the change itself and the write of the slice come on top.
    table.at_most("the longest of all", longest, bound + WRITE_SECONDS, "s");
    table.figure("processor time", format!("{:.0} ms/s", (usage.cpu_seconds - before.cpu_seconds) * 1e3 / seconds));
    let consul = (consul_usage.cpu_seconds - consul_before.cpu_seconds) * 1e3 / seconds;
    table.figure("the same of Consul", format!("{consul:.0} ms/s"));
    table.figure("resident memory, at its peak", format!("{:.1} MiB", usage.peak_mib));
    let title =
        format!("{} watched Services over HTTP/1.1, {} changes of each kind", fleet.services, arguments.samples);
    table.finish(&title, arguments.common.enforce)
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Critical,
    Passing,
    Move,
}

/// The times of `samples` changes, which are made whether or not those before have arrived.
async fn measure(
    fleet: &Fleet,
    servers: &Servers,
    slices: &mut Slices,
    change: Change,
    samples: usize,
) -> Result<Summary> {
    let mut consul = servers.consul_api.connect().await?;
    let mut made = BTreeMap::<String, Instant>::new();
    let mut times = Vec::with_capacity(samples);
    let mut next = tokio::time::Instant::now();
    let mut number = 0;
    while times.len() < samples {
        tokio::select! {
            () = sleep_until(next), if number < samples => {
                let index = number * STRIDE % fleet.services;
                let op = match change {
                    Change::Critical => fleet.check(index, 0, false),
                    Change::Passing => fleet.check(index, 0, true),
                    Change::Move => fleet.instance(index, 0, 1),
                };
                made.insert(fleet.service(index), Instant::now());
                transact(&mut consul, &[op]).await?;
                (number, next) = (number + 1, next + PAUSE);
            }
            line = timeout(LIMIT, slices.next()) => {
                let Ok(line) = line else { bail!("{} changes of {made:?} have not arrived", made.len()) };
                let line = line?;
                if let Some(at) = made.remove(service_of(&line.value["object"])) {
                    times.push(line.at.duration_since(at));
                }
            }
        }
    }
    Ok(Summary::of(&times))
}
