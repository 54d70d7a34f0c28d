//! The command line (contract §5), exit codes, listeners, and the original's metrics (§6).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `once` | `-1` syncs both directions and exits 0; again: 0 and not one write |
//! | `once_with_a_hold` | 5 when the guard holds something |
//! | `once_and_plan_without_a_side` | 1 when Consul or the API server can't be reached, and which it is |
//! | `plan` | prints the changes, writes nothing, exits 0; 2 with `--detailed-exitcode`; then 0 after `-1` |
//! | `wrong_usage` | 64, and the nearest valid flag or value |
//! | `ends_when_asked` | SIGTERM: exit 0 within 5 s, also while Consul is away |
//! | `one_direction` | `--direction`: the other one is left alone |
//! | `log_as_json` | `--log-format json`: a JSON object a line; the first says scope, context, Consul and owner |
//! | `taken_port` | 1, and the address |
//! | `metrics_of_the_original` | `--prometheus`: the three old names, on both paths; the loop time moves each interval |

use std::net::TcpListener;
use std::time::Duration;

use crate::harness::{Door, Kind, Outcome, Scenario, World, eventually, free_address, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(once),
    scenario!(once_with_a_hold),
    scenario!(once_and_plan_without_a_side),
    scenario!(plan),
    scenario!(wrong_usage).only(Kind::Sim, "it never comes to asking a server"),
    scenario!(ends_when_asked),
    scenario!(one_direction),
    scenario!(log_as_json),
    scenario!(taken_port).only(Kind::Sim, "it never comes to asking a server"),
    scenario!(metrics_of_the_original),
];

/// One Service in each direction; gives how they look when in sync.
async fn to_be_synced(world: &World) -> Outcome<(String, String)> {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    Ok((format!("{}:8080 ready", instance.address), format!("{}.db db.example.com:80 passing", world.namespace)))
}

