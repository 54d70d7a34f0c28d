//! A Consul agent: a server with its own data, or a client agent that joins one.

mod servers;
mod tls;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

use crate::binaries::CONSUL;
use crate::http::{Reply, Request};
use crate::ports::Port;
use crate::process::Server;
use crate::ready::wait_until;
use crate::{Result, TestbedError, backup};

/// A client agent leaves its cluster on SIGTERM, which takes it up to five seconds.
const TERMINATE_LIMIT: Duration = Duration::from_secs(20);
/// See [`Consul::terminate`].
const SECOND_SYNC: Duration = Duration::from_secs(4);
/// The token that may do everything, where access control is on. It guards nothing but a test on this machine.
const MANAGEMENT_TOKEN: &str = "c0ffee00-0000-4000-8000-c0ffee000000";

/// How a Consul server is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulOptions {
    /// Its datacenter.
    pub datacenter: String,
    /// The name of its node.
    pub node_name: String,
    /// Access control: everything is denied without a token, and [`Consul::token`] may do everything.
    pub acl: bool,
    /// Other datacenters can join it ([`Consul::other_datacenter`]).
    pub wan: bool,
    /// HTTP connections that it takes from one address. Consul ends a blocking query only when its time is over, also when who asked
    /// is gone, so many short-lived clients need more than the default.
    pub connections_per_client: u32,
    /// A server that serves HTTPS beside HTTP ([`Consul::https_addr`]), and with it HTTP/2.
    pub https: bool,
    /// HTTPS only for clients with a certificate of ours ([`Consul::client_certificate`]).
    pub verify_incoming: bool,
    /// Other servers seek it where somebody else has to listen and pass on what they say ([`Consul::wire`]), so that it can be cut off: to
    /// this address of the machine, from which it also calls them. Of several servers the next one has the next address.
    pub wired: Option<Ipv4Addr>,
}

/// Consul's own limit.
const CONNECTIONS_PER_CLIENT: u32 = 200;

impl Default for ConsulOptions {
    fn default() -> Self {
        Self {
            datacenter: "dc1".to_owned(),
            node_name: "consul-server".to_owned(),
            acl: false,
            wan: false,
            connections_per_client: CONNECTIONS_PER_CLIENT,
            https: false,
            verify_incoming: false,
            wired: None,
        }
    }
}

/// A real Consul agent on 127.0.0.1, with its data on disk (it was not started with `-dev`). Dropped, it is gone with
/// its data.
#[derive(Debug)]
pub struct Consul {
    // The order of the fields matters: the server ends before its folder and its ports are given back.
    server: Server,
    options: ConsulOptions,
    http_addr: String,
    /// When it last became ready.
    ready: Option<Instant>,
    ports: AgentPorts,
    folder: TempDir,
}

#[derive(Debug)]
struct AgentPorts {
    http: Port,
    /// With [`ConsulOptions::https`].
    https: Option<Port>,
    serf_lan: Port,
    /// Servers talk to each other and to clients here; only servers have one.
    rpc: Option<Port>,
    /// Servers of several datacenters find each other here, with [`ConsulOptions::wan`].
    serf_wan: Option<Port>,
}

impl AgentPorts {
    fn take(is_server: bool, options: &ConsulOptions) -> Result<Self> {
        let port_if = |wanted: bool| wanted.then(Port::take).transpose();
        Ok(Self {
            http: Port::take()?,
            https: port_if(is_server && options.https)?,
            serf_lan: Port::take()?,
            rpc: port_if(is_server)?,
            serf_wan: port_if(is_server && options.wan)?,
        })
    }
}

