//! What watches replay: the last changes of each resource, and where they begin.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::cluster::Cluster;
use super::resource::Resource;

/// A resourceVersion. One counter for the whole cluster.
pub type Version = u64;

/// One change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version it made.
    pub version: Version,
    /// The object before; none when it was created.
    pub before: Option<Arc<Value>>,
    /// The object after; none when it went.
    pub after: Option<Arc<Value>>,
    /// The object to show: the state after, or for a deletion the last one, with this version.
    pub shown: Arc<Value>,
}

/// The wanted place in history is forgotten: list again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The version asked for.
    pub wanted: Version,
    /// The oldest version from which a watch can start.
    pub oldest: Version,
}

/// Changes kept per resource; a real watch cache begins with about as many.
const WINDOW: usize = 1_000;

/// The history of one resource.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Version of the newest change forgotten.
    forgotten: Version,
}

impl History {
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > WINDOW {
            self.forgotten = self.changes.pop_front().map_or(self.forgotten, |old| old.version);
        }
    }
}

impl Cluster {
    /// Changes of a resource after a version, oldest first.
    ///
    /// # Errors
    /// [`Gone`] when some of them are forgotten.
    pub fn changes_since(&self, resource: Resource, version: Version) -> Result<Vec<Change>, Gone> {
        let Some(history) = self.history.get(&resource) else { return Ok(Vec::new()) };
        if version < history.forgotten {
            return Err(Gone { wanted: version, oldest: history.forgotten });
        }
        Ok(history.changes.iter().filter(|change| change.version > version).cloned().collect())
    }

    /// Forgets all history, as a compaction does: every watch that is behind has to list again.
    pub fn compact(&mut self) {
        for resource in Resource::ALL {
            self.history.insert(resource, History { changes: VecDeque::new(), forgotten: self.version });
        }
    }
}
