//! One look at a Service, read aloud: gather, parse, plan, guard, apply, report.

mod adopt;
mod peace;
mod reads;
mod report;
mod tell;
mod to_consul;
mod to_kube;
pub mod writers;

pub(crate) use reads::whole_node;

use std::sync::Arc;

use consul8s_core::claim::Claim;
use consul8s_core::intent::{self, Intent, Parsed};
use consul8s_core::kube::{KubeService, ObjectKey};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::settings::Direction;
use consul8s_core::to_consul::{Need, RegistrationPlan};
use tokio::time::Instant;

use crate::controller::Controller;
use crate::queue::Ended;
use to_consul::Made;
use to_kube::{ReadAgain, SlicePlan};
use writers::Writers;

/// Everything that one look decided.
pub struct Planned {
    service: Option<Arc<KubeService>>,
    parsed: Option<Parsed>,
    slices: SlicePlan,
    registrations: RegistrationPlan,
    /// What must answer before registrations are planned.
    waits_for: Option<&'static str>,
    /// The Consul name whose instances must be known before more is registered.
    ask_elsewhere: Option<String>,
    changed_at: Option<Instant>,
}

impl Planned {
    /// Whether anything is to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.slices.changes.is_empty() || !self.registrations.is_empty()
    }
}

impl Planned {
    /// Whether the Python original may have registered the Service.
    fn is_the_originals(&self) -> bool {
        let annotated =
            self.service.as_ref().is_some_and(|service| service.annotations.contains_key(names::DOMAIN_NAME));
        annotated && self.parsed.as_ref().is_some_and(|parsed| matches!(parsed.intent, Intent::ToConsul(_)))
    }
}

/// What became of the plan.
pub enum Applied {
    /// This many writes were accepted, all there were.
    Done(usize),
    /// Nothing could be written here, and something should be.
    NotWritten,
    /// A write was refused or got no answer.
    Failed(ApiError),
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Looks at one Service, on both sides. Without writers everything is done but the writing.
    pub async fn sync<W: KubeWriter>(&self, key: &ObjectKey, writers: Option<&Writers<W>>) -> Ended {
        let (started, begun) = (Instant::now(), self.clock.now());
        if let Some(writers) = writers {
            let mark = writers.leadership().notebook().borrow().list_mark;
            self.world().cluster.note_mark(mark);
        }
        let Some(plan) = self.plan(key) else { return Ended::Quiet };
        let claim = writers.and_then(|writers| writers.leadership().claim());
        if let Some(list) = plan.registrations.released.as_ref().and_then(|released| released.list)
            && let Some(writers) = writers.filter(|_| claim.is_some())
        {
            self.world().cluster.believe(list);
            writers.leadership().note(|notes| notes.list_mark(Some(list)));
        }
        let applied = match (writers, claim) {
            (Some(writers), Some(claim)) => self.write(key, &plan, writers, &claim).await,
            _ if !plan.writes() => Applied::Done(0),
            _ => Applied::NotWritten,
        };
        self.world().coming.end(key);
        if matches!(applied, Applied::Done(_)) {
            self.world().looked(key, begun, !plan.slices.waiting);
        }
        let mut read_again = self.confirm(key, &plan.slices).await;
        read_again.rest = read_again.rest.max(self.read_for(key, &plan).await);
        self.report(key, &plan, &applied, started, writers);
        self.ended(key, &plan, &applied, &read_again)
    }