/// Whom an agent joins.
#[derive(Clone, Copy)]
enum Join<'a> {
    /// It is the first server of its datacenter, and alone.
    Nobody,
    /// As a client, this server.
    Lan(&'a Port),
    /// As the first server of its datacenter, this server of another one.
    Wan(&'a Port),
    /// As one of several servers of a datacenter, all of them, at these addresses for gossip.
    Servers(&'a [String]),
}

impl Consul {
    /// Starts a server of its own datacenter and waits until it has elected itself and registered its node.
    ///
    /// # Errors
    /// When the program is missing, or the server ends or isn't ready within a minute.
    pub async fn start(options: ConsulOptions) -> Result<Self> {
        Self::launch(options, Join::Nobody).await
    }

    /// Starts a client agent that joins this server, and waits until its node is in the catalog and healthy. What is
    /// registered with it (`/v1/agent/service/register`) belongs to the agent: it repairs the catalog, and takes the
    /// service out when it is deregistered there. When the agent is killed, its node becomes critical about ten
    /// seconds later; when it is terminated, its node leaves the catalog.
    ///
    /// # Errors
    /// As [`Consul::start`].
    pub async fn client_agent(&self, node_name: &str) -> Result<Self> {
        let options = ConsulOptions { node_name: node_name.to_owned(), ..self.options.clone() };
        Self::launch(options, Join::Lan(&self.ports.serf_lan)).await
    }

    /// Starts a server of another datacenter that joins this one over WAN, and waits until each answers for the other. This one must have
    /// been started with [`ConsulOptions::wan`]; without it they stay apart.
    ///
    /// # Errors
    /// As [`Consul::start`], and when they don't find each other within a minute.
    pub async fn other_datacenter(&self, datacenter: &str) -> Result<Self> {
        let node_name = format!("{}-{datacenter}", self.options.node_name);
        let options = ConsulOptions { datacenter: datacenter.to_owned(), node_name, wan: true, ..self.options.clone() };
        let mut other = Self::launch(options, self.ports.serf_wan.as_ref().map_or(Join::Nobody, Join::Wan)).await?;
        let asks = [
            (self.http_addr.clone(), datacenter.to_owned()),
            (other.http_addr.clone(), self.options.datacenter.clone()),
        ];
        let (asks, token) = (&asks, self.token());
        let known = move || async move {
            for (address, datacenter) in asks {
                let path = format!("/v1/catalog/nodes?dc={datacenter}");
                let reply = ask(address, token, "GET", &path, None).await.map_err(|error| error.to_string())?;
                if !reply.is_ok() {
                    return Err(format!("{path}: {} {}", reply.status, reply.body));
                }
            }
            Ok(())
        };
        wait_until(&mut [&mut other.server], "answers for each other's datacenter", known).await?;
        Ok(other)
    }

    async fn launch(options: ConsulOptions, join: Join<'_>) -> Result<Self> {
        let ports = AgentPorts::take(!matches!(join, Join::Lan(_)), &options)?;
        let mut consul = Self::prepare(options, ports, join)?;
        consul.start_again().await?;
        Ok(consul)
    }

    /// Everything up to the process.
    fn prepare(options: ConsulOptions, ports: AgentPorts, join: Join<'_>) -> Result<Self> {
        let program = CONSUL.locate()?;
        let folder = tempfile::Builder::new()
            .prefix("consul8s-consul-")
            .tempdir()
            .map_err(TestbedError::io("creating a temporary folder"))?;
        let config = folder.path().join("consul.json");
        let mut text = agent_config(&options, &ports, join, &data_folder(folder.path()));
        if let Some(https) = &ports.https {
            tls::create(&program, folder.path(), &options.datacenter)?;
            text["ports"]["https"] = json!(https.number());
            text["tls"] = tls::config(folder.path(), &options.datacenter, options.verify_incoming);
        }
        fs::write(&config, text.to_string()).map_err(TestbedError::io(format!("writing {}", config.display())))?;
        let arguments = vec!["agent".to_owned(), format!("-config-file={}", config.display())];
        let server = Server::new(&format!("consul-{}", options.node_name), program, arguments, folder.path())?;
        Ok(Self { server, options, http_addr: ports.http.address(), ready: None, ports, folder })
    }

    /// `127.0.0.1:PORT` of its HTTP interface, the same for its whole life; the value for `CONSUL_HTTP_ADDR`.
    #[must_use]
    pub fn http_addr(&self) -> &str {
        &self.http_addr
    }

    /// A new certificate for a client, and its key, as PEM files.
    ///
    /// # Errors
    /// When Consul can't make one.
    pub fn client_certificate(&self) -> Result<(PathBuf, PathBuf)> {
        tls::client(&CONSUL.locate()?, self.folder.path(), &self.options.datacenter)
    }

    /// Another authority, with other certificates, which count once it is started again.
    ///
    /// # Errors
    /// When Consul can't make them.
    pub fn renew_certificates(&mut self) -> Result<()> {
        tls::remove(self.folder.path())?;
        tls::create(&CONSUL.locate()?, self.folder.path(), &self.options.datacenter)
    }

    /// `https://127.0.0.1:PORT`, with [`ConsulOptions::https`]; clients must trust [`Consul::ca_file`].
    #[must_use]
    pub fn https_addr(&self) -> Option<String> {
        self.ports.https.as_ref().map(|port| format!("https://{}", port.address()))
    }

    /// The certificate that its HTTPS interface is to be trusted by, as PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        tls::ca_file(self.folder.path())
    }

    /// The token that may do everything, with [`ConsulOptions::acl`].
    #[must_use]
    pub fn token(&self) -> Option<&'static str> {
        self.options.acl.then_some(MANAGEMENT_TOKEN)
    }

    /// The name of its node in the catalog.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.options.node_name
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Whether it runs, unless it was stopped.
    ///
    /// # Errors
    /// [`TestbedError::Exited`] when it has ended by itself, with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.server.check_alive()
    }

    /// The folder of its data and its log, removed when this value is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it (SIGKILL) and waits until it is gone. Its data stays.
    pub async fn stop(&mut self) {
        self.server.kill();
    }

    /// Asks it to end (SIGTERM) and waits until it is gone; true if it went by itself, false if it had to be killed
    /// after 20 s. A client agent leaves its cluster then, a server does not. Its data stays.
    ///
    /// A client agent gets four seconds between its start and this: it registers its node a second time within three
    /// seconds of finding a server, and one that does so while it leaves is back in the catalog for up to a minute.
    pub async fn terminate(&mut self) -> bool {
        if let (Some(ready), None) = (self.ready, &self.ports.rpc) {
            sleep_until(ready + SECOND_SYNC).await;
        }
        self.server.terminate(TERMINATE_LIMIT).await
    }

    /// Starts it on the data and the ports it had, and waits until it is ready. One that still runs is killed first.
    ///
    /// # Errors
    /// When it ends, or isn't ready within a minute.
    pub async fn start_again(&mut self) -> Result<()> {
        self.server.spawn()?;
        let (address, token, node) = (self.http_addr.as_str(), self.token(), self.options.node_name.as_str());
        let ready = move || look(address, token, node);
        wait_until(&mut [&mut self.server], "leader and healthy node of its own", ready).await?;
        self.ready = Some(Instant::now());
        Ok(())
    }

    /// Kills it if it runs and deletes its data: what [`Consul::start_again`] then starts knows nothing, as a server
    /// that was replaced.
    ///
    /// # Errors
    /// When the data can't be deleted.
    pub async fn wipe(&mut self) -> Result<()> {
        self.stop().await;
        let data = data_folder(self.folder.path());
        fs::remove_dir_all(&data).map_err(TestbedError::io(format!("deleting {}", data.display())))
    }

    /// Ends it in good order, puts a copy of its data aside, and starts it again.
    ///
    /// # Errors
    /// When the data can't be copied, or as [`Consul::start_again`].
    pub async fn back_up(&mut self) -> Result<()> {
        self.terminate().await;
        backup::take(&data_folder(self.folder.path()))?;
        self.start_again().await
    }

    /// Kills it and starts it with the data of the last backup: what was written since never was, and indexes count from a lower one.
    ///
    /// # Errors
    /// As [`Consul::back_up`].
    pub async fn restore(&mut self) -> Result<()> {
        self.stop().await;
        backup::put_back(&data_folder(self.folder.path()))?;
        self.start_again().await
    }

    /// GETs `path`, with its query, and with the token if there is one.
    ///
    /// # Errors
    /// When there is no answer. An answer with a status above 299 is not an error here.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        ask(&self.http_addr, self.token(), "GET", path, None).await
    }

    /// PUTs JSON to `path`, with the token if there is one.
    ///
    /// # Errors
    /// As [`Consul::get`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Reply> {
        ask(&self.http_addr, self.token(), "PUT", path, Some(body)).await
    }
}

