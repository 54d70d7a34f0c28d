//! Moving from the Python original, which made a Consul node `kubernetes-ID` for each Service (contract S5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `taken_over` | ours stands before the original's goes, and then its node goes |
//! | `what_only_looks_like_it` | a node of that name that is not of its shape stays, with all that is on it |

use serde_json::{Value, json};

use crate::harness::{Outcome, SOON, Scenario, World, eventually, list, scenario, so, text, view};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(taken_over).and_on_an_open_consul(), scenario!(what_only_looks_like_it)];

/// Registers as the original does it.
async fn by_the_original(world: &World, id: &str, address: &str, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut body = json!({
        "Node": format!("kubernetes-{id}"), "Address": address,
        "Service": { "ID": id, "Service": id, "Address": address, "Port": 80 },
    });
    change(&mut body);
    world.consul.put("/v1/catalog/register", &body).await?;
    Ok(())
}

async fn node_exists(world: &World, node: &str) -> Outcome<bool> {
    let nodes = list(&world.consul.get("/v1/catalog/nodes").await?);
    Ok(nodes.iter().any(|found| text(&found["Node"]) == node))
}

async fn taken_over(world: &World) -> Outcome {
    let name = world.own("web");
    by_the_original(world, &name, "web.example.com", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    // Every state of the name while it is taken over.
    let following = async {
        let (mut index, mut states) = (0, Vec::new());
        loop {
            let (next, entries) = world.consul.health_after(&name, index).await?;
            index = next;
            states.push(entries.iter().map(view::registration).collect::<Vec<_>>());
            if states
                .last()
                .is_some_and(|state| state == &[format!("{}.web web.example.com:80 passing", world.namespace)])
            {
                return Outcome::Ok(states);
            }
        }
    };
    let _program = world.start()?;
    let states =
        tokio::time::timeout(SOON, following).await.map_err(|_| "the original's registration stays".to_owned())??;
    so(states.iter().all(|state| !state.is_empty()), || format!("a gap: {states:?}"))?;
    let node = format!("kubernetes-{name}");
    eventually("its node goes", SOON, async || {
        let stands = node_exists(world, &node).await?;
        so(!stands, || "it stands".to_owned())
    })
    .await
}

async fn what_only_looks_like_it(world: &World) -> Outcome {
    let (with_meta, with_more) = (world.own("meta"), world.own("more"));
    by_the_original(world, &with_meta, "meta.example.com", |body| body["NodeMeta"] = json!({ "mine": "yes" })).await?;
    by_the_original(world, &with_more, "more.example.com", |_| ()).await?;
    by_the_original(world, &with_more, "more.example.com", |body| {
        body["Service"] = json!({ "ID": "another", "Service": world.own("another"), "Address": "10.0.0.1", "Port": 1 });
    })
    .await?;
    for service in ["meta", "more"] {
        world.create_to_consul(service, |_| ()).await?;
    }
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for id in [&with_meta, &with_more] {
        world.consul.service(&format!("kubernetes-{id}"), id).await?;
        assert_eq!(world.registrations(id).await?.len(), 1);
    }
    world.consul.service(&format!("kubernetes-{with_more}"), "another").await?;
    Ok(())
}
