//! What consistent reads showed of the node that the Python original made for a Service.

use std::time::Duration;

use consul8s_core::consul::NodeView;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::original::Original;

/// Pause after a read that failed: what the original left behind is in nobody's way.
const RETRY: Duration = Duration::from_secs(5);
/// Reads in a row that are remembered; two are enough, where they are at the right distance.
const KEPT: usize = 4;

/// One node, as last read.
#[derive(Debug, Default)]
pub struct OriginalNode {
    /// Its name. A Service whose annotations change may get another one.
    name: String,
    /// None = not read yet; none inside = there is no such node.
    answer: Option<Option<NodeView>>,
    /// When it was read without a service, since it was last read with one.
    empty: Vec<UnixMillis>,
    /// Not to be read before.
    not_before: UnixMillis,
}

impl OriginalNode {
    /// For planning.
    #[must_use]
    pub fn of(&self, name: &str) -> Original<'_> {
        match &self.answer {
            Some(answer) if self.name == name => match answer {
                Some(view) => Original::Read { view, empty: &self.empty },
                None => Original::Absent,
            },
            _ => Original::Unread,
        }
    }

    /// Whether reads showed that there is none.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.answer == Some(None)
    }

    /// When it may be read, who asks for it at `at`.
    #[must_use]
    pub fn due(&self, at: UnixMillis) -> UnixMillis {
        at.max(self.not_before)
    }

    /// A consistent read answered.
    pub fn read(&mut self, name: &str, view: Option<NodeView>, now: UnixMillis) {
        if self.name != name || view.as_ref().is_none_or(|view| !view.services.is_empty()) {
            self.empty.clear();
        }
        if view.as_ref().is_some_and(|view| view.services.is_empty()) {
            self.empty.push(now);
            let surplus = self.empty.len().saturating_sub(KEPT);
            self.empty.drain(..surplus);
        }
        name.clone_into(&mut self.name);
        self.answer = Some(view);
    }

    /// A read failed.
    pub fn failed(&mut self, now: UnixMillis) {
        self.not_before = now.after(RETRY);
    }

    /// Something of it was written: it is to be read anew.
    pub fn forget(&mut self) {
        *self = OriginalNode::default();
    }
}

#[cfg(test)]
mod tests {
    use consul8s_core::consul::NodeService;

    use super::*;

    fn view(services: &[&str]) -> Option<NodeView> {
        let services = services.iter().map(|id| ((*id).to_owned(), NodeService::default())).collect();
        Some(NodeView { services, ..NodeView::default() })
    }

    fn empty(node: &OriginalNode) -> Vec<u64> {
        match node.of("kubernetes-foo") {
            Original::Read { empty, .. } => empty.iter().map(|at| at.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_that_show_it_empty_count_while_nothing_else_comes_between() {
        let mut node = OriginalNode::default();
        assert!(matches!(node.of("kubernetes-foo"), Original::Unread));
        node.read("kubernetes-foo", view(&["foo"]), UnixMillis(1));
        assert!(empty(&node).is_empty());
        for at in 2..10 {
            node.read("kubernetes-foo", view(&[]), UnixMillis(at));
        }
        assert_eq!(empty(&node), [6, 7, 8, 9]);
        assert!(matches!(node.of("kubernetes-bar"), Original::Unread), "another node");
        node.read("kubernetes-foo", view(&["foo"]), UnixMillis(10));
        assert!(empty(&node).is_empty());
        node.read("kubernetes-foo", None, UnixMillis(11));
        assert!(node.is_absent() && matches!(node.of("kubernetes-foo"), Original::Absent));
    }

    #[test]
    fn a_read_that_failed_is_not_repeated_at_once() {
        let mut node = OriginalNode::default();
        node.failed(UnixMillis(1000));
        assert_eq!((node.due(UnixMillis(1001)), node.due(UnixMillis(9000))), (UnixMillis(6000), UnixMillis(9000)));
    }
}
