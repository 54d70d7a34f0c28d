//! The task against a scripted resolver in virtual time, and the system's resolver against a DNS server of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;

/// Answers with one more address each time; those that begin with `bad` fail.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl Resolver for Scripted {
    fn look_up<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found, String>> {
        Box::pin(async move {
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let mut asked = self.asked.lock().unwrap();
            asked.push(name.to_owned());
            if name.starts_with("bad") {
                return Err("no such name".to_owned());
            }
            let nth = u8::try_from(asked.iter().filter(|one| *one == name).count()).unwrap();
            Ok(Found { addresses: vec![[10, 0, 0, nth].into()], failed: None, good_for: Duration::from_secs(30) })
        })
    }
}

/// What was told of whom, with the seconds since the start.
type Log = Arc<Mutex<Vec<(u64, String, Option<IpAddr>)>>>;

fn start(resolver: &Arc<Scripted>) -> (mpsc::UnboundedSender<Turns>, Log) {
    let (turns, taken) = mpsc::unbounded_channel();
    let (log, start) = (Log::default(), Instant::now());
    let told = log.clone();
    tokio::spawn(run(resolver.clone(), taken, move |name, found| {
        let first = found.and_then(|found| found.addresses.first().copied());
        told.lock().unwrap().push((start.elapsed().as_secs(), name.to_owned(), first));
    }));
    (turns, log)
}

fn begin(names: &[&str]) -> Turns {
    Turns { begin: names.iter().map(|name| (*name).to_owned()).collect(), end: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_again_and_a_failure_is_told_as_one() {
    let (turns, log) = start(&Arc::default());
    turns.send(begin(&["db", "bad"])).unwrap();
    tokio::time::sleep(Duration::from_secs(32)).await;
    let mut seen = std::mem::take(&mut *log.lock().unwrap());
    seen.sort();
    let address = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    let of = |at: u64, name: &str, address: Option<IpAddr>| (at, name.to_owned(), address);
    let failures = [(0, None), (5, None), (15, None)].map(|(at, found)| of(at, "bad", found));
    let mut wanted = failures.to_vec();
    wanted.extend([of(0, "db", address(1)), of(30, "db", address(2))]);
    wanted.sort();
    assert_eq!(seen, wanted);
    turns.send(Turns { begin: vec![], end: vec!["db".into(), "bad".into()] }).unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(*log.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_looked_up_side_by_side() {
    let resolver = Arc::new(Scripted::default());
    let (turns, log) = start(&resolver);
    let names: Vec<String> = (0..200).map(|n| format!("host-{n}")).collect();
    turns.send(Turns { begin: names, end: Vec::new() }).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(log.lock().unwrap().len(), 200);
    assert_eq!(resolver.most.load(Ordering::SeqCst), AT_ONCE);
}

/// A DNS server that knows four names, and is deaf to a half of one.
async fn dns() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
            let query = &question.queries[0];
            if query.name().to_string() == "deaf.example.com." && query.query_type() == RecordType::AAAA {
                continue;
            }
            socket.send_to(&reply(&question).to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

fn reply(question: &Message) -> Message {
    let mut reply = Message::new(question.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_queries(question.queries.clone());
    let query = &question.queries[0];
    let (v4, v6) = (A::new(10, 0, 0, 7), AAAA::from_str("fd00::7").unwrap());
    let data = match (query.name().to_string().as_str(), query.query_type()) {
        ("both.example.com.", RecordType::A)
        | ("four.example.com.", RecordType::A)
        | ("deaf.example.com.", RecordType::A)
        | ("half.example.com.", RecordType::A) => Some(RData::A(v4)),
        ("both.example.com.", RecordType::AAAA) => Some(RData::AAAA(v6)),
        ("half.example.com.", RecordType::AAAA) => {
            reply.metadata.response_code = ResponseCode::ServFail;
            None
        }
        ("four.example.com.", _) => None,
        _ => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            None
        }
    };
    if let Some(data) = data {
        let name = Name::from_str(&query.name().to_string()).unwrap();
        reply.add_answer(Record::from_rdata(name, 42, data));
    }
    reply
}

#[tokio::test]
async fn the_system_s_resolver_asks_for_both_families() {
    let server = dns().await;
    let mut config = NameServerConfig::udp(server.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let system = System::with(ResolverConfig::from_name_servers(vec![config])).unwrap();
    let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap());
    for (name, addresses, failed) in [
        ("both.example.com", vec![v4, v6], None),
        ("four.example.com", vec![v4], None),
        ("half.example.com", vec![v4], Some(Family::V6)),
        ("deaf.example.com", vec![v4], Some(Family::V6)),
    ] {
        let found = tokio::time::timeout(Duration::from_secs(4), system.look_up(name)).await.expect("in time").unwrap();
        assert_eq!((&found.addresses, found.failed), (&addresses, failed), "{name}");
        let ttl = found.good_for.as_secs();
        assert!((38..=42).contains(&ttl), "{name}: {ttl}");
    }
    let error = system.look_up("none.example.com").await.unwrap_err();
    assert_eq!(error, "it has no address");
}
