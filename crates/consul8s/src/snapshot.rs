//! The gauges, counted afresh from the state.

use std::collections::BTreeMap;
use std::time::Duration;

use consul8s_core::ports::{ConsulApi, KubeApi};
use consul8s_core::problem::Reason;
use consul8s_core::settings::Direction;
use consul8s_core::time::UnixMillis;

use crate::controller::Controller;
use crate::metrics::Snapshot;
use crate::stores::record::State;

/// A blocking query that finds no change answers after its wait and a sixteenth.
const CONSUL_QUIET: Duration = Duration::from_secs(330);

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// What the gauges show now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let world = self.world();
        // Zeros are shown too where all values are known beforehand: an alert needs a series to look at.
        let both = [Direction::ToKube, Direction::ToConsul];
        let zeros = |words: &[&'static str]| -> BTreeMap<(Direction, &'static str), u64> {
            both.iter().flat_map(|direction| words.iter().map(|word| ((*direction, *word), 0))).collect()
        };
        let mut services = zeros(&State::ALL.map(State::as_str));
        let mut problems = BTreeMap::new();
        let mut dropped = BTreeMap::<(Direction, &'static str), u64>::new();
        let mut pending = zeros(&["create", "update", "delete"]);
        let mut held = BTreeMap::from([(Direction::ToKube, 0), (Direction::ToConsul, 0)]);
        let (mut endpoints, mut sourced) = ((0, 0), (0, 0));
        for told in world.records().filter_map(|(_, record)| record.told.as_ref()) {
            *services.entry((told.direction, told.state.as_str())).or_default() += 1;
            for problem in &told.problems {
                *problems.entry(problem.reason).or_default() += 1;
            }
            for (reason, n) in &told.dropped {
                *dropped.entry((told.direction, *reason)).or_default() += *n as u64;
            }
            for (action, n) in &told.pending {
                *pending.entry((told.direction, *action)).or_default() += *n as u64;
            }
            *held.entry(told.direction).or_default() += told.held as u64;
            endpoints.0 += told.endpoints.0 as u64;
            endpoints.1 += told.endpoints.1 as u64;
            match told.direction {
                Direction::ToKube => sourced.0 += 1,
                Direction::ToConsul => sourced.1 += 1,
            }
        }
        let in_conflict = self.imports.in_conflict();
        if in_conflict > 0 {
            *problems.entry(Reason::NameConflict).or_default() += in_conflict as u64;
        }
        for (action, n) in self.imports.pending() {
            *pending.entry((Direction::ToKube, action)).or_default() += n;
        }
        let flat =
            |map: BTreeMap<(Direction, &'static str), u64>| map.into_iter().map(|((d, w), n)| (d, w, n)).collect();
        Snapshot {
            services: flat(services),
            out_of_scope: world.out_of_scope.as_ref().map_or(0, |outside| outside.len() as u64),
            problems: problems.into_iter().collect(),
            dropped: flat(dropped),
            endpoints,
            held: held.into_iter().collect(),
            pending: flat(pending),
            sourced,
            staleness: (
                staleness(world.consul_trouble.is_some(), world.consul_heard, CONSUL_QUIET, now),
                // A watch of a quiet cluster tells nothing; a dead one is noticed within 30 s and is trouble then.
                staleness(world.kube_trouble.is_some(), world.kube_heard, Duration::MAX, now),
            ),
            watches: world.sources.iter().count() as u64,
            transport: self.consul.transport(),
            watch_delay_bound: self.consul.watch_delay_bound().as_secs_f64(),
            queue_depth: self.queue.depth() as u64,
        }
    }
}

/// 0 while answers come as expected, otherwise the time since the last good one.
fn staleness(trouble: bool, heard: UnixMillis, quiet: Duration, now: UnixMillis) -> f64 {
    let since = now.since(heard);
    if trouble || since > quiet { since.as_secs_f64() } else { 0.0 }
}
