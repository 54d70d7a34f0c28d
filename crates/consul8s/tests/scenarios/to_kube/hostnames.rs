//! Hostnames in the catalog (contract §2, "Addresses"): resolved, and refreshed as their records run out. The program plays in a mount
//! namespace of its own, where a name server of this process is the system's.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `hostname_by_dns` | its addresses are published and follow the records; a lookup that fails keeps the last answer, also over a restart; judged by what it resolves to |

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::{Kind, Outcome, Scenario, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(hostname_by_dns).only(Kind::Real, "only one scenario can have the port of a name server")];

/// Where the name server listens; a loopback address that nobody else has.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 53, 88, 1);
/// Records are looked up again after five seconds at the soonest.
const TTL: u32 = 5;
const REFRESHED: Duration = Duration::from_secs(30);

/// A name server that knows one name, or for the moment none.
struct Dns {
    known: Arc<Mutex<Option<Ipv4Addr>>>,
    task: JoinHandle<()>,
}

impl Dns {
    /// None where this process may not have the port.
    async fn start() -> Outcome<Option<Dns>> {
        let socket = match UdpSocket::bind((SERVER, 53)).await {
            Ok(socket) => socket,
            Err(why) if why.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(why) => return Err(format!("a name server at {SERVER}: {why}")),
        };
        let known = Arc::new(Mutex::new(None));
        let of_task = Arc::clone(&known);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let address = *of_task.lock().expect("nobody panics with it");
                let Ok(reply) = reply(&question, address).to_vec() else { continue };
                // Whoever asked may be gone.
                let _ = socket.send_to(&reply, from).await;
            }
        });
        Ok(Some(Dns { known, task }))
    }

    fn says(&self, address: Option<&str>) {
        *self.known.lock().expect("nobody panics with it") = address.and_then(|text| text.parse().ok());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(question: &Message, address: Option<Ipv4Addr>) -> Message {
    let mut reply = Message::new(question.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_queries(question.queries.clone());
    let Some(query) = question.queries.first() else { return reply };
    match address {
        None => reply.metadata.response_code = ResponseCode::ServFail,
        Some(address) if query.query_type() == RecordType::A => {
            let name = Name::from_str(&query.name().to_string()).unwrap_or_default();
            reply.add_answer(Record::from_rdata(name, TTL, RData::A(A(address))));
        }
        Some(_) => {}
    }
    reply
}

#[expect(clippy::print_stderr, reason = "what was not played is said")]
async fn hostname_by_dns(world: &World) -> Outcome {
    let Some(dns) = Dns::start().await? else {
        eprintln!("hostname_by_dns was not played: only root may have the port of a name server");
        return Ok(());
    };
    let [steady] = world.registered_instances("web").await?;
    let named = world.instance("web").at("DB.example.com.", 5432).checked("passing");
    world.consul.register(&named).await?;
    world.create_to_kube("web", |_| ()).await?;
    dns.says(Some("10.99.5.1"));
    let launch = || world.program().dns(SERVER).start();
    let program = launch()?;
    let steady = format!("{}:8080 ready", steady.address);
    let shows = async |line: &str| world.publishes_within(REFRESHED, "web", &[&steady, line]).await;
    shows("10.99.5.1:5432 ready").await?;
    let record = world.record("web").await?;
    dns.says(Some("10.99.5.2"));
    shows("10.99.5.2:5432 ready").await?;

    dns.says(None);
    sleep(Duration::from_secs(12)).await;
    shows("10.99.5.2:5432 ready").await?;
    world.consul.register(&named.clone().checked("critical")).await?;
    shows("10.99.5.2:5432 not-ready").await?;
    world.consul.register(&named).await?;
    shows("10.99.5.2:5432 ready").await?;
    program.terminate(Duration::from_secs(5)).await?;
    let program = launch()?;
    program.counts("consul8s_instances_dropped", &[("reason", "unresolvable")], |count| count == 1.0).await?;
    sleep(Duration::from_secs(5)).await;
    shows("10.99.5.2:5432 ready").await?;
    record.always("two endpoints at least", |endpoints| endpoints.len() >= 2)?;

    dns.says(Some("169.254.169.254"));
    world.publishes_within(REFRESHED * 3, "web", &[&steady]).await?;
    program.counts("consul8s_instances_dropped", &[("reason", "address")], |count| count == 1.0).await?;
    dns.says(Some("10.99.5.3"));
    shows("10.99.5.3:5432 ready").await?;
    Ok(())
}
