//! What was answered since a connection was opened, for as long as that matters.
//!
//! A connection may lead to another Consul than the one before it (restarted, restored), for which an old index means nothing; so a blocking
//! query's first question over it goes out without its index. When what is asked for was answered since, its index is this Consul's.
//! Without that, a thousand watches that start over new connections would each be answered again and again with what they know.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::request::Target;

/// A connection is young for so long: longer than a healthy watch rests between two questions.
const YOUNG: Duration = Duration::from_secs(2);

/// Which targets were answered lately, and when they were asked for. Holds something only while there are young connections.
#[derive(Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the newest connection was opened.
    newest: Option<Instant>,
    /// By the hash of the target: of two with one hash, the other's question would go out with its index, as over a connection that isn't young.
    asked: HashMap<u64, Instant>,
}

impl Recent {
    /// A connection was opened.
    pub(crate) fn opened(&self) {
        self.state().newest = Some(Instant::now());
    }

    /// `target`, asked for at `asked`, was answered.
    pub(crate) fn answered(&self, target: &Target, asked: Instant) {
        let mut state = self.state();
        if state.newest.is_some_and(is_young) {
            state.asked.insert(hash(target), asked);
        } else if !state.asked.is_empty() {
            state.asked = HashMap::new();
        }
    }

    /// Whether a connection that was opened at `born` may lead to another Consul than the one that gave the last answer for `target`.
    pub(crate) fn may_be_another(&self, target: &Target, born: Instant) -> bool {
        is_young(born) && self.state().asked.get(&hash(target)).is_none_or(|asked| *asked < born)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection that was opened at `born` is young.
pub(crate) fn is_young(born: Instant) -> bool {
    born.elapsed() < YOUNG
}

fn hash(target: &Target) -> u64 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_over_a_young_connection_keeps_its_index() {
        let (recent, target) = (Recent::default(), Target::new("/v1/health/service/", Some("a")).unwrap());
        let other = Target::new("/v1/health/service/", Some("b")).unwrap();
        let first = Instant::now();
        recent.opened();
        assert!(recent.may_be_another(&target, first));
        recent.answered(&target, first);
        assert!(!recent.may_be_another(&target, first));
        assert!(recent.may_be_another(&other, first));

        tokio::time::advance(Duration::from_secs(1)).await;
        let second = Instant::now();
        recent.opened();
        assert!(recent.may_be_another(&target, second), "asked for before it was opened");

        tokio::time::advance(YOUNG).await;
        assert!(!recent.may_be_another(&other, second), "no longer young");
        recent.answered(&other, Instant::now());
        assert!(recent.state().asked.is_empty(), "nothing is kept for longer than it is of use");
    }
}
