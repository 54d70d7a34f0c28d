//! Values of annotations that are refused ("Bad input"), made from the table of the reference: the problem of that Service alone, told
//! with its reason; the last valid settings stay in force and are followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `refused_values_to_kube` | of each annotation of this direction one: what comes meanwhile follows the settings before |
//! | `refused_values_to_consul` | the same for the other direction: the registration stands as it was |

use consul8s_core::intent::annotations::TABLE;
use consul8s_core::intent::examples;
use consul8s_core::settings::Direction;
use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(refused_values_to_kube), scenario!(refused_values_to_consul)];

/// A Service, the annotation that goes wrong, and how.
struct Case {
    service: String,
    key: &'static str,
    value: &'static str,
    said: String,
}

/// One refused value of each annotation of a direction.
fn cases(direction: Direction) -> Vec<Case> {
    let rows = TABLE.iter().filter(|row| row.directions.contains(&direction));
    let refused = rows.filter_map(|row| Some((row.key, *examples::of(row.key)?.refused.first()?)));
    let cases = refused.enumerate().map(|(number, (key, (value, reason, why)))| Case {
        service: format!("{}-{number}", direction.as_str().replace('_', "-")),
        key,
        value,
        said: format!("False {reason}: annotation {key}: {}", if why.starts_with("has ") { "" } else { "\"" }),
    });
    cases.collect()
}

/// The annotation as it was.
fn before(object: &Value, key: &str) -> Option<String> {
    object["metadata"]["annotations"][key].as_str().map(str::to_owned)
}

async fn refused_values_to_kube(world: &World) -> Outcome {
    let cases = cases(Direction::ToKube);
    assert_eq!(cases.len(), 13);
    let [calm] = world.registered_instances("calm").await?;
    world.create_to_kube("calm", |_| ()).await?;
    let mut lines = Vec::new();
    for Case { service, .. } in &cases {
        // Critical and ready: so shows whose settings count.
        let instance = world.instance(service).checked("critical");
        world.consul.register(&instance).await?;
        world
            .create_to_kube(service, |object| {
                object["metadata"]["annotations"]["consul8s/service.health"] = "any".into();
            })
            .await?;
        lines.push(format!("{}:8080 ready", instance.address));
    }
    let program = world.start()?;
    for (Case { service, .. }, line) in cases.iter().zip(&lines) {
        world.publishes(service, &[line]).await?;
    }
    for Case { service, key, value, said } in &cases {
        world.kube.annotate(service, key, Some(value)).await?;
        world.says(service, said, "the last valid settings stay in force").await?;
    }
    let count = cases.len() as f64;
    program.counts("consul8s_problems", &[("reason", "InvalidAnnotation")], |problems| problems == count).await?;
    for (Case { service, .. }, line) in cases.iter().zip(&lines) {
        let second = world.instance(service).checked("critical");
        world.consul.register(&second).await?;
        world.publishes(service, &[line, &format!("{}:8080 ready", second.address)]).await?;
    }
    world.publishes("calm", &[&format!("{}:8080 ready", calm.address)]).await?;
    world.says("calm", "True EndpointsUpdated", "1 of 1").await
}

async fn refused_values_to_consul(world: &World) -> Outcome {
    let cases = cases(Direction::ToConsul);
    assert_eq!(cases.len(), 11);
    let mut objects = Vec::new();
    for Case { service, .. } in &cases {
        objects.push(world.create_to_consul(service, |_| ()).await?);
    }
    let _program = world.start()?;
    let registered =
        |service: &str, tags: &str| format!("{}.{service} {service}.example.com:80 passing{tags}", world.namespace);
    for Case { service, .. } in &cases {
        world.registers(&world.own(service), &[&registered(service, "")]).await?;
    }
    for Case { service, key, value, said } in &cases {
        let annotations = json!({ *key: value, "consul8s/service.tags": "new" });
        world.kube.merge(SERVICES, service, &json!({ "metadata": { "annotations": annotations } })).await?;
        world.says(service, said, "").await?;
    }
    for (Case { service, key, .. }, object) in cases.iter().zip(&objects) {
        world.registers(&world.own(service), &[&registered(service, "")]).await?;
        world.kube.annotate(service, key, before(object, key).as_deref()).await?;
        world.registers(&world.own(service), &[&registered(service, " tags=new")]).await?;
    }
    Ok(())
}
