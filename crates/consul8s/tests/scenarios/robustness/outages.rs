//! One side goes away and comes back (contract S2, §5 at start): nothing is removed, and what happened meanwhile is followed
//! soon after.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `consul_down_and_up` | 15 s without Consul: endpoints and registrations stand; then both directions go on |
//! | `kube_down_and_up` | 15 s without the API server: the same |
//! | `etcd_restarted` | etcd killed for 15 s: the API server answers next to nothing, and nothing goes; then both directions go on |
//! | `started_without_consul` | it waits, says which address and why, `/livez` is green, and it goes on when Consul is there |
//! | `started_without_kube` | the same for the API server |
//! | `consul_forgot_everything` | S10: a wiped Consul removes nothing; what registers again is followed |

use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;

use super::under_faults::Played;
use crate::harness::{Door, Instance, Kind, Outcome, Recorder, Running, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(consul_down_and_up).alone(),
    scenario!(kube_down_and_up).alone(),
    scenario!(etcd_restarted).alone().only(Kind::Real, "the simulated API server has no etcd"),
    scenario!(started_without_consul),
    scenario!(started_without_kube),
    scenario!(consul_forgot_everything).alone(),
];

/// How long a side stays away.
const AWAY: Duration = Duration::from_secs(15);
/// Within this time after it is back all is followed: retries lie at most 30 s apart, but begin with far less.
const FOLLOWED: Duration = Duration::from_secs(30);

/// `web` filled from two instances, `db` registered; and a record of what is published.
async fn in_sync(world: &World) -> Outcome<(Running, [Instance; 2], Recorder)> {
    let instances: [_; 2] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let program = world.start()?;
    let ready = ready(&instances);
    world.publishes("web", &[&ready[0], &ready[1]]).await?;
    world.registers(&world.own("db"), &[&registered(world, "db")]).await?;
    let recorder = world.record("web").await?;
    Ok((program, instances, recorder))
}

fn ready(instances: &[Instance; 2]) -> [String; 2] {
    instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address))
}

fn registered(world: &World, name: &str) -> String {
    format!("{}.{name} {name}.example.com:80 passing", world.namespace)
}

async fn consul_down_and_up(world: &World) -> Outcome {
    let (mut program, instances, recorder) = in_sync(world).await?;
    let [first, second] = ready(&instances);
    world.servers.stop_consul().await;
    world.create_to_consul("api", |_| ()).await?;
    sleep(AWAY).await;
    program.runs()?;
    assert_eq!(program.status("/livez").await?, StatusCode::OK);
    recorder.always("both ready", |endpoints| endpoints == [first.clone(), second.clone()])?;

    world.servers.start_consul().await?;
    world.registers_within(FOLLOWED, &world.own("api"), &[&registered(world, "api")]).await?;
    world.registers(&world.own("db"), &[&registered(world, "db")]).await?;
    recorder.always("both ready", |endpoints| endpoints == [first.clone(), second.clone()])?;
    world.consul.register(&instances[1].clone().checked("critical")).await?;
    world.publishes_within(FOLLOWED, "web", &[&first, &second.replace(" ready", " not-ready")]).await?;
    Ok(())
}

async fn kube_down_and_up(world: &World) -> Outcome {
    let (mut program, instances, _) = in_sync(world).await?;
    let [first, second] = ready(&instances);
    let before = world.registrations(&world.own("db")).await?;
    world.servers.stop_kube().await;
    world.consul.register(&instances[1].clone().checked("critical")).await?;
    sleep(AWAY).await;
    program.runs()?;
    assert_eq!(program.status("/livez").await?, StatusCode::OK);

    world.servers.start_kube().await?;
    let recorder = world.record("web").await?;
    world.publishes_within(FOLLOWED, "web", &[&first, &second.replace(" ready", " not-ready")]).await?;
    world.create_to_consul("api", |_| ()).await?;
    world.registers_within(FOLLOWED, &world.own("api"), &[&registered(world, "api")]).await?;
    recorder.always("two endpoints", |endpoints| endpoints.len() == 2)?;
    assert_eq!(world.registrations(&world.own("db")).await?, before, "what stood in Consul stands");
    Ok(())
}

async fn etcd_restarted(world: &World) -> Outcome {
    let mut played = Played::start(world, world.program()).await?;
    world.servers.stop_etcd().await?;
    sleep(AWAY).await;
    played.program.runs()?;
    assert_eq!(played.program.status("/livez").await?, StatusCode::OK);
    world.servers.start_etcd().await?;
    played.nothing_went(world).await?;
    played.goes_on(world).await?;
    played.has("kubernetes").await
}

async fn started_without_consul(world: &World) -> Outcome {
    let mut door = Door::before(&world.servers.consul_address());
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let mut program = world.program().consul(&door.address()).start()?;
    waits(&program, &door).await?;
    // Kubernetes is there, and that is all that readiness asks for.
    program.answers("/readyz").await?;
    door.open().await?;
    world.publishes_within(FOLLOWED, "web", &[&format!("{}:8080 ready", instance.address)]).await?;
    world.registers_within(FOLLOWED, &world.own("db"), &[&registered(world, "db")]).await?;

    // And once more, while it runs.
    door.shut().await;
    world.consul.register(&instance.clone().checked("critical")).await?;
    sleep(Duration::from_secs(3)).await;
    door.open().await?;
    world.publishes_within(FOLLOWED, "web", &[&format!("{}:8080 not-ready", instance.address)]).await?;
    program.runs()
}

async fn started_without_kube(world: &World) -> Outcome {
    let mut door = Door::before(&world.kube_address());
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let mut program = world.program().kubeconfig(&world.kubeconfig_at(&door.address())?).start()?;
    waits(&program, &door).await?;
    assert_eq!(program.status("/readyz").await?, StatusCode::SERVICE_UNAVAILABLE);
    door.open().await?;
    program.answers("/readyz").await?;
    world.publishes_within(FOLLOWED, "web", &[&format!("{}:8080 ready", instance.address)]).await?;
    world.registers_within(FOLLOWED, &world.own("db"), &[&registered(world, "db")]).await?;
    program.runs()
}

/// It is alive, and its log names the address that doesn't answer.
async fn waits(program: &Running, door: &Door) -> Outcome {
    program.answers("/livez").await?;
    eventually("the address is in the log", crate::harness::SOON, async || {
        so(program.log().contains(&door.address()), || program.log())
    })
    .await?;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(program.status("/livez").await?, StatusCode::OK);
    Ok(())
}

async fn consul_forgot_everything(world: &World) -> Outcome {
    let (mut program, instances, recorder) = in_sync(world).await?;
    let [first, second] = ready(&instances);
    world.servers.wipe_consul().await?;
    world.servers.start_consul().await?;
    sleep(AWAY).await;
    program.runs()?;
    recorder.always("both ready", |endpoints| endpoints == [first.clone(), second.clone()])?;
    program.counts("consul8s_removals_held", &[("direction", "to_kube")], |count| count == 2.0).await?;
    // Ours is registered anew, and what others register again is followed.
    world.registers_within(FOLLOWED, &world.own("db"), &[&registered(world, "db")]).await?;
    for instance in &instances {
        world.consul.register(instance).await?;
    }
    program.counts("consul8s_removals_held", &[("direction", "to_kube")], |count| count == 0.0).await?;
    world.consul.register(&instances[1].clone().checked("critical")).await?;
    world.publishes_within(FOLLOWED, "web", &[&first, &second.replace(" ready", " not-ready")]).await?;
    Ok(())
}
