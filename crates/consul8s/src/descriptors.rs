//! File descriptors: where the process may have few, fewer connections go to Consul. What does not fit then takes turns, as it does with few
//! connections; otherwise some watches would find no descriptor, time and again, while others keep theirs for minutes.

use rustix::process::{Resource, getrlimit};

use crate::controller::WORKERS;
use crate::listener::Limits;
use crate::teller::AT_ONCE;

/// What else may be open: a connection to the API server for each look that is under way and each thing that is told (over HTTP/1.1), those
/// of its watches and of the Lease, the runtime's own, the log, and a file now and then.
const OTHERS: usize = WORKERS + AT_ONCE + 16;

/// How many connections to Consul the limit of this process leaves of `wanted`; says so where it leaves fewer.
#[must_use]
pub fn connections(wanted: usize, listeners: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let left = of(wanted, limit, listeners);
    if left < wanted {
        tracing::warn!(
            descriptors = limit,
            connections = left,
            wanted,
            "this process may have few file descriptors, so fewer connections go to Consul than --consul-max-connections allows, and its \
             questions take turns; raise `ulimit -n` (LimitNOFILE=)"
        );
    }
    left
}

fn of(wanted: usize, limit: Option<usize>, listeners: usize) -> usize {
    let others = OTHERS + listeners * Limits::default().connections;
    // One for questions and the least that is kept for writes.
    limit.map_or(wanted, |limit| wanted.min(limit.saturating_sub(others).max(3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_bound_the_connections() {
        for (wanted, limit, listeners, expected) in [
            (90, None, 2, 90),
            (90, Some(1024), 2, 90),
            (90, Some(256), 1, 90),
            (90, Some(192), 1, 88),
            (90, Some(192), 2, 56),
            (90, Some(128), 1, 24),
            (4, Some(128), 1, 4),
            (90, Some(64), 1, 3),
            (90, Some(16), 0, 3),
        ] {
            assert_eq!(of(wanted, limit, listeners), expected, "{wanted} of {limit:?} beside {listeners}");
        }
    }
}
