//! What telling costs a real API server, by its own audit log, and how kubectl shows it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it saw"
)]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Far above what anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Longer than it takes until what followed the start is told.
const SETTLED: Duration = Duration::from_secs(5);
/// Many audits of every second.
const IDLE: Duration = Duration::from_secs(20);
/// Ten flips a second for so long.
const FLAPPING: Duration = Duration::from_secs(20);

/// Both servers, and the program beside them.
struct Play {
    kubernetes: Kubernetes,
    consul: Consul,
    _program: Child,
}

impl Play {
    async fn start() -> Play {
        let options = KubernetesOptions { audit: true, ..KubernetesOptions::default() };
        let (kubernetes, consul) = tokio::join!(Kubernetes::start(options), Consul::start(ConsulOptions::default()));
        let (kubernetes, consul) = (kubernetes.unwrap(), consul.unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_consul8s"));
        command.env_clear().arg("--kubeconfig").arg(kubernetes.kubeconfig());
        command.args(["--consul", consul.http_addr(), "--admin-address", "off", "--interval", "1"]);
        let program = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Play { kubernetes, consul, _program: program }
    }

    async fn create(&self, name: &str, source: &str, annotations: &Value) {
        let body = json!({
            "metadata": {"name": name, "labels": {"consul8s_source": source}, "annotations": annotations},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        });
        let reply = self.kubernetes.request("POST", "/api/v1/namespaces/default/services", Some(&body)).await.unwrap();
        assert_eq!(reply.status, 201, "{}", reply.body);
    }

    async fn instance(&self, service: &str, n: u8, status: &str) {
        let id = format!("{service}-{n}");
        let check = json!({"CheckID": format!("check-{id}"), "Name": "it works", "ServiceID": id, "Status": status});
        let body = json!({
            "Node": format!("vm-{n}"), "Address": format!("10.0.0.{n}"),
            "Service": {"ID": id, "Service": service, "Address": format!("10.0.0.{n}"), "Port": 8080}, "Checks": [check],
        });
        let reply = self.consul.put("/v1/catalog/register", &body).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    async fn condition(&self, service: &str) -> String {
        let path = format!("/api/v1/namespaces/default/services/{service}");
        let service = self.kubernetes.request("GET", &path, None).await.unwrap().json();
        let condition = &service["status"]["conditions"][0];
        format!("{} {}: {}", condition["status"], condition["reason"], condition["message"])
    }

    async fn says(&self, service: &str, wanted: &str) {
        let start = Instant::now();
        while !self.condition(service).await.contains(wanted) {
            assert!(start.elapsed() < SOON, "{service}: {}", self.condition(service).await);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes that the API server took from the program so far, by verb and resource; its Lease is left out.
    fn writes(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.kubernetes.audit_events().unwrap() {
            let (verb, agent) = (&request["verb"], &request["userAgent"]);
            let object = &request["objectRef"];
            let writes = ["create", "update", "patch", "delete"].iter().any(|it| *verb == **it);
            let ours = agent.as_str().is_some_and(|agent| agent.starts_with("consul8s"));
            if writes && ours && object["resource"] != "leases" {
                let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
                let what = format!("{} {}{part}", verb.as_str().unwrap(), object["resource"].as_str().unwrap());
                *counts.entry(what).or_default() += 1;
            }
        }
        counts
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubernetes.kubectl(arguments, None).await.unwrap()
    }
}

#[tokio::test]
async fn it_is_seen_and_costs_little_on_real_servers() {
    let play = Play::start().await;
    play.create("web", "consul", &json!({})).await;
    play.create("flap", "consul", &json!({})).await;
    play.create("db", "kubernetes", &json!({"domainName": "db.example.com"})).await;
    for (n, status) in [(1, "passing"), (2, "passing"), (3, "critical")] {
        play.instance("web", n, status).await;
    }
    play.instance("flap", 9, "passing").await;
    play.says("web", "2 of 3 published; 1 left out: critical").await;
    play.says("flap", "1 of 1 published").await;
    play.says("db", "1 of 1 registered as db").await;
    shows(&play).await;

    sleep(SETTLED).await;
    let before = play.writes();
    println!("a start with three Services: {before:?}");
    sleep(IDLE).await;
    assert_eq!(play.writes(), before, "nothing is written while nothing changes");

    let start = Instant::now();
    let mut flips = 0;
    while start.elapsed() < FLAPPING {
        for status in ["critical", "passing"] {
            play.instance("flap", 9, status).await;
            flips += 1;
            sleep(Duration::from_millis(90)).await;
        }
    }
    play.says("flap", "\"True\" \"EndpointsUpdated\": \"1 of 1 published").await;
    let after = play.writes();
    let added = |what: &str| after.get(what).copied().unwrap_or(0) - before.get(what).copied().unwrap_or(0);
    let events = added("create events") + added("patch events");
    println!(
        "{flips} flips in {FLAPPING:?}: {} writes of slices, {} of conditions, {events} of Events",
        added("update endpointslices"),
        added("patch services/status")
    );
    assert!(
        added("update endpointslices") > flips / 4,
        "each flip is followed, as far as the pace of one Service allows"
    );
    assert!((1..=8).contains(&added("patch services/status")) && (1..=6).contains(&events), "{after:?}");
}

/// As people look at it.
async fn shows(play: &Play) {
    let described = play.kubectl(&["describe", "service", "web"]).await;
    let events = described.split("Events:").nth(1).unwrap();
    assert!(
        ["Normal", "EndpointsUpdated", "consul8s", "2 of 3 published; 1 left out: critical"]
            .iter()
            .all(|it| events.contains(it)),
        "{described}"
    );
    let listed = play.kubectl(&["get", "events"]).await;
    for line in ["service/web", "service/db", "EndpointsUpdated", "Registered"] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    println!("{listed}");
    let waits = ["wait", "--for=condition=consul8s/Synced", "service/web", "service/db", "--timeout=5s"];
    assert!(play.kubectl(&waits).await.contains("service/db condition met"));
}
