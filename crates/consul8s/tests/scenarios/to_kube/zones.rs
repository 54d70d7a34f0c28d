//! Zones and hints (contract §2, "Slices").
//!
//! | scenario | promise |
//! | --- | --- |
//! | `hints_for_all_or_none` | the zone stands on each endpoint; hints on all or none, and only where the Service asks for it |
//! | `zone_of_the_locality` | the locality counts before the meta; only on real servers, whose catalog has it |

use serde_json::{Value, json};

use super::annotations::register_with;
use crate::harness::{Kind, Outcome, SERVICES, SOON, Scenario, World, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(hints_for_all_or_none),
    scenario!(zone_of_the_locality).only(Kind::Real, "the simulated Consul has no locality"),
];

/// `ZONE` or `-`, and `→HINT…` where there are hints, of each endpoint; sorted.
fn zones(slices: &[Value]) -> Vec<String> {
    let of = |endpoint: &Value| {
        let zone = endpoint["zone"].as_str().unwrap_or("-").to_owned();
        let hints: Vec<String> = list(&endpoint["hints"]["forZones"]).iter().map(|hint| text(&hint["name"])).collect();
        if hints.is_empty() { zone } else { format!("{zone}→{}", hints.join(",")) }
    };
    let mut all: Vec<String> = slices.iter().flat_map(|slice| list(&slice["endpoints"])).map(|it| of(&it)).collect();
    all.sort();
    all
}

async fn shows(world: &World, wanted: &[&str]) -> Outcome {
    let what = format!("the zones are {wanted:?}");
    let right = |slices: &[Value]| so(zones(slices) == wanted, || format!("{:?}", zones(slices)));
    world.slices_become(&what, SOON, "web", right).await?;
    Ok(())
}

async fn hints_for_all_or_none(world: &World) -> Outcome {
    let [one, other, third] = [world.instance("web"), world.instance("web"), world.instance("web")];
    register_with(world, &one, &json!({ "Meta": { "zone": "a" } })).await?;
    register_with(world, &other, &json!({ "Meta": { "zone": "b" } })).await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    shows(world, &["a", "b"]).await?;
    world.kube.annotate("web", "service.kubernetes.io/topology-mode", Some("Auto")).await?;
    shows(world, &["a→a", "b→b"]).await?;
    world.kube.annotate("web", "service.kubernetes.io/topology-mode", None).await?;
    shows(world, &["a", "b"]).await?;
    let near = json!({ "spec": { "trafficDistribution": "PreferClose" } });
    world.kube.merge(SERVICES, "web", &near).await?;
    shows(world, &["a→a", "b→b"]).await?;
    // One without a zone costs all of them their hints.
    world.consul.register(&third).await?;
    shows(world, &["-", "a", "b"]).await?;
    register_with(world, &third, &json!({ "Meta": { "zone": "not a zone!" } })).await?;
    shows(world, &["-", "a", "b"]).await?;
    register_with(world, &third, &json!({ "Meta": { "zone": "a" } })).await?;
    shows(world, &["a→a", "a→a", "b→b"]).await?;
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "trafficDistribution": null } })).await?;
    shows(world, &["a", "a", "b"]).await
}

async fn zone_of_the_locality(world: &World) -> Outcome {
    let instance = world.instance("web");
    let more = json!({ "Meta": { "zone": "meta" }, "Locality": { "Region": "eu", "Zone": "eu-1a" } });
    register_with(world, &instance, &more).await?;
    world.create_to_kube("web", |service| service["spec"]["trafficDistribution"] = json!("PreferClose")).await?;
    let _program = world.start()?;
    shows(world, &["eu-1a→eu-1a"]).await
}
