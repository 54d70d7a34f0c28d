//! What stands behind an endpoint: the instance, or only its node, which our slices keep over a restart (`consul8s/nodes`).
//!
//! Without it a process that has just started could not ask whether the agent of a missing endpoint is alive, and would have to hold what
//! the agent itself deregistered meanwhile.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::consul::InstanceRef;
use crate::intent::applied;

/// Bytes of `consul8s/nodes` at most. Kubernetes takes 256 KiB of annotations; what finds no room is only confirmed more slowly.
const ROOM: usize = 64 * 1024;

/// What is known of what stands behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The instance: an answer showed it since we started.
    Instance(InstanceRef),
    /// Its node alone, as our slice kept it.
    Node(String),
}

impl Behind {
    /// The node that it is on.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Behind::Instance(instance) => &instance.node,
            Behind::Node(node) => node,
        }
    }

    /// The instance, where it is known.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceRef> {
        match self {
            Behind::Instance(instance) => Some(instance),
            Behind::Node(_) => None,
        }
    }
}

/// The value of `consul8s/nodes` on one slice: `ADDRESS NODE` for each endpoint, a line each; a backslash and a newline in a name are
/// escaped. None when there is nothing to keep.
#[must_use]
pub(crate) fn print(nodes: &BTreeMap<IpAddr, &str>) -> Option<String> {
    let mut text = String::new();
    for (address, node) in nodes.iter().filter(|(_, node)| !node.is_empty()) {
        let line = format!("{address} {}", applied::escape(node));
        if text.len() + 1 + line.len() > ROOM {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    }
    (!text.is_empty()).then_some(text)
}

/// Reads what [`print()`] wrote. What can't be read is left out.
#[must_use]
pub(crate) fn parse(text: &str) -> BTreeMap<IpAddr, String> {
    let line = |line: &str| {
        let (address, node) = line.split_once(' ')?;
        Some((address.parse().ok()?, applied::unescape(node)))
    };
    text.lines().filter_map(line).filter(|(_, node)| !node.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> impl Iterator<Item = IpAddr> {
        (1..=count).map(|i| IpAddr::from([10, 0, 0, i]))
    }

    #[test]
    fn what_is_kept_on_a_slice_is_read_back() {
        let names = ["vm-1", "odd name, with = and ;", "a\\nb\nc\r", "\\", "é", " "];
        let sixth = ("2001:db8::1".parse().unwrap(), "vm-1");
        let nodes: BTreeMap<IpAddr, &str> = addresses(6).zip(names).chain([sixth]).collect();
        let text = print(&nodes).unwrap();
        assert!(text.starts_with("10.0.0.1 vm-1\n10.0.0.2 odd name, with = and ;\n"), "{text}");
        let expected: BTreeMap<IpAddr, String> = nodes.iter().map(|(ip, node)| (*ip, (*node).to_owned())).collect();
        assert_eq!(parse(&text), expected);
    }

    #[test]
    fn there_is_nothing_to_keep_where_no_node_is_known() {
        assert_eq!(print(&BTreeMap::new()), None);
        assert_eq!(print(&addresses(2).zip(["", ""]).collect()), None);
    }

    #[test]
    fn what_somebody_wrote_over_it_is_left_out() {
        for text in ["", "\n\n", "nonsense", "10.0.0.1", "10.0.0.1 ", "010.0.0.1 vm", "vm 10.0.0.1"] {
            assert_eq!(parse(text), BTreeMap::new(), "{text}");
        }
        assert_eq!(parse("nonsense\n10.0.0.1 vm-1").len(), 1);
    }

    #[test]
    fn it_never_takes_more_than_its_room() {
        let long = "n".repeat(1000);
        let all = (0..=255).flat_map(|i| (0..4).map(move |j| IpAddr::from([10, 0, i, j])));
        let text = print(&all.map(|ip| (ip, long.as_str())).collect()).unwrap();
        assert!(text.len() <= ROOM && text.len() > ROOM - 1100, "{}", text.len());
        assert!(parse(&text).values().all(|node| *node == long), "none is cut short");
    }
}
