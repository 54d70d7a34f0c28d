//! One look at a Service, read aloud: gather, parse, plan, guard, apply, report.

mod peace;
mod report;
mod to_consul;
mod to_kube;
pub mod writers;

use std::sync::Arc;

use consul8s_core::intent::{self, Intent, Parsed};
use consul8s_core::kube::{KubeService, ObjectKey};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::settings::Direction;
use consul8s_core::to_consul::{Need, RegistrationPlan};
use tokio::time::Instant;

use crate::controller::Controller;
use crate::queue::Ended;
use to_kube::SlicePlan;
use writers::Writers;

/// Everything that one look decided.
pub struct Planned {
    service: Option<Arc<KubeService>>,
    parsed: Option<Parsed>,
    slices: SlicePlan,
    registrations: RegistrationPlan,
    changed_at: Option<Instant>,
}

impl Planned {
    /// Whether anything is to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.slices.changes.is_empty() || !self.registrations.changes.is_empty()
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
        let started = Instant::now();
        let Some(plan) = self.plan(key) else { return Ended::Quiet };
        let applied = match writers {
            _ if !plan.writes() => Applied::Done(0),
            Some(writers) => self.apply(key, &plan, writers).await,
            None => Applied::NotWritten,
        };
        let read_again = self.confirm(key, &plan.slices).await;
        self.read_services(&plan.registrations.needs).await;
        self.report(key, &plan, &applied, started);
        self.ended(key, &plan, &applied, read_again)
    }

    /// Gathers what is known, parses it, plans both directions and has the guard judge: pure work under one lock. None before the lists of
    /// Kubernetes are complete.
    fn plan(&self, key: &ObjectKey) -> Option<Planned> {
        let now = self.clock.now();
        let mut world = self.world();
        if !world.kube_synced() {
            return None;
        }
        let changed_at = world.record(key).changed_at.take();
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
        let registrations = if self.directions.contains(&Direction::ToConsul) {
            to_consul::plan(&mut world, key, service.as_ref(), intent, &self.settings, now)
        } else {
            RegistrationPlan::default()
        };
        Some(Planned { service, parsed, slices, registrations, changed_at })
    }

    /// Writes the plan: both directions, neither waiting for the other's failure.
    async fn apply<W: KubeWriter>(&self, key: &ObjectKey, plan: &Planned, writers: &Writers<W>) -> Applied {
        let (slices, registrations) = tokio::join!(
            self.write_slices(key, &plan.slices, writers),
            self.write_registrations(key, &plan.registrations, writers),
        );
        match (slices, registrations) {
            (Ok(slices), Ok(registrations)) => Applied::Done(slices + registrations),
            (Err(error), _) | (_, Err(error)) => Applied::Failed(error),
        }
    }

    fn ended(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        applied: &Applied,
        read_again: Option<consul8s_core::time::UnixMillis>,
    ) -> Ended {
        if let Applied::Failed(error) = applied {
            let mut world = self.world();
            let record = world.record(key);
            record.changed_at = record.changed_at.or(plan.changed_at);
            // A lost race is mended by what the watches bring, which asks for a look by itself; the backoff is for when it doesn't.
            if error.kind != ErrorKind::Conflict {
                tracing::warn!(service = %key, %error, "a write failed; it is tried again");
            }
            return Ended::Failed;
        }
        let needs = plan.registrations.needs.iter().filter_map(|need| match need {
            Need::ReadService { at, .. } => Some(*at),
            Need::ReadOriginal { .. } => None,
        });
        // A read that was just done is looked at right away.
        let now = self.clock.now();
        let next = needs
            .map(|at| at.max(now))
            .chain(plan.slices.look_again)
            .chain(plan.registrations.look_again)
            .chain(read_again);
        match next.min() {
            Some(at) => Ended::LookAgain(self.clock.instant(at)),
            None => Ended::Quiet,
        }
    }
}
