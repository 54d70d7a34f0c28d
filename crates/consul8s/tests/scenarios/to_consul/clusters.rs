//! Several clusters, and several installations in one, with one Consul (contract S5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `two_clusters` | two API servers, the same names side by side; neither touches the other's |
//! | `two_installations` | a Service that another installation has registered is `OwnershipConflict`, until that lets go |
//! | `two_that_begin_at_once` | where both have registered a Service one lets go within 30 s, and the other keeps it |
//! | `same_ids_by_mistake` | two clusters with one `--cluster-id`: the second reports it, writes and deletes nothing, and `-1` exits 1 |
//! | `a_laptop_beside_it` | `-1` beside a running one: with its Lease it waits and exits 1, with another it reports; nothing changes |
//! | `a_node_of_our_name_while_running` | to_kube goes on, one Event on the Lease; when the node is gone we make ours |
//! | `an_agents_node` | never, not even with `--take-over` |
//! | `a_node_of_our_name` | a node with another identity: nothing is written, `-1` exits 1, `--take-over` makes it ours |

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    EVENTS, Kube, Outcome, Running, SERVICES, SOON, Scenario, World, eventually, scenario, so, text, view,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(two_clusters),
    scenario!(two_installations),
    scenario!(two_that_begin_at_once),
    scenario!(same_ids_by_mistake),
    scenario!(a_laptop_beside_it),
    scenario!(a_node_of_our_name_while_running),
    scenario!(a_node_of_our_name),
    scenario!(an_agents_node),
];

/// Longer than a Service that is refused waits before it looks again.
const LOOKED_AGAIN: Duration = Duration::from_secs(45);

async fn lines(world: &World, name: &str) -> Outcome<Vec<String>> {
    let mut lines: Vec<String> = world.consul.health(name).await?.iter().map(view::registration).collect();
    lines.sort();
    Ok(lines)
}

async fn two_clusters(world: &World) -> Outcome {
    let servers = world.servers.another().await?;
    let there = Kube::in_new_namespace(servers.kube_client()?, &world.namespace).await?;
    assert_ne!(there.cluster_uid().await?, world.kube.cluster_uid().await?);
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let kubeconfig = folder.path().join("kubeconfig");
    servers.write_kubeconfig(&kubeconfig, &servers.kube_url(), &world.namespace)?;

    let mut service = world.create_to_consul("web", |_| ()).await?;
    service["metadata"] = json!({
        "name": "web", "labels": service["metadata"]["labels"], "annotations": service["metadata"]["annotations"],
    });
    service["spec"] = json!({ "ports": [{ "name": "http", "port": 80 }] });
    there.create(SERVICES, &service).await?;
    let there_runs = world.allowed(world.program().kubeconfig(&kubeconfig)).await?;
    let (here_runs, there_runs) = (world.start()?, there_runs.start()?);
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    let both = [line.clone(), line.clone()];
    eventually("both registered", crate::harness::SOON, async || {
        let seen = lines(world, &name).await?;
        so(seen == both, || format!("{seen:?}"))
    })
    .await?;
    for program in [&here_runs, &there_runs] {
        program.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    }
    there.delete(SERVICES, "web").await?;
    eventually("one is left", crate::harness::SOON, async || {
        let seen = lines(world, &name).await?;
        so(seen == std::slice::from_ref(&line), || format!("{seen:?}"))
    })
    .await?;
    let uid = world.consul.health(&name).await?.remove(0)["Service"]["Meta"]["consul8s-cluster"].clone();
    assert_eq!(text(&uid), world.kube.cluster_uid().await?);
    Ok(())
}

async fn two_installations(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let first = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    let second = world.allowed(world.program().lease("second")).await?.start()?;
    second.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 1.0).await?;
    assert_eq!(lines(world, &name).await?, std::slice::from_ref(&line));
    assert_eq!(second.writes().await?, 0.0);
    // The first lets go by leaving the namespace to the second.
    first.terminate(Duration::from_secs(5)).await?;
    let elsewhere =
        world.program().flags(&["--exclude-namespace", &world.namespace, "--namespace", "default"]).start()?;
    eventually("the second has it", LOOKED_AGAIN, async || {
        let entries = world.consul.health(&name).await?;
        let installations: Vec<String> =
            entries.iter().map(|entry| text(&entry["Node"]["Meta"]["consul8s-installation"])).collect();
        so(installations == [format!("{}/second", world.namespace)], || format!("{installations:?}"))
    })
    .await?;
    second.counts("consul8s_problems", &[("reason", "OwnershipConflict")], |count| count == 0.0).await?;
    drop(elsewhere);
    Ok(())
}

