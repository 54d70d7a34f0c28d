//! An Event as a value.

use crate::kube::ObjectKey;
use crate::problem::Reason;

/// An Event. Whether it is a warning follows from its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// Why, in one word.
    pub reason: Reason,
    /// What happened and what to do, free of control characters, at most [`crate::problem::MAX_MESSAGE`] bytes.
    pub message: String,
    /// What was being done.
    pub action: &'static str,
}

impl EventSpec {
    /// An Event whose action follows from its reason.
    #[must_use]
    pub fn new(reason: Reason, message: &str) -> EventSpec {
        EventSpec {
            reason,
            message: crate::problem::clean(message, crate::problem::MAX_MESSAGE),
            action: action(reason),
        }
    }
}

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// `v1`, `coordination.k8s.io/v1`, …
    pub api_version: &'static str,
    /// `Service`, `Lease`, …
    pub kind: &'static str,
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID, where it is known; `kubectl describe` shows only Events that have it.
    pub uid: Option<String>,
}

impl ObjectRef {
    /// A Service.
    #[must_use]
    pub fn service(key: ObjectKey, uid: Option<String>) -> ObjectRef {
        ObjectRef { api_version: "v1", kind: "Service", key, uid }
    }

    /// A ConsulImport.
    #[must_use]
    pub fn import(key: ObjectKey, uid: Option<String>) -> ObjectRef {
        ObjectRef { api_version: "consul8s.io/v1alpha1", kind: "ConsulImport", key, uid }
    }

    /// A Lease.
    #[must_use]
    pub fn lease(key: ObjectKey, uid: Option<String>) -> ObjectRef {
        ObjectRef { api_version: "coordination.k8s.io/v1", kind: "Lease", key, uid }
    }
}

/// What was being done when there was this to tell.
fn action(reason: Reason) -> &'static str {
    match reason {
        Reason::EndpointsUpdated
        | Reason::LocalTrafficPolicy
        | Reason::ForeignEndpoints
        | Reason::UnmappedPorts
        | Reason::AddressRejected
        | Reason::SelectorPresent
        | Reason::NoHealthyInstances
        | Reason::PanicActive => "Publish",
        Reason::Registered | Reason::NoAddress | Reason::SharedName => "Register",
        Reason::Deregistered => "Deregister",
        Reason::ServiceCreated | Reason::ServiceRemoved | Reason::NameConflict => "Import",
        Reason::Adopted => "Adopt",
        Reason::Suspended => "Suspend",
        Reason::FailedOver => "FailOver",
        Reason::RemovalReleased => "Release",
        Reason::RemovalHeld => "Hold",
        Reason::ConsulUnavailable | Reason::ConsulPermissionDenied => "AskConsul",
        Reason::OwnershipConflict => "Write",
        Reason::InvalidAnnotation
        | Reason::UnknownAnnotation
        | Reason::PortNameNotFound
        | Reason::UnsupportedType
        | Reason::NotAllowed
        | Reason::UnknownSource
        | Reason::ConflictingLabels => "Read",
    }
}
