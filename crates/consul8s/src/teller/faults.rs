//! What concerns all Services, and is told of the Lease.

use std::time::Duration;

use consul8s_core::ports::{ConsulApi, ErrorKind, KubeApi};
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::settings::Direction;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::nodes;

use crate::controller::Controller;
use crate::stores::record::State;
use crate::stores::{World, denied};

/// How long Consul must be away until it is told: an election or a restart of one server is shorter.
const AWAY_FOR: Duration = Duration::from_secs(10);
/// So many Services for which a permission is missing are told of together.
const MANY: usize = 3;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Since when Consul does not answer as it should.
    away: Option<UnixMillis>,
}

impl Faults {
    /// What is wrong now.
    pub(super) fn of_all<K: KubeApi, C: ConsulApi>(&mut self, controller: &Controller<K, C>) -> Vec<Problem> {
        let now = controller.clock.now();
        let settings = &controller.settings;
        let world = controller.world();
        let foreign = world.registry.nodes().foreign(&settings.marks());
        let conflict = foreign.map(|view| nodes::conflict(view, &settings.identity));
        let hidden = world.registry.hidden().map(|node| denied::hidden(&node));
        let of_nodes = hidden.or_else(|| world.denied.problem().cloned());
        let mut all: Vec<Problem> =
            self.unavailable(&world, now).into_iter().chain(of_nodes).chain(refused(&world)).chain(conflict).collect();
        all.sort();
        all.dedup_by_key(|problem| problem.reason);
        all
    }

    fn unavailable(&mut self, world: &World, now: UnixMillis) -> Option<Problem> {
        let Some(error) = &world.consul_trouble else {
            self.away = None;
            return None;
        };
        let since = *self.away.get_or_insert(now);
        if world.consul_heard > since {
            self.away = Some(now);
        }
        if now.since(since.max(world.consul_heard)) < AWAY_FOR {
            return None;
        }
        Some(match error.kind {
            ErrorKind::Forbidden => Problem::new(
                Reason::ConsulPermissionDenied,
                format!(
                    "Consul refuses our token, and what stands stays; it needs what consul8s acl-policy prints: {error}"
                ),
            ),
            _ => Problem::new(
                Reason::ConsulUnavailable,
                format!(
                    "Consul does not answer as it should; what stands stays, and it is asked again; see that it runs, has a leader, and \
                     is what --consul names: {error}"
                ),
            ),
        })
    }
}

/// Whether our token lacks a permission for more than a few Services. Those that wait for an answer learn it one after the other, some
/// minutes apart, so that this does not wait for the last.
fn refused(world: &World) -> Option<Problem> {
    let filled = world.records().filter_map(|(_, record)| record.told.as_ref());
    let (mut denied, mut of) = (0, 0);
    for told in filled.filter(|told| told.direction == Direction::ToKube) {
        let is_denied = told.problems.iter().any(|problem| problem.reason == Reason::ConsulPermissionDenied);
        denied += usize::from(is_denied);
        of += usize::from(is_denied || matches!(told.state, State::Synced | State::Held | State::Panic));
    }
    let refused = world.consul_trouble.as_ref().is_some_and(|error| error.kind == ErrorKind::Forbidden);
    let many = denied >= MANY || (denied > 1 && denied == of) || (denied > 0 && refused);
    many.then(|| {
        Problem::new(
            Reason::ConsulPermissionDenied,
            format!(
                "Consul hides results from our token, or refuses it, for {denied} of {of} Services that are filled from it: nothing is \
                 removed for what is missing; the token needs service:read and node:read (consul8s acl-policy)"
            ),
        )
    })
}
