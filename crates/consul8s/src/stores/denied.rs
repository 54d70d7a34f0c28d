//! What our token may not do with our own nodes in Consul: one problem for all Services, tried again from time to time.

use std::time::Duration;

use consul8s_core::ports::ApiError;
use consul8s_core::problem::{Problem, Reason, clean};
use consul8s_core::time::UnixMillis;

/// Pause between two attempts: somebody must give the token its rights first.
const AGAIN: Duration = Duration::from_secs(30);

/// Whether our nodes may be made.
#[derive(Debug, Default)]
pub struct Denied {
    last: Option<(Problem, UnixMillis)>,
}

impl Denied {
    /// Consul did not let us make this node. Gives the problem where that is news.
    pub fn may_not_make(&mut self, node: &str, why: &ApiError, now: UnixMillis) -> Option<&Problem> {
        let message = format!(
            "Consul does not let our token make the node {}, so that nothing is registered there; give it what consul8s acl-policy prints: {}",
            clean(node, 300),
            clean(&why.to_string(), 300)
        );
        let news = self.last.replace((Problem::new(Reason::ConsulPermissionDenied, message), now)).is_none();
        self.last.as_ref().map(|(problem, _)| problem).filter(|_| news)
    }

    /// One was made.
    pub fn made(&mut self) {
        self.last = None;
    }

    /// The problem, as long as none could be made since.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.last.as_ref().map(|(problem, _)| problem)
    }

    /// The problem, while it is not to be tried again yet, and until when.
    #[must_use]
    pub fn resting(&self, now: UnixMillis) -> Option<(&Problem, UnixMillis)> {
        let (problem, since) = self.last.as_ref()?;
        let until = since.after(AGAIN);
        (now < until).then_some((problem, until))
    }
}

/// One of our nodes can't be seen, so that it is not known what stands on it.
#[must_use]
pub fn hidden(node: &str) -> Problem {
    let message = format!(
        "Consul hides our node {} from our token, so that it is not known what stands there: nothing is registered or removed until the token \
         has what consul8s acl-policy prints",
        clean(node, 300)
    );
    Problem::new(Reason::ConsulPermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consul8s_core::ports::ErrorKind;

    #[test]
    fn it_is_told_once_and_tried_again_after_a_while() {
        let (now, why) = (UnixMillis(1_000), ApiError::new(ErrorKind::Forbidden, "Permission denied"));
        let mut denied = Denied::default();
        assert!(denied.may_not_make("n", &why, now).is_some());
        assert_eq!(denied.resting(now).map(|(_, until)| until), Some(now.after(AGAIN)));
        let later = now.after(AGAIN);
        assert!(denied.resting(later).is_none() && denied.problem().is_some());
        assert!(denied.may_not_make("n", &why, later).is_none(), "no news");
        denied.made();
        assert!(denied.problem().is_none());
    }
}
