//! A query that Consul refuses: annotations that only Consul can judge (a filter expression, a datacenter, Enterprise tenancy) are bad
//! then like any other, and the last valid settings stay in force (contract, "frozen").

use consul8s_core::consul::HealthQuery;
use consul8s_core::intent::to_kube::ToKube;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::settings::Direction;
use consul8s_core::to_kube::{self, Mode, failover};

use super::{Look, SlicePlan};
use crate::stores::World;

impl<K: KubeApi, C: ConsulApi> Look<'_, K, C> {
    /// The settings to follow while Consul refuses what the Service asks for now: those that our slices keep.
    pub(super) fn while_refused(&self, world: &World, wish: &ToKube) -> Option<ToKube> {
        let source = world.sources.get(&wish.query)?;
        let invalid = source.trouble.as_ref().is_some_and(|error| error.kind == ErrorKind::Invalid);
        if !invalid || source.answer.is_some() || self.fails_over(world, wish) {
            return None;
        }
        let settings = &self.controller.settings;
        let kept =
            to_kube::frozen(self.service, Some(Direction::ToKube), self.slices, world.neighbours.abandoned(), settings);
        kept.filter(|(valid, mode)| *mode == Mode::Follow && valid.query != wish.query).map(|(valid, _)| valid)
    }

    /// Whether another datacenter is used already, because this one has been silent for too long.
    fn fails_over(&self, world: &World, wish: &ToKube) -> bool {
        let silent =
            world.sources.get(&wish.query).is_some_and(|source| failover::is_silent(wish, source.heard, self.now));
        let answers = |query: &HealthQuery| world.sources.get(query).is_some_and(|source| source.answer.is_some());
        !wish.failover.is_empty() && silent && wish.queries().iter().any(answers)
    }

    /// Follows the last valid settings, and tells what is wrong with those of now.
    pub(super) fn follow_instead(&self, world: &mut World, valid: ToKube, wish: &ToKube) -> SlicePlan {
        let told = wish.queries().into_iter().filter_map(|query| {
            let source = world.sources.get(&query)?;
            problem(&query, source.trouble.as_ref()?, source.answer.is_some())
        });
        let told: Vec<Problem> = told.collect();
        let mut plan = self.follow(world, valid, Mode::Follow);
        plan.troubles.extend(told);
        plan
    }
}

/// What Consul says about the query itself, and not about its own state. A query that it has answered before is not at fault.
pub(super) fn problem(query: &HealthQuery, error: &ApiError, answered: bool) -> Option<Problem> {
    match error.kind {
        ErrorKind::Invalid if answered => Some(Problem::new(
            Reason::ConsulUnavailable,
            format!(
                "Consul answers the query ({query}) no more, and what stands stays; see whether that datacenter is there and joined: \
                 {error}"
            ),
        )),
        ErrorKind::Invalid => Some(Problem::new(
            Reason::InvalidAnnotation,
            format!(
                "Consul refuses the query of the Service's annotations ({query}); the last valid settings stay in force until they are \
                 corrected: {error}"
            ),
        )),
        ErrorKind::Forbidden => Some(Problem::new(
            Reason::ConsulPermissionDenied,
            format!("Consul refuses our token, and what stands stays; it needs service:read and node:read: {error}"),
        )),
        _ => None,
    }
}
