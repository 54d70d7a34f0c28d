//! Killed again and again (contract S9, S2): a crash is no reason to take anything away.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `killed_ten_times` | 200 Services, ten kills while changes are on their way: whoever looks at either server from outside sees not one registration and not one endpoint go, and in the end all is as it should be |

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::harness::{Instance, Kind, Observer, Outcome, Running, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(killed_ten_times).only(Kind::Real, "what independent servers saw is the proof")];

/// Services of each direction.
const EACH: usize = 100;
const KILLS: u32 = 10;
/// Services of each direction that change before each kill.
const CHANGED: usize = 10;
/// It is killed at any moment of this time after its start: before it has looked, while it writes, and at rest.
const ALIVE: Duration = Duration::from_millis(2500);
/// For all Services together, on a busy machine.
const SYNCED: Duration = Duration::from_secs(60);
/// Requests to prepare, at a time.
const AT_ONCE: usize = 8;

async fn killed_ten_times(world: &World) -> Outcome {
    let seed = rand::random();
    let played = play(world, &mut StdRng::seed_from_u64(seed)).await;
    played.map_err(|why| format!("seed {seed}: {why}"))
}

async fn play(world: &World, random: &mut StdRng) -> Outcome {
    let mut instances = prepare(world).await?;
    let mut program = start(world)?;
    all_synced(&program).await?;
    let observer = Observer::start(world).await?;
    for round in 0..KILLS {
        change(world, &mut instances, round, random).await?;
        sleep(ALIVE.mul_f64(random.random())).await;
        program.kill().await?;
        program = start(world)?;
    }
    in_sync(world, &instances).await?;
    registered(world).await?;
    observer.saw_no_loss()
}

/// Without an election: its successor writes at once, so that each kill has something to hit.
fn start(world: &World) -> Outcome<Running> {
    world.program().flags(&["--leader-elect=false"]).start()
}

fn name(number: usize, direction: &str) -> String {
    format!("{direction}-{number}")
}

/// A hundred Services filled from two instances each, and a hundred that are registered.
async fn prepare(world: &World) -> Outcome<Vec<Vec<Instance>>> {
    let make = |number: usize| async move {
        let service = name(number, "web");
        let instances: [_; 2] = world.registered_instances(&service).await?;
        world.create_to_kube(&service, |_| ()).await?;
        world.create_to_consul(&name(number, "db"), |_| ()).await?;
        Outcome::Ok(instances.to_vec())
    };
    stream::iter(0..EACH).map(make).buffered(AT_ONCE).try_collect().await
}

async fn all_synced(program: &Running) -> Outcome {
    eventually("all Services are synced", SYNCED, async || {
        let synced = program.scrape().await?.count("consul8s_services", &[("state", "synced")]);
        so(synced as usize == 2 * EACH, || format!("{synced} are"))
    })
    .await
}

/// What has to be written next, some of which the kill will hit.
async fn change(world: &World, instances: &mut [Vec<Instance>], round: u32, random: &mut StdRng) -> Outcome {
    for _ in 0..CHANGED {
        let number = random.random_range(0..EACH);
        let added = world.instance(&name(number, "web")).checked("passing");
        world.consul.register(&added).await?;
        instances[number].push(added);
        let number = random.random_range(0..EACH);
        world.kube.annotate(&name(number, "db"), "consul8s/service.tags", Some(&format!("round-{round}"))).await?;
    }
    Ok(())
}

/// Each instance is published.
async fn in_sync(world: &World, instances: &[Vec<Instance>]) -> Outcome {
    for (number, instances) in instances.iter().enumerate() {
        let wanted: Vec<String> = instances.iter().map(|instance| format!("{}:8080 ready", instance.address)).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        world.publishes_within(SYNCED, &name(number, "web"), &wanted).await?;
    }
    Ok(())
}

/// Each Service is registered as it stands now.
async fn registered(world: &World) -> Outcome {
    for service in world.kube.list(crate::harness::SERVICES).await? {
        let name = text(&service["metadata"]["name"]);
        if !name.starts_with("db-") {
            continue;
        }
        let tags = service["metadata"]["annotations"]["consul8s/service.tags"].as_str();
        let tags = tags.map(|tags| format!(" tags={tags}")).unwrap_or_default();
        let wanted = format!("{}.{name} {name}.example.com:80 passing{tags}", world.namespace);
        world.registers_within(SYNCED, &world.own(&name), &[&wanted]).await?;
    }
    Ok(())
}
