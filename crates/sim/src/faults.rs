//! The fault script of one world. Set it, and the next requests (and those that wait) meet it.

use std::collections::BTreeSet;
use std::time::Duration;

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every connection breaks, those that wait included.
    pub unreachable: bool,
    /// The next requests get this status: `(status, how many)`.
    pub fail: Option<(u16, u32)>,
    /// So many of the next requests are carried out, and then their connection breaks before the answer.
    pub lose_replies: u32,
    /// Each request waits so long before it is looked at.
    pub delay: Duration,
    /// Bodies stop half-way.
    pub truncate: bool,
    /// Consul only: no leader. Stale reads are answered and say so, everything else is a 500.
    pub leaderless: bool,
    /// Consul only: what the caller's token may not see.
    pub hidden: Option<Hidden>,
}

/// What an ACL hides. The index stays as it is, and hiding wakes nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Nodes that are left out of every answer with all that is on them.
    pub nodes: BTreeSet<String>,
    /// Services that are left out of every answer.
    pub services: BTreeSet<String>,
    /// Whether callers through [`crate::ports`] bear no token; over HTTP the request shows it. Only an answer to a token says
    /// that something is missing.
    pub anonymous: bool,
}

/// How a request is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Break the connection.
    Cut,
    /// Answer with this status, without doing anything.
    Fail(u16),
    /// Carry it out, then break the connection.
    LoseReply,
    /// Carry it out and answer.
    Serve {
        /// Half the body only.
        truncate: bool,
    },
}

impl Faults {
    /// Decides about one request, and counts it.
    pub(crate) fn judge(&mut self) -> Verdict {
        if self.unreachable {
            return Verdict::Cut;
        }
        if let Some((status, left)) = self.fail {
            self.fail = (left > 1).then(|| (status, left - 1));
            return Verdict::Fail(status);
        }
        if self.lose_replies > 0 {
            self.lose_replies -= 1;
            return Verdict::LoseReply;
        }
        Verdict::Serve { truncate: self.truncate }
    }
}

impl Hidden {
    /// Whether an instance, or with an empty name a node, is hidden.
    pub(crate) fn hides(&self, node: &str, service: &str) -> bool {
        self.nodes.contains(node) || self.services.contains(service)
    }
}
