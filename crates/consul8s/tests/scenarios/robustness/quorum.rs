//! Three Consul servers (contract S2, S10; C1–C3, C12, C13 of the faults): some of them go, fall behind or forget. Nothing is removed
//! by it, and soon after all is followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `consul_leader_killed` | the address in use is the leader's, who dies; a follower that was cut off meanwhile is next |
//! | `consul_quorum_lost` | two of three gone for 15 s: endpoints and registrations stand; then they are back |
//! | `consul_server_cut_off` | the server in use has lost the others, and answers from what it knew; then they are back |
//! | `consul_follower_cut_off` | the server in use hears nothing of the two others, who go on without it; what changes meanwhile comes when it does |
//! | `consul_server_hangs` | the server in use stands still with all its connections open; another address is used |
//! | `consul_servers_wiped` | all three have forgotten everything: endpoints are held, ours is registered anew |
//! | `consul_snapshot_restored` | what the snapshot doesn't know is held, or registered anew; what it brings back goes again |

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::sleep;

use super::under_faults::{FOLLOWED, Played};
use crate::harness::{Kind, Link, Outcome, Quality, SERVICES, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    three(scenario!(consul_leader_killed)),
    three(scenario!(consul_quorum_lost)),
    three(scenario!(consul_server_cut_off)),
    three(scenario!(consul_follower_cut_off)),
    three(scenario!(consul_server_hangs)),
    three(scenario!(consul_servers_wiped)),
    three(scenario!(consul_snapshot_restored)),
];

const fn three(scenario: Scenario) -> Scenario {
    scenario.only(Kind::Real, "the simulated Consul is one server")
}

/// Where the first of three wired servers listens for the others.
const FIRST_WIRED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Raft entries; a fresh cluster has made some thirty when it is ready.
const AGE: usize = 200;
/// How long something is away.
const AWAY: Duration = Duration::from_secs(15);

/// Three servers of one datacenter.
struct Quorum {
    servers: Vec<Consul>,
    /// The wires to each of them from the others, and where it calls from, if there are wires.
    wires: Vec<(Link, IpAddr)>,
}

impl Quorum {
    /// Started, and the scenario asks the first of them.
    async fn start(world: &World) -> Outcome<Quorum> {
        let options = ConsulOptions { connections_per_client: 4096, ..ConsulOptions::default() };
        let servers = Consul::start_servers(&options, 3).await.map_err(|why| why.to_string())?;
        let quorum = Quorum { servers, wires: Vec::new() };
        quorum.ask(world, 0);
        Ok(quorum)
    }

    /// The same, each behind wires from the others.
    async fn start_wired(world: &World) -> Outcome<Quorum> {
        let wired = Some(FIRST_WIRED);
        let options = ConsulOptions { connections_per_client: 4096, wired, ..ConsulOptions::default() };
        let mut servers = Consul::servers(&options, 3).map_err(|why| why.to_string())?;
        let mut quorum = Quorum { servers: Vec::new(), wires: Vec::new() };
        let ends: Vec<_> = servers.iter().filter_map(Consul::wire).collect();
        let sources: Vec<IpAddr> = ends.iter().map(|(_, inside)| inside.ip()).collect();
        for (outside, inside) in &ends {
            quorum.wires.push((Link::at(outside, &inside.to_string(), &sources).await?, inside.ip()));
        }
        Consul::start_all(&mut servers).await.map_err(|why| why.to_string())?;
        quorum.servers = servers;
        quorum.ask(world, 0);
        Ok(quorum)
    }

    /// All wires between this one and the others, in either direction, become like this.
    fn wires_of(&self, number: usize, quality: Quality) {
        let (wire, own) = &self.wires[number];
        for (other, source) in self.wires.iter().filter(|(_, source)| source != own) {
            wire.becomes_from(*source, quality);
            other.becomes_from(*own, quality);
        }
    }

    fn address(&self, number: usize) -> &str {
        self.servers[number].http_addr()
    }

    /// Addresses for `--consul`, in this order.
    fn addresses<const N: usize>(&self, order: [usize; N]) -> String {
        order.map(|number| self.address(number)).join(",")
    }

