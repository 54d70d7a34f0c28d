//! `cargo xtask bench rolling`: the rolling restart of a Service with 200 pods.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::fleet::Fleet;
use super::idle::registrations;
use super::objects;
use super::program::Program;
use super::servers::{Servers, Wanted};
use super::setting::{Common, LOOK_EVERY};
use super::table::Table;

const FLEET: Fleet = Fleet { name: "rolling", services: 1, instances: 200 };
const LIMIT: Duration = Duration::from_secs(60);
/// Between two changes of pods. A deployment is seldom faster, and slower ones are grouped less.
const PAUSE: Duration = Duration::from_millis(50);
/// For the entries that Consul makes by itself.
const BASELINE: Duration = Duration::from_secs(15);
/// To reach: entries per change of a pod.
const ENTRIES: f64 = 1.0;
/// A pod is added, gets ready while the old one ends, and the old one goes.
const STEPS: usize = 3;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let servers = Servers::start(Wanted::default()).await?;
    FLEET.create_namespace(&servers).await?;
    let annotations = json!({ "consul8s/service.address_source": "endpoints" });
    FLEET.create_services(&servers, "kubernetes", &annotations, true).await?;
    let mut program = Program::start(&binary, &servers.reach(), FLEET.name)?;
    until_standing(&servers, &mut program, FLEET.instances, 0).await?;

    eprintln!("bench: {} s of nothing, then {} pods restart", BASELINE.as_secs(), FLEET.instances);
    let at_rest = servers.raft_index().await?;
    sleep(BASELINE).await;
    let (entries, before, began) = (servers.raft_index().await?, program.usage()?, Instant::now());
    restart(&servers).await?;
    let restarted = began.elapsed();
    until_standing(&servers, &mut program, FLEET.instances, 1).await?;
    let took = began.elapsed();
    let (entries_later, usage) = (servers.raft_index().await?, program.usage()?);

    let by_itself = (entries - at_rest) as f64 / BASELINE.as_secs_f64() * took.as_secs_f64();
    let ours = (entries_later - entries) as f64 - by_itself;
    let changes = (FLEET.instances * STEPS) as f64;
    let mut table = Table::default();
    table.at_most("entries of Consul's Raft log per change of a pod", (ours / changes).max(0.0), ENTRIES, "");
    table.figure("entries per pod that was replaced", format!("{:.2}", ours / FLEET.instances as f64));
    table.figure("entries that Consul made by itself meanwhile", format!("{by_itself:.0}"));
    table.figure("from the last change until all stand", format!("{:.2} s", (took - restarted).as_secs_f64()));
    table.figure("processor time", format!("{:.2} s", usage.cpu_seconds - before.cpu_seconds));
    let title = format!("Rolling restart of {} pods in {:.0} s", FLEET.instances, restarted.as_secs_f64());
    table.finish(&title, arguments.common.enforce)
}

/// Replaces one pod after the other, in three writes of the slice each.
async fn restart(servers: &Servers) -> Result<()> {
    let mut kube = servers.kube_api.connect().await?;
    let service = FLEET.service(0);
    let path = format!("{}/{}", objects::slices_path(FLEET.name), objects::slice_name(&service));
    let mut next = tokio::time::Instant::now();
    for pod in 0..FLEET.instances {
        for step in 0..STEPS {
            next += PAUSE;
            sleep_until(next).await;
            let slice = objects::slice(&service, &endpoints(pod, step));
            kube.expect(Method::PUT, &path, Some(&slice)).await?;
        }
    }
    Ok(())
}

/// The endpoints when all pods before `pod` are replaced and `pod` is at `step`.
fn endpoints(pod: usize, step: usize) -> Vec<Value> {
    let stands = |pod: usize, version: usize| objects::endpoint(&FLEET.address(0, pod, version), true);
    let fresh = |ready: bool| objects::endpoint(&FLEET.address(0, pod, 1), ready);
    let mut ending = stands(pod, 0);
    ending["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    let at_work = match step {
        0 => vec![stands(pod, 0), fresh(false)],
        1 => vec![ending, fresh(true)],
        _ => vec![fresh(true)],
    };
    let replaced = (0..pod).map(|pod| stands(pod, 1));
    let others = (pod + 1..FLEET.instances).map(|pod| stands(pod, 0));
    replaced.chain(at_work).chain(others).collect()
}

/// Waits until exactly the pods of `version` are registered and passing.
async fn until_standing(servers: &Servers, program: &mut Program, wanted: usize, version: usize) -> Result<()> {
    let began = Instant::now();
    let mut consul = servers.consul_api.connect().await?;
    let path = format!("{}?passing", objects::health_path(&FLEET.service(0)));
    let block = FLEET.address(0, 0, version).split('.').next().map(|first| format!("{first}.")).unwrap_or_default();
    loop {
        let answer = consul.expect(Method::GET, &path, None).await?.json()?;
        let of_version = |entry: &&Value| entry["Service"]["Address"].as_str().is_some_and(|a| a.starts_with(&block));
        let standing = answer.as_array().into_iter().flatten().filter(of_version).count();
        if standing == wanted && registrations(servers).await?.len() == wanted {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            program.check_alive()?;
            bail!("{standing} of {wanted} registered after {} s\n{}", LIMIT.as_secs(), program.log_tail());
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_never_has_fewer_pods_and_ends_with_new_ones() {
        for pod in 0..FLEET.instances {
            let counts: Vec<usize> = (0..STEPS).map(|step| endpoints(pod, step).len()).collect();
            assert_eq!(counts, [201, 201, 200]);
        }
        let last = endpoints(FLEET.instances - 1, STEPS - 1);
        assert!(last.iter().all(|e| e["addresses"][0].as_str().is_some_and(|a| a.starts_with("11."))));
    }
}
