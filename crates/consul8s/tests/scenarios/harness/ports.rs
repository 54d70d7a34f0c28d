//! Ports for listeners whose number must be known beforehand, or must stay the same while nobody listens.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel gives outgoing connections their ports, and apart from those of the testbed.
const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address on 127.0.0.1 that nobody listens on; no other scenario of this process gets the same.
pub(crate) fn free_address() -> SocketAddr {
    let start = RandomState::new().hash_one(std::process::id()) % u64::from(COUNT);
    // The start is set once, whoever is first; then everybody counts on from it.
    let _ = NEXT.compare_exchange(0, u16::try_from(start).unwrap_or(0) + 1, Ordering::SeqCst, Ordering::SeqCst);
    let mut tries = 0..COUNT;
    let found = tries.find_map(|_| {
        let port = FIRST + NEXT.fetch_add(1, Ordering::SeqCst) % COUNT;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    });
    found.expect("a free port")
}
