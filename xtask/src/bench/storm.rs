//! `cargo xtask bench storm`: 1,000 changes in one second on 100 services.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::fleet::{Fleet, transact};
use super::objects::service_of;
use super::program::Program;
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published, until_quiet};
use super::slices::Slices;
use super::table::Table;

const FLEET: Fleet = Fleet { name: "storm", services: 100, instances: 10 };
const CHANGES: usize = FLEET.services * FLEET.instances;
const LIMIT: Duration = Duration::from_secs(60);
/// Nothing written for this long counts as quiet.
const CALM: Duration = Duration::from_secs(3);
/// Connections that make the changes.
const WRITERS: usize = 8;
/// Changes that one of them sends in a transaction.
const TOGETHER: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

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
    FLEET.create_namespace(&servers).await?;
    FLEET.fill_consul(&servers).await?;
    FLEET.create_services(&servers, "consul", &json!({}), false).await?;
    let mut slices = Slices::watch(&servers).await?;
    let mut program = Program::start(&binary, &servers.reach(), FLEET.name)?;
    until_published(&FLEET, &mut slices, &mut program, LIMIT).await?;
    until_quiet(&program, CALM, LIMIT).await?;
    slices.drain();

    eprintln!("bench: {CHANGES} changes");
    let before = program.usage()?;
    let began = Instant::now();
    make_changes(&servers).await?;
    let made = began.elapsed();
    until_quiet(&program, CALM, LIMIT).await?;
    let usage = program.usage()?;
    let seen = Seen::take(&mut slices).await?;

    let mut table = Table::default();
    table.figure("changes were made within", format!("{:.2} s", made.as_secs_f64()));
    table.exactly("Services whose last state is right", seen.right(), FLEET.services);
    table.at_most("slices written", seen.writes as f64, (CHANGES - 1) as f64, "");
    let quiet = seen.last.map_or(0.0, |last| last.duration_since(began + made).as_secs_f64());
    table.figure("from the last change until the last write was seen", format!("{quiet:.2} s"));
    table.figure("processor time", format!("{:.2} s", usage.cpu_seconds - before.cpu_seconds));
    table.figure("resident memory, at its peak", format!("{:.1} MiB", usage.peak_mib));
    let over = if arguments.tls { "HTTP/2" } else { "HTTP/1.1" };
    let title = format!("A storm of {CHANGES} changes on {} services, over {over}", FLEET.services);
    table.finish(&title, arguments.common.enforce)
}

/// Change `number`: every second instance turns critical, the others move, one of each service after the other.
fn change(number: usize) -> Value {
    let (index, instance) = (number % FLEET.services, number / FLEET.services);
    if instance % 2 == 0 { FLEET.check(index, instance, false) } else { FLEET.instance(index, instance, 1) }
}

/// Makes all changes, evenly spread over a second. Ten different services at a time: a thousand single writes take Consul three seconds.
async fn make_changes(servers: &Servers) -> Result<()> {
    let began = tokio::time::Instant::now();
    let writers = (0..WRITERS).map(async |first| {
        let mut consul = servers.consul_api.connect().await?;
        for number in (0..CHANGES).step_by(TOGETHER).skip(first).step_by(WRITERS) {
            sleep_until(began + SECOND.mul_f64(number as f64 / CHANGES as f64)).await;
            let changes: Vec<Value> = (number..number + TOGETHER).map(change).collect();
            transact(&mut consul, &changes).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(writers).await?;
    Ok(())
}

/// What was written.
struct Seen {
    writes: usize,
    last: Option<Instant>,
    slices: BTreeMap<String, Value>,
}

impl Seen {
    /// Everything that the watch has told.
    async fn take(slices: &mut Slices) -> Result<Seen> {
        // A line may still be on its way when consul8s has its answer.
        sleep(Duration::from_millis(500)).await;
        let mut seen = Seen { writes: 0, last: None, slices: BTreeMap::new() };
        for line in slices.told() {
            if line.value["type"] == "DELETED" {
                bail!("a slice was deleted: {}", line.value["object"]["metadata"]["name"]);
            }
            seen.writes += 1;
            seen.last = Some(line.at);
            let slice = &line.value["object"];
            seen.slices.insert(service_of(slice).to_owned(), slice.clone());
        }
        Ok(seen)
    }

    /// How many Services show what the changes left.
    fn right(&self) -> usize {
        (0..FLEET.services)
            .filter(|index| self.slices.get(&FLEET.service(*index)).is_some_and(|slice| is_right(*index, slice)))
            .count()
    }
}

fn is_right(index: usize, slice: &Value) -> bool {
    let shown: BTreeMap<&str, bool> = slice["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|endpoint| Some((endpoint["addresses"][0].as_str()?, endpoint["conditions"]["ready"] == true)))
        .collect();
    let wanted = |instance: usize| {
        let moved = instance % 2;
        (FLEET.address(index, instance, moved), moved == 1)
    };
    shown.len() == FLEET.instances
        && (0..FLEET.instances).map(wanted).all(|(address, ready)| shown.get(address.as_str()) == Some(&ready))
}
