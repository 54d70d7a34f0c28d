//! Several datacenters (contract §2, `service.datacenter` and `service.failover`), joined over WAN: only on real servers, as the simulated
//! Consul has one.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `failover_while_the_primary_has_none` | at once, and back after it has had one for 30 s; a restart in between changes nothing; `datacenter` reads one alone |
//! | `failover_while_the_primary_is_dead` | after it has not answered for `max_staleness` |
//! | `failover_after_thirty_seconds` | the same where only `failover` is given: 30 s |

use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use tokio::time::Instant;

use crate::harness::{EVENTS, Instance, Kind, Outcome, SOON, Scenario, World, eventually, scenario, so};

const BECAUSE: &str = "the simulated Consul has one datacenter";

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(failover_while_the_primary_has_none).only(Kind::Real, BECAUSE),
    scenario!(failover_while_the_primary_is_dead).only(Kind::Real, BECAUSE),
    scenario!(failover_after_thirty_seconds).only(Kind::Real, BECAUSE),
];

/// How long the primary must have had a ready instance until it is used again.
const BACK_AFTER: Duration = Duration::from_secs(30);

/// Two datacenters with an instance of `web` each; the program asks the agent of the first.
struct Two {
    first: Consul,
    second: Consul,
    here: Instance,
    there: Instance,
}

impl Two {
    async fn start(world: &World) -> Outcome<Two> {
        let started = async {
            let first = Consul::start(ConsulOptions { wan: true, ..ConsulOptions::default() }).await?;
            let second = first.other_datacenter("dc2").await?;
            Ok((first, second))
        };
        let (first, second) = started.await.map_err(|why: consul8s_testbed::TestbedError| why.to_string())?;
        let [here, there] = ["passing", "passing"].map(|status| world.instance("web").checked(status));
        let two = Two { first, second, here, there };
        world.consul_at(two.first.http_addr()).register(&two.here).await?;
        world.consul_at(two.second.http_addr()).register(&two.there).await?;
        Ok(two)
    }

    fn lines(&self) -> [String; 2] {
        [&self.here, &self.there].map(|instance| format!("{}:8080 ready", instance.address))
    }
}

async fn create(world: &World, annotations: &[(&str, &str)]) -> Outcome {
    world
        .create_to_kube("web", |service| {
            for (key, value) in annotations {
                service["metadata"]["annotations"][format!("consul8s/service.{key}")] = (*value).into();
            }
        })
        .await?;
    Ok(())
}

async fn failover_while_the_primary_has_none(world: &World) -> Outcome {
    let two = Two::start(world).await?;
    let [here, there] = two.lines();
    create(world, &[("datacenter", "dc2")]).await?;
    let start = || world.program().consul(two.first.http_addr()).start();
    let program = start()?;
    world.publishes("web", &[&there]).await?;
    world.kube.annotate("web", "consul8s/service.datacenter", None).await?;
    world.publishes("web", &[&here]).await?;
    world.kube.annotate("web", "consul8s/service.failover", Some("dc3,dc2")).await?;
    program.counts("consul8s_consul_watches", &[], |count| count == 3.0).await?;
    let recorder = world.record("web").await?;

    let primary = world.consul_at(two.first.http_addr());
    primary.register(&two.here.clone().checked("critical")).await?;
    let took = world.publishes("web", &[&there]).await?;
    so(took < Duration::from_secs(2), || format!("it took {took:?}"))?;
    eventually("the switch is told", SOON, async || {
        let events = world.kube.list(EVENTS).await?;
        let told = |event: &serde_json::Value| event["reason"] == "FailedOver";
        so(events.iter().any(told), || format!("{events:#?}"))
    })
    .await?;
    // What is in use stands on our slices.
    program.terminate(Duration::from_secs(5)).await?;
    let _program = start()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    primary.register(&two.here).await?;
    let took = world.publishes_within(BACK_AFTER + Duration::from_secs(10), "web", &[&here]).await?;
    so(took >= BACK_AFTER, || format!("back after {took:?}"))?;
    recorder.always("one ready, or the primary's critical one for a moment", |endpoints| {
        endpoints.len() == 1 && (endpoints[0] == here || endpoints[0] == there)
    })
}

async fn failover_while_the_primary_is_dead(world: &World) -> Outcome {
    // The primary is the other datacenter than the agent's, which goes on answering.
    let mut two = Two::start(world).await?;
    let [here, there] = two.lines();
    create(world, &[("datacenter", "dc2"), ("failover", "dc1"), ("max_staleness", "10s")]).await?;
    let program = world.program().consul(two.first.http_addr()).start()?;
    world.publishes("web", &[&there]).await?;
    let recorder = world.record("web").await?;

    two.second.stop().await;
    let dead = Instant::now();
    world.publishes_within(Duration::from_secs(40), "web", &[&here]).await?;
    let took = dead.elapsed();
    so(took > Duration::from_secs(5) && took < Duration::from_secs(20), || format!("over after {took:?}"))?;
    two.second.start_again().await.map_err(|why| why.to_string())?;
    let back = BACK_AFTER + Duration::from_secs(30);
    world.publishes_within(back, "web", &[&there]).await?;
    so(
        program
            .log()
            .contains("1 ready instance of datacenter dc1 is now used: datacenter dc2 has not answered for 10s"),
        || program.log(),
    )?;
    recorder.always("one ready", |endpoints| endpoints.len() == 1 && endpoints[0].ends_with(" ready"))
}

async fn failover_after_thirty_seconds(world: &World) -> Outcome {
    let mut two = Two::start(world).await?;
    let [here, there] = two.lines();
    create(world, &[("datacenter", "dc2"), ("failover", "dc1")]).await?;
    let program = world.program().consul(two.first.http_addr()).start()?;
    world.publishes("web", &[&there]).await?;
    let recorder = world.record("web").await?;
    two.second.stop().await;
    let dead = Instant::now();
    world.publishes_within(Duration::from_secs(60), "web", &[&here]).await?;
    let took = dead.elapsed();
    // Its last answer may have come up to ten seconds before: a third of the time is how long a question waits.
    so(took > Duration::from_secs(18) && took < Duration::from_secs(40), || format!("over after {took:?}"))?;
    so(program.log().contains("datacenter dc2 has not answered for 30s"), || program.log())?;
    recorder.always("one ready", |endpoints| endpoints.len() == 1 && endpoints[0].ends_with(" ready"))
}
