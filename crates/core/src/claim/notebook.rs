//! The Lease as a notebook: what must outlive every process of this installation stands in its annotations, and is written together
//! with its renewals.

use std::collections::BTreeMap;
use std::fmt;

use crate::guard::HoldId;
use crate::names;
use crate::time::UnixMillis;

/// Datacenters that are remembered at most: a federation has tens. The annotation stays far below what Kubernetes takes (256 KiB).
const MAX_DATACENTERS: usize = 500;

/// What the Lease remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notebook {
    /// For each datacenter the highest index that a consistent read showed (contract S10).
    pub lineage: BTreeMap<String, u64>,
    /// `consul8s/allow-removal`, as a person wrote it.
    pub allow_removal: Option<String>,
    /// resourceVersion of a list of Services that was believed although registrations had been written from a newer one.
    pub list_mark: Option<u64>,
    /// Which registrations are held, by hold: for who wants to release them, and for who holds them next.
    pub held: BTreeMap<HoldId, HeldNote>,
}

/// What is remembered of a hold over registrations: `12`, or `12@1764291600000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldNote {
    /// How many it holds.
    pub registrations: usize,
    /// Since when the last of them is lost, where time ends the hold.
    pub since: Option<UnixMillis>,
}

impl HeldNote {
    fn parse(text: &str) -> Option<HeldNote> {
        let (count, since) = text.split_once('@').map_or((text, None), |(count, since)| (count, Some(since)));
        let since = since.map(|since| since.trim().parse().map(UnixMillis)).transpose().ok()?;
        Some(HeldNote { registrations: count.trim().parse().ok()?, since })
    }
}

impl fmt::Display for HeldNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.registrations)?;
        self.since.map_or(Ok(()), |since| write!(f, "@{}", since.0))
    }
}

impl Notebook {
    /// Reads it. What cannot be read is as if it were not there.
    #[must_use]
    pub fn read(annotations: &BTreeMap<String, String>) -> Notebook {
        let text = |key: &str| annotations.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
        let mark = |word: &str| {
            let (datacenter, index) = word.split_once('=')?;
            Some((datacenter.trim().to_owned(), index.trim().parse().ok()?))
        };
        let held = |word: &str| {
            let (id, count) = word.split_once('=')?;
            Some((HoldId::parse(id.trim())?, HeldNote::parse(count)?))
        };
        Notebook {
            lineage: text(names::LEASE_LINEAGE).into_iter().flat_map(|text| text.split(',').filter_map(mark)).collect(),
            allow_removal: text(names::ALLOW_REMOVAL).map(str::to_owned),
            list_mark: text(names::LEASE_LIST_MARK).and_then(|text| text.parse().ok()),
            held: text(names::LEASE_HELD).into_iter().flat_map(|text| text.split(',').filter_map(held)).collect(),
        }
    }

    /// Whether the index of this datacenter can be remembered: one that is known is not pushed out by others.
    fn has_room_for(&self, datacenter: &str) -> bool {
        self.lineage.len() < MAX_DATACENTERS || self.lineage.contains_key(datacenter)
    }

    /// The annotations that differ from `before`: what to set, or with none to take away.
    #[must_use]
    pub fn changes_from(&self, before: &Notebook) -> BTreeMap<&'static str, Option<String>> {
        let Notebook { lineage, allow_removal, list_mark, held } = self;
        let mut changes = BTreeMap::new();
        if *lineage != before.lineage {
            let words: Vec<String> =
                lineage.iter().map(|(datacenter, index)| format!("{datacenter}={index}")).collect();
            changes.insert(names::LEASE_LINEAGE, (!words.is_empty()).then(|| words.join(",")));
        }
        if *allow_removal != before.allow_removal {
            changes.insert(names::ALLOW_REMOVAL, allow_removal.clone());
        }
        if *list_mark != before.list_mark {
            changes.insert(names::LEASE_LIST_MARK, list_mark.map(|mark| mark.to_string()));
        }
        if *held != before.held {
            let words: Vec<String> = held.iter().map(|(id, note)| format!("{id}={note}")).collect();
            changes.insert(names::LEASE_HELD, (!words.is_empty()).then(|| words.join(",")));
        }
        changes
    }
}

/// What is to be noted, on whatever the Lease shows when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    seen: BTreeMap<String, u64>,
    restarted: BTreeMap<String, u64>,
    used: Option<String>,
    list_mark: Option<Option<u64>>,
    held: Option<BTreeMap<HoldId, HeldNote>>,
}

impl Notes {
    /// A consistent read of `datacenter` showed this index. A lower one than is known changes nothing.
    pub fn saw(&mut self, datacenter: &str, index: u64) {
        let known = self.seen.entry(datacenter.to_owned()).or_default();
        *known = index.max(*known);
    }

    /// The lineage of `datacenter` is broken: it counts from this index now, which may be lower.
    pub fn restarted(&mut self, datacenter: &str, index: u64) {
        self.seen.remove(datacenter);
        self.restarted.insert(datacenter.to_owned(), index);
    }

    /// Everything was looked at under this `consul8s/allow-removal`: it is taken away, unless a person has written another since.
    pub fn used(&mut self, allow_removal: &str) {
        self.used = Some(allow_removal.to_owned());
    }

    /// A release was followed for a list of Services with this resourceVersion; or, with none, lists are as new again as they should be.
    pub fn list_mark(&mut self, mark: Option<u64>) {
        self.list_mark = Some(mark);
    }

    /// These registrations are held, by hold.
    pub fn held(&mut self, held: BTreeMap<HoldId, HeldNote>) {
        self.held = Some(held);
    }

    /// Whether there is nothing to note.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Notes::default()
    }

    /// Whether somebody waits for it; indexes alone are only kept for a later day.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        let Notes { seen: _, restarted, used, list_mark, held } = self;
        !restarted.is_empty() || used.is_some() || list_mark.is_some() || held.is_some()
    }

    /// These, and what was noted after them.
    #[must_use]
    pub fn then(mut self, later: Notes) -> Notes {
        let Notes { seen, restarted, used, list_mark, held } = later;
        for (datacenter, index) in restarted {
            self.restarted(&datacenter, index);
        }
        for (datacenter, index) in seen {
            self.saw(&datacenter, index);
        }
        self.used = used.or(self.used);
        self.list_mark = list_mark.or(self.list_mark);
        self.held = held.or(self.held);
        self
    }

    /// What the Lease is to remember, if it remembers `before` now.
    #[must_use]
    pub fn onto(&self, before: &Notebook) -> Notebook {
        let mut after = before.clone();
        for (datacenter, index) in &self.restarted {
            if after.has_room_for(datacenter) {
                after.lineage.insert(datacenter.clone(), *index);
            }
        }
        for (datacenter, index) in &self.seen {
            if after.has_room_for(datacenter) {
                let known = after.lineage.entry(datacenter.clone()).or_default();
                *known = (*index).max(*known);
            }
        }
        after.allow_removal.take_if(|text| Some(&*text) == self.used.as_ref());
        after.list_mark = self.list_mark.unwrap_or(after.list_mark);
        after.held = self.held.clone().unwrap_or(after.held);
        after
    }
}
