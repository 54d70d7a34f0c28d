//! Serves a router over HTTP/1.1, whoever connects: neither many connections nor slow ones cost more than a little memory, and whoever
//! asks properly gets an answer beside them.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// What connections to a listener may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. One more closes the oldest of them: a probe is served however many others sit there.
    pub connections: usize,
    /// The line and headers of a request, in bytes. Ours have no parameters, and nobody needs cookies here.
    pub head_bytes: usize,
    /// From the beginning of a connection, or from its last answer, to the end of the next request's head.
    pub head_within: Duration,
    /// A connection is used for so long, and then ends with the answer that is under way.
    pub lasts: Duration,
    /// For that answer.
    pub rest_within: Duration,
}

impl Default for Limits {
    /// A few scrapers, probes and people. Scrapers usually come every 15 to 60 s, over a connection that they keep.
    fn default() -> Limits {
        Limits {
            connections: 32,
            head_bytes: 16 * 1024,
            head_within: Duration::from_secs(75),
            lasts: Duration::from_secs(600),
            rest_within: Duration::from_secs(10),
        }
    }
}

/// After a connection could not be taken: file descriptors may have run out, and come back.
const AGAIN: Duration = Duration::from_millis(500);

/// Serves until `stop`. Open connections are cut then: whoever scrapes asks again.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    open.retain(|connection| !connection.is_finished());
                    if open.len() >= limits.connections
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    open.push_back(connections.spawn(serve_one(stream, router.clone(), limits)));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "a listener can take no connection for now");
                    }
                    sleep(AGAIN).await;
                }
            },
        }
    }
}

async fn serve_one(stream: TcpStream, router: Router, limits: Limits) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_within).max_buf_size(limits.head_bytes);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // What goes wrong on a connection is the business of whoever is at its other end.
    if timeout(limits.lasts, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.rest_within, connection).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;
    use tokio_util::sync::DropGuard;

    use super::*;

    /// Longer than any wait of a test that passes.
    const PATIENCE: Duration = Duration::from_secs(20);
    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    /// More than the kernel keeps of what nobody reads.
    const LARGE: usize = 64 << 20;

    async fn start(limits: Limits) -> (SocketAddr, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "ok" })).route("/large", get(|| async { vec![0; LARGE] }));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop.drop_guard())
    }

    /// All that comes until the other side closes, after these words.
    async fn until_closed(mut stream: TcpStream, words: &str) -> String {
        let mut said = Vec::new();
        let talk = async {
            // It may be closed before all is said.
            let _ = stream.write_all(words.as_bytes()).await;
            let _ = stream.read_to_end(&mut said).await;
        };
        timeout(PATIENCE, talk).await.expect("the connection is closed");
        String::from_utf8_lossy(&said).into_owned()
    }

    async fn connect(address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn one_connection_too_many_closes_the_oldest_and_is_served() {
        let (address, _stop) = start(Limits { connections: 4, ..Limits::default() }).await;
        let mut silent = VecDeque::new();
        for _ in 0..4 {
            silent.push_back(connect(address).await);
        }
        let mut fifth = connect(address).await;
        fifth.write_all(GET.as_bytes()).await.unwrap();
        let mut head = [0; 15];
        timeout(PATIENCE, fifth.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        assert_eq!(until_closed(silent.pop_front().unwrap(), "").await, "");
        for mut other in silent {
            other.write_all(GET.as_bytes()).await.unwrap();
            timeout(PATIENCE, other.read_exact(&mut head)).await.unwrap().unwrap();
            assert_eq!(&head, b"HTTP/1.1 200 OK", "the others stay");
        }
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_is_not_waited_for() {
        let limits = Limits { head_within: Duration::from_millis(300), ..Limits::default() };
        let (address, _stop) = start(limits).await;
        for words in ["", "GET / HTTP/1.1\r\nHost:", GET] {
            let began = Instant::now();
            let said = until_closed(connect(address).await, words).await;
            assert!(began.elapsed() >= limits.head_within, "{words:?}: {said}");
            assert_eq!(said.starts_with("HTTP/1.1 200"), words == GET, "{said}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _stop) = start(Limits::default()).await;
        let cookie = "x".repeat(32 * 1024);
        let said = until_closed(connect(address).await, &format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n")).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_left() {
        let limits =
            Limits { lasts: Duration::from_millis(200), rest_within: Duration::from_millis(200), ..Limits::default() };
        let (address, _stop) = start(limits).await;
        let mut lazy = connect(address).await;
        lazy.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        sleep(limits.lasts + limits.rest_within + Duration::from_millis(200)).await;
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, lazy.read_to_end(&mut rest)).await.expect("the connection is closed");
        assert!(rest.len() < LARGE, "{} bytes", rest.len());
        // One that is in use when its time is over gets its answer.
        let said = until_closed(connect(address).await, GET).await;
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    }
}
