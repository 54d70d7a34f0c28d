//! The way of one process to both servers: where its calls are counted, judged, and go wrong.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::ports::{ApiError, ErrorKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::oracles::{Judge, Write};
use crate::script::{Fault, Kind, Script};
use crate::worlds::Worlds;

/// What all processes of a run share.
pub(crate) struct Stage {
    pub(crate) worlds: Worlds,
    pub(crate) script: Mutex<Script>,
    pub(crate) judge: Mutex<Judge>,
    /// Processes that crashed, by their names.
    pub(crate) crashed: mpsc::UnboundedSender<String>,
    /// Requests by what they ask for, each with its time.
    pub(crate) requests: Mutex<BTreeMap<String, Vec<Duration>>>,
}

/// A process's way to the servers.
pub(crate) struct Line {
    pub(crate) stage: Arc<Stage>,
    /// What the process calls itself on the Lease.
    pub(crate) name: String,
    cut: AtomicBool,
    frozen: Mutex<Option<Instant>>,
}

impl Line {
    pub(crate) fn new(stage: &Arc<Stage>, name: &str) -> Line {
        Line { stage: stage.clone(), name: name.to_owned(), cut: AtomicBool::new(false), frozen: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.stage.worlds.elapsed()
    }

    pub(crate) fn judge(&self) -> MutexGuard<'_, Judge> {
        lock(&self.stage.judge)
    }

    /// Nothing passes any more, in either direction.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Nothing passes for so long: the process is stopped.
    pub(crate) fn freeze(&self, time: Duration) {
        *lock(&self.frozen) = Some(Instant::now() + time);
    }

    /// Waits until something may pass.
    pub(crate) async fn gate(&self) {
        loop {
            if self.cut.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            let until = *lock(&self.frozen);
            match until.filter(|until| Instant::now() < *until) {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    async fn crash(&self) -> ! {
        self.cut();
        // It fails only when the run is over.
        let _ = self.stage.crashed.send(self.name.clone());
        std::future::pending().await
    }

    pub(crate) fn fault(&self, kind: Kind, write: Option<usize>) -> Option<Fault> {
        lock(&self.stage.script).fault(kind, self.now(), write)
    }

    fn count(&self, what: &str) {
        lock(&self.stage.requests).entry(what.to_owned()).or_default().push(self.now());
    }

    /// A read. `stale` is an answer of a moment ago, if there is one.
    pub(crate) async fn read<T>(
        &self,
        what: &str,
        stale: impl FnOnce() -> Option<T>,
        read: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.gate().await;
        self.count(what);
        let fault = self.fault(Kind::Read, None);
        match fault {
            Some(Fault::CrashBefore) => self.crash().await,
            Some(Fault::Fails(kind)) => return Err(simulated(kind)),
            Some(Fault::Slow(time)) => sleep(time).await,
            _ => {}
        }
        self.gate().await;
        let answer = match fault {
            Some(Fault::Stale) => match stale() {
                Some(answer) => Ok(answer),
                None => read.await,
            },
            _ => read.await,
        };
        self.answered(fault).await;
        answer
    }

    /// A call about the Lease.
    pub(crate) async fn lease<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.gate().await;
        self.count(what);
        let fault = self.fault(Kind::Lease, None);
        match fault {
            Some(Fault::CrashBefore) => self.crash().await,
            // One that arrives late is as good as one that does not: what it rests on has moved.
            Some(Fault::Late(_)) => return Err(simulated(ErrorKind::Timeout)),
            Some(Fault::Fails(kind)) => return Err(simulated(kind)),
            Some(Fault::Slow(time)) => sleep(time.min(Duration::from_secs(1))).await,
            _ => {}
        }
        self.gate().await;
        let done = call.await;
        if let Some(Fault::SlowAnswer(time)) = fault {
            sleep(time.min(Duration::from_secs(1))).await;
        } else {
            self.answered(fault).await;
        }
        self.gate().await;
        if fault == Some(Fault::Lost) { Err(simulated(ErrorKind::Timeout)) } else { done }
    }

    /// A write: counted, judged, and perhaps lost.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        write: Write,
        call: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.gate().await;
        self.count(if write.kind == Kind::Tell { "tell" } else { "write" });
        let number = (write.kind == Kind::Write).then(|| self.judge().next_number());
        let fault = self.fault(write.kind, number);
        match fault {
            Some(Fault::CrashBefore) => self.crash().await,
            Some(Fault::Fails(kind)) => return Err(simulated(kind)),
            Some(Fault::Slow(time)) => sleep(time).await,
            Some(Fault::Late(time)) => {
                let line = self.clone();
                tokio::spawn(async move {
                    sleep(time).await;
                    line.carry_out(&write, true, call).await
                });
                sleep(time / 2).await;
                self.gate().await;
                return Err(simulated(ErrorKind::Timeout));
            }
            _ => {}
        }
        self.gate().await;
        let done = self.carry_out(&write, false, call).await;
        self.answered(fault).await;
        if fault == Some(Fault::Lost) { Err(simulated(ErrorKind::Timeout)) } else { done }
    }

    async fn carry_out<T>(
        &self,
        write: &Write,
        late: bool,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let before = self.judge().begin(&self.stage.worlds, write.kind);
        let done = call.await;
        let outcome = done.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.judge().end(&self.stage.worlds, &self.name, write, late, outcome, &before);
        done
    }

    async fn answered(&self, fault: Option<Fault>) {
        match fault {
            Some(Fault::CrashAfter) => self.crash().await,
            Some(Fault::SlowAnswer(time)) => sleep(time).await,
            _ => {}
        }
        self.gate().await;
    }
}

pub(crate) fn simulated(kind: ErrorKind) -> ApiError {
    ApiError::new(kind, format!("simulated: {}", kind.as_str()))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A run that panicked has failed; what it left behind is only printed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
