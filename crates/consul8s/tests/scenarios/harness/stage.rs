//! Where scenarios play: gives each its world, and runs it with a limit.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

use super::Outcome;
use super::servers::{Kind, Servers};
use super::world::World;

/// No scenario takes a third of this alone; on a busy machine with others beside it, it may.
const LIMIT: Duration = Duration::from_secs(180);

/// One scenario; the tables at the top of the files say which promise it holds.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) play: for<'a> fn(&'a World) -> Play<'a>,
    /// It stops or restarts servers, so that nobody else may use them.
    pub(crate) alone: bool,
    /// The one kind of servers it plays on, simulated or real, if the other can't do it; the reason stands beside the call.
    pub(crate) only: Option<Kind>,
    /// Its real servers.
    pub(crate) real: RealServers,
}

/// Which real servers a scenario plays on.
///
/// The rule: what writes to Consul plays where Consul denies all that is not allowed, for there it shows all that it would show elsewhere,
/// and that it asks for no more than it may. So do all scenarios of `to_consul`. A few of them play on an open Consul, too
/// ([`Scenario::and_on_an_open_consul`]): that one works stays proven. All other scenarios play on an open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RealServers {
    /// `real`: Consul asks nobody who they are.
    Open,
    /// `acl`: Consul denies by default, and the program may do what `acl-policy` prints for it and no more.
    AccessControl,
    /// Both.
    Either,
}

pub(crate) type Play<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

impl Scenario {
    /// With servers of its own.
    pub(crate) const fn alone(self) -> Scenario {
        Scenario { alone: true, ..self }
    }

    /// Only on simulated servers, or only on real ones; `_because` tells the reader why.
    pub(crate) const fn only(self, kind: Kind, _because: &str) -> Scenario {
        Scenario { only: Some(kind), ..self }
    }

    /// On real servers with access control instead of those without.
    pub(crate) const fn with_access_control(self) -> Scenario {
        match self.real {
            RealServers::Open => Scenario { real: RealServers::AccessControl, ..self },
            RealServers::AccessControl | RealServers::Either => self,
        }
    }

    /// On real servers of both kinds.
    pub(crate) const fn and_on_an_open_consul(self) -> Scenario {
        Scenario { real: RealServers::Either, ..self }
    }

    /// Whether it plays on this world.
    pub(crate) fn plays_on(&self, kind: Kind) -> bool {
        let on_real = self.only != Some(Kind::Sim);
        match kind {
            Kind::Sim => self.only.is_none_or(|only| only == Kind::Sim),
            Kind::Real => on_real && self.real != RealServers::AccessControl,
            Kind::Acl => on_real && self.real != RealServers::Open,
        }
    }
}

/// A scenario by its function.
macro_rules! scenario {
    ($play:ident) => {
        $crate::harness::Scenario {
            name: stringify!($play),
            play: |world| Box::pin($play(world)),
            alone: false,
            only: None,
            real: $crate::harness::RealServers::Open,
        }
    };
}
pub(crate) use scenario;

/// The runtime and the servers that scenarios share.
pub(crate) struct Stage {
    runtime: Handle,
    real: Mutex<Shared>,
    acl: Mutex<Shared>,
    /// Real servers for one scenario alone are many processes, so of such scenarios only two play at a time.
    alone: Semaphore,
    played: AtomicUsize,
    played_again: AtomicUsize,
    /// How long each took, with its name.
    times: std::sync::Mutex<Vec<(Duration, String)>>,
}

/// So many of the five hundred scenarios of a run may be played a second time before a failure counts. Several servers and programs share a
/// few cores with whoever else is on the machine, so that now and then a wait is over too soon; what fails more often, or twice, is broken.
const SECOND_TRIES: usize = 6;

/// So many are told of in the end.
const SLOWEST: usize = 15;

/// Real servers that scenarios share, and how many more may.
struct Shared {
    pair: Outcome<Arc<Servers>>,
    left: usize,
}

