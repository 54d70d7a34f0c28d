//! The examples of docs/reference/to-consul.md, as they stand there.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `examples_of_the_reference` | each YAML block is applied; each line `# → …` in it is what is registered |

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text, view};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(examples_of_the_reference)];

const PAGE: &str = include_str!("../../../../../docs/reference/to-consul.md");

/// Manifests, each with what it registers.
fn examples() -> Vec<(Value, Vec<String>)> {
    let blocks = PAGE.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let example = |(block, _): (&str, &str)| {
        let manifest: Value = serde_saphyr::from_str(block).expect("a manifest");
        let lines = block.lines().filter_map(|line| line.strip_prefix("# → ")).map(str::to_owned);
        (manifest, lines.collect())
    };
    blocks.map(example).collect()
}

async fn examples_of_the_reference(world: &World) -> Outcome {
    let examples = examples();
    assert!(examples.len() >= 3, "the page has examples");
    let _program = world.start()?;
    for (mut manifest, wanted) in examples {
        let service = text(&manifest["metadata"]["name"]);
        let name = world.own(&service);
        // The one thing that is the scenario's own: others play on the same Consul.
        manifest["metadata"]["annotations"]["consul8s/service.name"] = json!(name);
        world.kube.create(SERVICES, &manifest).await?;
        let wanted: Vec<String> = wanted.iter().map(|line| line.replace("NAMESPACE", &world.namespace)).collect();
        eventually(&format!("{service} is registered"), SOON, async || {
            let mut seen: Vec<String> = world.registrations(&name).await?.iter().map(view::registration).collect();
            seen.sort();
            so(seen == wanted, || format!("{seen:?} instead of {wanted:?}"))
        })
        .await?;
    }
    Ok(())
}
