//! What a server or a proxy may answer instead of what was asked, and what becomes of it.

mod common;

use std::io::Write as _;
use std::time::Duration;

use common::{Reply, Server, ok};
use consul8s_consul::config::{BasicAuth, Token, TokenSource};
use consul8s_consul::{Address, Client, ClientConfig};
use consul8s_core::consul::{HealthQuery, Read, TxnOp, TxnOutcome};
use consul8s_core::ports::{ConsulApi as _, ConsulWriter as _, ErrorKind};
use tokio::time::Instant;

fn web() -> HealthQuery {
    HealthQuery { name: "web".into(), ..HealthQuery::default() }
}

async fn error_of(reply: Reply) -> (ErrorKind, String, Duration) {
    let (_, client) = Server::start(ClientConfig::default(), move |_| reply.clone());
    let began = Instant::now();
    let error = client.health(&web(), Read::Stale).await.expect_err("no good answer");
    assert!(error.what.contains("GET http://127.0.0.1:8500/v1/health/service/web?stale"), "{}", error.what);
    (error.kind, error.what, began.elapsed())
}

fn bytes(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    let packed = encoder.finish().expect("memory");
    let head =
        format!("HTTP/1.1 200 OK\nX-Consul-Index: 7\nContent-Encoding: gzip\nContent-Length: {}\n\n", packed.len());
    [bytes(&head), packed].concat()
}

