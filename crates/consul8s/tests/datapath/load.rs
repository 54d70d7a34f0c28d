//! Who asks: clients of a Service, each request a new connection to its address, at a steady rate; and what they were
//! answered, by whom and when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::backend::QUESTION;
use crate::harness::{Outcome, eventually, so};

/// An answer that takes longer is none. A busy machine may be slow, which is not what this is about.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests on their way at once; reached only when nobody answers.
const AT_ONCE: usize = 500;
/// Nothing from a backend for so long, while others answer: it gets no more requests.
const QUIET: Duration = Duration::from_millis(300);
/// How long anything may take that has no limit of its own: the Lease of a consul8s that was killed runs out after 15 s.
const LIMIT: Duration = Duration::from_secs(40);
/// Failures that a message shows.
const SHOWN: usize = 5;

/// Clients that go on asking until this value is dropped or [`Load::ends_without_loss`].
pub(crate) struct Load {
    to: SocketAddr,
    since: Instant,
    per_second: u32,
    log: Arc<Mutex<Vec<Request>>>,
    on_their_way: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// One request, which is over.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    /// The name of who answered, or what happened instead.
    pub(crate) answer: Result<String, String>,
}

/// Asks once.
pub(crate) async fn ask(to: SocketAddr) -> Request {
    let sent = Instant::now();
    let answer = timeout(PATIENCE, exchange(to)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
    Request { sent, ended: Instant::now(), answer }
}

async fn exchange(to: SocketAddr) -> Result<String, String> {
    let mut stream = TcpStream::connect(to).await.map_err(|why| format!("connecting: {why}"))?;
    stream.write_all(QUESTION).await.map_err(|why| format!("asking: {why}"))?;
    let mut name = String::new();
    stream.read_to_string(&mut name).await.map_err(|why| format!("reading: {why}"))?;
    if name.is_empty() { Err("an empty answer".to_owned()) } else { Ok(name) }
}

impl Load {
    /// Begins once the first answer has come.
    pub(crate) async fn start(to: SocketAddr, per_second: u32) -> Outcome<Load> {
        eventually(&format!("{to} answers"), LIMIT, async || ask(to).await.answer).await?;
        let (log, on_their_way) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(AT_ONCE)));
        let task = tokio::spawn(go_on(to, per_second, Arc::clone(&log), Arc::clone(&on_their_way)));
        Ok(Load { to, since: Instant::now(), per_second, log, on_their_way, task })
    }

    /// All requests that are over.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }

    /// When `name` first answered a request that was sent at `from` or later.
    pub(crate) fn first_by(&self, name: &str, from: Instant) -> Option<Instant> {
        self.answers_by(name).filter(|request| request.sent >= from).map(|request| request.ended).min()
    }

    /// When `name` last answered before `until`.
    pub(crate) fn last_by(&self, name: &str, until: Instant) -> Option<Instant> {
        self.answers_by(name).map(|request| request.ended).filter(|ended| *ended < until).max()
    }

    fn answers_by(&self, name: &str) -> impl Iterator<Item = Request> {
        self.requests().into_iter().filter(move |request| request.answer.as_deref() == Ok(name))
    }

    /// Waits until `name` answers, and says when it first did after `from`.
    pub(crate) async fn answered_by(&self, name: &str, from: Instant) -> Outcome<Instant> {
        eventually(&format!("{name} answers at {}", self.to), LIMIT, async || {
            self.first_by(name, from).ok_or_else(|| self.tail())
        })
        .await
    }

    /// Waits until `name` answers no more while others do.
    pub(crate) async fn quiet_from(&self, name: &str) -> Outcome {
        let since = Instant::now();
        eventually(&format!("{name} answers no more at {}", self.to), LIMIT, async || {
            let last = self.last_by(name, Instant::now()).unwrap_or(since).max(since);
            let others =
                self.requests().into_iter().filter(|request| request.answer.is_ok()).map(|one| one.ended).max();
            so(others.is_some_and(|others| others > last + QUIET), || self.tail())
        })
        .await
    }

    /// Ends it, and fails if a request was lost, or if next to none was sent. Tells what there was.
    pub(crate) async fn ends_without_loss(self) -> Outcome<String> {
        self.task.abort();
        let asked_for = self.since.elapsed();
        let everything = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        let all_over = self.on_their_way.acquire_many(everything).await;
        drop(all_over.map_err(|why| why.to_string())?);
        let requests = self.requests();
        let lost: Vec<&Request> = requests.iter().filter(|request| request.answer.is_err()).collect();
        if !lost.is_empty() {
            let shown: Vec<String> = lost.iter().take(SHOWN).map(|request| self.told(request)).collect();
            return Err(format!("{} of {} requests to {} were lost: {shown:?}", lost.len(), requests.len(), self.to));
        }
        let expected = asked_for.as_secs_f64() * f64::from(self.per_second);
        // A busy machine skips some; a load that hardly asks proves nothing.
        if (requests.len() as f64) < expected / 4.0 {
            return Err(format!("only {} requests were sent in {asked_for:?}", requests.len()));
        }
        let slowest = requests.iter().map(|request| request.ended - request.sent).max().unwrap_or_default();
        Ok(format!("{} requests to {}, none lost, slowest {} ms", requests.len(), self.to, slowest.as_millis()))
    }

    /// The time between the first and the last request that was lost; none if none was.
    pub(crate) fn gap(&self) -> Option<Duration> {
        let lost = || self.requests().into_iter().filter(|request| request.answer.is_err());
        Some(lost().map(|request| request.ended).max()? - lost().map(|request| request.sent).min()?)
    }

    fn told(&self, request: &Request) -> String {
        let after = (request.sent - self.since).as_secs_f64();
        format!("after {after:.3} s: {}", request.answer.as_ref().unwrap_or_else(|why| why))
    }

    /// The last few, for messages.
    fn tail(&self) -> String {
        let requests = self.requests();
        let last = &requests[requests.len().saturating_sub(SHOWN)..];
        format!("{:?}", last.iter().map(|request| self.told(request)).collect::<Vec<String>>())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn go_on(to: SocketAddr, per_second: u32, log: Arc<Mutex<Vec<Request>>>, on_their_way: Arc<Semaphore>) {
    let mut turns = interval(Duration::from_secs(1) / per_second);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        // Never closed.
        let Ok(permit) = Arc::clone(&on_their_way).acquire_owned().await else { return };
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let request = ask(to).await;
            lock(&log).push(request);
            drop(permit);
        });
    }
}

fn lock(log: &Mutex<Vec<Request>>) -> MutexGuard<'_, Vec<Request>> {
    log.lock().expect("nobody panics while writing a request down")
}
