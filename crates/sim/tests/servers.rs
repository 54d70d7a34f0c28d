//! Servers on loopback sockets: they stop for real, and the worlds outlive them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect, in its helpers too")]

mod common;

use common::Client;
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::kube::Resource;
use consul8s_sim::{ConsulWorld, KubeWorld, serve_consul, serve_kube};
use http::Method;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_stopped_server_cuts_its_polls_and_a_new_one_has_the_old_state() {
    let world = ConsulWorld::new();
    let server = serve_consul(world.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let address = server.address();
    assert_eq!(server.url(), format!("http://{address}"));
    let mut client = Client::over(TcpStream::connect(address).await.unwrap()).await;
    client.put("/v1/catalog/register", r#"{"Node":"n","Address":"1.1.1.1","Service":{"Service":"foo"}}"#).await;
    let index = client.get("/v1/health/service/foo").await.index();
    let path = format!("/v1/health/service/foo?index={index}&wait=5m");
    let poll = tokio::spawn(async move { client.send(Method::GET, &path, "", "").await.is_err() });
    let mut other = Client::over(TcpStream::connect(address).await.unwrap()).await;
    other.get("/v1/status/leader").await;
    server.shutdown().await;
    assert!(poll.await.unwrap(), "cut");
    assert!(TcpStream::connect(address).await.is_err(), "refused");
    let _again = serve_consul(world, TcpListener::bind(address).await.unwrap()).unwrap();
    let mut client = Client::over(TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(client.get("/v1/health/service/foo").await.index(), index);
}

#[tokio::test]
async fn a_dropped_server_stops_too() {
    let world = KubeWorld::default();
    let server = serve_kube(world.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let address = server.address();
    let mut client = Client::over(TcpStream::connect(address).await.unwrap()).await;
    let body = r#"{"metadata":{"name":"foo"},"spec":{"ports":[{"port":80}]}}"#;
    assert_eq!(client.post("/api/v1/namespaces/default/services", body).await.status, 201);
    drop(server);
    assert!(client.send(Method::GET, "/version", "", "").await.is_err());
    assert!(world.read(|cluster| cluster.get(Resource::Services, &ObjectKey::new("default", "foo"))).is_ok());
}
