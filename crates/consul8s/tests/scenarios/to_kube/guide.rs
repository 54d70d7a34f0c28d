//! The examples of docs/guides/to-kubernetes.md, as they stand there: in each section what is put into Consul's catalog (`json`), the Service
//! that is applied (`yaml`), and what its slices then show (`text`).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `guide_to_kube` | the guide is true; only on real servers, as the simulated Consul evaluates no filters |

use std::path::Path;

use serde_json::Value;

use crate::harness::{Kind, Outcome, SERVICES, Scenario, World, scenario, text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(guide_to_kube).only(Kind::Real, "the simulated Consul evaluates no filters")];

const GUIDE: &str = "../../docs/guides/to-kubernetes.md";

/// One section of the guide that has something to run.
#[derive(Debug, Default)]
struct Example {
    title: String,
    catalog: Vec<Value>,
    service: Value,
    shown: Vec<String>,
}

fn examples(guide: &str) -> Outcome<Vec<Example>> {
    let mut examples = Vec::new();
    for section in guide.split("\n## ").skip(1) {
        let mut example =
            Example { title: section.lines().next().unwrap_or_default().to_owned(), ..Example::default() };
        // Every second piece is within a fence, and begins with its language.
        for block in section.split("```").skip(1).step_by(2) {
            let (language, body) = block.split_once('\n').unwrap_or_default();
            let told = |why: String| format!("{}: {language}: {why}", example.title);
            match language {
                "json" => example.catalog.push(serde_json::from_str(body).map_err(|why| told(why.to_string()))?),
                "yaml" => example.service = serde_saphyr::from_str(body).map_err(|why| told(why.to_string()))?,
                "text" => example.shown = body.lines().map(str::to_owned).collect(),
                _ => {}
            }
        }
        if !example.service.is_null() {
            examples.push(example);
        }
    }
    Ok(examples)
}

async fn guide_to_kube(world: &World) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GUIDE);
    let guide = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let examples = examples(&guide)?;
    assert!(examples.len() >= 9, "the guide lost examples: {}", examples.len());
    let program = world.start()?;
    for Example { title, catalog, service, shown } in &examples {
        let failed = |why: String| format!("{title}: {why}");
        for body in catalog {
            world.consul.put("/v1/catalog/register", body).await.map_err(failed)?;
        }
        world.kube.create(SERVICES, service).await.map_err(failed)?;
        let lines: Vec<&str> = shown.iter().map(String::as_str).collect();
        world.publishes(&text(&service["metadata"]["name"]), &lines).await.map_err(failed)?;
    }
    let count = examples.len() as f64;
    program.counts("number_of_consul_sourced_services", &[], |services| services == count).await
}
