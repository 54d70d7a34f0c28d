//! Bad wires (contract S2): what happens to connections, on either side. Nothing is removed by it, and when the wire is good again
//! everything is followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `links_reset` | connections are reset for a while, to Consul, then to the API server, then to both |
//! | `links_fall_silent` | connections stay open, and nothing comes through for 20 s |
//! | `slow_links` | 150 ms each way and 64 KiB a second: it starts, leads and follows |
//! | `lossy_links` | pieces come late, connections break: nothing goes, and all is followed at last |

use std::time::Duration;

use tokio::time::sleep;

use super::under_faults::Played;
use crate::harness::{Link, Outcome, Quality, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(links_reset), scenario!(links_fall_silent), scenario!(slow_links), scenario!(lossy_links)];

/// How long a wire is dead.
const DEAD: Duration = Duration::from_secs(5);
/// Longer than a call may take, and than a Lease lasts.
const SILENT: Duration = Duration::from_secs(20);

/// A wire to either side, and a program that has no other.
struct Wired {
    consul: Link,
    kube: Link,
    played: Played,
}

impl Wired {
    async fn start(world: &World, quality: Quality) -> Outcome<Wired> {
        let consul = Link::before(&world.servers.consul_address()).await?;
        let kube = Link::before(&world.kube_address()).await?;
        consul.becomes(quality);
        kube.becomes(quality);
        let launch = world.program().consul(&consul.address()).kubeconfig(&world.kubeconfig_at(&kube.address())?);
        Ok(Wired { played: Played::start(world, launch).await?, consul, kube })
    }
}

async fn links_reset(world: &World) -> Outcome {
    let Wired { consul, kube, mut played } = Wired::start(world, Quality::Good).await?;
    for (links, lost) in
        [(&[&consul][..], &["consul"][..]), (&[&kube], &["kubernetes"]), (&[&consul, &kube], &["consul", "kubernetes"])]
    {
        links.iter().for_each(|link| link.becomes(Quality::Reset));
        for source in lost {
            played.misses(source).await?;
        }
        played.change(world).await?;
        sleep(DEAD).await;
        played.nothing_went(world).await?;
        links.iter().for_each(|link| link.becomes(Quality::Good));
        played.follows(world).await.map_err(|why| format!("{lost:?}: {why}"))?;
        for source in lost {
            played.has(source).await?;
        }
    }
    Ok(())
}

async fn links_fall_silent(world: &World) -> Outcome {
    let Wired { consul, kube, mut played } = Wired::start(world, Quality::Good).await?;
    for (name, link) in [("consul", &consul), ("kubernetes", &kube)] {
        link.becomes(Quality::Silent);
        played.change(world).await?;
        sleep(SILENT).await;
        played.nothing_went(world).await?;
        link.becomes(Quality::Good);
        played.follows(world).await.map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

async fn slow_links(world: &World) -> Outcome {
    let slow = Quality::Slow { delay: Duration::from_millis(100), bytes_per_second: 64 * 1024 };
    let Wired { consul: _consul, kube: _kube, mut played } = Wired::start(world, slow).await?;
    for _ in 0..3 {
        played.goes_on(world).await?;
    }
    played.program.counts("consul8s_lease_transitions_total", &[], |count| count == 1.0).await
}

async fn lossy_links(world: &World) -> Outcome {
    let Wired { consul, kube, mut played } = Wired::start(world, Quality::Good).await?;
    let lossy = Quality::Lossy { percent: 10, late: Duration::from_secs(1) };
    consul.becomes(lossy);
    kube.becomes(lossy);
    for _ in 0..8 {
        played.goes_on(world).await?;
    }
    consul.becomes(Quality::Good);
    kube.becomes(Quality::Good);
    played.goes_on(world).await?;
    Ok(())
}
