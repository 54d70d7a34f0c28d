//! One blocking query, kept going: what it is told, what of that is news, and when it asks again.
//!
//! ```text
//!             ┌──────── error, or not admitted ───────┐
//!             ▼                                       │
//!   Anew: stale read, no index ──admitted──► Following: blocking query at index I
//!             ▲                                       │
//!             │ error                                 │ index lower than one admitted before
//!             └────────────── Doubting: consistent read ◄┘
//!                             lower again = a broken lineage, admitted and flagged
//!                             else = a follower had lagged; go on from here
//! ```
//! After an error the next question bears no index: Consul may have come back with a lower one (restored, wiped), and a blocking
//! query above it is deaf for its whole wait.
//!
//! `Judge` is the machine, without clock and network; [`Watch`] drives it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::consul::{Answer, AnswerMeta, Check, HealthQuery, Instance, NodeView, Read};
use consul8s_core::import::{Catalog, CatalogQuery};
use consul8s_core::ports::{ApiError, ConsulApi};
use tokio::time::Instant;

use crate::pace::Pace;

/// A server that has not heard its leader for longer is not believed. Requests already ask for at most 10 s; this is what they get
/// from a server that does not honour that.
pub const MAX_LAST_CONTACT: Duration = Duration::from_secs(5);

/// How long a blocking query waits unless told otherwise; Consul's own default.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(300);

/// How long it waits at most while something may be hidden, and how long after that it is asked without waiting: what hides in an answer to a
/// blocking query nothing tells, and that permissions were mended wakes nobody.
pub const WAIT_WHILE_UNSURE: Duration = Duration::from_secs(15);

/// Settings of a watch.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// How long one blocking query waits.
    pub wait: Duration,
    /// Seed of its jitter, mixed with what is asked. Equal seeds make equal choices.
    pub seed: u64,
}

impl Default for WatchConfig {
    fn default() -> WatchConfig {
        WatchConfig { wait: DEFAULT_WAIT, seed: rand::random() }
    }
}

/// What a watch has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchNews<B> {
    /// The first content, or another one than before. Filtered and anonymous answers are among them: look at `answer.meta`.
    Admitted {
        /// The answer. Shared, so that whoever stores it and the watch that compares with it hold it once.
        answer: Answer<Arc<B>>,
        /// The index is lower than one admitted before, and a consistent read says so too: Consul was restored or wiped.
        lineage_broken: bool,
    },
    /// A good answer with the content as it was: the source is alive, nothing has to be done.
    Confirmed(AnswerMeta),
    /// No answer. What was admitted stands.
    Failed(ApiError),
    /// An answer that is not believed. What was admitted stands.
    Rejected(Rejection),
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The server knows no leader.
    #[error("the Consul server that answered knows no leader")]
    Leaderless,
    /// The server is cut off from its leader.
    #[error("the Consul server that answered has not heard its leader for {0:.1?}")]
    Lagging(Duration),
    /// An older state than one seen before; a consistent read follows.
    #[error("the answer's index {index} is lower than {highest}, which was seen before")]
    Backwards {
        /// Index of the answer.
        index: u64,
        /// Highest index admitted.
        highest: u64,
    },
}

/// What can be watched.
pub trait Ask: fmt::Display + Clone + Send + Sync + 'static {
    /// Content of an answer.
    type Body: PartialEq + Send + Sync + 'static;

    /// Asks once.
    fn ask<C: ConsulApi>(
        &self,
        api: &C,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Self::Body>, ApiError>> + Send;
}

impl Ask for HealthQuery {
    type Body = Vec<Instance>;

    fn ask<C: ConsulApi>(
        &self,
        api: &C,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Self::Body>, ApiError>> + Send {
        api.health(self, read)
    }
}

/// The services of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeServices(pub String);

impl fmt::Display for NodeServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "services of node {}", self.0)
    }
}

impl Ask for NodeServices {
    type Body = Option<NodeView>;

    fn ask<C: ConsulApi>(
        &self,
        api: &C,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Self::Body>, ApiError>> + Send {
        api.node(&self.0, None, read)
    }
}

/// The checks of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChecks(pub String);

impl fmt::Display for NodeChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checks of node {}", self.0)
    }
}

impl Ask for NodeChecks {
    type Body = Vec<Check>;

    fn ask<C: ConsulApi>(
        &self,
        api: &C,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Self::Body>, ApiError>> + Send {
        api.node_checks(&self.0, None, read)
    }
}

impl Ask for CatalogQuery {
    type Body = Catalog;

    fn ask<C: ConsulApi>(
        &self,
        api: &C,
        read: Read,
    ) -> impl Future<Output = Result<Answer<Self::Body>, ApiError>> + Send {
        api.services(self, read)
    }
}

/// What to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Anew,
    Following { index: u64 },
    Doubting,
}

/// The machine: what is asked next, and what an answer is worth. No clock, no network.
#[derive(Debug)]
struct Judge<B> {
    state: State,
    /// Highest index admitted.
    highest: u64,
    last: Option<Arc<B>>,
    /// Whether something may be hidden now: Consul told so, or something changed and only the answer to a blocking query shows what.
    unsure: bool,
    /// Whether rights hide something, as far as Consul has told.
    filtered: bool,
}

impl<B: PartialEq> Judge<B> {
    fn new() -> Judge<B> {
        Judge { state: State::Anew, highest: 0, last: None, unsure: false, filtered: false }
    }

    /// Asks without waiting next, and consistently: a server that lags would look like one that was restored. What was admitted stands.
    fn look(&mut self) {
        if let State::Following { .. } = self.state {
            self.state = State::Doubting;
        }
    }

