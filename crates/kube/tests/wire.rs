//! What may go wrong on the wire, against a server that answers whatever the test wants.

// Helpers of tests may panic as tests may; clippy only knows the tests themselves.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consul8s_core::kube::{KubeService, ObjectKey};
use consul8s_core::ports::{ErrorKind, KubeApi, Watch, WatchEvent};
use consul8s_kube::{Access, Connection, Kube};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any wait of a test that passes.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the server does with a request.
enum Answer {
    /// Says this and hangs up.
    Whole(String),
    /// Says this, then nothing more, and does not hang up.
    Open(String),
}

impl From<String> for Answer {
    fn from(text: String) -> Answer {
        Answer::Whole(text)
    }
}

/// A server that answers by script: the target of a request and its number go in, and what to do comes out.
struct Script {
    seen: Arc<Mutex<Vec<(String, Instant)>>>,
    connection: Connection,
}

impl Script {
    async fn start(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
        let log = seen.clone();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answer.clone(), log.clone()));
            }
        });
        Script { seen, connection: connect(&server).await }
    }

    fn targets(&self, part: &str) -> Vec<(String, Instant)> {
        self.seen.lock().unwrap().iter().filter(|(target, _)| target.contains(part)).cloned().collect()
    }
}

async fn serve<F: Fn(&str, usize) -> Answer>(
    mut stream: TcpStream,
    answer: Arc<F>,
    log: Arc<Mutex<Vec<(String, Instant)>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let nth = {
        let mut log = log.lock().unwrap();
        log.push((target.clone(), Instant::now()));
        log.len()
    };
    // A client that has gone meanwhile is none of the server's business.
    match answer(&target, nth) {
        Answer::Whole(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Open(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        }
    }
}

async fn connect(server: &str) -> Connection {
    let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c}}}}]\nclusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n"
    );
    std::io::Write::write_all(&mut kubeconfig, text.as_bytes()).unwrap();
    Access { kubeconfig: Some(kubeconfig.path().to_owned()), context: None }.connect().await.unwrap()
}

fn json(status: &str, body: &str) -> Answer {
    http(status, "application/json", "", body)
}

fn http(status: &str, kind: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
    .into()
}

fn silence() -> Answer {
    Answer::Open(String::new())
}

fn list(version: u32, items: &str) -> Answer {
    json("200 OK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"items":[{items}]}}"#))
}

fn service(name: &str, version: u32, spec: &str) -> String {
    format!(
        r#"{{"metadata":{{"namespace":"shop","name":"{name}","uid":"u-{name}","resourceVersion":"{version}"}},"spec":{spec}}}"#
    )
}

fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","code":{code},"reason":"{reason}","message":"because"}}"#
    )
}

/// A stream of events that stays open for ever would need chunks; one that ends is a broken watch, which is what these tests want.
fn events(events: &[(&str, String)]) -> Answer {
    let mut body = String::new();
    for (kind, object) in events {
        writeln!(body, r#"{{"type":"{kind}","object":{object}}}"#).unwrap();
    }
    json("200 OK", &body)
}

async fn next<W: Watch<KubeService>>(watch: &mut W) -> WatchEvent<KubeService> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time")
}

fn names(event: &WatchEvent<KubeService>) -> Vec<&str> {
    match event {
        WatchEvent::Listed(all) => all.iter().map(|service| service.key.name.as_str()).collect(),
        WatchEvent::Applied(one) | WatchEvent::Deleted(one) => vec![one.key.name.as_str()],
        WatchEvent::Failed(error) => panic!("{error}"),
    }
}