#[tokio::test(start_paused = true)]
async fn garbage_is_called_garbage_and_never_an_empty_list() {
    let rows = [
        ("html", bytes("HTTP/1.1 200 OK\nContent-Length: 13\n\n<html></html>")),
        ("cut short", bytes("HTTP/1.1 200 OK\nContent-Length: 100\n\n[")),
        ("cut short, valid so far", bytes("HTTP/1.1 200 OK\nContent-Length: 100\n\n[]")),
        ("chunks without an end", bytes("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\n[]\n")),
        ("ends with the connection", bytes("HTTP/1.1 200 OK\n\n[{")),
        ("a gigabyte", bytes("HTTP/1.1 200 OK\nContent-Length: 1073741824\n\n[]")),
        ("no gzip", bytes("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2\n\n[]")),
        ("half a gzip", gzip(b"[]")[..100].to_vec()),
        ("another encoding", bytes("HTTP/1.1 200 OK\nContent-Encoding: br\nContent-Length: 2\n\n[]")),
        ("nothing", bytes("HTTP/1.1 204 No Content\n\n")),
        ("elsewhere", bytes("HTTP/1.1 302 Found\nLocation: http://evil/\nContent-Length: 2\n\n[]")),
        ("an object", bytes("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")),
    ];
    for (name, answer) in rows {
        let (kind, what, _) = error_of(Reply::Last(answer)).await;
        assert_eq!(kind, ErrorKind::Garbage, "{name}: {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_an_end_is_no_answer() {
    let many = "X-Junk: 0123456789\n".repeat(1000);
    for head in [format!("HTTP/1.1 200 OK\n{many}\n[]"), format!("HTTP/1.1 200 OK\nX-Junk: {}", "x".repeat(8 << 20))] {
        let (kind, what, took) = error_of(Reply::Stall(bytes(&head))).await;
        assert_eq!((kind, took), (ErrorKind::Unreachable, Duration::ZERO), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_an_end_is_no_answer() {
    // 64 MiB are an answer, one byte more is none; nobody waits for the rest.
    let head = bytes("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n6000000\n");
    let (kind, what, took) = error_of(Reply::Stall([head, vec![b' '; 65 << 20]].concat())).await;
    assert_eq!((kind, took), (ErrorKind::Garbage, Duration::ZERO), "{what}");
    assert!(what.contains("more than 64 MiB"), "{what}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_is_given_up() {
    let head = bytes("HTTP/1.1 200 OK\nContent-Length: 100\n\n[");
    for reply in [Reply::Stall(Vec::new()), Reply::Stall(head.clone())] {
        let (kind, what, took) = error_of(reply).await;
        assert_eq!(kind, ErrorKind::Timeout, "{what}");
        assert_eq!(took, Duration::from_secs(10));
    }
    // A blocking query: its wait, Consul's sixteenth, and as much as any call.
    let (_, client) = Server::start(ClientConfig::default(), move |_| Reply::Stall(head.clone()));
    let began = Instant::now();
    let wait = Duration::from_secs(160);
    let error = client.health(&web(), Read::Blocking { index: 7, wait }).await.expect_err("no answer");
    assert_eq!((error.kind, began.elapsed()), (ErrorKind::Timeout, Duration::from_secs(180)));
}

#[tokio::test(start_paused = true)]
async fn statuses_and_wishes() {
    let throttled = bytes("HTTP/1.1 429 Too Many Requests\nRetry-After: 3\nContent-Length: 4\n\nslow");
    let (_, client) = Server::start(ClientConfig::default(), move |_| Reply::Bytes(throttled.clone()));
    let error = client.health(&web(), Read::Stale).await.expect_err("429");
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(3))));
    let (kind, what, _) =
        error_of(Reply::Bytes(bytes("HTTP/1.1 500 x\nContent-Length: 20\n\nNo path to datacente"))).await;
    assert_eq!(kind, ErrorKind::Server, "{what}");
    let (kind, what, _) = error_of(Reply::Last(Vec::new())).await;
    assert_eq!(kind, ErrorKind::Unreachable, "{what}");
    let (kind, what, _) = error_of(Reply::Last(b"SSH-2.0-OpenSSH\r\n".to_vec())).await;
    assert_eq!(kind, ErrorKind::Unreachable, "{what}");
}

#[tokio::test(start_paused = true)]
async fn gzip_is_read_and_asked_for() {
    let (server, client) = Server::start(ClientConfig::default(), |_| Reply::Bytes(gzip(b"[]")));
    assert_eq!(client.health(&web(), Read::Stale).await.expect("an answer").meta.index, 7);
    assert!(server.heads.lock().expect("no panic")[0].contains("accept-encoding: gzip"));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_entry_costs_itself_and_forbids_conclusions_from_absence() {
    let (_, client) = Server::start(ClientConfig::default(), |_| {
        let good = r#"{"Node":{"Node":"n"},"Service":{"ID":"a","Service":"web","Port":70000}}"#;
        Reply::Bytes(ok(9, &format!("[null,{good},{{\"Service\":null}}]")))
    });
    let answer = client.health(&web(), Read::Stale).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.body[0].port, answer.meta.filtered), (1, 70000, true));
}

#[tokio::test(start_paused = true)]
async fn secrets_travel_in_headers_and_show_nowhere() {
    let config = ClientConfig {
        token: Token::new("hunter2").expect("a token").map(TokenSource::Value),
        basic_auth: BasicAuth::new("me:hunter3").expect("a pair"),
        addresses: vec![Address::parse("http://consul:8500/prefix").expect("an address")],
        ..ClientConfig::default()
    };
    let refused = bytes("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n");
    let (server, client) = Server::start(config, move |_| Reply::Bytes(refused.clone()));
    let error = client.health(&web(), Read::Consistent).await.expect_err("403");
    assert_eq!(error.what, "GET http://consul:8500/prefix/v1/health/service/web?consistent: 403 Forbidden");
    let head = server.heads.lock().expect("no panic")[0].clone();
    assert!(head.starts_with("GET /prefix/v1/health/service/web?consistent HTTP/1.1\r\n"), "{head}");
    for line in ["host: consul:8500", "x-consul-token: hunter2", "authorization: Basic bWU6aHVudGVyMw=="] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_answer_under_default_deny_is_marked() {
    let anonymous = |config| async move {
        let (_, client) = Server::start(config, |_| Reply::Bytes(ok(9, "[]")));
        client.health(&web(), Read::Stale).await.expect("an answer").meta.anonymous_under_deny
    };
    assert!(anonymous(ClientConfig::default()).await);
    let token = Token::new("t").expect("a token").map(TokenSource::Value);
    assert!(!anonymous(ClientConfig { token, ..ClientConfig::default() }).await);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_asks_anew_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "one").expect("a file");
    let config = ClientConfig { token: Some(TokenSource::File(path.clone())), ..ClientConfig::default() };
    let (server, client) = Server::start(config, |head| {
        let answer = ok(9, "[]");
        if common::parameter(head, "index").is_some() {
            Reply::After(Duration::from_secs(300), answer)
        } else {
            Reply::Bytes(answer)
        }
    });
    client.health(&web(), Read::Stale).await.expect("an answer");
    std::fs::write(&path, "two").expect("a file");
    let began = Instant::now();
    let wait = Duration::from_secs(300);
    client.health(&web(), Read::Blocking { index: 9, wait }).await.expect("an answer");
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    let heads = server.heads.lock().expect("no panic");
    assert!(heads.last().is_some_and(|head| head.contains("x-consul-token: two") && !head.contains("index=")));
}

async fn txn(client: &Client) -> Result<TxnOutcome, consul8s_core::ports::ApiError> {
    let node =
        consul8s_core::consul::NodeRecord { name: "n".into(), address: "127.0.0.2".into(), ..Default::default() };
    client.writer().txn(&[TxnOp::SetNode { node, index: 0 }]).await
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_may_have_been_carried_out_is_never_sent_twice() {
    let (server, client) = Server::start(ClientConfig::default(), |head| {
        if head.starts_with("PUT") { Reply::Last(Vec::new()) } else { Reply::Bytes(ok(9, "[]")) }
    });
    client.health(&web(), Read::Consistent).await.expect("an answer");
    assert_eq!(txn(&client).await.expect_err("no answer").kind, ErrorKind::Unreachable);
    let (lines, dialed) = (server.lines(), server.dialed.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!((lines[1].as_str(), lines.len(), dialed), ("PUT /v1/txn", 2, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_to_a_transaction() {
    let rows = [
        ("200 OK", r#"{"Results":[],"Errors":null}"#, None),
        ("409 Conflict", r#"{"Errors":[{"OpIndex":0,"What":"index is stale"}]}"#, None),
        ("200 OK", "<html>", Some(ErrorKind::Garbage)),
        ("409 Conflict", "<html>", Some(ErrorKind::Garbage)),
        ("413 Payload Too Large", "129 > 128", Some(ErrorKind::Invalid)),
        ("403 Forbidden", "Permission denied", Some(ErrorKind::Forbidden)),
        ("500 Internal Server Error", "No cluster leader", Some(ErrorKind::Server)),
    ];
    for (status, body, kind) in rows {
        let answer = bytes(&format!("HTTP/1.1 {status}\nContent-Length: {}\n\n{body}", body.len()));
        let (_, client) = Server::start(ClientConfig::default(), move |_| Reply::Bytes(answer.clone()));
        assert_eq!(txn(&client).await.err().map(|error| error.kind), kind, "{status} {body}");
    }
}
