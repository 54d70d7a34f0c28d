//! `consul8s purge` (contract §5, S5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `purge_removes_ours_alone` | shows only without `--yes`; what others put on our node stays, and the node with it; then the empty node goes too |
//! | `purge_beyond_a_gap` | a second node is found though the first was deleted |
//! | `purge_respects_the_lease` | refuses while another process holds it |
//! | `purge_without_kubernetes` | with `--owner-id` alone |

use std::time::Duration;

use serde_json::json;

use crate::harness::{Outcome, Scenario, World, list, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(purge_removes_ours_alone).and_on_an_open_consul(),
    scenario!(purge_beyond_a_gap),
    scenario!(purge_respects_the_lease),
    scenario!(purge_without_kubernetes),
];

/// Registers two Services and ends; gives the name of our node.
async fn registered(world: &World, flags: &[&str]) -> Outcome<String> {
    for name in ["web", "db"] {
        world.create_to_consul(name, |_| ()).await?;
    }
    let finished = world.allowed(world.program().flags(flags)).await?.finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let entry = world.registrations(&world.own("web")).await?.pop().ok_or("no registration")?;
    Ok(text(&entry["Node"]["Node"]))
}

async fn node_exists(world: &World, node: &str) -> Outcome<bool> {
    let nodes = list(&world.consul.get("/v1/catalog/nodes").await?);
    Ok(nodes.iter().any(|found| text(&found["Node"]) == node))
}

async fn purge_removes_ours_alone(world: &World) -> Outcome {
    let node = registered(world, &[]).await?;
    let body = json!({
        "Node": node, "Address": "127.0.0.1", "SkipNodeUpdate": true,
        "Service": { "ID": "theirs", "Service": world.own("theirs"), "Address": "10.94.0.1", "Port": 1234 },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    let before = world.versions().await?;
    let shown = world.program().finish(&["purge"]).await?;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for part in ["deregister", "theirs", "2 registrations and 0 nodes", "--yes"] {
        so(shown.stdout.contains(part), || format!("{part:?} in {}", shown.stdout))?;
    }
    world.unchanged_since(&before).await?;

    let removed = world.program().finish(&["purge", "--yes"]).await?;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    world.registers(&world.own("web"), &[]).await?;
    world.registers(&world.own("db"), &[]).await?;
    world.consul.service(&node, "theirs").await?;

    world.consul.remove_service(&node, "theirs").await?;
    let removed = world.program().finish(&["purge", "--yes"]).await?;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    so(!node_exists(world, &node).await?, || format!("{node} stands"))?;
    let again = world.program().finish(&["purge", "--yes"]).await?;
    so(again.code == Some(0) && again.stdout.contains("0 registrations and 0 nodes"), || format!("{again:?}"))
}

async fn purge_beyond_a_gap(world: &World) -> Outcome {
    let node = registered(world, &[]).await?;
    let entry = world.registrations(&world.own("web")).await?.remove(0);
    let third = format!("{node}-3");
    let body = json!({
        "Node": third, "Address": "127.0.0.1", "NodeMeta": entry["Node"]["Meta"],
        "Service": { "ID": "far", "Service": world.own("far"), "Address": "10.94.0.1", "Port": 1, "Meta": entry["Service"]["Meta"] },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    world.consul.remove_node(&node).await?;
    let removed = world.program().finish(&["purge", "--yes"]).await?;
    so(removed.code == Some(0) && removed.stdout.contains("1 registration and 1 node"), || format!("{removed:?}"))?;
    so(!node_exists(world, &third).await?, || format!("{third} stands"))
}

async fn purge_respects_the_lease(world: &World) -> Outcome {
    let node = registered(world, &[]).await?;
    let program = world.start()?;
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    let refused = world.program().finish(&["purge", "--yes"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(world.registrations(&world.own("web")).await?.len(), 1);
    // Another installation's node is not ours to remove.
    program.terminate(Duration::from_secs(5)).await?;
    let other = world.allowed(world.program().lease("other").flags(&["--consul-node-name", &node])).await?;
    let other = other.finish(&["purge", "--yes"]).await?;
    assert_eq!(other.code, Some(1), "{other:?}");
    so(other.stdout.contains("OwnershipConflict"), || format!("{other:?}"))?;
    assert_eq!(world.registrations(&world.own("web")).await?.len(), 1);
    Ok(())
}

async fn purge_without_kubernetes(world: &World) -> Outcome {
    let owner = world.own("owner");
    let node = registered(world, &["--owner-id", &owner]).await?;
    let nowhere = std::path::Path::new("/nonexistent/kubeconfig");
    let purge = async |flags: &[&str]| world.allowed(world.program().kubeconfig(nowhere).flags(flags)).await;
    // Without Kubernetes and an owner id nobody can say what it would need.
    let nameless = world.program().kubeconfig(nowhere).finish(&["purge", "--yes"]).await?;
    so(nameless.code == Some(1) && nameless.stderr.contains("--owner-id"), || format!("{nameless:?}"))?;
    let stranger = purge(&["--owner-id", "x", "--consul-node-name", &node]).await?.finish(&["purge", "--yes"]).await?;
    so(stranger.code == Some(1) && stranger.stdout.contains("OwnershipConflict"), || format!("{stranger:?}"))?;
    assert_eq!(world.registrations(&world.own("web")).await?.len(), 1);
    let removed = purge(&["--owner-id", &owner]).await?.finish(&["purge", "--yes"]).await?;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    so(!node_exists(world, &node).await?, || format!("{node} stands"))
}
