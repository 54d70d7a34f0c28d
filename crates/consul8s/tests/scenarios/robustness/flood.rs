//! A Consul writer floods one service (contract S8, D1): it costs that service its pace, and no other more than a moment.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `one_name_is_flooded` | 600 instances of one service, changed as fast as Consul takes it: what changes elsewhere is followed at once, slices of the flooded one are written at a bounded rate, memory is bounded, and afterwards all is as it should be |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::under_faults::{FOLLOWED, Played};
use crate::harness::view::endpoints;
use crate::harness::{Consul, Instance, Kind, Outcome, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(one_name_is_flooded)
    .alone()
    .only(Kind::Real, "the simulated Consul shares the scenario's own processor time")];

const INSTANCES: usize = 600;
/// Who changes them, each as fast as it can.
const FLOODERS: usize = 4;
/// Changes elsewhere, one after the other.
const ROUNDS: usize = 9;
/// What either side of such a change may take, in the middle, with a debug build on a busy machine. Without a flood it takes some 20 ms.
const PROMPT: Duration = Duration::from_millis(600);
/// Slices of one Service that may be written in a second, once its first burst is over.
const WRITES_PER_SECOND: f64 = 130.0;
/// Of the process; a debug build, and most of it is code.
const MEMORY_BYTES: f64 = 192.0 * 1024.0 * 1024.0;

async fn one_name_is_flooded(world: &World) -> Outcome {
    let flood: Vec<Instance> = (0..INSTANCES).map(|_| world.instance("flood").checked("passing")).collect();
    try_join_all(flood.chunks(INSTANCES / FLOODERS).map(async |part| {
        for instance in part {
            world.consul.register(instance).await?;
        }
        Ok::<_, String>(())
    }))
    .await?;
    world.create_to_kube("flood", |_| ()).await?;
    let mut played = Played::start(world, world.program()).await?;
    world.slices_become("all stand", FOLLOWED, "flood", |slices| has(slices, INSTANCES)).await?;

    let changes = Arc::new(AtomicUsize::new(0));
    let flooders: Vec<_> = flood
        .chunks(INSTANCES / FLOODERS)
        .map(|part| {
            AbortOnDropHandle::new(tokio::spawn(flood_it(world.consul.clone(), part.to_vec(), changes.clone())))
        })
        .collect();
    let (began, before) = (Instant::now(), played.program.writes().await?);
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(played.goes_on(world).await? / 2);
        sleep(Duration::from_millis(300)).await;
    }
    let (lasted, changes) = (began.elapsed().as_secs_f64(), changes.load(Ordering::SeqCst));
    let written = played.program.writes().await? - before;
    drop(flooders);
    took.sort_unstable();
    so(took[ROUNDS / 2] <= PROMPT, || format!("changes elsewhere took {took:?} beside {changes} in {lasted:.1} s"))?;
    so(changes > 20 * ROUNDS, || format!("only {changes} changes in {lasted:.1} s are no flood"))?;
    so(written <= WRITES_PER_SECOND * (lasted + 1.0), || format!("{written} writes in {lasted:.1} s"))?;
    let memory = played.program.scrape().await?.count("process_resident_memory_bytes", &[]);
    so(memory <= MEMORY_BYTES, || format!("{} MiB", memory / 1024.0 / 1024.0))?;

    for instance in &flood {
        world.consul.register(instance).await?;
    }
    world.slices_become("all is as it was", FOLLOWED, "flood", |slices| has(slices, INSTANCES)).await?;
    played.goes_on(world).await?;
    Ok(())
}

fn has(slices: &[serde_json::Value], ready: usize) -> Outcome {
    let seen = endpoints(slices).iter().filter(|line| line.ends_with(":8080 ready")).count();
    so(seen == ready, || format!("{seen} of {ready} ready"))
}

/// Changes them in turn for ever: each fails, recovers elsewhere, and comes back.
async fn flood_it(consul: Consul, instances: Vec<Instance>, changes: Arc<AtomicUsize>) {
    for round in 0_i64.. {
        for instance in &instances {
            let port = 8080 + (round + 1) % 2;
            let status = if round % 3 == 0 { "critical" } else { "passing" };
            let changed = instance.clone().at(&instance.address, port).checked(status);
            // One that fails is one less.
            if consul.register(&changed).await.is_ok() {
                changes.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
