//! Connections, counted. On HTTP/1.1 a request owns a connection for as long as it lasts, so slots bound the requests; on HTTP/2
//! many share one. Consul counts connections per source address (200, shared with everyone behind the same address), which is why
//! this is our own and not a general client's pool.
//!
//! A connection is opened only by a request that holds a slot and finds no idle one; so at no time are there more connections
//! than slots.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::ports::{ApiError, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::config::Address;
use crate::connection::{self, Idle, Lent, Shared};
use crate::dial::Dialer;
use crate::recent::Recent;
use crate::tls::LOOK_EVERY;

/// Requests on one HTTP/2 connection. RFC 9113 asks every server for at least 100; Go allows 250, some proxies 100 or 128. What
/// goes beyond the server's own limit would wait unseen behind polls that last minutes.
const STREAMS_PER_CONNECTION: usize = 100;
/// An idle connection older than this is not trusted: whoever stands between may have dropped it.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// The part of all slots that is kept for writes and confirming reads, and the least of it.
const RESERVED_PART: usize = 10;
const RESERVED_LEAST: usize = 2;
/// All polls ask anew at most so often: a server that never waits must not make each poll call all others.
const RESTORES_APART: Duration = Duration::from_secs(10);
/// An idle connection whose last answer has been read is ready within microseconds, or broken.
const READY_TIMEOUT: Duration = Duration::from_millis(200);

/// Which slots a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Stale and blocking reads.
    Watch,
    /// Writes and consistent reads, which must not queue behind polls.
    Reserved,
}

/// The connections to Consul.
pub(crate) struct Pool {
    addresses: Vec<Address>,
    dialer: Arc<dyn Dialer>,
    /// The address that answered last. Kept until it fails.
    current: AtomicUsize,
    /// Goes up each time long polls must ask anew: their address is left for another, or Consul counts anew.
    turns_of_events: watch::Sender<u64>,
    /// When that was last told for the latter reason.
    restored_at: Mutex<Option<Instant>>,
    /// What was answered over connections that are still young.
    pub(crate) recent: Recent,
    state: Mutex<State>,
    watch_slots: Arc<Semaphore>,
    reserved_slots: Arc<Semaphore>,
    watch_slot_count: usize,
    /// One dial at a time where HTTP/2 is likely: a thousand polls that start together need ten connections.
    dialing: tokio::sync::Mutex<()>,
    /// The last TLS connection agreed on HTTP/1.1.
    http1_over_tls: AtomicBool,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

impl Pool {
    /// `addresses` is not empty.
    pub(crate) fn new(addresses: Vec<Address>, dialer: Arc<dyn Dialer>, max_connections: usize) -> Pool {
        let reserved = (max_connections / RESERVED_PART).max(RESERVED_LEAST);
        let watch = max_connections.saturating_sub(reserved).max(1);
        Pool {
            addresses,
            dialer,
            current: AtomicUsize::new(0),
            turns_of_events: watch::Sender::new(0),
            restored_at: Mutex::default(),
            recent: Recent::default(),
            state: Mutex::default(),
            watch_slots: Arc::new(Semaphore::new(watch)),
            reserved_slots: Arc::new(Semaphore::new(reserved)),
            watch_slot_count: watch,
            dialing: tokio::sync::Mutex::default(),
            http1_over_tls: AtomicBool::new(false),
        }
    }

    /// The address in use.
    pub(crate) fn current(&self) -> &Address {
        self.address(self.current.load(Ordering::Relaxed))
    }

    pub(crate) fn address(&self, at: usize) -> &Address {
        &self.addresses[at]
    }

    /// How many polls fit, and none when they share HTTP/2 connections.
    pub(crate) fn poll_slots(&self) -> Option<usize> {
        self.state().shared.is_empty().then_some(self.watch_slot_count)
    }

    /// A connection for one request: waits for a slot, and opens one if need be.
    pub(crate) async fn connection(&self, lane: Lane) -> Result<Lent, ApiError> {
        if let Some(lent) = self.shared(STREAMS_PER_CONNECTION) {
            return Ok(lent);
        }
        if self.expects_http2() {
            let _one_at_a_time = self.dialing.lock().await;
            if let Some(lent) = self.shared(STREAMS_PER_CONNECTION) {
                return Ok(lent);
            }
            // Whoever waited here may have learned meanwhile that it is HTTP/1.1 after all.
            if self.expects_http2() {
                if let Ok(slot) = self.slots(lane).clone().try_acquire_owned() {
                    return self.dial(slot).await;
                }
                // All connections there may be are full: too many on one is better than none.
                if let Some(lent) = self.shared(usize::MAX) {
                    return Ok(lent);
                }
            }
        }
        let slot = self.slots(lane).clone().acquire_owned().await;
        let slot = slot.map_err(|_| ApiError::new(ErrorKind::Unreachable, "the Consul client has been closed"))?;
        match self.idle().await {
            Some(idle) => Ok(Lent::again(idle, slot)),
            None => self.dial(slot).await,
        }
    }

