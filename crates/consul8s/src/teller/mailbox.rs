//! What looks leave for the teller: the last of each object, so that it never holds more than there are objects.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use consul8s_core::tell::Look;
use tokio::sync::Notify;

use super::About;

/// The mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    looks: Mutex<BTreeMap<About, Look>>,
    news: Notify,
}

impl Mailbox {
    /// Leaves a look. It replaces one that was not taken yet; what was done adds up.
    pub fn leave(&self, about: &About, look: Look) {
        // Whole values go in and out, so what a panic leaves behind is one.
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get_mut(about) {
            Some(older) => older.update(look),
            None => drop(looks.insert(about.clone(), look)),
        }
        drop(looks);
        self.news.notify_one();
    }

    /// Waits until something was left.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes everything out.
    pub(super) fn take(&self) -> BTreeMap<About, Look> {
        std::mem::take(&mut *self.looks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