async fn once(world: &World) -> Outcome {
    let (published, registered) = to_be_synced(world).await?;
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.publishes_within(Duration::from_secs(1), "web", &[&published]).await?;
    world.registers_within(Duration::from_secs(1), &world.own("db"), &[&registered]).await?;
    let before = world.versions().await?;
    let finished = world.program().finish(&["run", "--once"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.unchanged_since(&before).await
}

async fn once_with_a_hold(world: &World) -> Outcome {
    let (published, _) = to_be_synced(world).await?;
    assert_eq!(world.program().finish(&["-1"]).await?.code, Some(0));
    let gone = &world.consul.health(&world.own("web")).await?[0]["Node"]["Node"];
    world.consul.remove_node(gone.as_str().unwrap_or_default()).await?;
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(5), "{finished:#?}");
    world.publishes("web", &[&published]).await?;
    Ok(())
}

async fn once_and_plan_without_a_side(world: &World) -> Outcome {
    to_be_synced(world).await?;
    let shut = Door::before("127.0.0.1:1");
    let kubeconfig = world.kubeconfig_at(&shut.address())?;
    for command in ["-1", "plan"] {
        let without_consul = world.program().consul(&shut.address());
        let without_kube = world.program().kubeconfig(&kubeconfig);
        for (side, launch) in [("Consul", without_consul), ("Kubernetes", without_kube)] {
            let finished = launch.finish(&[command]).await?;
            assert_eq!(finished.code, Some(1), "{command} without {side}: {finished:#?}");
            let said = finished.stderr.contains(&shut.address());
            so(said, || format!("{command} without {side} doesn't name the address: {finished:#?}"))?;
        }
    }
    Ok(())
}

async fn plan(world: &World) -> Outcome {
    let (published, registered) = to_be_synced(world).await?;
    let before = world.versions().await?;
    let finished = world.program().finish(&["plan"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    for part in ["web", "db", "db.example.com", published.trim_end_matches(":8080 ready")] {
        so(finished.stdout.contains(part), || format!("the plan doesn't tell of {part}: {finished:#?}"))?;
    }
    let finished = world.program().finish(&["plan", "--detailed-exitcode"]).await?;
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    world.unchanged_since(&before).await?;

    assert_eq!(world.program().finish(&["-1"]).await?.code, Some(0));
    world.publishes("web", &[&published]).await?;
    world.registers(&world.own("db"), &[&registered]).await?;
    let finished = world.program().finish(&["plan", "--detailed-exitcode"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    Ok(())
}

async fn wrong_usage(world: &World) -> Outcome {
    for (wrong, nearest) in [
        (&["--namespac", "x"][..], "--namespace"),
        (&["--log-level", "infos"], "info"),
        (&["--direction", "to_cube"], "to_kube"),
        (&["--interval", "soon"], "1m30s"),
        (&["--admin-address", "8080"], "IP:PORT"),
    ] {
        let finished = world.program().finish(wrong).await?;
        assert_eq!(finished.code, Some(64), "{finished:#?}");
        so(finished.stderr.contains(nearest), || format!("{nearest} is not named: {finished:#?}"))?;
    }
    Ok(())
}

async fn ends_when_asked(world: &World) -> Outcome {
    let (published, _) = to_be_synced(world).await?;
    let limit = Duration::from_secs(5);
    let program = world.start()?;
    world.publishes("web", &[&published]).await?;
    assert_eq!(program.terminate(limit).await?, 0);
    let without_consul = world.program().consul(&free_address().to_string()).start()?;
    without_consul.answers("/livez").await?;
    assert_eq!(without_consul.terminate(limit).await?, 0);
    Ok(())
}

async fn one_direction(world: &World) -> Outcome {
    let (published, registered) = to_be_synced(world).await?;
    let finished = world.program().finish(&["-1", "--direction", "to_consul"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.registers(&world.own("db"), &[&registered]).await?;
    let slices = world.kube.slices("web").await?;
    so(slices.is_empty(), || format!("{slices:#?}"))?;

    world.kube.annotate("db", "consul8s/service.tags", Some("new")).await?;
    let finished = world.program().finish(&["-1", "--direction", "to_kube"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.publishes("web", &[&published]).await?;
    world.registers(&world.own("db"), &[&registered]).await?;
    Ok(())
}

async fn log_as_json(world: &World) -> Outcome {
    to_be_synced(world).await?;
    let finished = world.program().finish(&["-1", "--log-format", "json"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let lines = finished.stderr.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>().map_err(|why| format!("{why} in {finished:#?}"))?;
    let first = lines.first().ok_or("no log")?.to_string();
    for part in [world.namespace.as_str(), "scenario", &world.servers.consul_address(), "owner"] {
        so(first.contains(part), || format!("{part} is not in the first line: {first}"))?;
    }
    Ok(())
}

async fn taken_port(world: &World) -> Outcome {
    let taken = TcpListener::bind("127.0.0.1:0").map_err(|why| why.to_string())?;
    let address = taken.local_addr().map_err(|why| why.to_string())?.to_string();
    let admin = world.program().admin(&address);
    let metrics = world.program().flags(&["--prometheus", "--metrics-address", &address]);
    for launch in [admin, metrics] {
        let finished = launch.finish(&[]).await?;
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        so(finished.stderr.contains(&address), || format!("{address} is not named: {finished:#?}"))?;
    }
    Ok(())
}

async fn metrics_of_the_original(world: &World) -> Outcome {
    let (published, _) = to_be_synced(world).await?;
    world.create_to_consul("api", |_| ()).await?;
    let metrics = free_address().to_string();
    let program = world.program().flags(&["-p", "--metrics-address", &metrics, "-i", "1"]).start()?;
    world.publishes("web", &[&published]).await?;
    for path in ["/metrics", "/"] {
        let scrape = || world.scrape(&metrics, path);
        eventually("one Service from Consul, two from Kubernetes", crate::harness::SOON, async || {
            let scrape = scrape().await?;
            let count = |name| scrape.sum(name, &[]);
            let seen = (count("number_of_consul_sourced_services"), count("number_of_kubernetes_sourced_services"));
            so(seen == (Some(1.0), Some(2.0)), || format!("{seen:?}"))
        })
        .await?;
        let loops = async || scrape().await.map(|scrape| scrape.sum("loop_time_seconds_count", &[]));
        let before = loops().await?;
        tokio::time::sleep(Duration::from_millis(3500)).await;
        let moved = loops().await?.unwrap_or(0.0) - before.unwrap_or(0.0);
        so(moved >= 3.0, || format!("{moved} loops in 3.5 intervals"))?;
    }
    drop(program);
    Ok(())
}