    /// Gathers what is known, parses it, plans both directions and has the guard judge: pure work under one lock. None before the lists of
    /// Kubernetes are complete.
    fn plan(&self, key: &ObjectKey) -> Option<Planned> {
        let now = self.clock.now();
        let mut world = self.world();
        if !world.plannable() {
            return None;
        }
        let service = world.services.get(key).cloned();
        let parsed = service.as_ref().map(|service| intent::parse(service, &self.settings));
        let intent = parsed.as_ref().map(|parsed| &parsed.intent);
        if let Some(valid @ (Intent::ToKube(_) | Intent::ToConsul(_))) = intent {
            world.record(key).last_valid = Some(valid.clone());
        }
        let slices = if self.directions.contains(&Direction::ToKube) {
            to_kube::plan(self, &mut world, key, service.as_ref(), intent, now)
        } else {
            SlicePlan::default()
        };
        let Made { plan: registrations, waits_for, ask_elsewhere } = if self.directions.contains(&Direction::ToConsul) {
            to_consul::plan(self, &mut world, key, service.as_ref(), intent, now)
        } else {
            Made::default()
        };
        let changed_at = world.record(key).changed_at.take();
        Some(Planned { service, parsed, slices, registrations, waits_for, ask_elsewhere, changed_at })
    }

    /// Writes the plan. What was taken over from the original is given back before ours goes, and taken over after ours stands.
    async fn write<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Applied {
        match self.give_back(key, plan, writers, claim).await {
            Err(error) if error.kind == ErrorKind::NotLeading => return Applied::NotWritten,
            Err(error) => return Applied::Failed(error),
            Ok(()) => {}
        }
        if plan.writes() {
            self.queue.charge(key);
        }
        let applied = if plan.writes() { self.apply(key, plan, writers, claim).await } else { Applied::Done(0) };
        self.take_over(key, plan, applied, writers, claim).await
    }

    /// Writes the changes: both directions, neither waiting for the other's failure. When the claim is over the rest is not sent.
    async fn apply<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Applied {
        let (slices, registrations) = tokio::join!(
            self.write_slices(key, &plan.slices, writers, claim),
            self.write_registrations(key, &plan.registrations, writers, claim),
        );
        match (slices, registrations) {
            (Ok(slices), Ok(registrations)) => Applied::Done(slices + registrations),
            (Err(error), _) | (_, Err(error)) if error.kind == ErrorKind::NotLeading => Applied::NotWritten,
            (Err(error), _) | (_, Err(error)) => Applied::Failed(error),
        }
    }

    fn ended(&self, key: &ObjectKey, plan: &Planned, applied: &Applied, read_again: &ReadAgain) -> Ended {
        if !matches!(applied, Applied::Done(_)) {
            let mut world = self.world();
            let record = world.record(key);
            record.changed_at = record.changed_at.or(plan.changed_at);
        }
        if let Applied::Failed(error) = applied {
            // A lost race is mended by what the watches bring, which asks for a look by itself; the backoff is for when it doesn't. And that
            // our nodes may not be made is told once for all.
            let told = error.kind == ErrorKind::Conflict || self.world().denied.resting(self.clock.now()).is_some();
            if !told {
                tracing::warn!(service = %key, %error, "a write failed; it is tried again");
            }
            return Ended::Failed;
        }
        let now = self.clock.now();
        let mut world = self.world();
        let record = world.record(key);
        let needs = plan.registrations.needs.iter().map(|need| match need {
            Need::ReadService { at, .. } => *at,
            Need::ReadOriginal { at, .. } => record.original_node.due(*at),
        });
        let asked = plan.ask_elsewhere.as_ref().map(|_| record.elsewhere.due());
        // What the original left behind goes once ours stands.
        let taken_over =
            matches!(applied, Applied::Done(1..)) && !record.original_node.is_absent() && plan.is_the_originals();
        // A read that was just done is looked at right away.
        let next = needs
            .chain(asked)
            .chain(taken_over.then_some(now))
            .map(|at| at.max(now))
            .chain(plan.slices.look_again)
            .chain(plan.registrations.look_again)
            .chain(read_again.at);
        match next.min().map(|at| at.max(read_again.rest.unwrap_or(at))) {
            Some(at) => Ended::LookAgain(self.clock.instant(at)),
            None => Ended::Quiet,
        }
    }
}
