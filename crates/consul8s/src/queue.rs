//! The work queue: "look again at K". One key at a time, the leading edge at once, then coalesced, with a backoff per key.
//!
//! kube's `Controller` cannot reconcile a key whose Kubernetes object is gone, and a debouncing scheduler starves a key that is
//! asked for all the time; hence a queue of our own. A key that is asked for while it runs is run once more afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;

/// What a key may spend at once: about ten writes in a row without a pause. A change is followed at once, and so are the few that
/// belong to it.
const BURST: u32 = 120;
/// Price of a look. Each write comes back as an event and costs a second look, which finds nothing to do.
const LOOK: u32 = 1;
/// Price of a look's writes, beside the look.
const WRITE: u32 = 10;
/// Time in which a key earns 1: about eight writes a second and Service once the burst is used up, plenty for every consumer.
const REFILL: Duration = Duration::from_millis(10);
/// First pause after a failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two attempts (contract: never longer than 30 s apart).
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How soon news about a failing key is looked at; news may be what mends it.
const NEWS_WHILE_FAILING: Duration = Duration::from_secs(1);

/// How a run of a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing left to do until something changes.
    Quiet,
    /// Look again at that time, though nothing changes.
    LookAgain(Instant),
    /// It failed; try again after the backoff.
    Failed,
}

/// A queue of keys.
#[derive(Debug)]
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
    dice: Arc<Dice>,
}

#[derive(Debug)]
struct Inner<K> {
    due: BTreeSet<(Instant, K)>,
    keys: BTreeMap<K, State>,
    running: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When it is to run next; none while it need not.
    due: Option<Instant>,
    /// Since when it is asked for, for the age of what waits.
    running: bool,
    failures: u32,
    tokens: u32,
    refilled: Instant,
}

