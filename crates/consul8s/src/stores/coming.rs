//! New registrations on their way to our nodes: what one look has placed, another must not place into the same room.

use std::collections::BTreeMap;

use consul8s_core::kube::ObjectKey;
use consul8s_core::to_consul::RegistrationChange;
use consul8s_core::to_consul::nodes::OurNodes;

/// How many are on their way to which of our nodes, for each Service that is being written.
#[derive(Debug, Default)]
pub struct Coming(BTreeMap<ObjectKey, BTreeMap<u32, usize>>);

impl Coming {
    /// Those of all Services, for each node.
    #[must_use]
    pub fn all(&self) -> BTreeMap<u32, usize> {
        let mut all = BTreeMap::new();
        for (ordinal, n) in self.0.values().flatten() {
            *all.entry(*ordinal).or_default() += n;
        }
        all
    }

    /// Takes note of what is about to be written for a Service.
    pub fn begin(&mut self, service: &ObjectKey, changes: &[RegistrationChange], nodes: &OurNodes) {
        let mut mine = BTreeMap::new();
        for change in changes {
            let RegistrationChange::Register { after, before } = change else { continue };
            if before.service.is_none()
                && let Some(ordinal) = nodes.ordinal(&after.node)
            {
                *mine.entry(ordinal).or_default() += 1;
            }
        }
        self.end(service);
        if !mine.is_empty() {
            self.0.insert(service.clone(), mine);
        }
    }

    /// One of them stands now, and is counted where it stands.
    pub fn stands(&mut self, service: &ObjectKey, ordinal: u32) {
        let Some(mine) = self.0.get_mut(service) else { return };
        if let Some(left) = mine.get_mut(&ordinal) {
            *left = left.saturating_sub(1);
        }
    }

    /// It is written, or will not be.
    pub fn end(&mut self, service: &ObjectKey) {
        self.0.remove(service);
    }
}
