//! How soon clients notice: from what is said to a real agent to what a connection meets.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `how_soon_clients_notice` | registration → first answer, critical → last answer, deregistration → last answer: each at most 100 ms at the median |

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::{Outcome, Scenario, World, scenario};
use crate::load::Load;
use crate::scene::Scene;

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(how_soon_clients_notice)];

/// How often each is measured.
const TIMES: usize = 20;
/// At the median.
const PROMISED: Duration = Duration::from_millis(100);
/// A median above that is measured once more before it counts: the machine may have been busy with something else.
const ROUNDS: usize = 2;
/// Between two changes of one instance, so that each begins from rest.
const REST: Duration = Duration::from_millis(150);
/// Requests a second. Half of them go to the instance that is measured, so figures are up to 10 ms too high.
const RATE: u32 = 200;

/// One instance from its registration to its end.
struct Life {
    registration: Duration,
    critical: Duration,
    deregistration: Duration,
}

async fn how_soon_clients_notice(world: &World) -> Outcome {
    let scene = Scene::open(world, |_| ()).await?;
    // Another one always answers, so that the loss of one is neither the last nor held.
    let (_anchor, _) = scene.joins().await?;
    let load = Load::start(SocketAddr::new(scene.ip, 80), RATE).await?;
    let mut slow = Vec::new();
    for _ in 0..ROUNDS {
        let mut lives = Vec::new();
        for _ in 0..TIMES {
            lives.push(life(&scene, &load).await?);
        }
        slow = judged(&lives);
        if slow.is_empty() {
            println!("{}: {}", world.namespace, load.ends_without_loss().await?);
            return Ok(());
        }
    }
    Err(format!("{} at the median, {ROUNDS} times over, where {PROMISED:?} is promised", slow.join(", ")))
}

async fn life(scene: &Scene<'_>, load: &Load) -> Outcome<Life> {
    let consul = &scene.world.consul;
    let (member, registered) = scene.joins().await?;
    let (name, instance) = (member.backend.name(), member.instance.clone());
    let first = load.answered_by(&name, registered).await?;
    sleep(REST).await;

    let failed = Instant::now();
    consul.agent_check(&instance, "fail").await?;
    load.quiet_from(&name).await?;
    let passed = Instant::now();
    let last_while_critical = load.last_by(&name, passed).ok_or("it answered before")?;
    consul.agent_check(&instance, "pass").await?;
    load.answered_by(&name, passed).await?;
    sleep(REST).await;

    let (name, left) = scene.leaves(member).await?;
    load.quiet_from(&name).await?;
    let last = load.last_by(&name, Instant::now()).ok_or("it answered before")?;
    Ok(Life {
        registration: first - registered,
        critical: last_while_critical.saturating_duration_since(failed),
        deregistration: last.saturating_duration_since(left),
    })
}

/// Prints the figures, and gives those that are too high.
fn judged(lives: &[Life]) -> Vec<String> {
    let columns: [(&str, Vec<Duration>); 3] = [
        ("registration → first answer", lives.iter().map(|life| life.registration).collect()),
        ("critical → last answer", lives.iter().map(|life| life.critical).collect()),
        ("deregistration → last answer", lives.iter().map(|life| life.deregistration).collect()),
    ];
    let mut slow = Vec::new();
    for (what, mut times) in columns {
        times.sort_unstable();
        let [least, median, most] = [times[0], times[times.len() / 2], times[times.len() - 1]];
        let [least, p50, most] = [least, median, most].map(|time| time.as_millis());
        println!("{what}: p50 {p50} ms, least {least} ms, most {most} ms, n = {}", times.len());
        if median > PROMISED {
            slow.push(format!("{what} {p50} ms"));
        }
    }
    slow
}
