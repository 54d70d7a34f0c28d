//! The guard's tables, row by row.

mod evidence;
mod holds;
mod marks;
mod restarts;

use std::time::Duration;

use crate::consul::Instance;
use crate::kube::ObjectKey;
use crate::plan;
use crate::world::{Stage, World};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const MINUTE: Duration = seconds(60);

/// Services `s0`, `s1`, … with so many instances each, all passing, on machines of their own, synced and quiet for a long time.
fn stage(counts: &[usize]) -> Stage {
    let mut world = World::default();
    for (s, count) in counts.iter().enumerate() {
        world
            .services
            .extend(World::parse(&format!("kube: service ns/s{s} source=consul port http 80")).unwrap().services);
        world.instances.extend((0..*count).map(|i| instance(s, i)));
    }
    let mut stage = Stage::new(world);
    stage.sync_all();
    stage.pass(seconds(3600));
    stage.sync_all();
    stage
}

fn instance(service: usize, i: usize) -> Instance {
    let text = format!(
        "consul: s{service}-{i}@vm-{service}-{i} name=s{service} 10.{service}.{}.{}:80 passing",
        i / 250,
        i % 250 + 1
    );
    World::parse(&text).unwrap().instances.remove(0)
}

fn key(service: usize) -> ObjectKey {
    ObjectKey::new("ns", format!("s{service}"))
}

impl Stage {
    /// The instances leave without a word: their machines are gone.
    fn lose(&mut self, service: usize, which: impl IntoIterator<Item = usize>) {
        for i in which {
            let gone = instance(service, i).reference();
            self.world.instances.retain(|instance| instance.reference() != gone);
        }
        self.sync_all();
    }

    fn gain(&mut self, service: usize, which: impl IntoIterator<Item = usize>) {
        self.world.instances.extend(which.into_iter().map(|i| instance(service, i)));
        self.sync_all();
    }

    fn count(&self, service: usize) -> usize {
        self.ready(&key(service)).len()
    }

    fn counts(&self) -> Vec<usize> {
        (0..self.world.services.len()).map(|s| self.count(s)).collect()
    }

    /// The plan text of one Service, without its instances.
    fn shown(&mut self, service: usize) -> String {
        let synced = self.sync(&key(service));
        let text = plan::text(&synced.judged.unwrap(), &synced.changes);
        let lines = text.lines().filter(|line| !line.contains("@vm"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn hold(&mut self, service: usize) -> Option<char> {
        let judged = self.sync(&key(service)).judged.unwrap();
        judged.held.first().map(|held| held.kind.letter())
    }
}

fn allow(stage: &mut Stage, what: &str) {
    stage.world.services[0].annotations.insert(crate::names::ALLOW_REMOVAL.into(), what.into());
    stage.sync_all();
}