/// Then fresh ones are started, and the others end with the last that plays on them. For Consul keeps the connection of a
/// blocking query whose client is gone until the query's wait is over (5 minutes), and gives a client address no more than
/// 200 of them: each program that ends leaves a handful.
const SHARED_BY: usize = 25;

impl Stage {
    pub(crate) fn new(runtime: Handle) -> Stage {
        remember_panics();
        let none = || Mutex::new(Shared { pair: Err(String::new()), left: 0 });
        let (played, played_again) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let times = std::sync::Mutex::default();
        Stage { runtime, real: none(), acl: none(), alone: Semaphore::new(2), played, played_again, times }
    }

    /// Tells which took longest: what to look at when a run takes too long.
    pub(crate) fn tell_slowest(&self) {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        times.sort_by(|one, other| other.cmp(one));
        let lines = times.iter().take(SLOWEST).map(|(took, name)| format!("  {:>5.1} s  {name}", took.as_secs_f64()));
        told(&format!("the slowest:\n{}", lines.collect::<Vec<_>>().join("\n")));
    }

    /// Plays one scenario on this thread. A failure says why and shows the end of the program's logs, also where it passes the second time.
    pub(crate) fn play(&self, scenario: Scenario, kind: Kind) -> Result<(), Failed> {
        let began = Instant::now();
        let played = self.runtime.block_on(self.turn(scenario, kind, ""));
        let time = (began.elapsed(), format!("{kind:?}::{}", scenario.name));
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        let Err(why) = played else { return Ok(()) };
        if self.played_again.fetch_add(1, Ordering::SeqCst) >= SECOND_TRIES {
            return Err(Failed::from(why));
        }
        told(&format!("{kind:?}::{} failed once and is played again; the first time:\n{why}", scenario.name));
        self.runtime.block_on(self.turn(scenario, kind, "-again")).map_err(Failed::from)
    }

    async fn turn(&self, scenario: Scenario, kind: Kind, suffix: &str) -> Outcome {
        let own = scenario.alone && kind != Kind::Sim;
        let turn = if own { self.alone.acquire().await.ok() } else { None };
        let number = self.played.fetch_add(1, Ordering::SeqCst);
        let namespace = format!("{}{suffix}", scenario.name.replace('_', "-"));
        let world = World::new(self.servers(scenario, kind).await?, namespace, number).await?;
        let played = unpanicked(tokio::time::timeout(LIMIT, (scenario.play)(&world))).await;
        drop(turn);
        let why = match played {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => format!("still playing after {LIMIT:?}"),
            Err(panic) => panic,
        };
        Err(format!("{why}\n{}", world.logs()))
    }

    async fn servers(&self, scenario: Scenario, kind: Kind) -> Outcome<Arc<Servers>> {
        // Simulated servers cost nothing, so each scenario has its own; real ones are shared where nobody is hurt.
        if kind == Kind::Sim || scenario.alone {
            return Servers::start(kind).await.map(Arc::new);
        }
        let mut shared = if kind == Kind::Acl { self.acl.lock().await } else { self.real.lock().await };
        if shared.left == 0 {
            *shared = Shared { pair: Servers::start(kind).await.map(Arc::new), left: SHARED_BY };
        }
        shared.left -= 1;
        shared.pair.clone()
    }
}

/// Tells it beside the results, whatever becomes of the run.
#[expect(clippy::print_stderr, reason = "libtest-mimic has no word for it")]
fn told(text: &str) {
    eprintln!("{text}");
}

thread_local! {
    /// Message and place of the last panic on this thread.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are told with the scenario that they end, not in the middle of the others' output.
fn remember_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANIC.with_borrow_mut(|panic| *panic = info.to_string());
        if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
            before(info);
        }
    }));
}

/// The future's outcome, or its panic's message. Scenarios are polled on the thread that plays them, never elsewhere.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        let told = |_: Box<dyn Any + Send>| PANIC.with_borrow(String::clone);
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(told(panic))),
        }
    })
    .await
}
