//! The calls: paced, bounded, tried a few times, and silent about what they are not allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::kube::KubeService;
use consul8s_core::ports::{ApiError, ErrorKind, KubeTeller};
use consul8s_core::tell::{ConditionChange, EventSpec, ObjectRef};
use tokio::time::Instant;

use crate::leader::Leadership;

/// Pauses between attempts: a server that restarts is back within the second one.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Calls a second at most. Telling of a whole cluster after a start takes a while longer, and the API server has time for others.
const CALLS_A_SECOND: u32 = 100;
/// Calls that may be made at once after a rest, of those of the next seconds.
const BURST: Duration = Duration::from_secs(1);
/// How long nothing is told where it is forbidden, until it is tried again.
const FORBIDDEN_FOR: Duration = Duration::from_secs(300);

/// What is to be told of one object.
pub(super) struct Job {
    pub(super) regarding: ObjectRef,
    pub(super) events: Vec<EventSpec>,
    pub(super) condition: Option<ConditionChange>,
    /// Each call is made once.
    pub(super) pressing: bool,
}

/// What became of it.
pub(super) enum Told {
    /// No condition was to be written.
    NoCondition,
    /// It was; the Service as it stands then.
    Condition(Box<KubeService>),
    /// It was not; with the pause that is wanted before the next attempt.
    Failed(Option<Duration>),
}

/// Makes the calls.
pub(super) struct Calls<T> {
    api: T,
    leadership: Leadership,
    inner: Mutex<Inner>,
}

struct Inner {
    /// When the next call may be made.
    next: Instant,
    /// Until when nothing of this kind is told in this namespace.
    forbidden: BTreeMap<(Kind, String), Instant>,
    /// What was warned about.
    warned: BTreeSet<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Event,
    Condition,
}

impl Kind {
    /// What must be allowed.
    fn permission(self) -> &'static str {
        match self {
            Kind::Event => "`create` and `patch` of `events` in the API group `events.k8s.io`",
            Kind::Condition => "`patch` of `services/status`",
        }
    }
}

impl<T: KubeTeller> Calls<T> {
    pub(super) fn new(api: T, leadership: Leadership) -> Calls<T> {
        let inner = Inner { next: Instant::now(), forbidden: BTreeMap::new(), warned: BTreeSet::new() };
        Calls { api, leadership, inner: Mutex::new(inner) }
    }

    /// Tells all of it, the condition last: it says that the rest was told.
    pub(super) async fn carry_out(&self, job: Job) -> Told {
        let Job { regarding, events, condition, pressing } = job;
        for event in &events {
            let told = self.persist(Kind::Event, &regarding, pressing, || self.api.event(event, &regarding)).await;
            if let Err(error) = told {
                tracing::debug!(kind = regarding.kind, object = %regarding.key, reason = %event.reason, %error, "an Event was not told");
            }
        }
        let Some(ConditionChange { uid, condition }) = condition else { return Told::NoCondition };
        let set = || self.api.set_condition(&regarding.key, &uid, condition.as_ref());
        match self.persist(Kind::Condition, &regarding, pressing, set).await {
            Ok(service) => Told::Condition(Box::new(service)),
            Err(error) => {
                tracing::debug!(service = %regarding.key, %error, "the condition was not written");
                let pause = (error.kind == ErrorKind::Forbidden).then_some(FORBIDDEN_FOR);
                Told::Failed(pause.or(error.retry_after))
            }
        }
    }

    /// Makes a call, again after failures that may pass.
    async fn persist<R, F>(
        &self,
        kind: Kind,
        regarding: &ObjectRef,
        pressing: bool,
        call: impl Fn() -> F,
    ) -> Result<R, ApiError>
    where
        F: Future<Output = Result<R, ApiError>>,
    {
        let mut pauses = PAUSES.into_iter().take(if pressing { 0 } else { PAUSES.len() });
        loop {
            self.allowed(kind, &regarding.key.namespace)?;
            tokio::time::sleep_until(self.turn()).await;
            let Some(claim) = self.leadership.claim() else {
                return Err(ApiError::new(ErrorKind::NotLeading, "not told: another leads"));
            };
            let error = match self.leadership.under(&claim, call()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.kind == ErrorKind::Forbidden {
                self.note_forbidden(kind, regarding, &error);
            }
            let Some(pause) = may_pass(error.kind).then(|| pauses.next()).flatten() else { return Err(error) };
            tokio::time::sleep(error.retry_after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        }
    }

    /// When the next call may be made.
    fn turn(&self) -> Instant {
        let now = Instant::now();
        let mut inner = self.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        inner.next = inner.next.max(earliest) + Duration::from_secs(1) / CALLS_A_SECOND;
        inner.next
    }

    fn allowed(&self, kind: Kind, namespace: &str) -> Result<(), ApiError> {
        let now = Instant::now();
        let until = self.lock().forbidden.get(&(kind, namespace.to_owned())).copied();
        if until.is_some_and(|until| until > now) {
            return Err(ApiError::new(
                ErrorKind::Forbidden,
                format!("not told: it was forbidden in {namespace} lately"),
            ));
        }
        Ok(())
    }

    /// Says once what is missing.
    fn note_forbidden(&self, kind: Kind, regarding: &ObjectRef, error: &ApiError) {
        let mut inner = self.lock();
        inner.forbidden.insert((kind, regarding.key.namespace.clone()), Instant::now() + FORBIDDEN_FOR);
        if inner.warned.insert(kind) {
            tracing::warn!("{error}; allow {}, or go without: everything else works", kind.permission());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole values go in and out, so what a panic leaves behind is one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same call may succeed a little later.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::Server | ErrorKind::Garbage
    )
}
