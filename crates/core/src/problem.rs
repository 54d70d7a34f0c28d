//! Problems: something in the input that its author can fix. Data, never an abort.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $kind:ident,)+) => {
        /// Every reason that an Event, the condition `consul8s/Synced` and the metric `consul8s_problems` may carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them, in the order of the reference.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The name as users see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// Whether it is told as a warning or as an ordinary event.
            #[must_use]
            pub fn kind(self) -> ReasonKind {
                match self { $(Reason::$name => ReasonKind::$kind,)+ }
            }

            /// What it means, for the reference.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

/// Event type of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

reasons! {
    /// The published endpoints changed.
    EndpointsUpdated => Normal,
    /// The Service was registered in Consul.
    Registered => Normal,
    /// The Service's registration was removed from Consul.
    Deregistered => Normal,
    /// A Service was created from the catalog.
    ServiceCreated => Normal,
    /// A Service created from the catalog was removed.
    ServiceRemoved => Normal,
    /// The Endpoints object of the Python original was taken over.
    Adopted => Normal,
    /// `consul8s/suspend` is set: nothing about the Service is done.
    Suspended => Normal,
    /// Another datacenter of the failover list is used.
    FailedOver => Normal,
    /// What the guard held was let go.
    RemovalReleased => Normal,
    /// An annotation has a value that is not accepted; the last valid settings stay in force.
    InvalidAnnotation => Warning,
    /// An annotation key of ours that does not exist, or belongs to the other direction.
    UnknownAnnotation => Warning,
    /// `consul8s/service.port_name` names no port of the Service.
    PortNameNotFound => Warning,
    /// Several Service ports get the one port that an instance has, or named ports of a registered Service have no room in its meta.
    UnmappedPorts => Warning,
    /// A Service to be filled from Consul has a selector.
    SelectorPresent => Warning,
    /// `type: ExternalName` can be neither filled nor registered.
    UnsupportedType => Warning,
    /// A traffic policy `Local` leaves no endpoint for clients, as endpoints outside the cluster have no node.
    LocalTrafficPolicy => Warning,
    /// Slices of other managers with ready endpoints stand beside ours.
    ForeignEndpoints => Warning,
    /// No address to register was found.
    NoAddress => Warning,
    /// An address may not be published.
    AddressRejected => Warning,
    /// Services of two namespaces get one Consul name.
    SharedName => Warning,
    /// A rule of the configuration forbids this Consul name here.
    NotAllowed => Warning,
    /// Consul does not answer.
    ConsulUnavailable => Warning,
    /// Consul hides results from our token, or refuses it.
    ConsulPermissionDenied => Warning,
    /// What would have to be written belongs to somebody else.
    OwnershipConflict => Warning,
    /// The name of a Service to be created is taken or not possible.
    NameConflict => Warning,
    /// A removal is held by the guard.
    RemovalHeld => Warning,
    /// The Consul service has no healthy instance.
    NoHealthyInstances => Warning,
    /// Fewer instances are healthy than `panic_threshold` asks for; all are published.
    PanicActive => Warning,
    /// `consul8s_source` has a value that is none of `consul`, `kubernetes`, `none`.
    UnknownSource => Warning,
    /// The labels ask for both directions.
    ConflictingLabels => Warning,
}

impl Reason {
    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }

    /// Whether a problem with this reason keeps something from being done; the others are warnings beside a Service that syncs.
    #[must_use]
    pub fn stops(self) -> bool {
        matches!(
            self,
            Reason::InvalidAnnotation
                | Reason::PortNameNotFound
                | Reason::SelectorPresent
                | Reason::UnsupportedType
                | Reason::NoAddress
                | Reason::SharedName
                | Reason::NotAllowed
                | Reason::ConsulPermissionDenied
                | Reason::OwnershipConflict
                | Reason::NameConflict
                | Reason::UnknownSource
                | Reason::ConflictingLabels
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which.
    pub reason: Reason,
    /// What is wrong, with which value, and what to do next. Free of control characters and bounded ([`clean`]).
    pub message: String,
}

impl Problem {
    /// A problem whose message is made fit for logs and Events.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Problem {
        Problem { reason, message: clean(message.as_ref(), MAX_MESSAGE) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Longest message in bytes; an Event's note may have 1,024.
pub const MAX_MESSAGE: usize = 1000;

/// `text` without control characters (shown as `\u{…}`), cut at a character border before `limit` bytes. What comes from a catalog
/// or an annotation may hold anything, and must not break a log line.
#[must_use]
pub fn clean(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        let piece: String = if c.is_control() { c.escape_unicode().collect() } else { c.to_string() };
        if out.len() + piece.len() + '…'.len_utf8() > limit {
            out.push('…');
            break;
        }
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_no_control_character_and_is_bounded() {
        assert_eq!(clean("a\nb\u{1b}[31m", 100), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(clean("äää", 5), "ä…");
        assert_eq!(clean(&"x".repeat(2000), MAX_MESSAGE).len(), MAX_MESSAGE);
    }

    #[test]
    fn reasons_are_named_as_in_the_contract_and_once() {
        assert_eq!(Reason::InvalidAnnotation.as_str(), "InvalidAnnotation");
        assert!(Reason::ALL.iter().all(|r| !r.meaning().is_empty()));
    }
}
