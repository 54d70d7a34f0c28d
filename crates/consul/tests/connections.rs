//! Connections: how many, which one, and what happens when they end.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Reply, Server, ok, parameter};
use consul8s_consul::dial::{Dialed, Dialer};
use consul8s_consul::{Address, Client, ClientConfig};
use consul8s_core::consul::{HealthQuery, Read};
use consul8s_core::ports::{ConsulApi as _, ErrorKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

const WAIT: Duration = Duration::from_secs(300);

fn service(at: usize) -> HealthQuery {
    HealthQuery { name: format!("s{at}"), ..HealthQuery::default() }
}

/// A Consul in which nothing happens: a blocking query lasts its wait.
fn quiet(head: &str) -> Reply {
    let wait = parameter(head, "wait").and_then(|wait| wait.trim_end_matches("ms").parse().ok());
    match wait {
        Some(millis) => Reply::After(Duration::from_millis(millis), ok(9, "[]")),
        None => Reply::Bytes(ok(9, "[]")),
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_kept_and_used_again() {
    let (server, client) = Server::start(ClientConfig::default(), quiet);
    for at in 0..20 {
        client.health(&service(at), Read::Stale).await.expect("an answer");
        client.health(&service(at), Read::Consistent).await.expect("an answer");
    }
    assert_eq!(server.dialed.load(Ordering::SeqCst), 1);
    // One that has been idle for long is not trusted.
    tokio::time::advance(Duration::from_secs(60)).await;
    client.health(&service(0), Read::Stale).await.expect("an answer");
    assert_eq!(server.dialed.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_while_idle_is_replaced_unseen() {
    let (server, client) = Server::start(ClientConfig::default(), |_| Reply::Last(ok(9, "[]")));
    for at in 0..3 {
        client.health(&service(at), Read::Stale).await.expect("an answer");
    }
    assert_eq!(server.dialed.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_query_over_a_new_connection_bears_no_index() {
    let (server, client) = Server::start(ClientConfig::default(), quiet);
    let began = Instant::now();
    for _ in 0..2 {
        client.health(&service(0), Read::Blocking { index: 9, wait: WAIT }).await.expect("an answer");
    }
    assert_eq!(began.elapsed(), WAIT);
    let path = "GET /v1/health/service/s0?stale&max_stale=10s";
    assert_eq!(server.lines(), [path.to_owned(), format!("{path}&index=9&wait=300000ms")]);
}

#[tokio::test(start_paused = true)]
async fn the_next_address_takes_over_and_stays() {
    let addresses = ["a:1", "b:2"].map(|address| Address::parse(address).expect("an address"));
    let config = ClientConfig { addresses: addresses.into(), ..ClientConfig::default() };
    let (server, client) = Server::start(config, quiet);
    server.down.lock().expect("no panic").push("http://a:1".into());
    client.health(&service(0), Read::Stale).await.expect("an answer");
    assert_eq!(client.address(), "http://b:2");
    *server.down.lock().expect("no panic") = vec!["http://b:2".into()];
    tokio::time::advance(Duration::from_secs(60)).await;
    client.health(&service(0), Read::Stale).await.expect("an answer");
    assert_eq!(client.address(), "http://a:1");
    server.down.lock().expect("no panic").push("http://a:1".into());
    tokio::time::advance(Duration::from_secs(60)).await;
    let error = client.health(&service(0), Read::Stale).await.expect_err("nobody there");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.what.contains("http://a:1: refused") && error.what.contains("http://b:2: refused"), "{}", error.what);
}

#[tokio::test(start_paused = true)]
async fn polls_leave_room_for_writes_and_confirming_reads() {
    let config = ClientConfig { max_connections: 20, ..ClientConfig::default() };
    let (server, client) = Server::start(config, |head| {
        if parameter(head, "stale").is_none() && head.contains("?consistent") {
            quiet(head)
        } else {
            Reply::Stall(Vec::new())
        }
    });
    let polls: Vec<_> = (0..40)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move { client.health(&service(at), Read::Stale).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.open.load(Ordering::SeqCst), 18);
    let began = Instant::now();
    client.health(&service(0), Read::Consistent).await.expect("an answer");
    assert_eq!(began.elapsed(), Duration::ZERO);
    for poll in polls {
        poll.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_not_kept_waiting_by_long_polls() {
    let config = ClientConfig { max_connections: 10, ..ClientConfig::default() };
    let (server, client) = Server::start(config, quiet);
    let polls: Vec<_> = (0..8)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    client.health(&service(at), Read::Blocking { index: 9, wait: WAIT }).await.expect("an answer");
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(client.watch_delay_bound(), Duration::ZERO);
    let began = Instant::now();
    client.health(&service(8), Read::Stale).await.expect("an answer");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(server.most_open.load(Ordering::SeqCst) <= 10);
    for poll in polls {
        poll.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn more_polls_than_connections_take_turns_within_the_bound() {
    let index = Arc::new(AtomicUsize::new(9));
    let now = index.clone();
    let config = ClientConfig { max_connections: 83, ..ClientConfig::default() };
    let (server, client) = Server::start(config, move |head| {
        let current = now.load(Ordering::SeqCst) as u64;
        let asked: u64 = parameter(head, "index").and_then(|index| index.parse().ok()).unwrap_or(0);
        if current > asked { Reply::Bytes(ok(current, "[]")) } else { quiet(head) }
    });
    let began = Instant::now();
    let polls: Vec<_> = (0..300)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut index = 9;
                while index == 9 {
                    let read = Read::Blocking { index, wait: WAIT };
                    index = client.health(&service(at), read).await.expect("an answer").meta.index;
                }
                Instant::now()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let bound = client.watch_delay_bound();
    assert!(bound > Duration::from_secs(1) && bound <= Duration::from_secs(5), "{bound:?}");
    index.store(10, Ordering::SeqCst);
    let changed = Instant::now();
    for poll in polls {
        let seen = poll.await.expect("no panic");
        assert!(seen - changed <= bound, "{:?} of {bound:?}", seen - changed);
    }
    assert!(server.most_open.load(Ordering::SeqCst) <= 83);
    // About one request per turn, and not a hot loop.
    let rounds = began.elapsed().as_secs() + 1;
    let asked = server.lines().len() as u64;
    assert!(asked < rounds * 300, "{asked} in {rounds} s");
}

/// An HTTP/2 server over in-memory pipes that holds blocking queries for ever.
struct Shared {
    dialed: AtomicUsize,
    requests: Arc<AtomicUsize>,
}

impl Dialer for Shared {
    fn dial(&self, _: &Address) -> BoxFuture<'static, io::Result<Dialed>> {
        self.dialed.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let requests = self.requests.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let requests = requests.clone();
                async move {
                    requests.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(request.uri().authority().map(|authority| authority.as_str()), Some("consul:8501"));
                    if request.uri().query().is_some_and(|query| query.contains("index=")) {
                        std::future::pending::<()>().await;
                    }
                    let answer = http::Response::builder().header("x-consul-index", "9");
                    answer.body(Full::new(Bytes::from_static(b"[]")))
                }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(250);
            let _ = builder.serve_connection(TokioIo::new(theirs), service).await;
        });
        async move { Ok(Dialed { stream: Box::new(TokioIo::new(ours)), http2: true }) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_thousand_polls_need_ten_connections() {
    let server = Arc::new(Shared { dialed: AtomicUsize::new(0), requests: Arc::default() });
    let addresses = vec![Address::parse("https://consul:8501").expect("an address")];
    let client = Client::with_dialer(ClientConfig { addresses, ..ClientConfig::default() }, server.clone());
    let polls: Vec<_> = (0..1000)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move {
                // As a watch begins. The poll has its index from this Consul, though the connections are young.
                client.health(&service(at), Read::Stale).await.expect("an answer");
                client.health(&service(at), Read::Blocking { index: 9, wait: WAIT }).await.map(|_| ())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(client.is_http2());
    assert_eq!(client.watch_delay_bound(), Duration::ZERO);
    assert_eq!(server.requests.load(Ordering::SeqCst), 2000);
    let dialed = server.dialed.load(Ordering::SeqCst);
    assert!((10..=11).contains(&dialed), "{dialed}");
    let began = Instant::now();
    client.health(&service(0), Read::Consistent).await.expect("an answer");
    assert_eq!(began.elapsed(), Duration::ZERO);
    for poll in polls {
        poll.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_is_left_for_the_next_with_all_that_wait_there() {
    let addresses = ["a:1", "b:2"].map(|address| Address::parse(address).expect("an address"));
    let config = ClientConfig { addresses: addresses.into(), ..ClientConfig::default() };
    let (server, client) = Server::start(config, |head| {
        let hangs = head.contains("host: a:1") && !head.contains("s0?stale");
        if hangs { Reply::Stall(Vec::new()) } else { quiet(head) }
    });
    client.health(&service(0), Read::Stale).await.expect("an answer");
    let poll = tokio::spawn({
        let client = client.clone();
        async move { client.health(&service(1), Read::Blocking { index: 9, wait: WAIT }).await }
    });
    let began = Instant::now();
    let error = client.health(&service(2), Read::Consistent).await.expect_err("a hangs");
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(client.address(), "http://b:2");
    // Without an index, since b may count otherwise; so the answer is there at once.
    poll.await.expect("no panic").expect("an answer");
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    assert_eq!(server.lines().last().map(String::as_str), Some("GET /v1/health/service/s1?stale&max_stale=10s"));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_leader_is_left_for_the_next() {
    for answer in [
        ok(9, "[]").iter().map(|byte| char::from(*byte)).collect::<String>().replace("leader: true", "leader: false"),
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\nNo cluster leader".to_owned(),
    ] {
        let addresses = ["a:1", "b:2"].map(|address| Address::parse(address).expect("an address"));
        let config = ClientConfig { addresses: addresses.into(), ..ClientConfig::default() };
        let (_server, client) = Server::start(config, move |head| {
            if head.contains("host: a:1") { Reply::Bytes(answer.clone().into_bytes()) } else { quiet(head) }
        });
        let _ = client.health(&service(0), Read::Stale).await;
        assert_eq!(client.address(), "http://b:2");
        assert!(client.health(&service(0), Read::Stale).await.is_ok_and(|answer| !answer.meta.leaderless));
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_query_let_go_before_its_time_is_asked_again_without_its_index() {
    // As Consul does when a snapshot is restored: what waited gets its old answer, and what is asked anew a lower index.
    let restored = Arc::new(AtomicUsize::new(0));
    let (server, client) = Server::start(ClientConfig::default(), {
        let restored = restored.clone();
        move |head| match (parameter(head, "index"), restored.load(Ordering::SeqCst)) {
            (Some(_), _) => {
                restored.store(1, Ordering::SeqCst);
                Reply::After(Duration::from_secs(7), ok(9, "[]"))
            }
            (None, 0) => Reply::Bytes(ok(9, "[]")),
            (None, _) => Reply::Bytes(ok(5, "[]")),
        }
    });
    client.health(&service(0), Read::Stale).await.expect("an answer");
    let answer = client.health(&service(0), Read::Blocking { index: 9, wait: WAIT }).await.expect("an answer");
    assert_eq!((answer.meta.index, server.lines().len()), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn an_address_is_left_also_when_whoever_asked_gave_up_first() {
    let addresses = ["a:1", "b:2"].map(|address| Address::parse(address).expect("an address"));
    let config = ClientConfig { addresses: addresses.into(), ..ClientConfig::default() };
    let (_server, client) = Server::start(config, |_| Reply::Stall(Vec::new()));
    let given_up = tokio::time::timeout(Duration::from_secs(8), client.health(&service(0), Read::Consistent)).await;
    assert!(given_up.is_err());
    assert_eq!(client.address(), "http://b:2");
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_connection_free_for_a_minute_is_told_so() {
    // One connection for questions, which nobody answers: each holds it for as long as a call may take.
    let config = ClientConfig { max_connections: 3, ..ClientConfig::default() };
    let (_, client) = Server::start(config, |_| Reply::Stall(Vec::new()));
    let ask = |at| {
        let client = client.clone();
        async move {
            let began = Instant::now();
            let error = client.health(&service(at), Read::Stale).await.expect_err("nobody answers");
            (began.elapsed().as_secs(), error.kind, error.what)
        }
    };
    let ends = futures::future::join_all((0..8).map(ask)).await;
    let mut took: Vec<u64> = ends.iter().map(|(took, ..)| *took).collect();
    took.sort_unstable();
    assert_eq!(took, [10, 20, 30, 40, 50, 60, 60, 60]);
    let told =
        ends.iter().filter(|(_, kind, what)| *kind == ErrorKind::Timeout && what.contains("was free within 60s"));
    assert_eq!(told.count(), 2, "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_not_asked_over_more_than_four_dead_connections() {
    let dying = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let dies = dying.clone();
    let (server, client) = Server::start(ClientConfig::default(), move |_| {
        let answer = ok(1, "[]");
        if dies.load(Ordering::SeqCst) { Reply::Last(Vec::new()) } else { Reply::After(Duration::from_secs(1), answer) }
    });
    let all = (0..6).map(|at| {
        let client = client.clone();
        async move { client.health(&service(at), Read::Stale).await.expect("an answer") }
    });
    futures::future::join_all(all).await;
    dying.store(true, Ordering::SeqCst);
    let error = client.health(&service(0), Read::Stale).await.expect_err("they all die");
    assert_eq!((error.kind, server.lines().len()), (ErrorKind::Unreachable, 6 + 4), "{}", error.what);
}
