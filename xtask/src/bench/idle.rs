//! `cargo xtask bench idle`: nothing changes, and nothing is written.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::fleet::Fleet;
use super::program::{Program, usage_of};
use super::servers::{Servers, Wanted};
use super::setting::{Common, until_published, until_quiet};
use super::slices::Slices;
use super::table::Table;

const FROM_CONSUL: Fleet = Fleet { name: "idle", services: 200, instances: 5 };
const TO_CONSUL: Fleet = Fleet { name: "idle-out", services: 200, instances: 3 };
/// Whether somebody else registered the same is read again for up to a minute after a first registration.
const LIMIT: Duration = Duration::from_secs(120);
/// Nothing written for this long, conditions included, counts as the end of the start.
const CALM: Duration = Duration::from_secs(15);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For how long, in seconds.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

/// Measures and prints.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.common.binary().await?;
    let servers = Servers::start(Wanted { tls: false, audit: true }).await?;
    for fleet in [&FROM_CONSUL, &TO_CONSUL] {
        fleet.create_namespace(&servers).await?;
    }
    FROM_CONSUL.fill_consul(&servers).await?;
    FROM_CONSUL.create_services(&servers, "consul", &json!({}), false).await?;
    let annotations = json!({ "consul8s/service.address_source": "endpoints" });
    TO_CONSUL.create_services(&servers, "kubernetes", &annotations, true).await?;
    let mut slices = Slices::watch(&servers).await?;
    let namespaces = format!("{},{}", FROM_CONSUL.name, TO_CONSUL.name);
    let mut program = Program::start(&binary, &servers.reach(), &namespaces)?;
    until_published(&FROM_CONSUL, &mut slices, &mut program, LIMIT).await?;
    until_quiet(&program, CALM, LIMIT).await?;

    eprintln!("bench: {} s of nothing", arguments.seconds);
    let consul_pid = servers.consul.pid().context("Consul has ended")?;
    let (usage, consul_usage) = (program.usage()?, usage_of(consul_pid)?);
    let (written, registered) = (kube_writes(&servers)?, registrations(&servers).await?);
    let metrics = program.metrics().await?;
    sleep(Duration::from_secs(arguments.seconds)).await;
    let (later, consul_later) = (program.usage()?, usage_of(consul_pid)?);
    let (written_later, registered_later) = (kube_writes(&servers)?, registrations(&servers).await?);
    let metrics_later = program.metrics().await?;

    let mut table = Table::default();
    let count = |name: &str, labels: &[&str]| (metrics_later.sum(name, labels) - metrics.sum(name, labels)) as usize;
    table.exactly("writes to Kubernetes but for the Lease", written_later - written, 0);
    table.exactly("transactions in Consul", count("consul8s_consul_requests_total", &["operation=\"txn\""]), 0);
    let changed = usize::from(registered != registered_later);
    table.exactly("changes of our nodes in Consul", changed, 0);
    table.exactly("registrations that stand", registered.len(), TO_CONSUL.services * TO_CONSUL.instances);
    table.figure("questions to Consul answered", count("consul8s_consul_requests_total", &[]));
    let each = |after: f64, before: f64| format!("{:.1} ms/s", (after - before) * 1e3 / arguments.seconds as f64);
    table.figure("processor time", each(later.cpu_seconds, usage.cpu_seconds));
    table.figure("the same of Consul", each(consul_later.cpu_seconds, consul_usage.cpu_seconds));
    table.figure("resident memory", format!("{:.1} MiB", later.resident_mib));
    let (from, to) = (FROM_CONSUL.services, TO_CONSUL.services);
    let title = format!("{} s idle with {from} + {to} Services, over HTTP/1.1", arguments.seconds);
    table.finish(&title, arguments.common.enforce)
}

/// How many requests of consul8s' have written in Kubernetes so far, its Lease aside.
fn kube_writes(servers: &Servers) -> Result<usize> {
    let is_write = |event: &Value| {
        let verb = event["verb"].as_str().unwrap_or_default();
        let ours = event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("consul8s/"));
        ours && !matches!(verb, "get" | "list" | "watch") && event["objectRef"]["resource"] != "leases"
    };
    Ok(servers.kubernetes.audit_events()?.iter().filter(|event| is_write(event)).count())
}

/// ID, and index of the last change, of everything that stands on our nodes.
pub(super) async fn registrations(servers: &Servers) -> Result<Vec<(String, u64, u64)>> {
    let mut consul = servers.consul_api.connect().await?;
    let mut get = async |path: String| consul.expect(Method::GET, &path, None).await?.json();
    let nodes = get("/v1/catalog/nodes".to_owned()).await?;
    let ours = nodes.as_array().into_iter().flatten().filter(|node| node["Meta"]["consul8s-owner"].is_string());
    let names: Vec<String> = ours.filter_map(|node| node["Node"].as_str().map(str::to_owned)).collect();
    let mut all = Vec::new();
    for name in names {
        let services = get(format!("/v1/catalog/node-services/{name}")).await?;
        let checks = get(format!("/v1/health/node/{name}")).await?;
        for service in services["Services"].as_array().into_iter().flatten() {
            let id = service["ID"].as_str().unwrap_or_default();
            let check = checks.as_array().into_iter().flatten().find(|check| check["ServiceID"] == id);
            let index =
                |value: Option<&Value>| value.and_then(|value| value["ModifyIndex"].as_u64()).unwrap_or_default();
            all.push((id.to_owned(), index(Some(service)), index(check)));
        }
    }
    Ok(all)
}
