//! Nodes that are not Ready, or are to get no traffic (contract §4 `node_port`).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `nodes_that_fail_together` | one of five makes its own registration critical; four of five within a minute change nothing |
//! | `a_tainted_node` | about to be deleted: it leaves, and is back when the taint is gone |
//! | `which_address_of_a_node` | `external_first`, `internal`, `external`; without such an address it is left out |

use http::Method;
use serde_json::{Value, json};

use super::nodes::{NODES, create_node, create_service, registers, set_status};
use crate::harness::{Outcome, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(nodes_that_fail_together).alone(), scenario!(a_tainted_node), scenario!(which_address_of_a_node)];

async fn nodes_that_fail_together(world: &World) -> Outcome {
    let names: Vec<String> = (1..=5).map(|n| world.own(&format!("n{n}"))).collect();
    let internal = |n: usize| format!("10.1.0.{}", n + 1);
    for (n, name) in names.iter().enumerate() {
        create_node(world, name, &internal(n), None).await?;
    }
    let of_names: Vec<&str> = names.iter().map(String::as_str).collect();
    let port = create_service(world, &of_names).await?;
    let program = world.start()?;
    let line = |n: usize, state: &str| format!("{}:{port} {state}", internal(n));
    let lines = |states: [&str; 5]| (0..5).map(|n| line(n, states[n])).collect::<Vec<_>>();
    let all = ["passing"; 5];
    registers(world, &lines(all)).await?;
    set_status(world, &names[4], &internal(4), None, false).await?;
    registers(world, &lines(["passing", "passing", "passing", "passing", "critical"])).await?;
    set_status(world, &names[4], &internal(4), None, true).await?;
    registers(world, &lines(all)).await?;

    // What the control plane sees go together it has lost itself: one by one, and still one event.
    for (n, name) in names.iter().enumerate().take(4) {
        set_status(world, name, &internal(n), None, false).await?;
    }
    registers(world, &lines(all)).await?;
    program.counts("consul8s_queue_depth", &[], |depth| depth == 0.0).await?;
    registers(world, &lines(all)).await?;
    for (n, name) in names.iter().enumerate().take(3) {
        set_status(world, name, &internal(n), None, true).await?;
    }
    registers(world, &lines(["passing", "passing", "passing", "critical", "passing"])).await
}

async fn a_tainted_node(world: &World) -> Outcome {
    let [one, two] = ["n1", "n2"].map(|name| world.own(name));
    create_node(world, &one, "10.1.0.1", None).await?;
    create_node(world, &two, "10.1.0.2", None).await?;
    let port = create_service(world, &[&one, &two]).await?;
    let _program = world.start()?;
    let passing = |address: &str| format!("{address}:{port} passing");
    registers(world, &[passing("10.1.0.1"), passing("10.1.0.2")]).await?;
    let taint = |taints: Value| json!({ "spec": { "taints": taints } });
    let going = json!([{ "key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule" }]);
    world.kube.ask(Method::PATCH, &format!("{NODES}/{one}"), Some(&taint(going))).await?;
    registers(world, &[passing("10.1.0.2")]).await?;
    world.kube.ask(Method::PATCH, &format!("{NODES}/{one}"), Some(&taint(Value::Null))).await?;
    registers(world, &[passing("10.1.0.1"), passing("10.1.0.2")]).await
}

async fn which_address_of_a_node(world: &World) -> Outcome {
    let [one, two] = ["n1", "n2"].map(|name| world.own(name));
    create_node(world, &one, "10.1.0.1", None).await?;
    create_node(world, &two, "10.1.0.2", Some("203.0.113.2")).await?;
    let port = create_service(world, &[&one, &two]).await?;
    let _program = world.start()?;
    let passing = |address: &str| format!("{address}:{port} passing");
    registers(world, &[passing("10.1.0.1"), passing("203.0.113.2")]).await?;
    for (kind, wanted) in [
        ("external", vec![passing("203.0.113.2")]),
        ("internal", vec![passing("10.1.0.1"), passing("10.1.0.2")]),
        ("external_first", vec![passing("10.1.0.1"), passing("203.0.113.2")]),
    ] {
        world.kube.annotate("web", "consul8s/service.node_address", Some(kind)).await?;
        registers(world, &wanted).await?;
    }
    Ok(())
}
