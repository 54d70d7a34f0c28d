//! Our synthetic nodes (contract §4): a new registration goes to the first with room for it, and what stands is never moved.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `five_hundred_on_a_node` | 520 at once: 500 and 20; a place that becomes free is used again; those on the second node stay there |

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Outcome, SERVICES, Scenario, World, eventually, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(five_hundred_on_a_node)];

/// Services, of so many addresses each.
const SERVICES_AT_ONCE: usize = 130;
const ADDRESSES: usize = 4;
/// Writing them takes seconds, on a busy machine more.
const ALL: Duration = Duration::from_secs(60);

/// Registrations on each of our nodes, and on which node each stands.
async fn on_nodes(world: &World) -> Outcome<BTreeMap<String, String>> {
    let nodes = list(&world.consul.get("/v1/catalog/nodes").await?);
    let installation = format!("{0}/{0}", world.namespace);
    let mut found = BTreeMap::new();
    for node in nodes.iter().filter(|node| node["Meta"]["consul8s-installation"] == installation) {
        let name = text(&node["Node"]);
        let services = world.consul.get(&format!("/v1/catalog/node-services/{name}")).await?;
        found.extend(list(&services["Services"]).iter().map(|service| (text(&service["ID"]), name.clone())));
    }
    Ok(found)
}

async fn counts(world: &World, wanted: &[usize]) -> Outcome<BTreeMap<String, String>> {
    eventually(&format!("{wanted:?} registrations"), ALL, async || {
        let found = on_nodes(world).await?;
        let mut counts = BTreeMap::new();
        found.values().for_each(|node| *counts.entry(node.clone()).or_insert(0) += 1);
        let counts: Vec<usize> = counts.into_values().collect();
        so(counts == wanted, || format!("{counts:?}"))?;
        Ok(found)
    })
    .await
}

async fn five_hundred_on_a_node(world: &World) -> Outcome {
    for n in 0..SERVICES_AT_ONCE {
        let addresses: Vec<String> = (1..=ADDRESSES).map(|a| format!("10.96.{n}.{a}")).collect();
        world
            .create_to_consul(&format!("s{n}"), |service| {
                service["metadata"]["annotations"]["consul8s/service.address"] = json!(addresses.join(","));
            })
            .await?;
    }
    let program = world.start()?;
    let before = counts(world, &[500, 20]).await?;
    // Two that stand whole on the first node go, and three more come.
    let first = before.values().min().cloned().unwrap_or_default();
    let whole = |n: &usize| {
        let of_service = before.iter().filter(|(id, _)| is_of(world, id, *n));
        of_service.clone().count() == ADDRESSES && of_service.map(|(_, node)| node).all(|node| *node == first)
    };
    let going: Vec<usize> = (0..SERVICES_AT_ONCE).filter(whole).take(2).collect();
    for n in &going {
        world.kube.delete(SERVICES, &format!("s{n}")).await?;
    }
    counts(world, &[492, 20]).await?;
    for n in 0..3 {
        world
            .create_to_consul(&format!("late{n}"), |service| {
                let addresses: Vec<String> = (1..=ADDRESSES).map(|a| format!("10.97.{n}.{a}")).collect();
                service["metadata"]["annotations"]["consul8s/service.address"] = json!(addresses.join(","));
            })
            .await?;
    }
    let after = counts(world, &[500, 24]).await?;
    let moved: Vec<&String> =
        before.iter().filter(|(id, node)| after.get(*id).is_some_and(|now| now != *node)).map(|(id, _)| id).collect();
    so(moved.is_empty(), || format!("moved: {moved:?}"))?;
    program.counts("consul8s_problems", &[], |count| count == 0.0).await
}

fn is_of(world: &World, id: &str, n: usize) -> bool {
    let plain = format!("{}.s{n}", world.namespace);
    id == plain || id.strip_prefix(&plain).is_some_and(|rest| rest.starts_with('-'))
}
