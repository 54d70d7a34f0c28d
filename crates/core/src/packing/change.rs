//! A change of a slice, as a value.

use std::fmt;

use crate::evidence::Evidence;
use crate::kube::{KubeSlice, ObjectKey, SliceSpec};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceChange {
    /// A new slice.
    Create(SliceSpec),
    /// Other contents for a slice that stands.
    Update {
        /// Its uid.
        uid: String,
        /// The resourceVersion that this rests on.
        resource_version: String,
        /// What it is to be.
        spec: SliceSpec,
        /// How many endpoints it gets that it doesn't have.
        added: usize,
        /// Endpoints that it loses, and no other slice of ours has.
        removed: Vec<Removed>,
    },
    /// A slice that goes.
    Delete {
        /// Namespace and name.
        key: ObjectKey,
        /// Its uid.
        uid: String,
        /// The resourceVersion that this rests on.
        resource_version: String,
        /// Why.
        evidence: Gone,
    },
}

/// An endpoint that a slice loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Address, as it stands on the slice.
    pub address: String,
    /// Why.
    pub evidence: Evidence,
}

/// Why a slice goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// All endpoints that it had are on other slices of ours, or go as well, each with its evidence.
    Emptied(Vec<Removed>),
    /// As a whole.
    Because(Evidence),
}

impl SliceChange {
    pub(super) fn delete(slice: &KubeSlice, evidence: Gone) -> SliceChange {
        SliceChange::Delete {
            key: slice.key.clone(),
            uid: slice.uid.clone(),
            resource_version: slice.resource_version.clone(),
            evidence,
        }
    }

    /// The slice concerned.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            SliceChange::Create(spec) | SliceChange::Update { spec, .. } => &spec.key,
            SliceChange::Delete { key, .. } => key,
        }
    }

    /// Word for metrics and logs.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            SliceChange::Create(_) => "create",
            SliceChange::Update { .. } => "update",
            SliceChange::Delete { .. } => "delete",
        }
    }

    /// Creates, then updates that only add, then those that also take away, then those that only do, then deletes.
    fn order(&self) -> u8 {
        match self {
            SliceChange::Create(_) => 0,
            SliceChange::Update { removed, .. } if removed.is_empty() => 1,
            SliceChange::Update { added: 1.., .. } => 2,
            SliceChange::Update { .. } => 3,
            SliceChange::Delete { .. } => 4,
        }
    }
}

/// Into the order in which they are to be made.
pub(super) fn sort(changes: &mut [SliceChange]) {
    changes.sort_by(|a, b| (a.order(), a.key()).cmp(&(b.order(), b.key())));
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.evidence)
    }
}