    /// This address takes connections, but what comes back is no answer, or that of a server without a leader: with several addresses
    /// the next one is used from now on.
    pub(crate) fn distrust(&self, at: usize) {
        let next = (at + 1) % self.addresses.len();
        if next == at || self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        tracing::info!(from = %self.addresses[at], to = %self.addresses[next], "another address of Consul is tried");
        self.state().shared.retain(|shared| shared.address != at);
        self.turns_of_events.send_modify(|turns| *turns += 1);
    }

    /// A poll was let go without news before its time: Consul was restored. Not all polls learn it by themselves.
    pub(crate) fn was_restored(&self) {
        let mut last = self.restored_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.is_none_or(|last| last + RESTORES_APART <= now) {
            *last = Some(now);
            tracing::info!(
                "Consul let a blocking query go without news: it may have been restored, so everything is asked anew"
            );
            self.turns_of_events.send_modify(|turns| *turns += 1);
        }
    }

    /// Ends when polls must ask anew after this call (not only after its first poll).
    pub(crate) fn turn_of_events(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut turns = self.turns_of_events.subscribe();
        async move {
            if turns.changed().await.is_err() {
                // The client is gone, and whoever asks with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes a connection back, once the whole answer has been read.
    pub(crate) fn give_back(&self, lent: Lent) {
        if let Some(idle) = lent.into_idle() {
            self.state().idle.push(idle);
        }
    }

    /// Waits until open connections should be used no more; for ever where that can't happen. A poll that waits minutes would go on under
    /// certificates that are no longer trusted.
    pub(crate) async fn renewed(&self) {
        let Some(before) = self.dialer.revision() else { return std::future::pending().await };
        while self.dialer.revision() == Some(before) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn slots(&self, lane: Lane) -> &Arc<Semaphore> {
        match lane {
            Lane::Watch => &self.watch_slots,
            Lane::Reserved => &self.reserved_slots,
        }
    }

    fn expects_http2(&self) -> bool {
        self.current().is_secure() && !self.http1_over_tls.load(Ordering::Relaxed)
    }

    /// Room on the HTTP/2 connection that has most of it.
    fn shared(&self, limit: usize) -> Option<Lent> {
        let revision = self.dialer.revision();
        let mut state = self.state();
        state.shared.retain(|shared| !shared.sender.is_closed() && shared.revision == revision);
        let roomiest = state.shared.iter().min_by_key(|shared| shared.streams.load(Ordering::Relaxed))?;
        roomiest.lend(limit)
    }

    /// An idle connection that still lives.
    async fn idle(&self) -> Option<Idle> {
        loop {
            let revision = self.dialer.revision();
            let mut idle = {
                let mut state = self.state();
                let current = self.current.load(Ordering::Relaxed);
                state.idle.retain(|idle| {
                    let usable = !idle.sender.is_closed() && idle.revision == revision;
                    usable && idle.address == current && idle.since.elapsed() < IDLE_LIMIT
                });
                state.idle.pop()?
            };
            if let Ok(Ok(())) = tokio::time::timeout(READY_TIMEOUT, idle.sender.ready()).await {
                return Some(idle);
            }
        }
    }

    /// Opens a connection to the current address or, where that fails, to the next one that takes it.
    async fn dial(&self, slot: OwnedSemaphorePermit) -> Result<Lent, ApiError> {
        let first = self.current.load(Ordering::Relaxed);
        let count = self.addresses.len();
        let mut failures = Vec::new();
        for step in 0..count {
            let at = (first + step) % count;
            let revision = self.dialer.revision();
            match self.dialer.dial(&self.addresses[at]).await {
                Ok(dialed) => {
                    self.recent.opened();
                    self.current.store(at, Ordering::Relaxed);
                    return self.adopt(dialed, at, revision, slot).await.map_err(|error| self.unreachable(at, &error));
                }
                Err(error) => {
                    failures.push(self.unreachable(at, &error).what);
                    // Also for the others: who comes next begins with the next address.
                    let next = (at + 1) % count;
                    let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
                }
            }
        }
        Err(ApiError::new(ErrorKind::Unreachable, failures.join("; ")))
    }

    async fn adopt(
        &self,
        dialed: crate::dial::Dialed,
        at: usize,
        revision: Option<u64>,
        slot: OwnedSemaphorePermit,
    ) -> io::Result<Lent> {
        if self.addresses[at].is_secure() {
            self.http1_over_tls.store(!dialed.http2, Ordering::Relaxed);
        }
        if !dialed.http2 {
            let mut lent = connection::http1(dialed.stream, at, slot).await?;
            lent.revision = revision;
            return Ok(lent);
        }
        let mut shared = connection::http2(dialed.stream, at, slot).await?;
        shared.revision = revision;
        let lent = shared.lend(STREAMS_PER_CONNECTION).ok_or_else(|| io::Error::other("closed at once"));
        self.state().shared.push(shared);
        lent
    }

    fn unreachable(&self, at: usize, error: &io::Error) -> ApiError {
        ApiError::new(ErrorKind::Unreachable, format!("no connection to Consul at {}: {error}", self.addresses[at]))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
