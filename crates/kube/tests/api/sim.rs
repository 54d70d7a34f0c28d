//! The scenarios against the embedded Kubernetes API.

use std::net::SocketAddr;
use std::path::PathBuf;

use consul8s_sim::{KubeWorld, Server, serve_kube};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use crate::world::World;
use crate::{leasing, reading, telling, writing};

struct Embedded {
    world: KubeWorld,
    /// None while it is stopped.
    server: Option<Server>,
    address: SocketAddr,
    kubeconfig: NamedTempFile,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Embedded {
    async fn new() -> Embedded {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = KubeWorld::default();
        let server = Some(serve_kube(world.clone(), listener).unwrap());
        let kubeconfig = NamedTempFile::new().unwrap();
        let cluster = serde_json::json!({
            "current-context": "sim",
            "contexts": [{"name": "sim", "context": {"cluster": "sim"}}],
            "clusters": [{"name": "sim", "cluster": {"server": format!("http://{address}")}}],
        });
        std::fs::write(kubeconfig.path(), cluster.to_string()).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Embedded { world, server, address, kubeconfig, client }
    }
}

impl World for Embedded {
    fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.path().to_owned()
    }

    async fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let request = request.header("Content-Type", "application/json").body(Full::from(body)).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&text).unwrap_or_default())
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().shutdown().await;
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.server = Some(serve_kube(self.world.clone(), listener).unwrap());
    }
}

#[tokio::test]
async fn all_scenarios() {
    let world = Embedded::new().await;
    reading::reads(&world).await;
    reading::reads_of_others(&world).await;
    reading::watches_services(&world).await;
    reading::watches_slices(&world).await;
    reading::watches_nodes(&world).await;
    reading::lists_in_pages(&world).await;
    reading::tells_at_once(&world).await;
    writing::writes(&world).await;
    writing::writes_only_what_it_knows(&world).await;
    writing::says_what_is_refused(&world).await;
    telling::sets_our_condition(&world).await;
    telling::sets_it_on_no_other_service(&world).await;
    telling::a_watch_shows_the_condition(&world).await;
    telling::tells_events(&world).await;
    telling::tells_of_a_lease(&world).await;
    telling::says_what_cannot_be_told(&world).await;
    leasing::holds_a_lease(&world).await;
    leasing::only_one_gets_a_lease(&world).await;
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    reading::survives_a_restart(Embedded::new().await).await;
}