    /// The scenario asks this one from now on.
    fn ask(&self, world: &World, number: usize) {
        world.consul.go_to(self.address(number));
    }

    /// Who leads, as this one says, and the two others.
    async fn leader(&self, asked: usize) -> Outcome<[usize; 3]> {
        eventually("Consul has a leader", SOON, async || {
            let leader = self.servers[asked].leader_among(&self.servers).await.map_err(|why| why.to_string())?;
            let leader = leader.ok_or("none")?;
            Ok([leader, (leader + 1) % 3, (leader + 2) % 3])
        })
        .await
    }

    /// Stops or continues a server's process.
    fn signal(&self, number: usize, signal: Signal) -> Outcome {
        let pid = self.servers[number].pid().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.ok_or("it doesn't run")?, signal).map_err(|why| why.to_string())
    }

    async fn start_again(&mut self, number: usize) -> Outcome {
        self.servers[number].start_again().await.map_err(|why| why.to_string())
    }

    async fn start_all(&mut self) -> Outcome {
        Consul::start_all(&mut self.servers).await.map_err(|why| why.to_string())
    }
}

/// Has Consul count further than a fresh one soon does: what was wiped or restored is told by its lower index.
async fn age(world: &World) -> Outcome {
    for number in 0..AGE {
        world.consul.put(&format!("/v1/kv/{}/{number}", world.namespace), &json!(number)).await?;
    }
    Ok(())
}

/// Tries a change until Consul takes it: in an election it does not.
async fn changes(played: &mut Played, world: &World) -> Outcome {
    eventually("Consul takes a change", SOON, async || played.change(world).await).await
}

async fn consul_leader_killed(world: &World) -> Outcome {
    let mut quorum = Quorum::start(world).await?;
    let [leader, follower, third] = quorum.leader(0).await?;
    quorum.ask(world, third);
    let addresses = quorum.addresses([leader, follower, third]);
    let mut played = Played::start(world, world.program().consul(&addresses)).await?;
    quorum.signal(follower, Signal::STOP)?;
    let changed = played.goes_on(world).await;
    quorum.signal(follower, Signal::CONT)?;
    changed?;
    quorum.servers[leader].stop().await;
    changes(&mut played, world).await?;
    played.follows(world).await?;
    quorum.start_again(leader).await?;
    played.goes_on(world).await?;
    played.has("consul").await
}

async fn consul_quorum_lost(world: &World) -> Outcome {
    let mut quorum = Quorum::start(world).await?;
    let [leader, follower, third] = quorum.leader(0).await?;
    quorum.ask(world, follower);
    let addresses = quorum.addresses([leader, follower, third]);
    let mut played = Played::start(world, world.program().consul(&addresses)).await?;
    quorum.servers[leader].stop().await;
    quorum.servers[third].stop().await;
    played.misses("consul").await?;
    sleep(AWAY).await;
    played.stays()?;
    for number in [leader, third] {
        // Each of them is ready only when there are two.
        let Quorum { servers, .. } = &mut quorum;
        let started = servers[number].start_again().await;
        started.map_err(|why| why.to_string())?;
    }
    changes(&mut played, world).await?;
    played.follows(world).await?;
    played.has("consul").await
}

async fn consul_server_cut_off(world: &World) -> Outcome {
    let quorum = Quorum::start(world).await?;
    let [leader, follower, third] = quorum.leader(0).await?;
    quorum.ask(world, follower);
    let mut played = Played::start(world, world.program().consul(quorum.address(follower))).await?;
    for number in [leader, third] {
        quorum.signal(number, Signal::STOP)?;
    }
    let alone = async {
        played.misses("consul").await?;
        sleep(AWAY).await;
        played.stays()
    }
    .await;
    for number in [leader, third] {
        quorum.signal(number, Signal::CONT)?;
    }
    alone?;
    changes(&mut played, world).await?;
    played.follows(world).await?;
    Ok(())
}

