//! Many watches, few connections (contract §7; L4 of the faults): counted by the kernel, not asked of the program.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `connections_are_bounded` | never more than `--consul-max-connections`, also at the start, while Consul is away and when it returns; away, at most one attempt a second for each watch, and less as it lasts; returned, all is followed |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::under_faults::{FOLLOWED, Played};
use crate::harness::{Link, Outcome, Quality, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(connections_are_bounded)];

const CONNECTIONS: usize = 12;
/// Services filled from Consul, each with a watch of its own.
const SERVICES: usize = 40;
/// Watches besides: two of our node, one of the played Service; and writes and confirming reads now and then.
const OTHERS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Consul is away for twice as long.
const HALF_AWAY: Duration = Duration::from_secs(8);

async fn connections_are_bounded(world: &World) -> Outcome {
    for number in 0..SERVICES {
        world.registered_instances::<1>(&format!("crowd-{number}")).await?;
        world.create_to_kube(&format!("crowd-{number}"), |_| ()).await?;
    }
    let link = Arc::new(Link::before(&world.servers.consul_address()).await?);
    let (most, counted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&link));
    let counting = tokio::spawn(count(counted, Arc::clone(&most)));
    let _ended = AbortOnDropHandle::new(counting);
    let limit = CONNECTIONS.to_string();
    let launch = world.program().consul(&link.address()).flags(&["--consul-max-connections", &limit]);
    let mut played = Played::start(world, launch).await?;
    let all = SERVICES as f64 + 2.0;
    played.program.counts("consul8s_services", &[("state", "synced")], |synced| synced == all).await?;
    let bounded = |when: &str| {
        let most = most.load(Ordering::SeqCst);
        so(most <= CONNECTIONS, || format!("{when}: {most} connections"))
    };
    bounded("at the start")?;

    link.becomes(Quality::Reset);
    let mut attempts = [0; 2];
    for half in &mut attempts {
        let before = link.all();
        sleep(HALF_AWAY).await;
        *half = link.all() - before;
    }
    let limit = (SERVICES + OTHERS) * HALF_AWAY.as_secs() as usize;
    so(attempts[0] <= limit, || format!("{attempts:?} attempts, at most {limit} wanted in each half"))?;
    so(2 * attempts[1] <= attempts[0], || format!("{attempts:?} attempts: they don't become fewer"))?;
    played.stays()?;
    bounded("while Consul is away")?;

    link.becomes(Quality::Good);
    played.goes_on(world).await?;
    for number in [0, SERVICES / 2, SERVICES - 1] {
        let added = world.instance(&format!("crowd-{number}"));
        world.consul.register(&added).await?;
        let wanted = format!("{}:8080 ready", added.address);
        world
            .slices_become("the new instance is there", FOLLOWED, &format!("crowd-{number}"), |slices| {
                let seen = crate::harness::view::endpoints(slices);
                so(seen.contains(&wanted), || format!("{seen:?}"))
            })
            .await?;
    }
    bounded("when Consul has returned")?;
    so(most.load(Ordering::SeqCst) > CONNECTIONS / 2, || "hardly any connection was counted".to_owned())
}

/// Counts connections as often as a watch could open one and close it again.
async fn count(link: Arc<Link>, most: Arc<AtomicUsize>) {
    loop {
        most.fetch_max(link.open(), Ordering::SeqCst);
        sleep(LOOK_EVERY).await;
    }
}