impl<K: Ord + Clone> Default for Queue<K> {
    fn default() -> Self {
        Queue::drawing(Arc::new(Dice::default()))
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// A queue whose backoff is drawn with these dice.
    #[must_use]
    pub fn drawing(dice: Arc<Dice>) -> Queue<K> {
        let inner = Inner { due: BTreeSet::new(), keys: BTreeMap::new(), running: 0 };
        Queue { inner: Mutex::new(inner), changed: Notify::new(), dice }
    }

    /// Asks for a look at `key`, as soon as its pace allows.
    pub fn add(&self, key: K) {
        let now = Instant::now();
        {
            let mut inner = self.lock();
            let state = inner.state(&key, now);
            let wanted = if state.failures > 0 {
                now + backoff(state.failures, &self.dice).min(NEWS_WHILE_FAILING)
            } else {
                now
            };
            inner.schedule(key, wanted);
        }
        self.changed.notify_one();
    }

    /// Waits for the next key that is due. Whoever gets one must call [`Queue::done`] for it.
    pub async fn next(&self) -> K {
        loop {
            let wait = {
                let mut inner = self.lock();
                match inner.take(Instant::now()) {
                    Ok(key) => {
                        // Another waiter may be needed for the rest.
                        self.changed.notify_one();
                        return key;
                    }
                    Err(due) => due,
                }
            };
            match wait {
                Some(due) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Ends the run of a key.
    pub fn done(&self, key: K, ended: Ended) {
        let now = Instant::now();
        {
            let mut inner = self.lock();
            let state = inner.state(&key, now);
            state.running = false;
            state.failures = if ended == Ended::Failed { state.failures.saturating_add(1) } else { 0 };
            let asked = state.due.take();
            let wanted = match ended {
                Ended::Quiet => asked,
                Ended::LookAgain(at) => Some(asked.map_or(at, |a| a.min(at))),
                Ended::Failed => Some(now + backoff(state.failures, &self.dice)),
            };
            inner.running -= 1;
            if let Some(wanted) = wanted {
                inner.schedule(key, wanted);
            }
        }
        self.changed.notify_one();
    }

    /// Says that the run of `key` that is under way writes: that is what has a price for others.
    pub fn charge(&self, key: &K) {
        let now = Instant::now();
        self.lock().state(key, now).spend(now, WRITE);
    }

    /// Keys that are due or running: what is being worked on, without what only waits for a later look.
    pub fn depth(&self) -> usize {
        let now = Instant::now();
        let inner = self.lock();
        inner.running + inner.due.iter().take_while(|(due, _)| *due <= now).count()
    }

    /// Forgets keys that nobody has asked for lately, so that memory follows the number of live keys.
    pub fn prune(&self) {
        let now = Instant::now();
        self.lock()
            .keys
            .retain(|_, s| s.running || s.due.is_some() || s.failures > 0 || now < s.refilled + REFILL * BURST);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        // Nothing in here leaves the maps half changed when it panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Inner<K> {
    fn state(&mut self, key: &K, now: Instant) -> &mut State {
        let fresh = State { due: None, running: false, failures: 0, tokens: BURST, refilled: now };
        self.keys.entry(key.clone()).or_insert(fresh)
    }

    /// Runs `key` at `wanted` at the latest, if its pace allows.
    fn schedule(&mut self, key: K, wanted: Instant) {
        let state = self.state(&key, wanted);
        let wanted = wanted.max(state.earliest());
        let due = state.due.map_or(wanted, |d| d.min(wanted));
        let old = state.due.replace(due);
        if state.running {
            return;
        }
        if let Some(old) = old {
            self.due.remove(&(old, key.clone()));
        }
        self.due.insert((due, key));
    }

    /// The first key that is due, or when the next one will be.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        match self.due.first() {
            Some((due, _)) if *due <= now => {}
            other => return Err(other.map(|(due, _)| *due)),
        }
        let Some((_, key)) = self.due.pop_first() else { return Err(None) };
        let state = self.state(&key, now);
        state.due = None;
        state.running = true;
        state.spend(now, LOOK);
        self.running += 1;
        Ok(key)
    }
}

impl State {
    /// When the next run may begin.
    fn earliest(&self) -> Instant {
        if self.tokens >= WRITE { self.refilled } else { self.refilled + REFILL * (WRITE - self.tokens) }
    }

    fn spend(&mut self, now: Instant, price: u32) {
        let gained = now.duration_since(self.refilled).as_millis() / REFILL.as_millis();
        let gained = u32::try_from(gained).unwrap_or(BURST).min(BURST);
        self.tokens = (self.tokens + gained).min(BURST);
        // What is left of a step goes on counting, unless there is nothing to earn.
        self.refilled = if self.tokens == BURST { now } else { self.refilled + REFILL * gained };
        self.tokens = self.tokens.saturating_sub(price);
    }
}

/// Pause before attempt `failures + 1`: doubled each time, between half and all of it, so that many keys that failed together do not
/// come back together.
fn backoff(failures: u32, dice: &Dice) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(12)).min(BACKOFF_MAX);
    full.mul_f64(0.5 + dice.unit() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_leading_edge_runs_at_once_and_a_hot_key_neither_starves_nor_floods() {
        let queue = Queue::default();
        let start = Instant::now();
        let mut runs = Vec::new();
        while start.elapsed() < Duration::from_secs(3) {
            queue.add("hot");
            let key = queue.next().await;
            runs.push(start.elapsed());
            queue.charge(&key);
            queue.done(key, Ended::Quiet);
        }
        assert_eq!(runs[0], Duration::ZERO);
        let first_second = runs.iter().filter(|r| **r < Duration::from_secs(1)).count();
        let third_second = runs.iter().filter(|r| **r >= Duration::from_secs(2)).count();
        assert!((15..=22).contains(&first_second), "{first_second} runs in the first second");
        assert!((8..=12).contains(&third_second), "{third_second} runs in the third second");
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_is_run_by_one_worker_and_once_more_when_asked_meanwhile() {
        let queue = Queue::default();
        queue.add(1);
        assert_eq!(queue.next().await, 1);
        queue.add(1);
        queue.add(1);
        queue.add(2);
        assert_eq!(queue.next().await, 2, "1 is still running");
        queue.done(1, Ended::Quiet);
        assert_eq!(queue.next().await, 1);
        queue.done(1, Ended::Quiet);
        queue.done(2, Ended::Quiet);
        assert_eq!(queue.depth(), 0);
        assert!(tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.is_err(), "nothing was asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_to_half_a_minute_and_no_further() {
        let queue = Queue::default();
        queue.add(());
        let mut last = Instant::now();
        let mut gaps = Vec::new();
        for _ in 0..20 {
            queue.next().await;
            gaps.push(last.elapsed());
            last = Instant::now();
            queue.done((), Ended::Failed);
        }
        assert!(gaps[1] <= BACKOFF_FIRST, "{:?}", gaps[1]);
        assert!(gaps.iter().all(|g| *g <= BACKOFF_MAX + Duration::from_millis(1)), "{gaps:?}");
        assert!(gaps[19] >= BACKOFF_MAX / 2, "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn news_about_a_failing_key_waits_for_a_second_at_most() {
        let queue = Queue::default();
        queue.add(());
        for _ in 0..12 {
            queue.next().await;
            queue.done((), Ended::Failed);
        }
        let start = Instant::now();
        queue.add(());
        queue.next().await;
        assert!(start.elapsed() <= NEWS_WHILE_FAILING, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_look_comes_by_itself_and_news_comes_first() {
        let queue = Queue::default();
        queue.add(7);
        queue.next().await;
        let start = Instant::now();
        queue.done(7, Ended::LookAgain(start + Duration::from_secs(5)));
        assert_eq!(queue.depth(), 0);
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        queue.done(7, Ended::LookAgain(Instant::now() + Duration::from_secs(5)));
        queue.add(7);
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 5, "news did not wait");
    }
}
