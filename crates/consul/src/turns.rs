//! Taking turns: more polls than connections.
//!
//! A blocking query compares indexes, so nothing is lost while nobody polls; it is only seen later. When there are more polls than
//! slots, each holds its slot for a short turn and queues again, and the bound on what that costs can be computed. Slots are
//! handed out first come, first served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// All polls get their turn within this time while the shortest turn allows it: what a change may cost at most (contract D1: 5 s
/// at 1,000 services), less Consul's sixteenth on top of each wait, and what differs from the average.
const ROUND: Duration = Duration::from_secs(4);
/// A shorter turn would be mostly travel.
const SHORTEST_TURN: Duration = Duration::from_millis(100);
/// A longer turn would save little, and keep the few that don't fit waiting.
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// What a turn takes beyond the wait that was asked for, until it is known.
const EXCESS: Duration = Duration::from_millis(20);
/// Turns over which that is averaged: a few seconds' worth.
const EXCESS_OVER: u32 = 256;
/// Crowded stays crowded for this long: with as many polls as slots, one more or less must not end every long poll each time.
const CALM_AFTER: Duration = Duration::from_secs(60);

/// Polls that must all ask anew come at this pace.
const SPREAD_PER_POLL: Duration = Duration::from_millis(1);

/// Counts the polls and says how long each may hold its slot.
pub(crate) struct Turns {
    polls: AtomicUsize,
    /// What a turn takes beyond the wait that was asked for: Consul's sixteenth, travel, and a machine that has much to do.
    excess: Mutex<Duration>,
    crowded_at: Mutex<Option<Instant>>,
    /// Goes up each time it gets crowded, so that long polls give way.
    rush: watch::Sender<u64>,
}

/// One poll, from its start to its end.
pub(crate) struct Poll<'a>(&'a Turns);

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.0.polls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    pub(crate) fn new() -> Turns {
        let excess = Mutex::new(EXCESS);
        Turns { polls: AtomicUsize::new(0), excess, crowded_at: Mutex::default(), rush: watch::Sender::new(0) }
    }

    /// A poll begins.
    pub(crate) fn begin(&self) -> Poll<'_> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Poll(self)
    }

    /// How long a poll that begins now may hold its slot; none = as long as it likes. `slots` is none where polls need none. Also
    /// notices that it has become crowded.
    pub(crate) fn turn(&self, slots: Option<usize>) -> Option<Duration> {
        let slots = slots?;
        let polls = self.polls.load(Ordering::Relaxed);
        let now = Instant::now();
        let mut crowded_at = self.crowded_at.lock().unwrap_or_else(PoisonError::into_inner);
        if polls > slots {
            if crowded_at.replace(now).is_none() {
                self.rush.send_modify(|rush| *rush += 1);
                tracing::info!(polls, slots, "more blocking queries than connections: they take turns");
            }
        } else if crowded_at.is_some_and(|at| at + CALM_AFTER < now) {
            *crowded_at = None;
        }
        crowded_at.is_some().then(|| {
            let fair = ROUND / turns_before(polls, slots);
            fair.saturating_sub(self.excess()).clamp(SHORTEST_TURN, LONGEST_TURN)
        })
    }

    /// A turn that brought nothing new took `took` where a wait of `asked` was asked for.
    pub(crate) fn took(&self, asked: Duration, took: Duration) {
        let mut excess = self.excess.lock().unwrap_or_else(PoisonError::into_inner);
        *excess = (*excess * (EXCESS_OVER - 1) + took.saturating_sub(asked)) / EXCESS_OVER;
    }

    fn excess(&self) -> Duration {
        *self.excess.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a poll waits before it asks anew together with all others.
    pub(crate) fn spread(&self) -> Duration {
        let polls = u32::try_from(self.polls.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        SPREAD_PER_POLL.saturating_mul(polls).mul_f64(rand::random())
    }

    /// Ends when it gets crowded after this call (not only after its first poll).
    pub(crate) fn crowded(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut rush = self.rush.subscribe();
        async move {
            // An error says that the client has gone: nobody is left to give way to.
            let _ = rush.changed().await;
        }
    }

    /// What taking turns may add to the time until a change is seen. Who polls sees it at once; who waits has at most so many turns
    /// before it.
    pub(crate) fn delay_bound(&self, slots: Option<usize>) -> Duration {
        let (Some(slots), Some(turn)) = (slots, self.turn(slots)) else { return Duration::ZERO };
        let polls = self.polls.load(Ordering::Relaxed);
        (turn * 17 / 16 + self.excess()).saturating_mul(turns_before(polls, slots))
    }
}

/// How many turns of others the last of those who wait for a slot waits for: all slots are given away once in each. At least 1.
fn turns_before(polls: usize, slots: usize) -> u32 {
    let waiting = polls.saturating_sub(slots);
    u32::try_from(waiting.div_ceil(slots)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_shorten_with_the_crowd_and_lengthen_after_it() {
        let turns = Turns::new();
        let some: Vec<_> = (0..80).map(|_| turns.begin()).collect();
        assert_eq!(turns.turn(Some(81)), None);
        let more: Vec<_> = (0..920).map(|_| turns.begin()).collect();
        assert_eq!(turns.turn(None), None);
        let turn = turns.turn(Some(81)).unwrap();
        assert!(turn >= SHORTEST_TURN && turn < Duration::from_millis(340), "{turn:?}");
        let bound = turns.delay_bound(Some(81));
        assert!(bound > Duration::from_secs(4) && bound < Duration::from_secs(5), "{bound:?}");
        drop(more);
        assert!(turns.turn(Some(81)).is_some());
        tokio::time::advance(CALM_AFTER * 2).await;
        assert_eq!(turns.turn(Some(81)), None);
        assert_eq!(turns.delay_bound(Some(81)), Duration::ZERO);
        drop(some);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_shorten_where_they_take_longer_than_asked() {
        let turns = Turns::new();
        let polls: Vec<_> = (0..1000).map(|_| turns.begin()).collect();
        let before = turns.turn(Some(81)).unwrap();
        for _ in 0..2000 {
            turns.took(before, before + Duration::from_millis(150));
        }
        let after = turns.turn(Some(81)).unwrap();
        assert!(after + Duration::from_millis(120) < before, "{before:?} {after:?}");
        let bound = turns.delay_bound(Some(81));
        assert!(bound > Duration::from_secs(4) && bound < Duration::from_millis(4300), "{bound:?}");
        drop(polls);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_too_many_wait_for_one_turn_at_most() {
        let turns = Turns::new();
        let polls: Vec<_> = (0..84).map(|_| turns.begin()).collect();
        assert_eq!(turns.turn(Some(81)), Some(LONGEST_TURN));
        let bound = turns.delay_bound(Some(81));
        assert!(bound > LONGEST_TURN && bound < LONGEST_TURN * 5 / 4, "{bound:?}");
        drop(polls);
    }

    #[tokio::test(start_paused = true)]
    async fn long_polls_give_way_once() {
        let turns = Turns::new();
        let crowded = turns.crowded();
        tokio::pin!(crowded);
        let polls: Vec<_> = (0..3).map(|_| turns.begin()).collect();
        assert!(futures::poll!(&mut crowded).is_pending());
        assert!(turns.turn(Some(2)).is_some());
        assert!(futures::poll!(&mut crowded).is_ready());
        let again = turns.crowded();
        tokio::pin!(again);
        assert!(turns.turn(Some(2)).is_some());
        assert!(futures::poll!(&mut again).is_pending());
        drop(polls);
    }
}
