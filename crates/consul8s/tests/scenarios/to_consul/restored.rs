//! Servers that come back as what they were some time ago, or as others (contract §4 Removal, S5, "Repair").
//!
//! | scenario | promise |
//! | --- | --- |
//! | `restored_api_server` | what is missing from an older list is held, over a restart too, until it is released; the mark stands on the Lease |
//! | `another_cluster_at_the_address` | the UID of `kube-system` changes while we run: nothing is written until it is the old one again |
//! | `restored_consul` | ours is back within 5 s of the next answer, as it should be, and nothing else of ours |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{LEASES, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(restored_api_server).alone(),
    scenario!(another_cluster_at_the_address).alone(),
    scenario!(restored_consul).alone(),
];

/// Longer than two looks at the API, two confirming reads, and a relist.
const SETTLED: Duration = Duration::from_secs(15);

/// More than servers write that start anew.
const WRITES: usize = 600;

fn line(world: &World, name: &str) -> String {
    format!("{}.{name} {name}.example.com:80 passing", world.namespace)
}

async fn registered(world: &World, name: &str) -> Outcome {
    world.create_to_consul(name, |_| ()).await?;
    world.registers(&world.own(name), &[&line(world, name)]).await?;
    Ok(())
}

async fn restored_api_server(world: &World) -> Outcome {
    let held = async |program: &crate::harness::Running, count: f64| {
        program.counts("consul8s_removals_held", &[("direction", "to_consul")], |held| held == count).await
    };
    let program = world.start()?;
    registered(world, "web").await?;
    world.servers.back_up_kube().await?;
    // Servers that start write a lot by themselves.
    let other = json!({ "metadata": { "name": "other" }, "spec": { "ports": [{ "port": 80 }] } });
    world.kube.create(SERVICES, &other).await?;
    for n in 0..WRITES {
        world.kube.annotate("other", "n", Some(&n.to_string())).await?;
    }
    for name in ["late", "later"] {
        registered(world, name).await?;
    }
    let before = [world.registrations(&world.own("late")).await?, world.registrations(&world.own("web")).await?];
    world.servers.restore_kube().await?;
    held(&program, 2.0).await?;
    tokio::time::sleep(SETTLED).await;
    let now = async || {
        Outcome::Ok([world.registrations(&world.own("late")).await?, world.registrations(&world.own("web")).await?])
    };
    assert_eq!(now().await?, before, "what is missing stands, and so does what is not");
    // It goes on where it can.
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&world.own("web"), &[&format!("{} tags=new", line(world, "web"))]).await?;

    program.terminate(Duration::from_secs(5)).await?;
    let program = world.start()?;
    held(&program, 2.0).await?;
    assert_eq!(world.registrations(&world.own("late")).await?, before[0]);
    // What is made again is followed as ever.
    registered(world, "later").await?;
    held(&program, 1.0).await?;

    let release = json!({ "metadata": { "annotations": { "consul8s/allow-removal": "true" } } });
    world.kube.merge(LEASES, &world.namespace, &release).await?;
    world.registers(&world.own("late"), &[]).await?;
    held(&program, 0.0).await?;
    eventually("the mark stands on the Lease, and the release is taken away", SOON, async || {
        let annotations = world.kube.get(LEASES, &world.namespace).await?["metadata"]["annotations"].clone();
        let mark = text(&annotations["consul8s/list-mark"]).parse::<u64>().is_ok();
        so(mark && annotations["consul8s/allow-removal"].is_null(), || annotations.to_string())
    })
    .await?;
    assert_eq!(world.registrations(&world.own("later")).await?.len(), 1);
    // Deleting is no accident.
    world.kube.delete(SERVICES, "later").await?;
    world.registers_within(Duration::from_secs(5), &world.own("later"), &[]).await?;
    Ok(())
}

async fn another_cluster_at_the_address(world: &World) -> Outcome {
    let mut program = world.start()?;
    registered(world, "web").await?;
    let before = world.registrations(&world.own("web")).await?;
    world.servers.back_up_kube().await?;
    world.servers.replace_kube().await?;
    eventually("it says so", SOON, async || {
        let log = program.log();
        so(log.contains("the API speaks for another cluster"), || log.clone())
    })
    .await?;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(world.registrations(&world.own("web")).await?, before, "nothing is removed");
    // What somebody deletes is not repaired meanwhile: nothing at all is written.
    let node = text(&before[0]["Node"]["Node"]);
    world.consul.remove_service(&node, &text(&before[0]["Service"]["ID"])).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.registrations(&world.own("web")).await?.is_empty());
    program.runs()?;

    world.servers.restore_kube().await?;
    world.registers(&world.own("web"), &[&line(world, "web")]).await?;
    registered(world, "db").await?;
    Ok(())
}

async fn restored_consul(world: &World) -> Outcome {
    let program = world.start()?;
    for name in ["web", "gone"] {
        registered(world, name).await?;
    }
    world.servers.back_up_consul().await?;
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    let tagged = format!("{} tags=new", line(world, "web"));
    world.registers(&world.own("web"), &[&tagged]).await?;
    registered(world, "late").await?;
    world.kube.delete(SERVICES, "gone").await?;
    world.registers(&world.own("gone"), &[]).await?;

    world.servers.restore_consul().await?;
    // While Consul is away attempts lie up to some seconds apart; the 5 s count from the first answer.
    world.registers(&world.own("late"), &[&line(world, "late")]).await?;
    world.registers_within(Duration::from_secs(5), &world.own("web"), &[&tagged]).await?;
    world.registers_within(Duration::from_secs(10), &world.own("gone"), &[]).await?;
    // The last write may be seen in Consul before it is counted.
    world.nothing_changes(Duration::from_secs(1)).await?;
    let writes = program.writes().await?;
    world.nothing_changes(Duration::from_secs(5)).await?;
    assert_eq!(program.writes().await?, writes, "no storm and no war");
    let name = |entry: &Value| text(&entry["Node"]["Node"]);
    let late = world.registrations(&world.own("late")).await?;
    assert_eq!(late.iter().map(name).collect::<Vec<_>>().len(), 1);
    Ok(())
}
