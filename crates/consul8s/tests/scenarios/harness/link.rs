//! A wire in front of a server. It knows nothing of what is said over it; what happens to connections can be chosen at any moment, and
//! it counts them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::Outcome;

/// What is read at a time.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces a second on a slow wire.
const PIECES_PER_SECOND: u32 = 20;

/// What the wire is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quality {
    /// Everything goes through.
    Good,
    /// Whoever connects, or is connected, gets a reset.
    Reset,
    /// Whoever connects is taken, and nothing goes through any more, either way: a half-open connection.
    Silent,
    /// Each piece comes so much later, and so many bytes come in a second.
    Slow { delay: Duration, bytes_per_second: usize },
    /// Of a hundred pieces so many come late, by up to so much, as if they had been sent again; of ten of these one takes its connection
    /// with it.
    Lossy { percent: u32, late: Duration },
}

/// The wire. It ends when it is dropped, and all connections with it.
pub(crate) struct Link {
    address: SocketAddr,
    quality: watch::Sender<Quality>,
    /// The same for some who connect.
    from: BTreeMap<IpAddr, watch::Sender<Quality>>,
    all: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Link {
    /// Good at first.
    pub(crate) async fn before(server: &str) -> Outcome<Link> {
        Link::at("127.0.0.1:0", server, &[]).await
    }

    /// The same, listening at this address; what connects from one of `sources` has a wire of its own.
    pub(crate) async fn at(address: &str, server: &str, sources: &[IpAddr]) -> Outcome<Link> {
        let listener = TcpListener::bind(address).await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?;
        let (quality, qualities) = watch::channel(Quality::Good);
        let from: BTreeMap<_, _> = sources.iter().map(|source| (*source, watch::Sender::new(Quality::Good))).collect();
        let own = from.iter().map(|(source, quality)| (*source, quality.subscribe())).collect();
        let all = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, server.to_owned(), qualities, own, Arc::clone(&all)));
        Ok(Link { address, quality, from, all, task })
    }

    /// From now on it is like this for what connects from there.
    pub(crate) fn becomes_from(&self, source: IpAddr, quality: Quality) {
        if let Some(wire) = self.from.get(&source) {
            wire.send_replace(quality);
        }
    }

    /// `HOST:PORT` to connect to.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it is like this, for open connections too.
    pub(crate) fn becomes(&self, quality: Quality) {
        self.quality.send_replace(quality);
    }

    /// How many connections to it are open now, as the kernel has it on the side of whoever opened them. (What this side of a link counts
    /// is a moment older: it learns of the end of one after the beginning of the next.)
    pub(crate) fn open(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let (there, established) = (format!("0100007F:{:04X}", self.address.port()), "01");
        let is_open = |line: &&str| {
            let mut words = line.split_whitespace().skip(2);
            words.next() == Some(&there) && words.next() == Some(established)
        };
        table.lines().filter(is_open).count()
    }

    /// How many connections were ever opened.
    pub(crate) fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    qualities: watch::Receiver<Quality>,
    own: BTreeMap<IpAddr, watch::Receiver<Quality>>,
    all: Arc<AtomicUsize>,
) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((inside, source)) = listener.accept().await {
        all.fetch_add(1, Ordering::SeqCst);
        let (server, qualities) = (server.clone(), own.get(&source.ip()).unwrap_or(&qualities).clone());
        connections.spawn(async move { carry(inside, &server, qualities).await });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, to its end.
async fn carry(mut inside: TcpStream, server: &str, mut qualities: watch::Receiver<Quality>) {
    let spoken = qualities.wait_for(|quality| *quality != Quality::Silent).await.map(|quality| *quality);
    if spoken.is_err() || spoken.is_ok_and(|quality| quality == Quality::Reset) {
        return reset(&inside);
    }
    let Ok(mut outside) = TcpStream::connect(server).await else { return reset(&inside) };
    let carried = {
        let (from_inside, to_inside) = inside.split();
        let (from_outside, to_outside) = outside.split();
        tokio::try_join!(pump(from_inside, to_outside, qualities.clone()), pump(from_outside, to_inside, qualities))
    };
    if carried.is_err() {
        reset(&inside);
        reset(&outside);
    }
}

/// The connection is to be reset.
struct Broken;

/// Carries one direction until it is closed.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut qualities: watch::Receiver<Quality>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let quality = *qualities.borrow_and_update();
        let limit = match quality {
            Quality::Reset => return Err(Broken),
            Quality::Silent => {
                qualities.changed().await.map_err(|_| Broken)?;
                continue;
            }
            Quality::Slow { bytes_per_second, .. } => bytes_per_second / PIECES_PER_SECOND as usize,
            Quality::Good | Quality::Lossy { .. } => PIECE_BYTES,
        };
        let piece = tokio::select! {
            read = from.read(&mut buffer[..limit.clamp(1, PIECE_BYTES)]) => read.map_err(|_| Broken)?,
            changed = qualities.changed() => {
                changed.map_err(|_| Broken)?;
                continue;
            }
        };
        if piece == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        suffer(quality).await?;
        to.write_all(&buffer[..piece]).await.map_err(|_| Broken)?;
    }
}

/// What a piece goes through on its way.
async fn suffer(quality: Quality) -> Result<(), Broken> {
    match quality {
        Quality::Good | Quality::Reset | Quality::Silent => {}
        Quality::Slow { delay, .. } => sleep(delay + Duration::from_secs(1) / PIECES_PER_SECOND).await,
        Quality::Lossy { percent, late } => {
            let (drawn, part) = (rand::rng().random_range(0..1000), rand::rng().random::<f64>());
            if drawn < percent {
                return Err(Broken);
            }
            if drawn < percent * 10 {
                sleep(late.mul_f64(part)).await;
            }
        }
    }
    Ok(())
}

fn reset(stream: &TcpStream) {
    // Fails only for one that is gone already.
    let _ = stream.set_zero_linger();
}
