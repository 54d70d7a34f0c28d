//! `consul8s release` for registrations that are held (contract §4 Removal, §5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `release_of_registrations` | a Service releases its part; the hold's id the rest, also of Services that are gone by then; what is held stands on the Lease |

use serde_json::Value;

use crate::harness::{LEASES, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(release_of_registrations)];

const FOUR: [&str; 4] = ["one", "two", "three", "four"];

/// Runs `release`, which must end with this code and say this.
async fn release(world: &World, words: &[&str], code: i32, says: &str) -> Outcome {
    let command: Vec<&str> = ["release"].iter().chain(words).copied().collect();
    let ended = world.program().bare().finish(&command).await?;
    let right = ended.code == Some(code) && format!("{}{}", ended.stdout, ended.stderr).contains(says);
    so(right, || format!("release {words:?}: {ended:#?}"))
}

/// What the Lease says is held: `ID=COUNT@SINCE`.
async fn on_the_lease(world: &World) -> Outcome<Value> {
    Ok(world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"]["consul8s/held"].clone())
}

async fn held_becomes(world: &World, count: usize) -> Outcome<String> {
    eventually(&format!("{count} are held, says the Lease"), 2 * SOON, async || {
        let held = text(&on_the_lease(world).await?);
        let (id, known) = held.split_once('=').unwrap_or_default();
        so(known.split('@').next() == Some(&count.to_string()), || held.clone())?;
        Ok(id.to_owned())
    })
    .await
}

async fn stand(world: &World, wanted: [usize; 4]) -> Outcome {
    eventually(&format!("{wanted:?} stand"), SOON, async || {
        let mut seen = Vec::new();
        for name in FOUR {
            seen.push(world.registrations(&world.own(name)).await?.len());
        }
        so(seen == wanted, || format!("{seen:?}"))
    })
    .await
}

async fn release_of_registrations(world: &World) -> Outcome {
    for name in FOUR {
        let addresses = format!("{name}-a.example.com,{name}-b.example.com");
        world.create_to_consul(name, |it| it["metadata"]["annotations"]["domainName"] = addresses.into()).await?;
    }
    let program = world.start()?;
    stand(world, [2; 4]).await?;
    release(world, &["three"], 1, "nothing of Service").await?;
    // One after the other, as a bad deployment does it: the third is one too many.
    for (name, left) in FOUR.into_iter().zip([[0, 2, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]) {
        world.kube.label(name, "consul8s_source", None).await?;
        stand(world, left).await?;
    }
    let id = held_becomes(world, 4).await?;
    eventually("the condition says so", SOON, async || {
        let service = world.kube.get(SERVICES, "three").await?;
        let said = service["status"]["conditions"].to_string();
        so(said.contains("RemovalHeld") && said.contains(&id), || said)
    })
    .await?;
    release(world, &["h-000000"], 1, &id).await?;
    release(world, &["three"], 0, &id).await?;
    stand(world, [0, 0, 0, 2]).await?;
    held_becomes(world, 2).await?;
    release(world, &[&id], 0, "for all that it holds").await?;
    stand(world, [0; 4]).await?;
    program.counts("consul8s_removals_held", &[], |held| held == 0.0).await?;
    eventually("the Lease is clean", SOON, async || {
        let annotations = world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"].clone();
        let clean = annotations["consul8s/held"].is_null() && annotations["consul8s/allow-removal"].is_null();
        so(clean, || format!("{annotations:#}"))
    })
    .await
}
