//! `plan`: what a sync would change. The same controller, without anything that could write.

use consul8s_consul::Client;
use consul8s_core::kube::ObjectKey;
use consul8s_kube::{Kube, SliceWriter};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::cli::{Output, PlanArgs};
use crate::commands::Exit;
use crate::config::Options;
use crate::controller::Controller;
use crate::metrics::Metrics;
use crate::out;
use crate::stores::record::Told;
use crate::sync::writers::Writers;
use crate::{once, run};

/// One Service in the output.
#[derive(Serialize)]
struct Shown<'a> {
    service: String,
    direction: &'static str,
    state: &'static str,
    problems: Vec<ShownProblem<'a>>,
    changes: &'a BTreeMap<&'static str, usize>,
    text: Vec<&'a str>,
}

#[derive(Serialize)]
struct ShownProblem<'a> {
    reason: &'static str,
    message: &'a str,
}

/// Plans once and prints it.
///
/// # Errors
/// One of the two sides does not answer.
pub async fn run(options: Options, args: PlanArgs, stop: CancellationToken) -> anyhow::Result<Exit> {
    let connection = options.access.connect().await?;
    let options = options.in_context(&connection.namespace);
    let kube = Arc::new(Kube::new(&connection));
    let Some(uid) = run::cluster_uid(&*kube, true, &stop, || ()).await? else { return Ok(Exit::Failure) };
    let settings = options.settings(&uid, &connection.namespace);
    run::announce(&options, &connection, &settings.identity.owner, Some(&settings.consul_node_name));
    let consul = Arc::new(Client::new(options.consul.clone()));
    let controller = Controller::new(kube, consul, settings, options.directions.clone(), Arc::new(Metrics::new()));
    let controller = Arc::new(controller.resolving(options.resolver()));
    let no_writers: Option<Arc<Writers<SliceWriter>>> = None;
    let outcome = once::run(controller, no_writers, stop).await?;
    let changes: usize = outcome.services.iter().flat_map(|(_, told)| told.pending.values()).sum();
    print(&outcome.services, changes, args.output)?;
    if outcome.unfinished > 0 {
        anyhow::bail!("{} Services could not be planned in time", outcome.unfinished);
    }
    Ok(if args.detailed_exitcode && changes > 0 { Exit::Changes } else { Exit::Done })
}

fn print(services: &[(ObjectKey, Told)], changes: usize, output: Output) -> anyhow::Result<()> {
    let shown: Vec<Shown<'_>> = services.iter().map(|(key, told)| shown(key, told)).collect();
    match output {
        Output::Json => out::line(serde_json::to_string_pretty(&shown)?),
        Output::Yaml => out::text(serde_saphyr::to_string(&shown)?),
        Output::Text => {
            for (key, told) in services {
                out::line(format_args!("{key} {} {}", told.direction.as_str(), told.state.as_str()));
                out::text(&told.text);
            }
            let plural = |n: usize| if n == 1 { "" } else { "s" };
            let n = services.len();
            out::line(format_args!("{n} Service{}, {changes} change{} to make", plural(n), plural(changes)));
        }
    }
    Ok(())
}

fn shown<'a>(key: &ObjectKey, told: &'a Told) -> Shown<'a> {
    Shown {
        service: key.to_string(),
        direction: told.direction.as_str(),
        state: told.state.as_str(),
        problems: told
            .problems
            .iter()
            .map(|problem| ShownProblem { reason: problem.reason.as_str(), message: &problem.message })
            .collect(),
        changes: &told.pending,
        text: told.text.lines().map(str::trim).collect(),
    }
}
