//! The Lease as an election sees it, and what is written to it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::UnixMillis;

/// A Lease as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub resource_version: String,
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// How long its holder relies on it.
    pub duration: Duration,
    /// How often it has changed hands.
    pub transitions: u64,
    /// `acquireTime`, as somebody's clock showed it: compared, never read.
    pub acquired: String,
    /// `renewTime`, likewise.
    pub renewed: String,
    /// All annotations, ours and others'.
    pub annotations: BTreeMap<String, String>,
}

impl Lease {
    /// Whether the holder has done nothing to it since: not whether somebody else has changed an annotation.
    #[must_use]
    pub(super) fn is_untouched_since(&self, earlier: &Lease) -> bool {
        let of = |lease: &Lease| {
            let Lease { uid, holder, duration, transitions, acquired, renewed, .. } = lease.clone();
            (uid, holder, duration, transitions, acquired, renewed)
        };
        of(self) == of(earlier)
    }
}

/// What is written to the Lease. Everything else on it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// Who holds it from now on; none = that stays as it is too.
    pub term: Option<Term>,
    /// The time, for people who look at it.
    pub now: UnixMillis,
    /// Annotations to be set, or with none taken away.
    pub annotations: BTreeMap<&'static str, Option<String>>,
}

/// Who holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The holder; empty gives the Lease back.
    pub holder: String,
    /// How long it relies on it.
    pub duration: Duration,
    /// How often the Lease has changed hands.
    pub transitions: u64,
    /// Whether it begins: `acquireTime` is set too.
    pub begins: bool,
}

/// What a Lease says that is given back. Anybody who counts on durations, and not on the missing holder, waits no longer than this.
const GIVEN_BACK: Duration = Duration::from_secs(1);

impl Term {
    /// Gives back a Lease.
    #[must_use]
    pub fn given_back(lease: &Lease) -> Term {
        Term { holder: String::new(), duration: GIVEN_BACK, transitions: lease.transitions, begins: false }
    }
}
