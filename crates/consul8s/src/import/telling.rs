//! What people are told of imports.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::import::{self, Import, Status};
use consul8s_core::kube::{ConditionStatus, ObjectKey};
use consul8s_core::ports::{ConsulApi, KubeApi, KubeWriter};
use consul8s_core::problem::Reason;
use consul8s_core::tell::Look;

use super::session::Session;
use crate::sync::writers::Writers;
use crate::teller::About;

impl<K: KubeApi, C: ConsulApi, W: KubeWriter> Session<K, C, W> {
    /// Something was done for an import; to be told.
    pub(super) fn did(&mut self, import: ObjectKey, reason: Reason, message: String) {
        self.done.entry(import).or_default().push((reason, message));
    }

    /// Leaves for the teller how these imports stand, and what was done.
    pub(super) fn tell_of(&mut self, statuses: &[(ObjectKey, Status)]) {
        let statuses: BTreeMap<&ObjectKey, &Status> = statuses.iter().map(|(key, status)| (key, status)).collect();
        for (key, status) in &statuses {
            let conflict = status.conflict.as_ref().is_some_and(|known| known.status == ConditionStatus::True);
            if conflict {
                self.in_conflict.insert((*key).clone())
            } else {
                self.in_conflict.remove(*key)
            };
        }
        self.controller.imports.conflicts(self.in_conflict.len());
        let alive: BTreeSet<&str> = self.imports.iter().map(|import| import.uid.as_str()).collect();
        self.stood.retain(|uid, _| alive.contains(uid.as_str()));
        let done = std::mem::take(&mut self.done);
        let Some(mailbox) = self.writers.as_deref().and_then(Writers::mailbox) else { return };
        let all = statuses.keys().copied().chain(done.keys().filter(|key| !statuses.contains_key(key)));
        for key in all {
            let Some(import) = self.imports.get(key) else { continue };
            let mut import = Import::clone(import);
            // What stood before our first look was told by who wrote it; what stands since may be our own, of a look that is not told yet.
            let stood = self.stood.entry(import.uid.clone()).or_insert_with(|| import.status.conflict.clone());
            import.status.conflict.clone_from(stood);
            let done = done.get(key).map_or(&[][..], Vec::as_slice);
            mailbox.leave(&About::Import(key.clone()), import::look(&import, statuses.get(key).copied(), done));
        }
    }

    /// An import is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.in_conflict.remove(key);
        self.controller.imports.conflicts(self.in_conflict.len());
        if let Some(mailbox) = self.writers.as_deref().and_then(Writers::mailbox) {
            mailbox.leave(&About::Import(key.clone()), Look::default());
        }
    }
}
