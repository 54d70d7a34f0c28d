//! Bad input: each bad value is the problem of its own Service, what was registered before stands, and its check follows.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `every_bad_value_of_the_reference` | each row of the reference's table that refuses something |
//! | `what_consul_would_refuse` | limits of Consul are told before anything is written |
//! | `frozen_over_a_restart` | a Service that can't be understood stands as it is, and its check follows |

use std::time::Duration;

use consul8s_core::intent::annotations::TABLE;
use consul8s_core::settings::Direction;
use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(every_bad_value_of_the_reference),
    scenario!(what_consul_would_refuse),
    scenario!(frozen_over_a_restart),
];

/// Creates a Service whose check follows a slice, and waits until it is registered; gives what stands.
async fn standing(world: &World, name: &str) -> Outcome<Value> {
    world.create_to_consul(name, |service| service["spec"]["selector"] = json!({ "app": name })).await?;
    pods_slice(world, name, json!([endpoint("10.244.0.1", "n1", true)])).await?;
    world.registers(&world.own(name), &[&line(world, name, "passing")]).await?;
    Ok(world.registrations(&world.own(name)).await?.remove(0)["Service"].clone())
}

fn line(world: &World, name: &str, state: &str) -> String {
    format!("{}.{name} {name}.example.com:80 {state}", world.namespace)
}

/// Waits until the condition of a Service has this reason; gives its message.
async fn told(world: &World, name: &str, reasons: &[&str]) -> Outcome<String> {
    eventually(&format!("{name}: {reasons:?}"), SOON, async || {
        let conditions = list(&world.kube.get(SERVICES, name).await?["status"]["conditions"]);
        let ours = conditions.iter().find(|condition| condition["type"] == "consul8s/Synced").cloned();
        let ours = ours.unwrap_or_default();
        so(reasons.contains(&text(&ours["reason"]).as_str()), || ours.to_string())?;
        Ok(text(&ours["message"]))
    })
    .await
}

/// It stands as it was, and its check follows.
async fn stands_and_is_followed(world: &World, name: &str, before: &Value) -> Outcome {
    let now = world.registrations(&world.own(name)).await?;
    let services: Vec<&Value> = now.iter().map(|entry| &entry["Service"]).collect();
    so(services == [before], || format!("{name}: {services:#?} instead of {before:#}"))?;
    world
        .kube
        .edit(SLICES, &format!("{name}-pods"), |slice| {
            slice["endpoints"] = json!([endpoint("10.244.0.1", "n1", false)])
        })
        .await?;
    world.registers(&world.own(name), &[&line(world, name, "critical")]).await?;
    Ok(())
}

async fn every_bad_value_of_the_reference(world: &World) -> Outcome {
    let _program = world.start()?;
    let rows: Vec<_> = TABLE.iter().filter(|row| row.directions.contains(&Direction::ToConsul)).collect();
    let bad = rows.iter().filter_map(|row| Some((row.key, row.bad?)));
    let mut cases = Vec::new();
    for (n, (key, (value, why))) in bad.enumerate() {
        let name = format!("s{n}");
        cases.push((name.clone(), key, value, why, standing(world, &name).await?));
    }
    assert!(cases.len() >= 7, "the table has rows");
    for (name, key, value, ..) in &cases {
        world.kube.annotate(name, key, Some(value)).await?;
    }
    for (name, key, value, why, before) in &cases {
        let message =
            told(world, name, &["InvalidAnnotation"]).await.map_err(|error| format!("{key}={value}: {error}"))?;
        so(message.contains(why) && message.contains(key), || format!("{key}={value}: {message}"))?;
        stands_and_is_followed(world, name, before).await?;
    }
    // One who asks properly is not held up.
    standing(world, "good").await?;
    for (name, key, ..) in &cases {
        world.kube.annotate(name, key, None).await?;
        told(world, name, &["Registered"]).await?;
    }
    Ok(())
}

async fn what_consul_would_refuse(world: &World) -> Outcome {
    let _program = world.start()?;
    let meta = |key: &str, value: &str| vec![(format!("consul8s/service.meta.{key}"), value.to_owned())];
    let one = |key: &str, value: String| vec![(format!("consul8s/service.{key}"), value)];
    let pairs = (0..65).map(|n| (format!("consul8s/service.meta.k{n}"), "x".to_owned())).collect();
    let cases: Vec<(Vec<(String, String)>, &str)> = vec![
        (one("name", "n".repeat(256)), "longer than 255"),
        (one("name", " ".to_owned()), "blank"),
        (one("name", ".".to_owned()), "reads it as a path"),
        (one("name", "a\tb".to_owned()), "control characters"),
        (one("id", "i".repeat(256)), "longer than 255"),
        (meta("long", &"v".repeat(513)), "longer than 512 bytes"),
        (meta("a.b", "x"), "key that Consul refuses"),
        (meta("consul-x", "x"), "Consul keeps for itself"),
        (meta("external-source", "x"), "writes itself"),
        (pairs, "too many"),
        (one("address", "127.0.0.1".to_owned()), "never registered"),
        (one("address", "10.0.0.1, fe80::1".to_owned()), "never registered"),
        (one("weight", "65536".to_owned()), "between 1 and 65535"),
    ];
    let mut before = Vec::new();
    for n in 0..cases.len() {
        before.push(standing(world, &format!("s{n}")).await?);
    }
    for (n, (annotations, _)) in cases.iter().enumerate() {
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        world.kube.merge(SERVICES, &format!("s{n}"), &json!({ "metadata": { "annotations": annotations } })).await?;
    }
    for (n, ((_, why), before)) in cases.iter().zip(&before).enumerate() {
        let message =
            told(world, &format!("s{n}"), &["InvalidAnnotation"]).await.map_err(|error| format!("{why}: {error}"))?;
        so(message.contains(why), || format!("{why:?} in {message}"))?;
        stands_and_is_followed(world, &format!("s{n}"), before).await?;
    }
    standing(world, "good").await?;
    Ok(())
}

async fn frozen_over_a_restart(world: &World) -> Outcome {
    let program = world.start()?;
    let before = standing(world, "web").await?;
    world.kube.annotate("web", "consul8s/service.weight", Some("heavy")).await?;
    told(world, "web", &["InvalidAnnotation"]).await?;
    program.terminate(Duration::from_secs(5)).await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |count| count == 1.0).await?;
    stands_and_is_followed(world, "web", &before).await?;
    world.kube.annotate("web", "consul8s/service.weight", Some("5")).await?;
    eventually("it is understood again", SOON, async || {
        let weight = world.registrations(&world.own("web")).await?.remove(0)["Service"]["Weights"]["Passing"].clone();
        so(weight == 5, || weight.to_string())
    })
    .await
}
