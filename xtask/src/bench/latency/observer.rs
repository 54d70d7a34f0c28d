//! One observer for all: it makes a change and sees when it has arrived on the other side. What it sees does not depend
//! on who carried it over.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hyper::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::cast::Actor;
use super::change::{Change, Direction, Write};
use crate::bench::http::Connection;
use crate::bench::objects::{health_path, service_of};
use crate::bench::servers::Servers;
use crate::bench::slices::Slices;

/// A change that has not arrived by then is a failure and no figure.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);
/// How long a blocking query may travel before the change is made.
const SETTLE: Duration = Duration::from_millis(3);

/// Makes changes and sees them arrive.
pub(super) struct Observer {
    kube: Connection,
    consul: Connection,
    /// For blocking queries.
    waiting: Connection,
    slices: Slices,
}

impl Observer {
    pub(super) async fn start(servers: &Servers) -> Result<Self> {
        let connect = || servers.consul_api.connect();
        let kube = servers.kube_api.connect().await?;
        let (consul, waiting, slices) = (connect().await?, connect().await?, Slices::watch(servers).await?);
        Ok(Self { kube, consul, waiting, slices })
    }

    /// Makes change `number` to `actor`'s Service `index`; the time until it has arrived.
    pub(super) async fn measure(
        &mut self,
        actor: &Actor,
        change: Change,
        index: usize,
        number: usize,
    ) -> Result<Duration> {
        let write = change.write(actor, index, number);
        let is_shown = |seen: &Value| change.is_shown(number, seen);
        let arrival = match change.direction() {
            Direction::ToKube => {
                // What came before has no say in it.
                self.slices.drain();
                let name = actor.consul_name(index);
                within_limit(until_slice(&mut self.slices, &name, is_shown), &mut self.consul, write).await
            }
            Direction::ToConsul => {
                let name = actor.kube_name(index);
                let since = self.waiting.expect(Method::GET, &health_path(&name), None).await?.index;
                within_limit(until_health(&mut self.waiting, &name, since, is_shown), &mut self.kube, write).await
            }
        };
        arrival.with_context(|| format!("{}: {}, change {number} of Service {index}", actor.namespace, change.title()))
    }

    /// Waits until all Services of all `actors` stand on both sides as they do before the first change.
    pub(super) async fn await_start(&mut self, actors: &[Actor], limit: Duration) -> Result<()> {
        let names = |name: fn(&Actor, usize) -> String| -> BTreeSet<String> {
            actors.iter().flat_map(|actor| (0..actor.watched).map(move |index| name(actor, index))).collect()
        };
        let (mut to_kube, mut to_consul) = (names(Actor::consul_name), names(Actor::kube_name));
        let standing = async {
            while let Some(name) = to_consul.first() {
                let is_shown = |seen: &Value| Change::Endpoint.is_shown(0, seen) && Change::Service.is_shown(0, seen);
                until_health(&mut self.waiting, name, 0, is_shown).await?;
                to_consul.pop_first();
            }
            while !to_kube.is_empty() {
                let line = self.slices.next().await?;
                let slice = &line.value["object"];
                if Change::Check.is_shown(0, slice) && Change::Instance.is_shown(0, slice) {
                    to_kube.remove(service_of(slice));
                }
            }
            Ok(())
        };
        match timeout(limit, standing).await {
            Ok(result) => result,
            Err(_) => bail!(
                "not in sync after {} s: {} Services are not in Consul {:?}, {} not in Kubernetes {:?}",
                limit.as_secs(),
                to_consul.len(),
                to_consul.first(),
                to_kube.len(),
                to_kube.first()
            ),
        }
    }
}

/// From just before `write` until `arrival`.
async fn within_limit(
    arrival: impl Future<Output = Result<Instant>>,
    connection: &mut Connection,
    write: Write,
) -> Result<Duration> {
    let changing = async {
        connection.keep_open().await?;
        sleep(SETTLE).await;
        let method = if write.patch { Method::PATCH } else { Method::PUT };
        let start = Instant::now();
        connection.expect(method, &write.path, Some(&write.body)).await?;
        Ok(start)
    };
    let (start, arrived) = timeout(ARRIVAL_LIMIT, async { tokio::try_join!(changing, arrival) })
        .await
        .map_err(|_| anyhow!("not carried over within {} s", ARRIVAL_LIMIT.as_secs()))??;
    match arrived.checked_duration_since(start) {
        Some(took) => Ok(took),
        None => bail!("it was there before it was made"),
    }
}

/// When the watch shows such a slice of the Service `name`.
async fn until_slice(slices: &mut Slices, name: &str, is_shown: impl Fn(&Value) -> bool) -> Result<Instant> {
    loop {
        let line = slices.next().await?;
        let slice = &line.value["object"];
        if line.value["type"] != "DELETED" && service_of(slice) == name && is_shown(slice) {
            return Ok(line.at);
        }
    }
}

/// When Consul tells such a health of service `name`, asked above `index`.
async fn until_health(
    consul: &mut Connection,
    name: &str,
    mut index: u64,
    is_shown: impl Fn(&Value) -> bool,
) -> Result<Instant> {
    loop {
        let path = format!("{}?wait=60s&index={index}", health_path(name));
        let answer = consul.expect(Method::GET, &path, None).await?;
        let at = Instant::now();
        index = answer.index;
        if is_shown(&answer.json()?) {
            return Ok(at);
        }
    }
}