async fn consul_follower_cut_off(world: &World) -> Outcome {
    let quorum = Quorum::start_wired(world).await?;
    let [leader, follower, _] = quorum.leader(0).await?;
    quorum.ask(world, leader);
    let mut played = Played::start(world, world.program().consul(quorum.address(follower))).await?;
    quorum.wires_of(follower, Quality::Reset);
    played.misses("consul").await?;
    // The two others take it, and it is answered from what it knew.
    played.change(world).await?;
    sleep(AWAY).await;
    played.nothing_went(world).await?;
    let unknown = format!("turn-{}", 1);
    let elsewhere = world.registrations(&world.own("db")).await?;
    so(!elsewhere.iter().any(|entry| entry.to_string().contains(&unknown)), || {
        format!("written all the same: {elsewhere:?}")
    })?;
    quorum.wires_of(follower, Quality::Good);
    played.follows(world).await?;
    played.goes_on(world).await?;
    played.has("consul").await
}

async fn consul_server_hangs(world: &World) -> Outcome {
    let quorum = Quorum::start(world).await?;
    let [leader, follower, third] = quorum.leader(0).await?;
    quorum.ask(world, third);
    let addresses = quorum.addresses([follower, leader, third]);
    let mut played = Played::start(world, world.program().consul(&addresses)).await?;
    quorum.signal(follower, Signal::STOP)?;
    let without = async {
        changes(&mut played, world).await?;
        played.follows(world).await
    }
    .await;
    quorum.signal(follower, Signal::CONT)?;
    without?;
    played.goes_on(world).await?;
    Ok(())
}

async fn consul_servers_wiped(world: &World) -> Outcome {
    let mut quorum = Quorum::start(world).await?;
    age(world).await?;
    let addresses = quorum.addresses([0, 1, 2]);
    let mut played = Played::start(world, world.program().consul(&addresses)).await?;
    for server in &mut quorum.servers {
        server.wipe().await.map_err(|why| why.to_string())?;
    }
    quorum.start_all().await?;
    sleep(AWAY).await;
    played.stays()?;
    played.program.counts("consul8s_removals_held", &[("direction", "to_kube")], |held| held == 3.0).await?;
    let registered = format!("{}.db db.example.com:80 passing", world.namespace);
    world.registers_within(FOLLOWED, &world.own("db"), &[&registered]).await?;
    played.register_all(world).await?;
    played.program.counts("consul8s_removals_held", &[("direction", "to_kube")], |held| held == 0.0).await?;
    played.remember(world).await?;
    played.goes_on(world).await?;
    Ok(())
}

async fn consul_snapshot_restored(world: &World) -> Outcome {
    let quorum = Quorum::start(world).await?;
    let addresses = quorum.addresses([1, 2, 0]);
    let late = world.instance("late").checked("passing");
    world.create_to_kube("late", |_| ()).await?;
    world.create_to_consul("gone", |_| ()).await?;
    let mut played = Played::start(world, world.program().consul(&addresses)).await?;
    let registered = |name: &str| format!("{0}.{name} {name}.example.com:80 passing", world.namespace);
    world.registers(&world.own("gone"), &[&registered("gone")]).await?;
    let snapshot = world.consul.snapshot().await?;

    // The snapshot knows nothing of these.
    world.consul.register(&late).await?;
    world.create_to_consul("new", |_| ()).await?;
    world.kube.delete(SERVICES, "gone").await?;
    world.registers(&world.own("new"), &[&registered("new")]).await?;
    world.registers(&world.own("gone"), &[]).await?;
    let published = format!("{}:8080 ready", late.address);
    world.publishes("late", &[&published]).await?;
    let recorder = world.record("late").await?;

    world.consul.restore(snapshot).await?;
    world.registers_within(FOLLOWED, &world.own("gone"), &[]).await?;
    world.registers_within(FOLLOWED, &world.own("new"), &[&registered("new")]).await?;
    played.program.counts("consul8s_removals_held", &[("direction", "to_kube")], |held| held == 1.0).await?;
    sleep(AWAY).await;
    recorder.always("the late one", |endpoints| endpoints == [published.clone()])?;
    played.goes_on(world).await?;
    world.consul.register(&late).await?;
    played.program.counts("consul8s_removals_held", &[("direction", "to_kube")], |held| held == 0.0).await?;
    world.consul.register(&late.checked("critical")).await?;
    world.publishes_within(FOLLOWED, "late", &[&published.replace(" ready", " not-ready")]).await?;
    Ok(())
}
