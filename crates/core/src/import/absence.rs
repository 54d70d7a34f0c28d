//! How long a service has been missing from the catalog, and how well that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::evidence::AbsenceProof;
use crate::time::UnixMillis;

/// Consistent reads that must agree, over the whole delay.
const READS: u32 = 3;
/// How soon it is looked again while nothing is known of the lineage.
const WHILE_UNCOMPARED: Duration = Duration::from_secs(1);

/// What is known of the lineage of a list (contract S10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Since when Consul counts from a lower index, because it was restored or wiped.
    pub broken: Option<UnixMillis>,
    /// It has still to be compared with what the Lease remembers.
    pub uncompared: bool,
}

/// What is remembered of one import between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Services that were missing, by the name of their Service.
    missing: BTreeMap<String, Missing>,
    /// Services that Consul forgot with all that it knew, by the same name: time alone says nothing about them.
    forgotten: BTreeSet<String>,
    /// When Consul last forgot.
    broken: Option<UnixMillis>,
    /// Whether Consul forgot is not known yet.
    uncompared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    first: UnixMillis,
    last: UnixMillis,
    reads: u32,
}

/// What is known of a service that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The catalog is to be read not before then.
    ReadAt(UnixMillis),
    /// It is missing since Consul was restored or wiped.
    Forgotten,
    /// It was missing for long enough.
    Gone(AbsenceProof),
}

impl Memory {
    /// What is known of `service` now that a list does not show it.
    pub(super) fn of(&self, service: &str, delay: Duration, now: UnixMillis) -> Known {
        if self.forgotten.contains(service) {
            return Known::Forgotten;
        }
        if self.uncompared {
            return Known::ReadAt(now.after(WHILE_UNCOMPARED));
        }
        let Some(Missing { first, last, reads }) = self.missing.get(service).copied() else {
            return Known::ReadAt(now);
        };
        let over = last.since(first) >= delay && reads >= READS;
        match AbsenceProof::counted(reads, first, last) {
            Some(proof) if over => Known::Gone(proof),
            // The first, one in the middle, and the rest at the end.
            _ if reads <= 1 => Known::ReadAt(first.after(delay / 2)),
            _ => Known::ReadAt(first.after(delay).max(last)),
        }
    }

    /// A consistent read of the whole list did not show these. All others are there.
    pub(super) fn read(&mut self, missing: impl IntoIterator<Item = String>, now: UnixMillis) {
        let before = std::mem::take(&mut self.missing);
        for service in missing {
            let known = before.get(&service).map_or(Missing { first: now, last: now, reads: 1 }, |known| Missing {
                first: known.first,
                last: now,
                reads: known.reads.saturating_add(1),
            });
            self.missing.insert(service, known);
        }
    }

    /// What is known of the lineage. Where Consul counts from a lower index, what is missing now was not taken out by anybody.
    pub(super) fn lineage(&mut self, lineage: Lineage, missing: impl IntoIterator<Item = String>) {
        self.uncompared = lineage.uncompared;
        if self.broken < lineage.broken {
            self.broken = lineage.broken;
            self.forgotten.extend(missing);
        }
    }

    /// Consul had forgotten these already when another process looked.
    pub(super) fn forgot(&mut self, services: impl IntoIterator<Item = String>) {
        self.forgotten.extend(services);
    }

    /// These were shown: what was counted is void.
    pub(super) fn shown(&mut self, is_shown: impl Fn(&str) -> bool) {
        self.missing.retain(|service, _| !is_shown(service));
        self.forgotten.retain(|service| !is_shown(service));
    }
}