/// Whether the agent knows a leader and finds its own node healthy; the reason if it doesn't.
async fn look(address: &str, token: Option<&str>, node: &str) -> std::result::Result<(), String> {
    let get = async |path: &str| ask(address, token, "GET", path, None).await.map_err(|error| error.to_string());
    let leader = get("/v1/status/leader").await?;
    if !leader.is_ok() || leader.json().as_str().is_none_or(str::is_empty) {
        return Err(format!("leader: {} {}", leader.status, leader.body));
    }
    let checks = get(&format!("/v1/health/node/{node}")).await?;
    let is_passing = |check: &Value| check["CheckID"] == "serfHealth" && check["Status"] == "passing";
    if checks.json().as_array().is_some_and(|checks| checks.iter().any(is_passing)) {
        return Ok(());
    }
    Err(format!("checks of its node: {} {}", checks.status, checks.body))
}

async fn ask(
    address: &str,
    token: Option<&str>,
    method: &'static str,
    path: &str,
    body: Option<&Value>,
) -> Result<Reply> {
    let header = token.map(|token| ("X-Consul-Token", token));
    Request { method, address, path, header, body }.send(None).await
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The agent's configuration file. Limits and gossip timing are Consul's own, since the program must live with them.
fn agent_config(options: &ConsulOptions, ports: &AgentPorts, join: Join<'_>, data: &Path) -> Value {
    let mut config = json!({
        "datacenter": options.datacenter,
        "node_name": options.node_name,
        "data_dir": data,
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "disable_update_check": true,
        "ui_config": { "enabled": true },
        "limits": { "http_max_conns_per_client": options.connections_per_client },
        // Every port that is on has a number of its own, so that any number of agents can run side by side.
        "ports": {
            "http": ports.http.number(),
            "serf_lan": ports.serf_lan.number(),
            "dns": -1, "https": -1, "grpc": -1, "grpc_tls": -1, "serf_wan": -1,
        },
    });
    if let Some(rpc) = &ports.rpc {
        if let Some(inside) = options.wired {
            config["bind_addr"] = json!(inside);
            config["advertise_addr"] = json!("127.0.0.1");
            config["serf_lan"] = json!("127.0.0.1");
        }
        config["server"] = json!(true);
        config["bootstrap_expect"] = json!(1);
        // Shortest election timeouts: the default is for small machines far apart.
        config["performance"] = json!({ "raft_multiplier": 1 });
        config["ports"]["server"] = json!(rpc.number());
    }
    if let Some(serf_wan) = &ports.serf_wan {
        config["ports"]["serf_wan"] = json!(serf_wan.number());
    }
    match join {
        Join::Nobody => {}
        Join::Lan(port) => {
            config["retry_join"] = json!([port.address()]);
            config["retry_interval"] = json!("1s");
        }
        Join::Wan(port) => {
            config["retry_join_wan"] = json!([port.address()]);
            config["retry_interval_wan"] = json!("1s");
        }
        Join::Servers(all) => {
            config["bootstrap_expect"] = json!(all.len());
            config["retry_join"] = json!(all);
            config["retry_interval"] = json!("1s");
        }
    }
    if options.acl {
        let mut tokens = json!({ "agent": MANAGEMENT_TOKEN });
        if ports.rpc.is_some() {
            tokens["initial_management"] = json!(MANAGEMENT_TOKEN);
        }
        config["acl"] = json!({ "enabled": true, "default_policy": "deny", "tokens": tokens });
    }
    config
}
