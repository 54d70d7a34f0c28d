//! Slices that follow their source: choose it, plan, guard, pack.

use std::sync::Arc;

use consul8s_core::consul::{Answer, HealthQuery, Instance};
use consul8s_core::guard::{self, Case, SourceState};
use consul8s_core::intent::to_kube::ToKube;
use consul8s_core::packing;
use consul8s_core::ports::{ConsulApi, KubeApi};
use consul8s_core::problem::Problem;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_kube::failover::{self, Candidates, Chosen};
use consul8s_core::to_kube::{self, Input, Mode};

use super::super::peace;
use super::{Look, SlicePlan, refused};
use crate::stores::World;

/// A source as it stands in this look.
struct Source {
    query: HealthQuery,
    answer: Option<Answer<Arc<Vec<Instance>>>>,
    heard: UnixMillis,
    broken: Option<UnixMillis>,
    uncompared: bool,
    refused: Option<Problem>,
}

impl Source {
    fn of(world: &World, query: HealthQuery) -> Option<Source> {
        let source = world.sources.get(&query)?;
        let refused =
            source.trouble.as_ref().and_then(|error| refused::problem(&query, error, source.answer.is_some()));
        let (answer, heard) = (source.answer.clone(), source.heard);
        let broken = source.broken.max(world.lineages.broken(&query.datacenter));
        let uncompared = world.lineages.is_unknown(&query.datacenter);
        Some(Source { query, answer, heard, broken, uncompared, refused })
    }

    fn view(&self) -> to_kube::Source<'_> {
        to_kube::Source { query: &self.query, answer: self.answer.as_ref(), heard: self.heard }
    }

    fn state(&self) -> SourceState {
        let of = |answer: &Answer<_>| SourceState::of(&answer.meta, self.broken);
        SourceState { uncompared: self.uncompared, ..self.answer.as_ref().map(of).unwrap_or_default() }
    }
}

impl<K: KubeApi, C: ConsulApi> Look<'_, K, C> {
    /// Chooses the source, plans, has the guard judge, packs, and leaves out what somebody else keeps changing back.
    pub(super) fn follow(&self, world: &mut World, wish: ToKube, mode: Mode) -> SlicePlan {
        let (service, slices, now) = (self.service, self.slices, self.now);
        let (key, settings) = (&service.key, &self.controller.settings);
        let sources: Vec<Source> = wish.queries().into_iter().filter_map(|query| Source::of(world, query)).collect();
        self.resolve(world, &wish, &sources);
        let chosen = self.choose(world, &wish, &sources);
        let Some(source) = sources.get(chosen.index) else { return SlicePlan::default() };
        let resolved = world.names.resolved();
        let abandoned = world.neighbours.abandoned().clone();
        let release = world.release.as_ref().map(|(text, _)| text.clone());
        let record = world.record(key);
        let mut memory = std::mem::take(&mut record.memory);
        let (services_read, nodes_read) =
            (std::mem::take(&mut record.services_read), std::mem::take(&mut record.nodes_read));
        let plan = to_kube::plan(&Input {
            service,
            intent: &wish,
            mode,
            slices,
            source: source.view(),
            resolved: &resolved,
            abandoned: &abandoned,
            memory: &memory,
            settings,
            now,
        });
        let case = Case {
            plan,
            service,
            source: source.state(),
            services_read: &services_read,
            nodes_read: &nodes_read,
            lease_release: release.as_deref(),
            settings,
            now,
        };
        let judged = guard::judge(case, &mut memory, &mut world.guard);
        let record = world.record(key);
        record.memory = memory;
        // What nobody changed (a hold that ends, a drift that a later look finds) is of now.
        let trigger = record.changed_at.map_or(now, |at| now.before(at.elapsed()));
        let changes = packing::changes(&packing::Input {
            judged: &judged,
            service,
            intent: &wish,
            slices,
            taken: &record.taken,
            abandoned: &abandoned,
            settings,
            trigger: Some(trigger),
        });
        let kept = peace::keep(changes, &mut record.repairs, now);
        let refused = sources.iter().filter_map(|source| source.refused.clone());
        SlicePlan {
            look_again: [judged.look_again, kept.look_again, chosen.look_again].into_iter().flatten().min(),
            judged: Some(judged),
            changes: kept.changes,
            waiting: source.answer.is_none(),
            resolving: world.names.is_waiting(key),
            troubles: refused.chain(kept.problems).collect(),
            wish: Some(Arc::new(wish)),
        }
    }

    /// Has the hostnames in the answers looked up. Nothing is known of them while no answer is.
    fn resolve(&self, world: &mut World, wish: &ToKube, sources: &[Source]) {
        if !self.controller.resolves() || sources.iter().all(|source| source.answer.is_none()) {
            return;
        }
        let answers = sources.iter().filter_map(|source| source.answer.as_ref());
        let names = answers
            .flat_map(|answer| to_kube::hostnames(self.service, wish, &self.controller.settings, &answer.body))
            .collect();
        self.controller.resolve(world.names.need(&self.service.key, names));
    }

    fn choose(&self, world: &mut World, wish: &ToKube, sources: &[Source]) -> Chosen {
        let resolved = world.names.resolved();
        let sources: Vec<to_kube::Source<'_>> = sources.iter().map(Source::view).collect();
        let record = world.record(&self.service.key);
        let candidates = Candidates {
            service: self.service,
            intent: wish,
            slices: self.slices,
            sources: &sources,
            resolved: &resolved,
            settings: &self.controller.settings,
            now: self.now,
        };
        let chosen = failover::choose(&candidates, &mut record.choice);
        if let Some(event) = &chosen.event {
            tracing::info!(service = %self.service.key, "{}", event.message);
            record.deeds.insert(event.reason, event.message.clone());
        }
        chosen
    }
}
