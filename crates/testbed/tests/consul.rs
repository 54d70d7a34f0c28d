//! The Consul agents of this crate, for real.

use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions, TestbedError};
use serde_json::json;
use tokio::time::{sleep, timeout};

async fn register(consul: &Consul, path: &str, body: serde_json::Value) {
    let reply = consul.put(path, &body).await.expect("an answer");
    assert!(reply.is_ok(), "{path}: {reply:?}");
}

async fn instances(consul: &Consul, service: &str) -> usize {
    let reply = consul.get(&format!("/v1/catalog/service/{service}")).await.expect("an answer");
    reply.json().as_array().expect("a list").len()
}

/// Polls until `path` answers a body that contains `text`.
async fn until_contains(consul: &Consul, path: &str, text: &str, contained: bool) {
    let waiting = async {
        while consul.get(path).await.expect("an answer").body.contains(text) != contained {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{path}: {text} is {}", !contained));
}

#[tokio::test]
async fn data_and_address_stay_through_stop_and_terminate() -> Result<(), TestbedError> {
    let mut consul = Consul::start(ConsulOptions::default()).await?;
    let address = consul.http_addr().to_owned();
    let web = json!({ "Node": "vm-1", "Address": "10.0.0.1", "Service": { "Service": "web", "Port": 80 } });
    register(&consul, "/v1/catalog/register", web).await;

    consul.stop().await;
    assert_eq!(consul.pid(), None);
    assert!(consul.get("/v1/status/leader").await.is_err());
    consul.start_again().await?;
    assert_eq!(consul.http_addr(), address);
    assert_eq!(instances(&consul, "web").await, 1);

    assert!(consul.terminate().await, "it had to be killed");
    consul.start_again().await?;
    assert_eq!(instances(&consul, "web").await, 1);

    consul.wipe().await?;
    consul.start_again().await?;
    assert_eq!(instances(&consul, "web").await, 0);
    Ok(())
}

#[tokio::test]
async fn access_control_denies_without_the_token() -> Result<(), TestbedError> {
    let consul = Consul::start(ConsulOptions { acl: true, ..ConsulOptions::default() }).await?;
    let web = json!({ "Node": "vm-1", "Address": "10.0.0.1", "Service": { "Service": "web", "Port": 80 } });
    register(&consul, "/v1/catalog/register", web).await;
    assert_eq!(instances(&consul, "web").await, 1);
    assert_eq!(without_token(consul.http_addr(), "/v1/catalog/service/web").await, "[]");
    Ok(())
}

/// The body of an answer to somebody without a token.
async fn without_token(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split("\r\n\r\n").nth(1).expect("a body").to_owned()
}

#[tokio::test]
async fn a_client_agent_owns_its_services() -> Result<(), TestbedError> {
    let server = Consul::start(ConsulOptions::default()).await?;
    let mut agent = server.client_agent("vm-1").await?;
    register(&agent, "/v1/agent/service/register", json!({ "Name": "db", "Port": 5432 })).await;
    until_contains(&server, "/v1/catalog/service/db", "vm-1", true).await;

    agent.stop().await;
    until_contains(&server, "/v1/health/node/vm-1", "critical", true).await;
    agent.start_again().await?;
    until_contains(&server, "/v1/health/node/vm-1", "critical", false).await;

    Ok(())
}

#[tokio::test]
async fn a_client_agent_leaves_when_it_is_terminated() -> Result<(), TestbedError> {
    let server = Consul::start(ConsulOptions::default()).await?;
    let mut agent = server.client_agent("vm-1").await?;
    until_contains(&server, "/v1/catalog/nodes", "vm-1", true).await;
    assert!(agent.terminate().await, "it had to be killed");
    until_contains(&server, "/v1/catalog/nodes", "vm-1", false).await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_ends_at_once_says_why() {
    let options = ConsulOptions { datacenter: "not a datacenter".to_owned(), ..ConsulOptions::default() };
    let error = Consul::start(options).await.expect_err("a wrong name").to_string();
    for part in ["consul-consul-server ended by itself", "-config-file=", "not a datacenter"] {
        assert!(error.contains(part), "{part:?} is not in:\n{error}");
    }
}

#[tokio::test]
async fn datacenters_answer_for_each_other() -> Result<(), TestbedError> {
    let first = Consul::start(ConsulOptions { wan: true, ..ConsulOptions::default() }).await?;
    let mut second = first.other_datacenter("dc2").await?;
    let web = json!({ "Node": "vm-1", "Address": "10.0.0.1", "Service": { "Service": "web", "Port": 80 } });
    register(&second, "/v1/catalog/register", web).await;
    assert_eq!(instances(&second, "web").await, 1);
    assert_eq!(instances(&first, "web").await, 0);
    assert_eq!(instances(&first, "web?dc=dc2").await, 1);
    second.stop().await;
    second.start_again().await?;
    until_contains(&first, "/v1/catalog/service/web?dc=dc2", "vm-1", true).await;
    Ok(())
}

#[tokio::test]
async fn three_servers_survive_the_loss_of_their_leader() -> Result<(), TestbedError> {
    let mut servers = Consul::start_servers(&ConsulOptions::default(), 3).await?;
    let web = json!({ "Node": "vm-1", "Address": "10.0.0.1", "Service": { "Service": "web", "Port": 80 } });
    register(&servers[0], "/v1/catalog/register", web).await;
    let first = servers[0].leader_among(&servers).await?.expect("a leader");
    servers[first].stop().await;
    let other = (first + 1) % 3;
    let another_leads = async {
        loop {
            match servers[other].leader_among(&servers).await.expect("an answer") {
                Some(leader) if leader != first => return,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(Duration::from_secs(60), another_leads).await.expect("another leads");
    assert_eq!(instances(&servers[other], "web").await, 1);
    servers[first].start_again().await?;
    for server in &mut servers {
        server.wipe().await?;
    }
    Consul::start_all(&mut servers).await?;
    assert_eq!(instances(&servers[first], "web").await, 0);
    Ok(())
}
