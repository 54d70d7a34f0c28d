//! Taking over from the Python original: its `Endpoints` object of the same name is kept from being mirrored into a slice once ours stand,
//! and given back when the Service stops being filled from Consul (contract §2, "Taking over").
//!
//! The order is the promise: while our slices don't show a ready endpoint, the mirrored ones stay, so that at no moment the union of all
//! slices is without one. Slices of one namespace reach every reader in the order in which they were written, ours first.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::Identity;
use crate::intent::Intent;
use crate::kube::{KubeService, KubeSlice, ObjectKey};
use crate::names;
use crate::settings::Direction;
use crate::time::UnixMillis;
use crate::to_kube::belongs::{self, Belongs};

/// How old what is known of the object may be, while nothing hints at a change.
const RARELY: Duration = Duration::from_secs(300);
/// The same while it is waited for our slices, or for the object to have no ready address of its own.
const WAITING: Duration = Duration::from_secs(30);
/// The same while slices stand that are mirrored from an object which, as was read, is not the original's or is taken over.
const MIRRORED: Duration = Duration::from_secs(10);

/// What consul8s reads of an `Endpoints` object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID.
    pub uid: String,
    /// resourceVersion, the precondition of every write.
    pub resource_version: String,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it has an ownerReference.
    pub owned: bool,
    /// How many ready addresses it holds.
    pub ready: usize,
}

impl Endpoints {
    /// Whether it has the shape that the original gave its objects: label `name` with the Service's name, and no owner.
    #[must_use]
    pub fn is_original(&self) -> bool {
        let named = self.labels.get(names::ORIGINAL_NAME) == Some(&self.key.name);
        named && !self.owned && !self.deleting
    }

    fn is_skipped(&self) -> bool {
        self.labels.get(names::LABEL_SKIP_MIRROR).is_some_and(|value| value == "true")
    }

    fn is_adopted_by(&self, identity: &Identity) -> bool {
        self.annotations.get(names::ADOPTED) == Some(&identity.owner)
    }
}

/// What is to become of the original's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is to be taken over.
    TakeOver,
    /// What was taken over is to be given back.
    GiveBack,
    /// It stays as it is.
    Leave,
}

impl Wish {
    /// Follows from what the Service asks for; none = it is gone. What can't be understood, and what is suspended, changes nothing.
    #[must_use]
    pub fn of(intent: Option<&Intent>, adopts: bool) -> Wish {
        match intent {
            Some(Intent::ToKube(_)) if adopts => Wish::TakeOver,
            Some(Intent::ToKube(_) | Intent::Suspended(_)) => Wish::Leave,
            Some(Intent::Frozen(Some(Direction::ToKube) | None)) => Wish::Leave,
            Some(Intent::Frozen(Some(Direction::ToConsul)) | Intent::ToConsul(_)) => Wish::GiveBack,
            Some(Intent::Yield | Intent::None(_) | Intent::Forbidden(_)) | None => Wish::GiveBack,
        }
    }
}

/// What the slices of a Service show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// One of ours stands.
    pub ours: bool,
    /// One of ours has a ready endpoint.
    pub ours_ready: bool,
    /// One stands that is mirrored from an `Endpoints` object.
    pub mirrored: bool,
}

impl Standing {
    /// Reads the slices of a Service; none = it is gone.
    #[must_use]
    pub fn of<'a>(
        service: Option<&KubeService>,
        slices: impl IntoIterator<Item = &'a KubeSlice>,
        identity: &Identity,
    ) -> Standing {
        let mut standing = Standing::default();
        let nobody = KubeService::default();
        for slice in slices.into_iter().filter(|slice| !slice.deleting) {
            let manager = slice.labels.get(names::LABEL_MANAGED_BY).map(String::as_str);
            standing.mirrored |= manager == Some(names::MIRRORED_BY);
            match belongs::of(slice, service.unwrap_or(&nobody), identity, &std::collections::BTreeSet::new()) {
                Belongs::Ours => {
                    standing.ours = true;
                    standing.ours_ready |= slice.endpoints.iter().any(|endpoint| endpoint.ready);
                }
                Belongs::OursOfAnother => standing.ours = true,
                _ if service.is_none() => {
                    standing.ours |= slice.annotations.get(names::SLICE_OWNER) == Some(&identity.owner);
                }
                Belongs::OtherInstallation | Belongs::Foreign => {}
            }
        }
        standing
    }
}

