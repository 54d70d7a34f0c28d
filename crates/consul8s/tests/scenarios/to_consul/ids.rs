//! IDs of registrations (contract §4): an address keeps the one it has.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `an_address_keeps_its_id` | also when the first goes; the plain ID is then free for the next new one; the order in which they are given plays no role |
//! | `node_and_pod_keep_theirs` | a pod's ID is of its address and port, and stands over a restart |

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SLICES, SOON, Scenario, World, eventually, remove, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(an_address_keeps_its_id), scenario!(node_and_pod_keep_theirs)];

/// Waits until these addresses are registered; gives their IDs.
async fn ids(world: &World, wanted: &[&str]) -> Outcome<BTreeMap<String, String>> {
    eventually(&format!("{wanted:?}"), SOON, async || {
        let entries = world.registrations(&world.own("web")).await?;
        let found: BTreeMap<String, String> =
            entries.iter().map(|entry| (text(&entry["Service"]["Address"]), text(&entry["Service"]["ID"]))).collect();
        let addresses: Vec<&str> = found.keys().map(String::as_str).collect();
        so(addresses == wanted && entries.len() == wanted.len(), || format!("{entries:#?}"))?;
        Ok(found)
    })
    .await
}

async fn an_address_keeps_its_id(world: &World) -> Outcome {
    let (a, b, c, d) = ("10.95.0.1", "10.95.0.2", "10.95.0.3", "10.95.0.4");
    let give = async |addresses: &str| world.kube.annotate("web", "consul8s/service.address", Some(addresses)).await;
    let several = |service: &mut Value| {
        service["metadata"]["annotations"]["consul8s/service.address"] = json!(format!("{b}, {a}"));
    };
    world.create_to_consul("web", several).await?;
    let program = world.start()?;
    let plain = format!("{}.web", world.namespace);
    let first = ids(world, &[a, b]).await?;
    assert_eq!(first[b], plain);
    assert!(first[a].strip_prefix(&format!("{plain}-")).is_some_and(|digits| digits.len() == 8), "{first:?}");
    give(&format!("{a},{b}")).await?;
    world.nothing_changes(Duration::from_secs(2)).await?;
    assert_eq!(ids(world, &[a, b]).await?, first, "the order plays no role");

    give(a).await?;
    assert_eq!(ids(world, &[a]).await?[a], first[a], "it keeps the ID it has");
    program.terminate(Duration::from_secs(5)).await?;
    let _program = world.start()?;
    give(&format!("{a},{c}")).await?;
    let second = ids(world, &[a, c]).await?;
    assert_eq!((&second[a], &second[c]), (&first[a], &plain));
    give(&format!("{d},{c},{a}")).await?;
    let third = ids(world, &[a, c, d]).await?;
    assert_eq!((&third[a], &third[c]), (&first[a], &plain));
    give(&format!("{d},{b}")).await?;
    let fourth = ids(world, &[b, d]).await?;
    assert_eq!((&fourth[d], &fourth[b]), (&third[d], &plain));
    Ok(())
}

async fn node_and_pod_keep_theirs(world: &World) -> Outcome {
    let of_pods = |service: &mut Value| {
        service["spec"]["selector"] = json!({ "app": "web" });
        service["metadata"]["annotations"]["consul8s/service.address_source"] = json!("endpoints");
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    world.create_to_consul("web", of_pods).await?;
    let pods =
        |addresses: &[&str]| Value::from(addresses.iter().map(|ip| endpoint(ip, "n1", true)).collect::<Vec<_>>());
    let (a, b, c) = ("10.244.0.1", "10.244.0.2", "10.244.0.3");
    pods_slice(world, "web", pods(&[a, b])).await?;
    let program = world.start()?;
    let first = ids(world, &[a, b]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = pods(&[c, b])).await?;
    let _program = world.start()?;
    let second = ids(world, &[b, c]).await?;
    assert_eq!(second[b], first[b]);
    assert_eq!(second[c], first[a], "the plain one was free");
    Ok(())
}
