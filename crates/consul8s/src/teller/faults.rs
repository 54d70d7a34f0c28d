//! What concerns all Services, and is told of the Lease.

use std::time::Duration;

use consul8s_core::ports::{ConsulApi, ErrorKind, KubeApi};
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::settings::Direction;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::nodes;

use crate::controller::Controller;
use crate::stores::World;
use crate::stores::record::State;

/// How long Consul must be away until it is told: an election or a restart of one server is shorter.
const AWAY_FOR: Duration = Duration::from_secs(10);
/// Services that must be denied before it is called a matter of all.
const MANY: usize = 2;

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
        let foreign = world.registry.nodes().foreign(&settings.identity).filter(|_| !settings.take_over);
        let conflict = foreign.map(|node| nodes::conflict(node, &settings.identity));
        let mut all: Vec<Problem> =
            self.unavailable(&world, now).into_iter().chain(denied(&world)).chain(conflict).collect();
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
                format!("Consul does not answer as it should; what stands stays, and it is asked again: {error}"),
            ),
        })
    }
}

/// Whether every Service that is filled from Consul lacks a permission.
fn denied(world: &World) -> Option<Problem> {
    let filled = world.records().filter_map(|(_, record)| record.told.as_ref());
    let (mut denied, mut others) = (0, 0);
    for told in filled.filter(|told| told.direction == Direction::ToKube) {
        if told.problems.iter().any(|problem| problem.reason == Reason::ConsulPermissionDenied) {
            denied += 1;
        } else if matches!(told.state, State::Synced | State::Held | State::Panic) {
            others += 1;
        }
    }
    (denied >= MANY && others == 0).then(|| {
        Problem::new(
            Reason::ConsulPermissionDenied,
            format!(
                "Consul hides results from our token, or refuses it, for all {denied} Services that are filled from it: nothing is removed \
                 for what is missing; the token needs service:read and node:read (consul8s acl-policy)"
            ),
        )
    })
}
