//! The readiness check (contract §4): passing while an endpoint of the Service is serving and not terminating.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `readiness_follows_endpoints` | each combination of ready, serving and terminating; `publishNotReadyAddresses` hides none; none at all |

use serde_json::{Value, json};

use crate::harness::{Outcome, SERVICES, SLICES, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(readiness_follows_endpoints)];

async fn readiness_follows_endpoints(world: &World) -> Outcome {
    world.create_to_consul("web", |service| service["spec"]["selector"] = json!({ "app": "web" })).await?;
    let endpoint = |conditions: &Value| json!([{ "addresses": ["10.244.0.1"], "conditions": conditions }]);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "web-pods",
            // Not the name of Kubernetes' own controller, which would look for the pods.
            "labels": { "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "pods.example.com" },
        },
        "endpoints": endpoint(&json!({ "ready": true, "serving": true, "terminating": false })),
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    world.kube.create(SLICES, &slice).await?;
    let _program = world.start()?;
    let (name, at) = (world.own("web"), format!("{}.web web.example.com:80", world.namespace));
    world.registers(&name, &[&format!("{at} passing")]).await?;
    for (conditions, status) in [
        (json!({ "ready": false, "serving": false, "terminating": false }), "critical"),
        (json!({}), "passing"),
        (json!({ "ready": false, "serving": true, "terminating": true }), "critical"),
        (json!({ "ready": false, "serving": true, "terminating": false }), "passing"),
        (json!({ "ready": true, "serving": false, "terminating": false }), "critical"),
        (json!({ "ready": true }), "passing"),
    ] {
        world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = endpoint(&conditions)).await?;
        world.registers(&name, &[&format!("{at} {status}")]).await.map_err(|why| format!("{conditions}: {why}"))?;
    }
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "publishNotReadyAddresses": true } })).await?;
    let unready = json!({ "ready": true, "serving": false, "terminating": false });
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = endpoint(&unready)).await?;
    world.registers(&name, &[&format!("{at} critical")]).await?;
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = json!([])).await?;
    world.registers(&name, &[&format!("{at} critical")]).await?;
    Ok(())
}
