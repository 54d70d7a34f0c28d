//! The task that tells people: Events and conditions, beside the work and never in its way.
//!
//! A look at a Service leaves in the [`Mailbox`] what it found; what is told of it, and when, is [`Memory`]'s business. Calls that fail
//! are tried a few times; then the condition waits for its turn, and the Event is lost. Only the leader tells, and what its predecessor
//! told stands in the conditions.

mod calls;
mod faults;
mod mailbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ConsulApi, KubeApi, KubeTeller};
use consul8s_core::problem::Reason;
use consul8s_core::tell::{Course, Look, Memory, ObjectRef};
use consul8s_core::time::UnixMillis;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;
use crate::leader::{Gains, Leadership};
use calls::{Calls, Job, Told};
use faults::Faults;
pub use mailbox::Mailbox;

/// Objects that are told of side by side. Telling shares the way to the API server with what it tells of.
pub(crate) const AT_ONCE: usize = 8;
/// How often it is looked what concerns all Services: before the news of any Service have settled (1 s), so that it is not told of what
/// concerns all.
const FAULTS_EVERY: Duration = Duration::from_millis(500);

/// The task.
pub struct Teller<K, C, T> {
    controller: Arc<Controller<K, C>>,
    calls: Arc<Calls<T>>,
    mailbox: Arc<Mailbox>,
    leadership: Leadership,
    lease: ObjectKey,
    faults: Faults,
    shared: BTreeSet<Reason>,
    memories: BTreeMap<About, Memory>,
    /// Who is to be asked again, and when: in the order of time, and by name.
    due: BTreeSet<(UnixMillis, About)>,
    due_at: BTreeMap<About, UnixMillis>,
    /// Whose calls are under way.
    busy: BTreeSet<About>,
    running: JoinSet<(About, Told)>,
}

/// What is told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The Lease: what concerns all Services.
    Lease,
    /// One Service.
    Service(ObjectKey),
    /// One ConsulImport.
    Import(ObjectKey),
}

impl<K: KubeApi, C: ConsulApi, T: KubeTeller> Teller<K, C, T> {
    /// A task that has told nothing yet.
    pub fn new(
        controller: Arc<Controller<K, C>>,
        api: T,
        mailbox: Arc<Mailbox>,
        leadership: Leadership,
        lease: ObjectKey,
    ) -> Teller<K, C, T> {
        Teller {
            controller,
            calls: Arc::new(Calls::new(api, leadership.clone())),
            mailbox,
            leadership,
            lease,
            faults: Faults::default(),
            shared: BTreeSet::new(),
            memories: BTreeMap::new(),
            due: BTreeSet::new(),
            due_at: BTreeMap::new(),
            busy: BTreeSet::new(),
            running: JoinSet::new(),
        }
    }