    fn next_read(&self, wait: Duration) -> Read {
        match self.state {
            State::Anew => Read::Stale,
            // Never 0, which some versions take for "don't wait".
            State::Following { index } => {
                let wait = if self.unsure { wait.min(WAIT_WHILE_UNSURE) } else { wait };
                Read::Blocking { index: index.max(1), wait }
            }
            State::Doubting => Read::Consistent,
        }
    }

    fn step(&mut self, result: Result<Answer<B>, ApiError>) -> WatchNews<B> {
        let doubting = self.state == State::Doubting;
        self.state = State::Anew;
        let Answer { mut meta, body } = match result {
            Ok(answer) => answer,
            Err(error) => return WatchNews::Failed(error),
        };
        if meta.leaderless {
            return WatchNews::Rejected(Rejection::Leaderless);
        }
        if meta.last_contact > MAX_LAST_CONTACT {
            return WatchNews::Rejected(Rejection::Lagging(meta.last_contact));
        }
        let lineage_broken = meta.index < self.highest;
        if lineage_broken && !doubting {
            self.state = State::Doubting;
            return WatchNews::Rejected(Rejection::Backwards { index: meta.index, highest: self.highest });
        }
        let same = self.last.as_deref() == Some(&body) && !lineage_broken;
        let quiet = same && meta.index == self.highest;
        self.highest = meta.index;
        // What an answer to a blocking query doesn't say stays as it was said before.
        meta.filtered |= meta.polled && self.filtered;
        self.filtered = meta.filtered;
        self.unsure = meta.hides() || (meta.polled && (self.unsure || !quiet));
        self.state = State::Following { index: meta.index };
        if same {
            return WatchNews::Confirmed(meta);
        }
        let body = Arc::new(body);
        self.last = Some(body.clone());
        WatchNews::Admitted { answer: Answer { meta, body }, lineage_broken }
    }
}

type InFlight<B> = Pin<Box<dyn Future<Output = Result<Answer<B>, ApiError>> + Send>>;

/// One thing watched. It ends with being dropped, which also ends its request.
pub struct Watch<C, A: Ask> {
    api: Arc<C>,
    ask: A,
    wait: Duration,
    judge: Judge<A::Body>,
    pace: Pace,
    not_before: Instant,
    /// When it is asked without waiting, since something may be hidden.
    look_at: Option<Instant>,
    /// The question that is out. Kept here, so that [`Watch::next`] may be dropped and called again without losing it.
    in_flight: Option<InFlight<A::Body>>,
}

/// Watch of the health of one service.
pub type HealthWatch<C> = Watch<C, HealthQuery>;

impl<C: ConsulApi, A: Ask> Watch<C, A> {
    /// Watches `ask`. Asks nothing before [`Watch::next`] is called.
    #[must_use]
    pub fn new(api: Arc<C>, ask: A, config: &WatchConfig) -> Watch<C, A> {
        let seed = config.seed ^ fingerprint(&ask.to_string());
        Watch {
            api,
            ask,
            wait: config.wait,
            judge: Judge::new(),
            pace: Pace::new(seed),
            not_before: Instant::now(),
            look_at: None,
            in_flight: None,
        }
    }

    /// What is watched.
    pub fn subject(&self) -> &A {
        &self.ask
    }

    /// Questions wait this long from now on. One that is out and waits longer is given up; its index is kept, so nothing is lost.
    pub fn set_wait(&mut self, wait: Duration) {
        if wait < self.wait && matches!(self.judge.state, State::Following { .. }) {
            self.in_flight = None;
        }
        self.wait = wait;
    }

    /// Asks at once, without waiting: what an answer to a blocking query hides shows then.
    pub fn look_anew(&mut self) {
        if let State::Following { .. } = self.judge.state {
            self.judge.look();
            self.in_flight = None;
        }
    }

    /// An answer has come: when the next one must be without waiting.
    fn note_look(&mut self, now: Instant, waited: bool) {
        let next = now + WAIT_WHILE_UNSURE;
        self.look_at = match (self.judge.unsure, waited) {
            (false, _) => None,
            (true, false) => Some(next),
            (true, true) => self.look_at.or(Some(next)),
        };
    }

    /// The next thing to know; comes at least once per wait. Safe to drop and call again: the question that is out stays out, and
    /// rests are not shortened. But nobody reads the answer meanwhile.
    pub async fn next(&mut self) -> WatchNews<A::Body> {
        tokio::time::sleep_until(self.not_before).await;
        if self.in_flight.is_none() && self.look_at.is_some_and(|at| at <= Instant::now()) {
            self.judge.look();
        }
        let in_flight = self.in_flight.get_or_insert_with(|| {
            let (api, ask) = (self.api.clone(), self.ask.clone());
            let read = self.judge.next_read(self.wait);
            Box::pin(async move { ask.ask(&*api, read).await })
        });
        let result = in_flight.as_mut().await;
        self.in_flight = None;
        let waited = result.as_ref().is_ok_and(|answer| answer.meta.polled);
        let news = self.judge.step(result);
        let now = Instant::now();
        self.note_look(now, waited);
        let rest = match &news {
            WatchNews::Admitted { .. } => self.pace.after_change(now),
            WatchNews::Confirmed(_) => self.pace.after_nothing(now),
            WatchNews::Failed(error) => self.pace.after_failure(error.retry_after),
            WatchNews::Rejected(_) => self.pace.after_failure(None),
        };
        self.not_before = now + rest;
        news
    }
}

/// FNV-1a: watches with one seed must not jitter in step, and the same watch must jitter alike in each run.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
