//! Hostnames in Consul's answers are looked up, again and again as their records run out. A lookup that fails leaves what was known.

mod schedule;
mod system;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consul8s_core::kube::Family;
use consul8s_core::ports::{ConsulApi, KubeApi};
use consul8s_core::problem::clean;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::controller::Controller;
use crate::stores::names::Turns;
use schedule::Schedule;
pub use system::System;

/// Lookups side by side. Each waits for a server most of the time, and servers take few at once from one client kindly.
const AT_ONCE: usize = 16;
/// How long one lookup may take, with all its attempts.
const LOOKUP_WITHIN: Duration = Duration::from_secs(15);

/// Looks up hostnames.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a hostname; why not, for a person.
    fn look_up<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found, String>>;
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Addresses, at least one, in any order.
    pub addresses: Vec<IpAddr>,
    /// The family that could not be asked for, if one: what was known of it stays.
    pub failed: Option<Family>,
    /// How long they may be believed.
    pub good_for: Duration,
}

/// The controller's end: what it wants to be looked up.
#[derive(Default)]
pub struct Lookups {
    wanted: Option<Wanted>,
}

struct Wanted {
    resolver: Arc<dyn Resolver>,
    turns: mpsc::UnboundedSender<Turns>,
    taken: Mutex<Option<mpsc::UnboundedReceiver<Turns>>>,
}

impl Lookups {
    /// Done by this resolver.
    #[must_use]
    pub fn with(resolver: Arc<dyn Resolver>) -> Lookups {
        // Unbounded, but each look at a Service puts one into it at most, and they are taken out without waiting for anything.
        let (turns, taken) = mpsc::unbounded_channel();
        Lookups { wanted: Some(Wanted { resolver, turns, taken: Mutex::new(Some(taken)) }) }
    }

    /// Whether there is a resolver.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Begins and ends looking up.
    pub fn take(&self, turns: Turns) {
        if let Some(wanted) = &self.wanted
            && turns != Turns::default()
        {
            // It fails only when the controller has ended.
            let _ = wanted.turns.send(turns);
        }
    }

    /// The task, the first time.
    pub fn start<K: KubeApi, C: ConsulApi>(
        &self,
        controller: &Arc<Controller<K, C>>,
    ) -> Option<impl Future<Output = ()> + Send + use<K, C>> {
        let wanted = self.wanted.as_ref()?;
        let turns = wanted.taken.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (resolver, controller) = (wanted.resolver.clone(), controller.clone());
        Some(run(resolver, turns, move |name, found| controller.looked_up(name, found)))
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Whether hostnames are resolved.
    #[must_use]
    pub fn resolves(&self) -> bool {
        self.lookups.are_wanted()
    }

    /// Begins and ends looking up hostnames.
    pub fn resolve(&self, turns: Turns) {
        self.lookups.take(turns);
    }

    /// A lookup ended; none = it failed.
    pub fn looked_up(&self, name: &str, found: Option<Found>) {
        let mut world = self.world();
        let concerns = world.names.looked_up(name, found);
        self.look_at(world, concerns);
    }
}

async fn run<F>(resolver: Arc<dyn Resolver>, mut turns: mpsc::UnboundedReceiver<Turns>, told: F)
where
    F: Fn(&str, Option<Found>),
{
    let mut schedule = Schedule::default();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(name) = schedule.pop(Instant::now())
        {
            let resolver = resolver.clone();
            running.spawn(async move {
                let found = tokio::time::timeout(LOOKUP_WITHIN, resolver.look_up(&name)).await;
                let found = found.unwrap_or_else(|_| Err(format!("no answer within {LOOKUP_WITHIN:?}")));
                (name, found)
            });
        }
        let next = schedule.first().filter(|_| running.len() < AT_ONCE);
        tokio::select! {
            biased;
            turns = turns.recv() => match turns {
                Some(turns) => schedule.take(turns, Instant::now()),
                None => return,
            },
            Some(ended) = running.join_next() => match ended {
                Ok((name, found)) => {
                    log(&name, &found, schedule.ended(&name, &found, Instant::now()));
                    told(&name, found.ok());
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
            () = at(next), if next.is_some() => {}
        }
    }
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Says when it begins to fail and when all is well again; the names in between are in the debug log.
fn log(name: &str, found: &Result<Found, String>, turned: Option<bool>) {
    let name = clean(name, 80);
    match (found, turned) {
        (Err(why), Some(true)) => {
            tracing::warn!(hostname = %name, "a hostname in Consul cannot be looked up; what was known of it stays: {why}");
        }
        (Err(why), _) => tracing::debug!(hostname = %name, "not looked up: {why}"),
        (Ok(found), turned) => {
            tracing::debug!(hostname = %name, addresses = ?found.addresses, "looked up");
            if turned == Some(false) {
                tracing::info!("all hostnames in Consul can be looked up again");
            }
        }
    }
}

#[cfg(test)]
mod tests;
