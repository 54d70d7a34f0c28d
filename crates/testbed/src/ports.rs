//! Ports for servers that must be told theirs before they start.
//!
//! They come from outside the range from which the kernel picks ports for outgoing connections: a port of that range
//! may be taken by any client between the moment it was found free and the moment the server binds it, or while the
//! server is stopped. Test processes keep out of each other's way with a locked file per port.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::{Result, TestbedError};

/// Fewer ports than this are too few to start several servers from several processes.
const ENOUGH_PORTS: u16 = 500;

/// A port on 127.0.0.1 that nobody else who uses this crate gets while this value lives, whether a server is bound to
/// it or not.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    // The lock on this file is what holds the port; the kernel lets go of it however the process ends.
    _lock: File,
}

impl Port {
    /// Takes a port that is free for TCP and UDP.
    pub(crate) fn take() -> Result<Self> {
        let ports = allowed(ephemeral());
        let folder = lock_folder()?;
        let count = usize::from(*ports.end() - *ports.start()) + 1;
        // A random start, so that processes which start together don't queue for the same ports.
        let skip = usize::try_from(RandomState::new().hash_one(())).unwrap_or(0) % count;
        for number in ports.clone().cycle_from(skip) {
            let path = folder.join(number.to_string());
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(TestbedError::io(format!("opening {}", path.display())))?;
            if lock.try_lock().is_ok() && is_free(number) {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(TestbedError::NoFreePort { ports })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

/// All ports of a range once, beginning somewhere inside.
trait CycleFrom {
    fn cycle_from(self, skip: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for RangeInclusive<u16> {
    fn cycle_from(self, skip: usize) -> impl Iterator<Item = u16> {
        self.clone().skip(skip).chain(self.take(skip))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// One folder per user, since nobody may open another user's files.
fn lock_folder() -> Result<PathBuf> {
    let inside = rustix::process::getuid().as_raw();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let user = user_outside(inside, &map).unwrap_or(inside);
    let folder = std::env::temp_dir().join(format!("consul8s-ports-{user}"));
    fs::create_dir_all(&folder).map_err(TestbedError::io(format!("creating {}", folder.display())))?;
    Ok(folder)
}

/// Whom the machine takes user `inside` of a user namespace for, by the namespace's map: in there everybody may be root, but the
/// files of the real one stay closed.
fn user_outside(inside: u32, map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u32>().ok());
        let (from, to, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let offset = inside.checked_sub(from).filter(|offset| *offset < count)?;
        to.checked_add(offset)
    })
}

/// The kernel's range for outgoing connections; Linux's default where it can't be read.
fn ephemeral() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) => low..=high,
        _ => 32768..=60999,
    }
}

/// The ports to choose from, given the kernel's own: below them, else above, else (on a machine that leaves next to
/// none) inside.
fn allowed(ephemeral: RangeInclusive<u16>) -> RangeInclusive<u16> {
    let below = |start: u16| start..=ephemeral.start().saturating_sub(1);
    let above = ephemeral.end().saturating_add(1)..=u16::MAX;
    let is_enough = |range: &RangeInclusive<u16>| range.end().saturating_sub(*range.start()) >= ENOUGH_PORTS;
    [below(20000), below(2000), above].into_iter().find(is_enough).unwrap_or(ephemeral)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_outside_the_kernels_range() {
        for (kernel, ours) in [
            (32768..=60999, 20000..=32767),
            (10000..=65535, 2000..=9999),
            (1024..=60999, 61000..=65535),
            (1024..=65535, 1024..=65535),
        ] {
            assert_eq!(allowed(kernel.clone()), ours, "the kernel's are {kernel:?}");
        }
    }

    #[tokio::test]
    async fn no_port_is_given_twice_and_a_dropped_one_is_free_again() {
        let ports: Vec<Port> = (0..50).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
        let path = lock_folder().unwrap().join(numbers[0].to_string());
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(ports);
        // Not at once: a process that another test is just starting shares this one's files until it has started.
        let freed = async {
            while File::open(&path).unwrap().try_lock().is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, freed).await.unwrap();
    }

    #[test]
    fn a_user_is_known_by_the_number_that_the_machine_knows() {
        let whole = "         0          0 4294967295\n";
        let mapped = "0 1000 1\n 10 100000 65536";
        for (inside, map, outside) in [
            (0, whole, Some(0)),
            (1000, whole, Some(1000)),
            (0, mapped, Some(1000)),
            (12, mapped, Some(100_002)),
            (5, mapped, None),
            (0, "", None),
        ] {
            assert_eq!(user_outside(inside, map), outside, "{inside} in {map:?}");
        }
    }

    #[test]
    fn every_port_of_a_range_is_tried_once() {
        assert_eq!((5..=9).cycle_from(3).collect::<Vec<u16>>(), [8, 9, 5, 6, 7]);
    }
}
