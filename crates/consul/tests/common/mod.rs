//! A server at the other end of in-memory pipes that answers from a script, byte by byte.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use consul8s_consul::dial::{Dialed, Dialer};
use consul8s_consul::{Address, Client, ClientConfig};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

/// What is done with one request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, and the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// These bytes after a time.
    After(Duration, Vec<u8>),
    /// These bytes, and then nothing for ever.
    Stall(Vec<u8>),
}

/// A scripted server: the answer to each request is made from its head.
pub(crate) struct Server {
    answer: Box<dyn Fn(&str) -> Reply + Send + Sync>,
    /// Addresses that refuse connections.
    pub(crate) down: Mutex<Vec<String>>,
    /// Heads of all requests, in order.
    pub(crate) heads: Mutex<Vec<String>>,
    pub(crate) dialed: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
}

struct Pipes(Arc<Server>);

impl Dialer for Pipes {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Dialed>> {
        let server = self.0.clone();
        let address = address.to_string();
        async move {
            if server.down.lock().expect("no panic").contains(&address) {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            server.dialed.fetch_add(1, Ordering::SeqCst);
            let open = server.open.fetch_add(1, Ordering::SeqCst) + 1;
            server.most_open.fetch_max(open, Ordering::SeqCst);
            let ours = Counted(ours, server.clone());
            tokio::spawn(async move { serve(&server, theirs).await });
            Ok(Dialed::http1(ours))
        }
        .boxed()
    }
}

/// The client's end; counts itself for as long as it is open.
struct Counted(DuplexStream, Arc<Server>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Server {
    /// A client in front of a server that answers like this.
    pub(crate) fn start(
        config: ClientConfig,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> (Arc<Server>, Client) {
        let server = Arc::new(Server {
            answer: Box::new(answer),
            down: Mutex::default(),
            heads: Mutex::default(),
            dialed: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let client = Client::with_dialer(config, Arc::new(Pipes(server.clone())));
        (server, client)
    }

    /// First lines of all requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        let heads = self.heads.lock().expect("no panic");
        heads
            .iter()
            .map(|head| head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned())
            .collect()
    }
}

async fn serve(server: &Server, mut stream: DuplexStream) {
    while let Some(head) = read_request(&mut stream).await {
        let reply = (server.answer)(&head);
        server.heads.lock().expect("no panic").push(head);
        match reply {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::After(time, bytes) => {
                // Whoever gives up closes the connection.
                let mut byte = [0];
                tokio::select! {
                    _ = stream.read(&mut byte) => return,
                    () = tokio::time::sleep(time) => {}
                }
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Stall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.read(&mut [0]).await;
                return;
            }
        }
    }
}

/// Head of the next request; its body is read and left out.
async fn read_request(stream: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(head)
}

/// An answer as Consul gives it.
pub(crate) fn ok(index: u64, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: {index}\r\nX-Consul-Knownleader: true\r\n\
         X-Consul-Lastcontact: 0\r\nX-Consul-Default-Acl-Policy: deny\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A parameter of a request.
pub(crate) fn parameter<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let query = head.lines().next()?.split_once('?')?.1.split(' ').next()?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
