//! What the machine gives runs out (contract S2; P4 of the faults): nothing is removed by it, it is said, and it goes on when there is
//! more again.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `few_file_descriptors` | with 128 of them fewer connections go to Consul, and that is said; all is followed, also beside others who sit on the listener |
//! | `no_file_descriptors` | none is to be had for a while: nothing goes, the log says why, and then all is followed |
//! | `nobody_reads_the_log` | a log that nobody reads, or whose reader has gone, holds up nothing, not even the end |

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::under_faults::Played;
use crate::harness::{Link, Outcome, Quality, SOON, Scenario, World, eventually, free_address, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(few_file_descriptors), scenario!(no_file_descriptors), scenario!(nobody_reads_the_log)];

/// Far fewer than the connections that the program would like to have.
const FEW: u32 = 128;
/// Services filled from Consul beside those that are played with, each with a watch of its own.
const SERVICES: usize = 40;
/// More than the listener takes.
const SITTING: usize = 40;
/// Fewer than the program has open already.
const NONE: u64 = 4;
const DEAD: Duration = Duration::from_secs(5);
/// Contract: it ends within this time.
const END: Duration = Duration::from_secs(5);
/// A pipe that holds this much is full, but for less than a line.
const FULL_BYTES: u64 = 60 * 1024;

async fn few_file_descriptors(world: &World) -> Outcome {
    for number in 0..SERVICES {
        world.registered_instances::<1>(&format!("crowd-{number}")).await?;
        world.create_to_kube(&format!("crowd-{number}"), |_| ()).await?;
    }
    let admin = free_address().to_string();
    let mut played = Played::start(world, world.program().files(FEW).admin(&admin)).await?;
    let all = SERVICES as f64 + 2.0;
    played.program.counts("consul8s_services", &[("state", "synced")], |synced| synced == all).await?;
    so(played.program.log().contains("raise `ulimit -n`"), || "nothing is said of it".to_owned())?;
    let mut sitting = Vec::new();
    for _ in 0..SITTING {
        sitting.push(TcpStream::connect(&admin).await.map_err(|why| why.to_string())?);
    }
    for _ in 0..3 {
        played.goes_on(world).await?;
        played.program.answers("/livez").await?;
    }
    let open = played.program.scrape().await?.count("process_open_fds", &[]);
    so(open <= f64::from(FEW), || format!("{open} are open"))?;
    so(!played.program.log().contains("Too many open files"), || "they have run out".to_owned())
}

async fn no_file_descriptors(world: &World) -> Outcome {
    let consul = Link::before(&world.servers.consul_address()).await?;
    let kube = Link::before(&world.kube_address()).await?;
    let launch = world.program().consul(&consul.address()).kubeconfig(&world.kubeconfig_at(&kube.address())?);
    let mut played = Played::start(world, launch).await?;
    // All connections have to be made anew, and none can be.
    played.program.may_have(NONE)?;
    for link in [&consul, &kube] {
        link.becomes(Quality::Reset);
    }
    sleep(Duration::from_secs(1)).await;
    for link in [&consul, &kube] {
        link.becomes(Quality::Good);
    }
    played.change(world).await?;
    sleep(DEAD).await;
    played.nothing_went(world).await?;
    eventually("the log says why", SOON, async || {
        so(played.program.log().contains("Too many open files"), || played.program.log())
    })
    .await?;
    played.program.may_have(1024)?;
    played.follows(world).await?;
    played.has("consul").await?;
    played.goes_on(world).await?;
    Ok(())
}

async fn nobody_reads_the_log(world: &World) -> Outcome {
    let talkative = || world.program().flags(&["--log-level", "trace"]);
    let mut played = Played::start(world, talkative().unread()).await?;
    eventually("the pipe is full", 3 * SOON, async || {
        played.goes_on(world).await?;
        let unread = played.program.unread()?;
        so(unread >= FULL_BYTES, || format!("{unread} bytes wait"))
    })
    .await?;
    for _ in 0..3 {
        played.goes_on(world).await?;
    }
    let next = talkative().log_closed().start()?;
    let full = std::mem::replace(&mut played.program, next);
    so(full.terminate(END).await? == 0, || "it ended with another code".to_owned())?;
    for _ in 0..3 {
        played.goes_on(world).await?;
    }
    Ok(())
}
