//! Packets are lost (contract S2), by the kernel: on the way between consul8s and both servers, and nobody is told.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `packets_lost` | one in twenty is lost: all is followed; then every one is, for longer than any call may take: nothing goes, and all is followed when they come again |

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use crate::harness::{Instance, Link, Outcome, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(packets_lost)];

/// In percent.
const SOME: u32 = 5;
const ALL: u32 = 100;
/// Longer than calls wait, and than a Lease lasts.
const AWAY: Duration = Duration::from_secs(25);
/// Contract L1: afterwards everything is followed within this time.
const FOLLOWED: Duration = Duration::from_secs(30);
const ROUNDS: u32 = 6;

/// A rule of the kernel's packet filter, until it is dropped.
struct Loss;

impl Loss {
    /// Of the packets from and to these ports so many are lost.
    fn of(percent: u32, ports: &str) -> Outcome<Loss> {
        let lost = format!("numgen random mod 100 < {percent} drop");
        let lost = if percent >= 100 { "drop" } else { &lost };
        nft(&format!(
            "table inet loss {{\n chain out {{\n type filter hook output priority 0;\n tcp dport {{ {ports} }} {lost}\n tcp sport {{ {ports} }} {lost}\n }}\n}}\n"
        ))?;
        Ok(Loss)
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        // The namespace goes with the process in any case.
        let _ = nft("delete table inet loss\n");
    }
}

fn nft(rules: &str) -> Outcome {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| format!("starting nft: {why}"))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(rules.as_bytes()));
    written.transpose().map_err(|why| why.to_string())?;
    let output = child.wait_with_output().map_err(|why| why.to_string())?;
    so(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
}

fn port(link: &Link) -> String {
    link.address().rsplit(':').next().unwrap_or_default().to_owned()
}

async fn packets_lost(world: &World) -> Outcome {
    // Wires of its own, so that only what consul8s says is lost.
    let consul = Link::before(&world.servers.consul_address()).await?;
    let kube = Link::before(&world.kube_address()).await?;
    let ports = format!("{}, {}", port(&consul), port(&kube));
    let instances: [Instance; 3] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let launch = world.program().consul(&consul.address()).kubeconfig(&world.kubeconfig_at(&kube.address())?);
    let mut program = launch.start()?;
    followed(world, &instances, 0).await?;
    let recorder = world.record("web").await?;

    let some = Loss::of(SOME, &ports)?;
    for round in 1..=ROUNDS {
        change(world, &instances, round).await?;
        followed(world, &instances, round).await?;
    }
    drop(some);

    let all = Loss::of(ALL, &ports)?;
    change(world, &instances, ROUNDS + 1).await?;
    sleep(AWAY).await;
    program.runs()?;
    drop(all);
    followed(world, &instances, ROUNDS + 1).await?;
    recorder.always("three of them, two always ready", |endpoints| {
        let ready = |instance: &Instance| endpoints.contains(&format!("{}:8080 ready", instance.address));
        endpoints.len() == 3 && instances[..2].iter().all(ready)
    })?;
    eventually("both sources are there again", FOLLOWED, async || {
        let seconds = program.scrape().await?.count("consul8s_staleness_seconds", &[]);
        so(seconds == 0.0, || format!("{seconds} s"))
    })
    .await?;
    Ok(())
}

/// Something changes on either side; the third instance is critical after an odd number of changes.
async fn change(world: &World, instances: &[Instance; 3], round: u32) -> Outcome {
    let status = if round % 2 == 1 { "critical" } else { "passing" };
    world.consul.register(&instances[2].clone().checked(status)).await?;
    world.kube.annotate("db", "consul8s/service.tags", Some(&format!("round-{round}"))).await?;
    Ok(())
}

async fn followed(world: &World, instances: &[Instance; 3], round: u32) -> Outcome {
    let [first, second, third] = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
    let third = if round % 2 == 1 { third.replace(" ready", " not-ready") } else { third };
    world.publishes_within(FOLLOWED, "web", &[&first, &second, &third]).await?;
    let tags = if round == 0 { String::new() } else { format!(" tags=round-{round}") };
    let registered = format!("{}.db db.example.com:80 passing{tags}", world.namespace);
    world.registers_within(FOLLOWED, &world.own("db"), &[&registered]).await?;
    Ok(())
}