fn failure(event: WatchEvent<KubeService>) -> (ErrorKind, String, Option<Duration>) {
    match event {
        WatchEvent::Failed(error) => (error.kind, error.what, error.retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_stops_nothing() {
    let script = Script::start(|target, nth| match (target.contains("watch=true"), nth) {
        (false, 1) => list(1, &[service("a", 1, "{}"), service("bad", 1, "7"), service("b", 1, "null")].join(",")),
        (true, 2) => events(&[
            ("MODIFIED", service("bad", 2, "[]")),
            ("ADDED", service("c", 3, "{}")),
            ("DELETED", service("bad", 4, "7")),
        ]),
        (false, _) => list(5, &service("c", 3, "{}")),
        _ => silence(),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(Some("shop"));
    let event = next(&mut watch).await;
    assert!(matches!(event, WatchEvent::Listed(_)));
    assert_eq!(names(&event), ["a", "b"]);
    assert_eq!(names(&next(&mut watch).await), ["c"]);
    // Which object went cannot be told, so that it lists again.
    assert_eq!(names(&next(&mut watch).await), ["c"]);
    assert_eq!(script.targets("limit=500").len(), 2);
}

#[tokio::test]
async fn pages_make_one_list() {
    let script = Script::start(|target, _| {
        if target.contains("watch=true") {
            silence()
        } else if target.contains("continue=more") {
            list(2, &service("b", 2, "{}"))
        } else {
            let items = service("a", 1, "{}");
            json("200 OK", &format!(r#"{{"metadata":{{"resourceVersion":"1","continue":"more"}},"items":[{items}]}}"#))
        }
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    assert_eq!(names(&next(&mut watch).await), ["a", "b"]);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    // 500 objects of 140 KiB are more than an answer may be, and a part of them is not.
    let script = Script::start(|target, _| {
        if target.contains("watch=true") {
            return silence();
        }
        let number =
            |key: &str| target.split(['?', '&']).find_map(|part| part.strip_prefix(key)?.parse::<usize>().ok());
        let (limit, from) = (number("limit=").unwrap(), number("continue=").unwrap_or(0));
        let to = (from + limit).min(500);
        let padding = "x".repeat(140 * 1024);
        let padded = |n| {
            service(&format!("s{n:03}"), 1, "{}")
                .replace(r#""metadata":{"#, &format!(r#""padding":"{padding}","metadata":{{"#))
        };
        let items = (from..to).map(padded).collect::<Vec<_>>().join(",");
        let rest = if to < 500 { format!(r#","continue":"{to}""#) } else { String::new() };
        json("200 OK", &format!(r#"{{"metadata":{{"resourceVersion":"1"{rest}}},"items":[{items}]}}"#))
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    let (kind, what, _) = failure(next(&mut watch).await);
    assert_eq!(kind, ErrorKind::Garbage);
    assert!(what.contains("an answer of more than 64 MiB"), "{what}");
    assert_eq!(names(&next(&mut watch).await).len(), 500);
    assert_eq!((script.targets("limit=500").len(), script.targets("limit=62").len()), (1, 9));
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused() {
    let script = Script::start(|_, _| {
        let endless = "Content-Length: 1099511627776";
        Answer::Open(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{endless}\r\n\r\n{}",
            "[".repeat(65 << 20)
        ))
    })
    .await;
    let error = Kube::new(&script.connection).service(&ObjectKey::new("shop", "web")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Garbage);
    assert!(error.what.contains("more than 64 MiB"), "{}", error.what);
}

#[tokio::test]
async fn a_list_that_breaks_is_no_list() {
    let script = Script::start(|target, nth| match (target.contains("watch=true"), nth) {
        (false, 1) => Answer::Whole("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"items\":[".to_owned()),
        (false, 2) => json("200 OK", r#"{"metadata":{},"items":null}"#),
        (false, 3) => json("403 Forbidden", &status(403, "Forbidden")),
        (false, _) => list(7, ""),
        (true, _) => silence(),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    let began = Instant::now();
    assert_eq!(failure(next(&mut watch).await).0, ErrorKind::Unreachable);
    assert_eq!(failure(next(&mut watch).await).0, ErrorKind::Garbage);
    let (kind, what, _) = failure(next(&mut watch).await);
    assert_eq!(kind, ErrorKind::Forbidden);
    assert_eq!(what, format!("cannot watch Services of all namespaces at {}: 403 because", script.connection.server));
    assert_eq!(next(&mut watch).await, WatchEvent::Listed(Vec::new()));
    // Half of 250 ms, of 500 ms and of 1 s at least: the waits grow although each attempt begins anew.
    assert!(began.elapsed() >= Duration::from_millis(875), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_lost_place_in_history_lists_again() {
    let script = Script::start(|target, nth| match (target.contains("watch=true"), nth) {
        (false, _) => list(10 + u32::try_from(nth).unwrap(), &service("a", 1, "{}")),
        // As kube-apiserver says it: in the stream.
        (true, 2) => events(&[("ERROR", status(410, "Expired"))]),
        // As something in between might: instead of the stream.
        (true, 4) => json("410 Gone", &status(410, "Gone")),
        (true, _) => silence(),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    for _ in 0..2 {
        assert_eq!(names(&next(&mut watch).await), ["a"]);
        assert_eq!(failure(next(&mut watch).await).0, ErrorKind::Gone);
    }
    assert_eq!(names(&next(&mut watch).await), ["a"]);
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_asked_for_at_once() {
    let script = Script::start(|target, _| match target.contains("watch=true") {
        false => list(1, ""),
        true => events(&[]),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    assert_eq!(next(&mut watch).await, WatchEvent::Listed(Vec::new()));
    let quiet = tokio::time::timeout(Duration::from_millis(2500), watch.next()).await;
    assert!(quiet.is_err(), "an end is no failure");
    let watches = script.targets("watch=true");
    assert!((2..=4).contains(&watches.len()), "{} watches in 2.5 s", watches.len());
    assert_eq!(script.targets("limit=500").len(), 1, "and no list");
}

#[tokio::test]
async fn the_servers_wish_is_followed() {
    let script = Script::start(|target, nth| match (target.contains("watch=true"), nth) {
        // API priority and fairness: plain text, and the wish in a header.
        (false, 1) => http(
            "429 Too Many Requests",
            "text/plain",
            "Retry-After: 2\r\n",
            "Too many requests, please try again later.",
        ),
        (false, _) => list(1, ""),
        (true, _) => silence(),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    let began = Instant::now();
    let (kind, _, retry_after) = failure(next(&mut watch).await);
    assert_eq!((kind, retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(2))));
    assert_eq!(next(&mut watch).await, WatchEvent::Listed(Vec::new()));
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn dropping_next_loses_nothing() {
    let script = Script::start(|target, _| match target.contains("watch=true") {
        false => list(1, &(0..400).map(|n| service(&format!("s{n}"), 1, "{}")).collect::<Vec<_>>().join(",")),
        true => silence(),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    let listed = loop {
        tokio::select! {
            biased;
            event = watch.next() => break event,
            () = tokio::time::sleep(Duration::from_micros(50)) => {}
        }
    };
    assert_eq!(names(&listed).len(), 400);
    assert_eq!(script.targets("limit=500").len(), 1);
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_given_up_within_half_a_minute() {
    let script = Script::start(|target, nth| match (target.contains("watch=true"), nth) {
        (false, _) => list(1, ""),
        // A stream that begins as it should. As when the other end's machine is gone, no end ever comes.
        (true, 2) => {
            let event =
                format!("{}\n", r#"{"type":"ADDED","object":SERVICE}"#.replace("SERVICE", &service("a", 2, "{}")));
            let length = event.len();
            Answer::Open(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{event}\r\n"))
        }
        (true, _) => json("500 Internal Server Error", &status(500, "InternalError")),
    })
    .await;
    let mut watch = Kube::new(&script.connection).watch_services(None);
    assert_eq!(next(&mut watch).await, WatchEvent::Listed(Vec::new()));
    assert_eq!(names(&next(&mut watch).await), ["a"]);
    let silent = Instant::now();
    assert_eq!(failure(next(&mut watch).await).0, ErrorKind::Server);
    assert!(silent.elapsed() < Duration::from_secs(30), "{:?}", silent.elapsed());
    assert!(script.targets("resourceVersion=2").len() == 1, "taken up where it ended");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let script = Script::start(|_, _| silence()).await;
    let began = Instant::now();
    let error = Kube::new(&script.connection).service(&ObjectKey::new("shop", "web")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_refused_connection_says_where_and_why() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let connection = connect(&format!("http://{unused}")).await;
    let error = Kube::new(&connection).cluster_uid().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    let wanted = format!(
        "cannot read Namespace kube-system at http://{unused}: no connection: Connection refused (os error 111)"
    );
    assert_eq!(error.what, wanted);
}
