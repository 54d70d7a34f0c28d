//! The Lease itself, when somebody or something meddles with it (contract §7, S6).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `lease_deleted` | the leader makes it again and goes on; nobody else begins; nothing goes |
//! | `lease_deleted_while_paused` | the leader stands still: another follows within 20 s; the old one wakes and writes nothing |
//! | `lease_out_of_reach` | the leader reaches everything but its Lease: it stops by itself, another follows within 20 s, and two never write |
//! | `leases_fail` | nobody reaches the Lease: from the renew deadline on nobody writes, nothing goes; when it is back, all is followed |

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::ha::{AFTER_A_CRASH, Pair, begins_to_lead, holder, leads};
use crate::harness::{
    Delivery, Index, LEASES, Meddler, Outcome, Running, SOON, Scenario, Spoiled, World, eventually, scenario, so,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(lease_deleted),
    scenario!(lease_deleted_while_paused),
    scenario!(lease_out_of_reach),
    scenario!(leases_fail),
];

/// From the last renewal until a holder stops by itself; and a renewal is at most one retry and one call old when they begin to fail.
const STOPS: Duration = Duration::from_secs(15);
/// All that is asked about Leases fails.
const NO_LEASES: Spoiled = Spoiled {
    status: 500,
    headers: &[("content-type", "text/plain")],
    index: Index::Missing,
    body: "etcdserver: request timed out",
    delivery: Delivery::Whole,
    only: "/apis/coordination.k8s.io",
    only_stale: false,
};

async fn lease_deleted(world: &World) -> Outcome {
    let pair = Pair::start(world).await?;
    let name = holder(world).await?;
    world.kube.delete(LEASES, &world.namespace).await?;
    eventually("the leader has made it again", SOON, async || {
        let now = holder(world).await?;
        so(now == name, || format!("{now} holds it, not {name}"))
    })
    .await?;
    assert_eq!(leads(&pair.standby).await?, 0.0);
    pair.leader.counts("consul8s_lease_transitions_total", &[], |count| count == 1.0).await?;
    let took = pair.is_followed_within(world, SOON).await?;
    so(took < Duration::from_secs(5), || format!("it held the leader up: {took:?}"))?;
    assert_eq!(pair.standby.writes().await?, 0.0);
    pair.nothing_went(world).await
}

async fn lease_deleted_while_paused(world: &World) -> Outcome {
    let pair = Pair::start(world).await?;
    let writes = pair.leader.writes().await?;
    pair.leader.signal(Signal::STOP)?;
    let start = Instant::now();
    let followed = async {
        world.kube.delete(LEASES, &world.namespace).await?;
        pair.is_followed_within(world, AFTER_A_CRASH).await
    }
    .await;
    sleep(Duration::from_secs(25).saturating_sub(start.elapsed())).await;
    let before = world.versions().await?;
    pair.leader.signal(Signal::CONT)?;
    followed?;
    stopped(&pair.leader).await?;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(pair.leader.writes().await?, writes, "it woke and wrote");
    world.unchanged_since(&before).await?;
    pair.nothing_went(world).await
}

async fn lease_out_of_reach(world: &World) -> Outcome {
    let meddler = Meddler::before_server(world.servers.kube_client()?).await?;
    let kubeconfig = world.kubeconfig_without_tls(&meddler.address())?;
    let pair = Pair::start_as(world, world.program().kubeconfig(&kubeconfig)).await?;
    let start = Instant::now();
    meddler.begin(&NO_LEASES);
    stopped(&pair.leader).await?;
    let writes = pair.leader.writes().await?;
    begins_to_lead(&pair.standby, AFTER_A_CRASH.saturating_sub(start.elapsed())).await?;
    // The old leader sees this change as the new one does.
    pair.is_followed_within(world, SOON).await?;
    assert_eq!(pair.leader.writes().await?, writes, "it wrote without a claim");
    meddler.end();
    sleep(Duration::from_secs(3)).await;
    assert_eq!((leads(&pair.leader).await?, leads(&pair.standby).await?), (0.0, 1.0));
    assert_eq!(pair.leader.writes().await?, writes);
    pair.nothing_went(world).await
}

async fn leases_fail(world: &World) -> Outcome {
    let meddler = Meddler::before_server(world.servers.kube_client()?).await?;
    let kubeconfig = world.kubeconfig_without_tls(&meddler.address())?;
    let mut pair = Pair::start_as(world, world.program().kubeconfig(&kubeconfig)).await?;
    pair.standby = world.program().kubeconfig(&kubeconfig).start()?;
    pair.standby.answers("/readyz").await?;
    meddler.begin(&NO_LEASES);
    stopped(&pair.leader).await?;
    let before = world.versions().await?;
    world.kube.annotate("db", "consul8s/service.weight", Some("7")).await?;
    // Longer than the Lease lasts: without its API nobody begins either.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(leads(&pair.leader).await? + leads(&pair.standby).await?, 0.0);
    for program in [&pair.leader, &pair.standby] {
        assert_eq!(program.status("/livez").await?, http::StatusCode::OK);
        so(program.log().contains("etcdserver: request timed out"), || program.log())?;
    }
    let registered = |versions: Vec<(String, String)>| -> Vec<_> {
        versions.into_iter().filter(|(name, _)| !name.starts_with("services ")).collect()
    };
    assert_eq!(registered(world.versions().await?), registered(before), "written without a claim");
    meddler.end();
    pair.is_followed_within(world, AFTER_A_CRASH).await?;
    pair.nothing_went(world).await
}

/// It no longer leads, and says so.
async fn stopped(program: &Running) -> Outcome {
    eventually("it stops", STOPS, async || so(leads(program).await? == 0.0, || "it leads".to_owned())).await
}