async fn two_that_begin_at_once(world: &World) -> Outcome {
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    for name in &names {
        world.create_to_consul(name, |_| ()).await?;
    }
    let second = world.allowed(world.program().lease("second")).await?;
    let (first, second) = (world.start()?, second.start()?);
    let registered = async |name: &str| {
        let entries = world.consul.health(&world.own(name)).await?;
        let of = |entry: &Value| text(&entry["Node"]["Meta"]["consul8s-installation"]);
        Outcome::Ok(entries.iter().map(of).collect::<Vec<String>>())
    };
    eventually("each has registered some or the other has", SOON, async || {
        for name in &names {
            let by = registered(name).await?;
            so(!by.is_empty(), || name.clone())?;
        }
        Ok(())
    })
    .await?;
    // What the other would have written had it been as quick: an owner id that is smaller than any.
    let name = &names[0];
    let entry = world.consul.health(&world.own(name)).await?.remove(0)["Service"].clone();
    let mut meta = entry["Meta"].clone();
    meta["consul8s-owner"] = json!("0");
    let body = json!({
        "Node": world.own("theirs"), "Address": "127.0.0.1", "NodeMeta": { "consul8s-installation": "third/third" },
        "Service": { "ID": entry["ID"], "Service": entry["Service"], "Address": entry["Address"], "Port": entry["Port"], "Meta": meta },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    eventually("each is registered once", Duration::from_secs(30), async || {
        for name in &names {
            let by = registered(name).await?;
            so(by.len() == 1, || format!("{name}: {by:?}"))?;
        }
        Ok(())
    })
    .await?;
    assert_eq!(registered(name).await?, ["third/third"]);
    let conflicts = async |program: &Running| {
        Outcome::Ok(program.scrape().await?.count("consul8s_problems", &[("reason", "OwnershipConflict")]))
    };
    // Of each Service one of them says so, and of the one that a third has both do.
    eventually("the others say so", SOON, async || {
        let told = conflicts(&first).await? + conflicts(&second).await?;
        so(told == 7.0, || told.to_string())
    })
    .await
}

async fn same_ids_by_mistake(world: &World) -> Outcome {
    let servers = world.servers.another().await?;
    let there = Kube::in_new_namespace(servers.kube_client()?, &world.namespace).await?;
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let kubeconfig = folder.path().join("kubeconfig");
    servers.write_kubeconfig(&kubeconfig, &servers.kube_url(), &world.namespace)?;
    let flags = ["--cluster-id", "the-same"];
    world.create_to_consul("web", |_| ()).await?;
    let here = world.allowed(world.program().flags(&flags)).await?;
    let here = here.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    let before = world.consul.health(&name).await?;

    let service = json!({
        "metadata": {
            "name": "db", "labels": { "consul8s_source": "kubernetes" },
            "annotations": { "consul8s/service.name": world.own("db"), "domainName": "db.example.com" },
        },
        "spec": { "ports": [{ "port": 80 }] },
    });
    there.create(SERVICES, &service).await?;
    let there_too = world.allowed(world.program().flags(&flags).kubeconfig(&kubeconfig)).await?;
    let once = there_too.clone().finish(&["-1"]).await?;
    let said = format!("{}{}", once.stdout, once.stderr);
    so(once.code == Some(1) && said.contains("OwnershipConflict"), || format!("{once:?}"))?;
    let running = there_too.start()?;
    eventually("it reports it", SOON, async || {
        let log = running.log();
        so(log.contains("OwnershipConflict"), || log.clone())
    })
    .await?;
    running.counts("consul8s_queue_depth", &[], |depth| depth == 0.0).await?;
    assert_eq!(running.writes().await?, 0.0);
    assert!(world.consul.health(&world.own("db")).await?.is_empty());
    assert_eq!(world.consul.health(&name).await?, before, "nothing is deleted");
    here.counts("consul8s_problems", &[], |count| count == 0.0).await
}

async fn a_laptop_beside_it(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let program = world.start()?;
    let (name, line) = (world.own("web"), format!("{}.web web.example.com:80 passing", world.namespace));
    world.registers(&name, &[&line]).await?;
    let before = world.consul.health(&name).await?;
    let beside = world.program().finish(&["-1"]).await?;
    so(beside.code == Some(1) && beside.stderr.contains("Lease"), || format!("{beside:?}"))?;
    let other = world.allowed(world.program().lease("laptop")).await?.finish(&["-1"]).await?;
    let said = format!("{}{}", other.stdout, other.stderr);
    so(other.code == Some(0) && said.contains("OwnershipConflict"), || format!("{other:?}"))?;
    assert_eq!(world.consul.health(&name).await?, before);
    program.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    // What it does is still followed.
    world.kube.annotate("web", "consul8s/service.tags", Some("new")).await?;
    world.registers(&name, &[&format!("{line} tags=new")]).await?;
    Ok(())
}

async fn a_node_of_our_name_while_running(world: &World) -> Outcome {
    let [instance] = world.registered_instances("api").await?;
    world.create_to_kube("api", |_| ()).await?;
    for name in ["web", "db"] {
        world.create_to_consul(name, |_| ()).await?;
    }
    let node = world.own("the-node");
    let body = json!({
        "Node": node, "Address": "127.0.0.1",
        "NodeMeta": { "consul8s-owner": "they", "consul8s-cluster-uid": "u", "consul8s-installation": "a/b" },
        "Service": { "ID": "theirs", "Service": world.own("theirs"), "Address": "10.0.0.1", "Port": 1 },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    let theirs = world.consul.service(&node, "theirs").await?;
    let _program = world.allowed(world.program().flags(&["--consul-node-name", &node])).await?.start()?;
    world.publishes("api", &[&format!("{}:8080 ready", instance.address)]).await?;
    let on_lease = async || {
        let events = world.kube.list(EVENTS).await?;
        let conflicts = events.iter().filter(|event| event["reason"] == "OwnershipConflict");
        Outcome::Ok(conflicts.map(|event| text(&event["regarding"]["kind"])).collect::<Vec<_>>())
    };
    eventually("an Event on the Lease", SOON, async || {
        let found = on_lease().await?;
        so(!found.is_empty(), || "none".to_owned())
    })
    .await?;
    // to_kube goes on.
    world.consul.register(&instance.clone().checked("critical")).await?;
    world.publishes("api", &[&format!("{}:8080 not-ready", instance.address)]).await?;
    assert_eq!(on_lease().await?, ["Lease"], "one, and none for each Service");
    assert_eq!(world.consul.service(&node, "theirs").await?, theirs);
    assert!(world.consul.health(&world.own("web")).await?.is_empty());

    world.consul.remove_node(&node).await?;
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:80 passing", world.namespace)]).await?;
    Ok(())
}

async fn a_node_of_our_name(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let node = world.own("the-node");
    let body = json!({
        "Node": node, "Address": "127.0.0.1",
        "NodeMeta": { "consul8s-owner": "they", "consul8s-cluster-uid": "u", "consul8s-installation": "a/b" },
        "Service": { "ID": "theirs", "Service": world.own("theirs"), "Address": "10.0.0.1", "Port": 1, "Meta": { "consul8s-owner": "they" } },
    });
    world.consul.put("/v1/catalog/register", &body).await?;
    let theirs = world.consul.service(&node, "theirs").await?;
    let flags = ["--consul-node-name", node.as_str()];
    let program = world.allowed(world.program().flags(&flags)).await?;
    let finished = program.clone().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let log = format!("{}{}", finished.stdout, finished.stderr);
    so(log.contains("OwnershipConflict") && log.contains("--take-over"), || log.clone())?;
    assert!(world.consul.health(&world.own("web")).await?.is_empty());

    let finished = program.flags(&["--take-over"]).finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:80 passing", world.namespace)]).await?;
    // What stood there for no Service of ours stands.
    assert_eq!(world.consul.service(&node, "theirs").await?["ModifyIndex"], theirs["ModifyIndex"]);
    Ok(())
}

async fn an_agents_node(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let node = text(&world.consul.get("/v1/agent/self").await?["Config"]["NodeName"]);
    let agents = async || {
        let nodes = crate::harness::list(&world.consul.get("/v1/catalog/nodes").await?);
        Outcome::Ok(nodes.into_iter().find(|found| found["Node"] == node.as_str()).unwrap_or_default())
    };
    let before = agents().await?;
    let program = world.allowed(world.program().flags(&["--consul-node-name", &node, "--take-over"])).await?;
    let finished = program.finish(&["-1"]).await?;
    let log = format!("{}{}", finished.stdout, finished.stderr);
    so(finished.code == Some(1) && log.contains("OwnershipConflict") && log.contains("an agent's"), || log.clone())?;
    assert_eq!(agents().await?["Meta"], before["Meta"]);
    assert!(world.consul.health(&world.own("web")).await?.is_empty());
    Ok(())
}
