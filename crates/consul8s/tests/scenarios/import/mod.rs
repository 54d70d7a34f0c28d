//! Services made from the catalog: `ConsulImport`.

mod create;
mod removal;
mod telling;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{IMPORTS, Outcome, SERVICES, SOON, Scenario, World, eventually, so, text};

pub(crate) fn scenarios() -> Vec<Scenario> {
    [create::SCENARIOS, removal::SCENARIOS, telling::SCENARIOS].concat()
}

/// Defines the resource as `consul8s crd` prints it.
pub(crate) async fn define(world: &World) -> Outcome {
    let printed = world.program().finish(&["crd"]).await?;
    let definition: Value = serde_saphyr::from_str(&printed.stdout).map_err(|why| format!("{why}: {printed:?}"))?;
    world.kube.define(&definition).await?;
    eventually("imports are served", SOON, async || world.kube.list(IMPORTS).await.map(drop)).await
}

/// Creates an import of what `spec` says.
pub(crate) async fn import(world: &World, name: &str, spec: Value) -> Outcome<Value> {
    let object = json!({
        "apiVersion": "consul8s.io/v1alpha1", "kind": "ConsulImport", "metadata": { "name": name }, "spec": spec,
    });
    world.kube.create(IMPORTS, &object).await
}

/// The names of the Services in the namespace.
async fn services(world: &World) -> Outcome<Vec<String>> {
    let mut names: Vec<String> =
        world.kube.list(SERVICES).await?.iter().map(|service| text(&service["metadata"]["name"])).collect();
    names.sort();
    Ok(names)
}

/// Waits until these are the Services of the namespace.
async fn has_services(world: &World, wanted: &[&str]) -> Outcome {
    has_services_within(world, SOON, wanted).await
}

async fn has_services_within(world: &World, limit: Duration, wanted: &[&str]) -> Outcome {
    let mut wanted: Vec<&str> = wanted.to_vec();
    wanted.sort_unstable();
    eventually(&format!("there are the Services {wanted:?}"), limit, async || {
        let seen = services(world).await?;
        so(seen == wanted, || format!("{seen:?}"))
    })
    .await
}

/// Waits until an import's status reads `matched/created/conflicts Ready=STATUS REASON`.
async fn stands(world: &World, name: &str, wanted: &str) -> Outcome {
    eventually(&format!("import {name} stands as {wanted}"), SOON, async || {
        let import = world.kube.get(IMPORTS, name).await?;
        let status = &import["status"];
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|one| one["type"] == "Ready").cloned().unwrap_or_default();
        let seen = format!(
            "{}/{}/{} Ready={} {}",
            status["matched"],
            status["created"],
            status["conflicts"],
            text(&ready["status"]),
            text(&ready["reason"])
        );
        let current = status["observedGeneration"] == import["metadata"]["generation"];
        so(seen == wanted && current, || format!("{seen}: {status:#}"))
    })
    .await
}
