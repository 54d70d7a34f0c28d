//! Programs that are wrong in one way each, and must be found out: an oracle that nothing can fail proves nothing.

/// How a process is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// It writes over whatever stands.
    NoPreconditions,
    /// It takes what is hidden from it for absent.
    BelievesAll,
    /// It does not ask whether another leads.
    AsksNobody,
    /// It says that it has deregistered what it has not.
    PretendsToDelete,
}
