//! What looks at Services leave for the teller: the last of each Service, so that it never holds more than there are Services.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use consul8s_core::kube::ObjectKey;
use consul8s_core::tell::Look;
use tokio::sync::Notify;

/// The mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    looks: Mutex<BTreeMap<ObjectKey, Look>>,
    news: Notify,
}

impl Mailbox {
    /// Leaves a look. It replaces one that was not taken yet; what was done adds up.
    pub fn leave(&self, key: &ObjectKey, look: Look) {
        // Whole values go in and out, so what a panic leaves behind is one.
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get_mut(key) {
            Some(older) => older.update(look),
            None => drop(looks.insert(key.clone(), look)),
        }
        drop(looks);
        self.news.notify_one();
    }

    /// Waits until something was left.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes everything out.
    pub(super) fn take(&self) -> BTreeMap<ObjectKey, Look> {
        std::mem::take(&mut *self.looks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