    /// Tells until `end`; then, for `patience` at most, what is left.
    pub async fn run(mut self, end: CancellationToken, patience: Duration) {
        let (mailbox, mut gains) = (self.mailbox.clone(), self.leadership.gains());
        let mut ticks = tokio::time::interval(FAULTS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !end.is_cancelled() {
            let free = self.running.len() < AT_ONCE;
            let first = self.due.first().map(|(at, _)| self.controller.clock.instant(*at));
            tokio::select! {
                // What may come without end comes last, so that it keeps nothing else waiting.
                biased;
                () = end.cancelled() => {}
                () = gains.changed() => self.begin_again(),
                Some(ended) = self.running.join_next() => self.ended(ended),
                _ = ticks.tick() => self.look_at_all(),
                () = at(first), if free && first.is_some() => self.ask_next(false),
                () = mailbox.news() => self.take_in(&mut gains),
            }
        }
        if tokio::time::timeout(patience, self.tell_the_rest(&mut gains)).await.is_err() {
            tracing::debug!(objects = self.due.len(), "ended before all was told");
        }
    }

    /// Another told until now: what it told is seen from the conditions alone.
    fn begin_again(&mut self) {
        (self.memories, self.due, self.due_at) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        self.faults = Faults::default();
    }

    fn take_in(&mut self, gains: &mut Gains) {
        let looks = self.mailbox.take();
        // What was done under a new claim may be here before the news of the claim: it must not be forgotten with what was before it.
        if gains.has_changed() {
            self.begin_again();
        }
        if self.leadership.claim().is_none() {
            return;
        }
        for (about, look) in looks {
            self.look(about, look);
        }
    }

    /// What concerns all Services is told of the Lease.
    fn look_at_all(&mut self) {
        if self.leadership.claim().is_none() {
            return;
        }
        let problems = self.faults.of_all(&self.controller);
        self.shared = problems.iter().map(|problem| problem.reason).collect();
        self.look(About::Lease, Look { problems, course: Course::Leave, ..Look::default() });
    }

    fn look(&mut self, about: About, look: Look) {
        let now = self.controller.clock.now();
        self.memories.entry(about.clone()).or_default().take_in(look, now);
        self.ask_at(about, now);
    }

    fn ask_at(&mut self, about: About, at: UnixMillis) {
        if let Some(before) = self.due_at.insert(about.clone(), at) {
            self.due.remove(&(before, about.clone()));
        }
        self.due.insert((at, about));
    }

    /// Asks the first that is due what is to be told, and has it told.
    fn ask_next(&mut self, pressing: bool) {
        let Some((_, about)) = self.due.pop_first() else { return };
        self.due_at.remove(&about);
        if self.busy.contains(&about) {
            // It is asked again when its calls have ended.
            return;
        }
        let now = self.controller.clock.now();
        let Some(memory) = self.memories.get_mut(&about) else { return };
        // The Lease's own Events are those that all the others leave out.
        let nothing = BTreeSet::new();
        let shared = if about == About::Lease { &nothing } else { &self.shared };
        let telling = memory.tell(shared, now, pressing);
        let uid = memory.uid().map(str::to_owned);
        if telling.events.is_empty() && telling.condition.is_none() {
            match telling.again {
                Some(at) => self.ask_at(about, at),
                // The Lease's is kept: it knows how often it was told of.
                None if about != About::Lease && memory.is_over() => drop(self.memories.remove(&about)),
                None => {}
            }
            return;
        }
        let regarding = match &about {
            About::Lease => ObjectRef::lease(self.lease.clone(), None),
            About::Service(key) => ObjectRef::service(key.clone(), uid),
            About::Import(key) => ObjectRef::import(key.clone(), uid),
        };
        let job = Job { regarding, events: telling.events, condition: telling.condition, pressing };
        let calls = self.calls.clone();
        self.busy.insert(about.clone());
        self.running.spawn(async move { (about, calls.carry_out(job).await) });
    }

    fn ended(&mut self, ended: Result<(About, Told), tokio::task::JoinError>) {
        let (about, told) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        self.busy.remove(&about);
        let now = self.controller.clock.now();
        let Some(memory) = self.memories.get_mut(&about) else { return };
        match told {
            Told::NoCondition => {}
            Told::Condition(service) => memory.wrote(&service.resource_version, service.condition),
            Told::Failed(pause) => memory.not_written(now, pause.map(|pause| now.after(pause))),
        }
        self.ask_at(about, now);
    }

    /// There is no later: what is known is told now.
    async fn tell_the_rest(&mut self, gains: &mut Gains) {
        self.take_in(gains);
        let now = self.controller.clock.now();
        let everybody: Vec<About> = self.memories.keys().cloned().collect();
        everybody.into_iter().for_each(|about| self.ask_at(about, now));
        loop {
            while self.running.len() < AT_ONCE && self.due.first().is_some_and(|(at, _)| *at <= now) {
                self.ask_next(true);
            }
            // What is told of an object now is the last of it, so that nobody is asked for ever.
            match self.running.join_next().await {
                Some(Ok((about, _))) => drop(self.busy.remove(&about)),
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => {}
                None => return,
            }
        }
    }
}

/// Waits until then; for ever without a time.
async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
