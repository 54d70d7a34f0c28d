//! `cargo xtask bench latency`. Per stage (a number of watched Services) the [`cast`] is set up: the [`floor`] and
//! consul8s with Services of their own. Then the [`observer`] makes one [`change`] after the other, to the floor's
//! Services and to consul8s' in turns, and sees when each has arrived. The [`report`] compares.

mod cast;
mod change;
mod floor;
mod observer;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::{ValueEnum, value_parser};
use tokio::time::{sleep, sleep_until, timeout};

use super::program::Program;
use super::servers::{Servers, Wanted};
use super::setting::Common;
use cast::{Actor, Who};
use change::Change;
use floor::Floor;
use observer::Observer;
use report::{Report, Row, Stage};

/// A whole run takes about a tenth of it.
const RUN_LIMIT: Duration = Duration::from_secs(3600);
/// From the start of consul8s until everything stands.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The same Service is not changed more often: this is about single changes; coalescing is another matter.
const SERVICE_PAUSE: Duration = Duration::from_millis(250);
/// Between two changes, at least: the traces of one are gone before the next.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause grows by this, step by step, and starts over: nothing shall run in step with a timer of a server.
const PAUSE_STEP: Duration = Duration::from_micros(1300);
const PAUSE_STEPS: u32 = 11;
/// The floor has a connection to Consul for each Service that it watches, and Consul takes 200 from one address.
const FLOOR_WATCHES: usize = 80;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Changes of each kind, by the floor and by consul8s each.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// Services that are watched, in each direction; a list, one stage for each. The floor watches 80 at most. More than fit
    /// the connections take turns over HTTP/1.1, which is what `bench turns` is for.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,80", value_parser = value_parser!(u32).range(1..=5000))]
    watched: Vec<u32>,
    /// Consul is reached by HTTPS: consul8s speaks HTTP/2 with it, and the floor HTTP/1.1 over TLS.
    #[arg(long)]
    tls: bool,
    /// Kinds of change; a list, all by default.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_enum, default_values_t = Change::value_variants().to_vec())]
    changes: Vec<Change>,
    /// Writes the figures as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let report = timeout(RUN_LIMIT, measure(arguments)).await;
    let report = report.map_err(|_| anyhow!("not done within {} min", RUN_LIMIT.as_secs() / 60))??;
    report.print();
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    if arguments.common.enforce && !report.missed().is_empty() {
        bail!("{} targets are missed (--enforce)", report.missed().len());
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Report> {
    let binary = arguments.common.binary().await?;
    let mut servers = Servers::start(Wanted { tls: arguments.tls, ..Wanted::default() }).await?;
    let mut report = Report::begin();
    for watched in &arguments.watched {
        let mut bench = Bench::start(*watched as usize, &binary, &servers).await?;
        let measured = bench.measure_all(arguments, &mut report).await;
        // A server that has died explains more than a change that did not arrive.
        servers.check_alive()?;
        measured.map_err(|error| bench.explain(error))?;
    }
    report.end();
    Ok(report)
}

/// One stage, with everything running.
struct Bench {
    actors: [Actor; 2],
    floor: Floor,
    program: Program,
    observer: Observer,
}

impl Bench {
    async fn start(watched: usize, binary: &Path, servers: &Servers) -> Result<Self> {
        eprintln!("bench: setting up {watched} + {watched} watched Services");
        let actors = [Actor::new(Who::Floor, watched.min(FLOOR_WATCHES)), Actor::new(Who::Consul8s, watched)];
        for actor in &actors {
            actor.set_up(servers).await?;
        }
        let [floor, consul8s] = &actors;
        let mut bench = Self {
            floor: Floor::start(floor, servers).await?,
            observer: Observer::start(servers).await?,
            program: Program::start(binary, &servers.reach(), &consul8s.namespace)?,
            actors,
        };
        match bench.observer.await_start(&bench.actors, START_LIMIT).await {
            Ok(()) => Ok(bench),
            Err(error) => Err(bench.explain(error)),
        }
    }

    async fn measure_all(&mut self, arguments: &Arguments, report: &mut Report) -> Result<()> {
        let (watched, samples) = (self.actors[1].watched, arguments.samples as usize);
        let (start, before) = (Instant::now(), self.program.usage()?);
        for change in arguments.changes.iter().copied() {
            eprintln!("bench: {watched} watched: {}", change.title());
            let [floor, consul8s] = self.measure(change, samples).await?;
            report.rows.push(Row::new(change, watched, &floor, &consul8s));
        }
        let usage = self.program.usage()?;
        report.stages.push(Stage {
            watched,
            changes: samples * arguments.changes.len(),
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: usage.cpu_seconds - before.cpu_seconds,
            usage,
        });
        Ok(())
    }

    /// The times of the floor and of consul8s for `samples` changes each, in turns.
    async fn measure(&mut self, change: Change, samples: usize) -> Result<[Vec<Duration>; 2]> {
        // The floor may watch fewer, and then changes each more often.
        let fewest = self.actors.iter().map(|actor| actor.watched).min().unwrap_or(1);
        let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
        let mut round = tokio::time::Instant::now();
        for (sample, step) in (0..samples).zip((0..PAUSE_STEPS).cycle()) {
            if sample % fewest == 0 {
                sleep_until(round).await;
                round = tokio::time::Instant::now() + SERVICE_PAUSE;
            }
            // Each goes first as often as the other.
            let order = if sample % 2 == 0 { [0, 1] } else { [1, 0] };
            for who in order {
                sleep(PAUSE + PAUSE_STEP * step).await;
                let actor = &self.actors[who];
                let (index, number) = (sample % actor.watched, sample / actor.watched + 1);
                times[who].push(self.observer.measure(actor, change, index, number).await?);
            }
        }
        Ok(times)
    }

    /// Finds out what is behind an error.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        if let Err(cause) = self.floor.check_alive().and_then(|()| self.program.check_alive()) {
            return cause.context(format!("{error:#}"));
        }
        eprintln!("bench: end of consul8s' log:\n{}", self.program.log_tail());
        error
    }
}
