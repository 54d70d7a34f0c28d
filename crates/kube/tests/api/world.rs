//! What the scenarios need of an API besides the edge itself: another client.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use consul8s_core::ports::{Watch, WatchEvent};
use consul8s_kube::{Access, Connection};
use serde_json::{Value, json};

/// Longer than any wait of a test that passes: the longest backoff and then some.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// A running Kubernetes API.
pub(crate) trait World {
    /// How to reach it.
    fn kubeconfig(&self) -> PathBuf;

    /// What somebody else asks of it: status and body of the answer.
    fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> impl Future<Output = (u16, Value)>;

    /// It goes away in the middle of everything; what it holds stays.
    fn stop(&mut self) -> impl Future<Output = ()>;

    /// It comes back at the same address; returns when it answers.
    fn start(&mut self) -> impl Future<Output = ()>;
}

/// A connection as the program makes it.
pub(crate) async fn connect(world: &impl World) -> Connection {
    Access { kubeconfig: Some(world.kubeconfig()), context: None }.connect().await.unwrap()
}

/// A request that must succeed.
pub(crate) async fn done(world: &impl World, method: &'static str, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = world.request(method, path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

/// A namespace for one scenario.
pub(crate) async fn namespace(world: &impl World, name: &str) {
    done(world, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": name}}))).await;
}

/// A Service without selector; its uid.
pub(crate) async fn service(world: &impl World, namespace: &str, name: &str) -> String {
    let body = json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}});
    let made = done(world, "POST", &services(namespace), Some(body)).await;
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Where the Services of a namespace are.
pub(crate) fn services(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services")
}

/// Where the slices of a namespace are.
pub(crate) fn slices(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

/// The next event of a watch.
pub(crate) async fn next<T>(watch: &mut impl Watch<T>) -> WatchEvent<T> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time")
}