/// What is known of the object, between two looks at its Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    read: Option<UnixMillis>,
    found: Found,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    /// None, or somebody else's.
    #[default]
    Nothing,
    /// It is not taken over, and was not to be.
    Released,
    /// The original's with ready addresses, and ours have none yet.
    Waiting,
    /// The original's without ready addresses, and ours don't stand yet.
    Idle,
    /// Taken over.
    Adopted,
}

impl Memory {
    /// Whether the object is to be read now.
    #[must_use]
    pub fn is_due(&self, wish: Wish, standing: Standing, now: UnixMillis) -> bool {
        let Some(read) = self.read else {
            return match wish {
                Wish::TakeOver => true,
                // Only what we filled can have been taken over.
                Wish::GiveBack => standing.ours,
                Wish::Leave => false,
            };
        };
        let age = now.since(read);
        match (wish, self.found) {
            (Wish::Leave, _) => false,
            // An answer that was lost may have been to the taking over itself.
            (Wish::GiveBack, found) => matches!(found, Found::Adopted | Found::Waiting),
            // The Service has turned back.
            (Wish::TakeOver, Found::Released) => true,
            (Wish::TakeOver, Found::Waiting) => standing.ours_ready || age >= WAITING,
            (Wish::TakeOver, Found::Idle) => standing.ours || age >= WAITING,
            (Wish::TakeOver, Found::Nothing | Found::Adopted) => {
                age >= RARELY || (standing.mirrored && age >= MIRRORED)
            }
        }
    }

    /// Decides about the object as it was just read; none = there is none.
    pub fn decide(
        &mut self,
        wish: Wish,
        endpoints: Option<&Endpoints>,
        standing: Standing,
        identity: &Identity,
        now: UnixMillis,
    ) -> Step {
        self.read = Some(now);
        self.found = if wish == Wish::GiveBack { Found::Released } else { Found::Nothing };
        let Some(endpoints) = endpoints.filter(|endpoints| endpoints.is_original()) else { return Step::Nothing };
        let adopted = endpoints.is_adopted_by(identity);
        match wish {
            Wish::TakeOver if endpoints.is_skipped() => {
                self.found = if adopted { Found::Adopted } else { Found::Nothing };
                Step::Nothing
            }
            Wish::TakeOver if !standing.ours_ready && endpoints.ready > 0 => {
                self.found = Found::Waiting;
                Step::Nothing
            }
            // By slices of ours it is known after a restart that there may be something to give back.
            Wish::TakeOver if !standing.ours => {
                self.found = Found::Idle;
                Step::Nothing
            }
            Wish::TakeOver => {
                self.found = Found::Waiting;
                Step::Adopt
            }
            Wish::GiveBack if adopted => {
                self.found = Found::Adopted;
                Step::GiveBack
            }
            Wish::GiveBack | Wish::Leave => Step::Nothing,
        }
    }

    /// Notes that a step was taken.
    pub fn done(&mut self, step: Step) {
        self.found = match step {
            Step::Adopt => Found::Adopted,
            Step::GiveBack => Found::Released,
            Step::Nothing => Found::Nothing,
        };
    }

    /// Notes that it can't be read or written, and that another attempt would not help: it is left alone for a while.
    pub fn refused(&mut self, now: UnixMillis) {
        *self = Memory { read: Some(now), found: Found::Nothing };
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or nothing yet.
    Nothing,
    /// It is labelled, so that it is no longer mirrored.
    Adopt,
    /// The label and our annotation go.
    GiveBack,
}

/// What is told once an object was taken over.
#[must_use]
pub fn told(endpoints: &Endpoints) -> String {
    format!(
        "Endpoints {} of the Python original is no longer mirrored ({}: \"true\"): our slices stand in its place; once the original is \
         no longer run, it can be deleted",
        endpoints.key,
        names::LABEL_SKIP_MIRROR,
    )
}

#[cfg(test)]
mod tests;
