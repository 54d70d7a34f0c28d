//! Who is there (contract §2 and S3, guard.md §1 and §2): what comes and moves is followed, what goes by intent goes at once,
//! what vanishes without a word is confirmed first, and held where too much would be lost.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `instance_added` | D1: a new instance is published |
//! | `instance_moves` | another port or address: the new endpoint first, then the old one |
//! | `deregistered_by_its_agent` | *Explicit*: its node is alive without it, so it goes at once, also the last one |
//! | `deregistered_on_a_living_node` | the same for a node of the catalog whose `serfHealth` is passing |
//! | `deregistered_on_an_unknown_node` | without `serfHealth` nobody knows: it goes after a second read, at least 2 s later |
//! | `gone_with_its_node` | *ConfirmedAbsent*: 3 → 2 goes after a second read, at least 2 s later |
//! | `the_last_one_gone_is_held` | 1 → 0 is held, shown in the metric, and let go of when it is back |
//! | `killed_agent` | `serfHealth` critical: not ready, and ready again when the agent is back |

use std::time::Duration;

use crate::harness::{Instance, Kind, Outcome, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(instance_added),
    scenario!(instance_moves),
    scenario!(deregistered_by_its_agent),
    scenario!(deregistered_on_a_living_node),
    scenario!(deregistered_on_an_unknown_node),
    scenario!(gone_with_its_node),
    scenario!(the_last_one_gone_is_held),
    scenario!(killed_agent).only(Kind::Real, "the simulated Consul has no agents that could be killed"),
];

/// Well above the time of a few requests, well below the two seconds after which absence is confirmed.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// The second read comes 2 to 10 s after the first; and none counts in the first 15 s after a start.
const CONFIRMED: Duration = Duration::from_secs(25);

async fn instance_added(world: &World) -> Outcome {
    let [first] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let first = format!("{}:8080 ready", first.address);
    world.publishes("web", &[&first]).await?;
    let added = world.instance("web").checked("passing");
    world.consul.register(&added).await?;
    let took = world.publishes("web", &[&first, &format!("{}:8080 ready", added.address)]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))
}

async fn instance_moves(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    let recorder = world.record("web").await?;
    let before = slice_names(world).await?;

    world.consul.register(&instance.clone().at(&instance.address, 9090)).await?;
    world.publishes("web", &[&format!("{}:9090 ready", instance.address)]).await?;
    let after = slice_names(world).await?;
    so(before != after, || format!("another port needs another slice: {before:?}"))?;

    world.consul.register(&instance.clone().at("10.99.0.99", 9090)).await?;
    world.publishes("web", &["10.99.0.99:9090 ready"]).await?;
    recorder.always("something ready", |endpoints| endpoints.iter().any(|endpoint| endpoint.ends_with(" ready")))
}

async fn slice_names(world: &World) -> Outcome<Vec<String>> {
    let slices = world.kube.slices("web").await?;
    Ok(slices.iter().map(|slice| slice["metadata"]["name"].to_string()).collect())
}

async fn deregistered_by_its_agent(world: &World) -> Outcome {
    let instances = [world.instance("web").checked("passing"), world.instance("web").checked("passing")];
    for instance in &instances {
        world.consul.agent_register(instance).await?;
    }
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let [first, second] = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&first, &second]).await?;

    world.consul.agent_deregister(&instances[1]).await?;
    let took = world.publishes("web", &[&first]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))?;
    world.consul.agent_deregister(&instances[0]).await?;
    let took = world.publishes("web", &[]).await?;
    so(took < AT_ONCE, || format!("the last one took {took:?}"))
}

async fn deregistered_on_a_living_node(world: &World) -> Outcome {
    let [steady, leaving] = world.registered_instances("web").await?;
    world.consul.set_node_check(&leaving, "serfHealth", "passing").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let [steady, left] = [&steady, &leaving].map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&steady, &left]).await?;
    world.consul.remove_service(&leaving.node, &leaving.id).await?;
    let took = world.publishes("web", &[&steady]).await?;
    so(took < AT_ONCE, || format!("it took {took:?}"))
}

async fn deregistered_on_an_unknown_node(world: &World) -> Outcome {
    one_of_three_goes(world, async |third| world.consul.remove_service(&third.node, &third.id).await).await
}

async fn gone_with_its_node(world: &World) -> Outcome {
    one_of_three_goes(world, async |third| world.consul.remove_node(&third.node).await).await
}

/// What goes without a word stays until a second read has confirmed it; the others never notice.
async fn one_of_three_goes(world: &World, go: impl AsyncFnOnce(&Instance) -> Outcome) -> Outcome {
    let instances: [_; 3] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let [first, second, third] = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
    world.publishes("web", &[&first, &second, &third]).await?;
    let recorder = world.record("web").await?;

    let gone = tokio::time::Instant::now();
    go(&instances[2]).await?;
    let after = recorder.reaches(CONFIRMED, &[&first, &second]).await? - gone;
    so(after >= Duration::from_secs(2), || format!("gone after {after:?}, before a second read could tell"))?;
    recorder.always("the other two ready", |endpoints| endpoints.contains(&first) && endpoints.contains(&second))
}

async fn the_last_one_gone_is_held(world: &World) -> Outcome {
    let [only] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", only.address)]).await?;
    let recorder = world.record("web").await?;

    world.consul.remove_node(&only.node).await?;
    let held = [("direction", "to_kube")];
    program.counts("consul8s_removals_held", &held, |count| count >= 1.0).await?;
    // Longer than the removal of one of three takes.
    tokio::time::sleep(Duration::from_secs(15)).await;
    program.counts("consul8s_removals_held", &held, |count| count >= 1.0).await?;

    world.consul.register(&only).await?;
    program.counts("consul8s_removals_held", &held, |count| count == 0.0).await?;
    recorder.always("one ready", |endpoints| endpoints.len() == 1 && endpoints[0].ends_with(" ready"))
}

async fn killed_agent(world: &World) -> Outcome {
    let mut agent = world.servers.client_agent(&world.own("agent")).await?;
    // Without a check of its own: only its node's tells.
    let instance = world.instance("web");
    world.consul_at(agent.http_addr()).agent_register(&instance).await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let at = format!("{}:8080", instance.address);
    world.publishes("web", &[&format!("{at} ready")]).await?;
    let recorder = world.record("web").await?;

    agent.stop().await;
    // Gossip takes its time to find out.
    world.publishes_within(Duration::from_secs(60), "web", &[&format!("{at} not-ready")]).await?;
    agent.start_again().await.map_err(|why| why.to_string())?;
    world.publishes_within(Duration::from_secs(60), "web", &[&format!("{at} ready")]).await?;
    recorder.always("there", |endpoints| endpoints.len() == 1)
}
