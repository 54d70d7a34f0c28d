//! The Kubernetes API of this crate, for real.

use std::time::Duration;

use consul8s_testbed::{Kubernetes, KubernetesOptions, TestbedError};
use serde_json::json;
use tokio::time::{sleep, timeout};

const MIRRORED: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: foo}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: foo}
subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{port: 8080}]}]
"#;

#[tokio::test]
async fn it_answers_stops_and_comes_back_with_its_data() -> Result<(), TestbedError> {
    let mut kubernetes = Kubernetes::start(KubernetesOptions { controller_manager: true, audit: true }).await?;
    assert_eq!(kubernetes.pids().len(), 3);
    for namespace in ["default", "kube-system"] {
        kubernetes.kubectl(&["get", "namespace", namespace], None).await?;
    }

    kubernetes.stop_api().await;
    assert_eq!(kubernetes.api_pid(), None);
    assert!(kubernetes.request("GET", "/readyz", None).await.is_err());
    kubernetes.start_api().await?;

    // The controller manager works after that, too.
    kubernetes.kubectl(&["apply", "-f", "-"], Some(MIRRORED)).await?;
    let slices = ["get", "endpointslices", "-o", "name", "-l", "kubernetes.io/service-name=foo"];
    let mirrored = async {
        while kubernetes.kubectl(&slices, None).await?.is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, TestbedError>(())
    };
    timeout(Duration::from_secs(30), mirrored).await.expect("a mirrored slice")?;
    Ok(())
}

#[tokio::test]
async fn the_audit_log_has_each_write() -> Result<(), TestbedError> {
    let kubernetes = Kubernetes::start(KubernetesOptions { audit: true, ..KubernetesOptions::default() }).await?;
    let writes = || -> Result<Vec<String>, TestbedError> {
        let events = kubernetes.audit_events()?;
        let ours = events.iter().filter(|event| event["user"]["username"] == "admin");
        let write = |event: &serde_json::Value| format!("{} {}", event["verb"], event["responseStatus"]["code"]);
        Ok(ours.map(write).filter(|line| !line.starts_with("\"get\"")).collect())
    };
    assert_eq!(writes()?, [""; 0]);
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({ "metadata": { "name": "a" } });
    assert_eq!(kubernetes.request("POST", path, Some(&body)).await?.status, 201);
    assert_eq!(kubernetes.request("POST", path, Some(&body)).await?.status, 409);
    assert_eq!(writes()?, ["\"create\" 201", "\"create\" 409"]);
    Ok(())
}

#[tokio::test]
async fn a_kubectl_that_fails_is_an_error_with_its_words() -> Result<(), TestbedError> {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await?;
    let error = kubernetes.kubectl(&["get", "service", "nothing"], None).await.expect_err("no such service");
    assert!(error.to_string().contains("services \"nothing\" not found"), "{error}");
    Ok(())
}
