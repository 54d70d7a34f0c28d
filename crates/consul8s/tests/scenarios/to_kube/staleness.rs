//! `consul8s/service.max_staleness` (contract §2): who would rather have nobody than somebody who may be gone.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `max_staleness_fails_closed` | a quiet Consul is not a silent one; a silent one leaves none ready, of that Service alone |
//! | `max_staleness_counts_from_our_start` | also where Consul never answered |

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::{Door, Outcome, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(max_staleness_fails_closed), scenario!(max_staleness_counts_from_our_start)];

const MOST: Duration = Duration::from_secs(10);

async fn two_services(world: &World) -> Outcome<[String; 2]> {
    let [strict] = world.registered_instances("strict").await?;
    let [lax] = world.registered_instances("lax").await?;
    world
        .create_to_kube("strict", |service| {
            service["metadata"]["annotations"]["consul8s/service.max_staleness"] = "10s".into();
        })
        .await?;
    world.create_to_kube("lax", |_| ()).await?;
    Ok([strict, lax].map(|instance| format!("{}:8080 ready", instance.address)))
}

async fn max_staleness_fails_closed(world: &World) -> Outcome {
    let mut door = Door::before(&world.servers.consul_address());
    door.open().await?;
    let [strict, lax] = two_services(world).await?;
    let _program = world.program().consul(&door.address()).start()?;
    world.publishes("strict", &[&strict]).await?;
    world.publishes("lax", &[&lax]).await?;
    let (recorder, others) = (world.record("strict").await?, world.record("lax").await?);
    sleep(MOST * 3 / 2).await;
    recorder.always("ready while Consul is only quiet", |endpoints| endpoints == [strict.clone()])?;

    door.shut().await;
    let shut = Instant::now();
    world.publishes("strict", &[&strict.replace(" ready", " not-ready")]).await?;
    let after = shut.elapsed();
    // It was last heard up to a third before.
    so(after > MOST * 6 / 10 && after < MOST + Duration::from_secs(2), || format!("closed after {after:?}"))?;
    others.always("ready", |endpoints| endpoints == [lax.clone()])?;
    door.open().await?;
    world.publishes("strict", &[&strict]).await?;
    others.always("ready", |endpoints| endpoints == [lax.clone()])
}

async fn max_staleness_counts_from_our_start(world: &World) -> Outcome {
    let [strict, lax] = two_services(world).await?;
    let program = world.start()?;
    world.publishes("strict", &[&strict]).await?;
    world.publishes("lax", &[&lax]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    // Nobody listens there.
    let door = Door::before(&world.servers.consul_address());
    let (others, start) = (world.record("lax").await?, Instant::now());
    let _program = world.program().consul(&door.address()).start()?;
    world.publishes_within(Duration::from_secs(40), "strict", &[&strict.replace(" ready", " not-ready")]).await?;
    so(start.elapsed() >= MOST, || format!("closed after {:?}", start.elapsed()))?;
    others.always("ready", |endpoints| endpoints == [lax.clone()])
}
