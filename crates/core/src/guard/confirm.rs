//! Which reads would settle an absence, and what those that were made say about it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consul::HealthQuery;
use crate::time::UnixMillis;
use crate::to_kube::{Behind, EndpointId};

use super::absence::Absence;
use super::case::Case;
use super::reading::{Need, ServiceReading};

/// Node reads asked for in one pass: the others are asked for in the next, so that a service of thousands can't take all connections.
pub const MAX_NODE_READS: usize = 256;

/// The reads that are needed: each once, as soon as anything needs it. What needs it later asks again then.
#[derive(Debug, Default)]
pub(super) struct Asked {
    services: BTreeMap<HealthQuery, UnixMillis>,
    nodes: BTreeMap<String, UnixMillis>,
}

impl Asked {
    /// The reads that would establish this absence, or end its hold.
    pub(super) fn ask(
        &mut self,
        query: &HealthQuery,
        absence: &Absence,
        behind: Option<&Behind>,
        hold: Option<Duration>,
    ) {
        let Some(next) = absence.next_read(hold) else { return };
        // What Consul filters out looks missing: it counts as missing only if it is missing without the filter too.
        match absence.shown_unfiltered {
            Some(shown) => soonest(&mut self.services, query.clone(), shown),
            None => soonest(&mut self.services, HealthQuery { filter: None, ..query.clone() }, next),
        }
        // A node behind a cluster peer can't be asked.
        if let Some(behind) = behind
            && absence.was_ready
            && query.peer.is_none()
        {
            let at = if absence.node_read.is_none() { absence.since } else { next };
            soonest(&mut self.nodes, behind.node().to_owned(), at);
        }
    }

    /// All of them, soonest first; of node reads no more than [`MAX_NODE_READS`].
    pub(super) fn needs(self, datacenter: Option<&String>) -> Vec<Need> {
        let services = self.services.into_iter();
        let mut needs: Vec<Need> =
            services.map(|(query, not_before)| Need::ServiceRead { query, not_before }).collect();
        let mut nodes: Vec<(UnixMillis, String)> = self.nodes.into_iter().map(|(node, at)| (at, node)).collect();
        nodes.sort();
        needs.extend(nodes.into_iter().take(MAX_NODE_READS).map(|(not_before, node)| Need::NodeRead {
            node,
            datacenter: datacenter.cloned(),
            not_before,
        }));
        needs.sort_by(|a, b| (a.not_before(), a).cmp(&(b.not_before(), b)));
        needs
    }
}

fn soonest<K: Ord>(all: &mut BTreeMap<K, UnixMillis>, key: K, at: UnixMillis) {
    let known = all.entry(key).or_insert(at);
    *known = at.min(*known);
}

/// Takes the reads into account, oldest first.
pub(super) fn feed(absence: &mut Absence, case: &Case<'_>, id: &EndpointId, behind: Option<&Behind>) {
    let instance = behind.and_then(Behind::instance);
    let asked = &case.plan.query;
    let mut reads: Vec<&ServiceReading> = case.services_read.iter().collect();
    reads.sort_by_key(|read| (read.at, read.query.filter.is_some()));
    for read in reads {
        let base = HealthQuery { filter: asked.filter.clone(), ..read.query.clone() };
        if !read.whole || base != *asked || read.at < absence.since {
            continue;
        }
        match (read.shows(id, instance), asked.filter == read.query.filter) {
            (true, true) => absence.contradict(read.at),
            (true, false) => absence.shown_unfiltered = Some(read.at),
            (false, true) if asked.filter.is_some() => absence.filtered_out |= absence.shown_unfiltered.is_some(),
            (false, _) => {
                absence.shown_unfiltered = None;
                absence.agree(read.at);
            }
        }
    }
    for read in case.nodes_read {
        let Some(behind) = behind.filter(|behind| behind.node() == read.node) else { continue };
        if read.at < absence.since || absence.node_read.is_some_and(|last| read.at <= last) {
            continue;
        }
        absence.node_read = Some(read.at);
        absence.explicit = read.explicit(behind, asked, absence.agreed() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_one_pass_only_so_many_nodes_are_read_the_soonest_first() {
        let mut asked = Asked::default();
        for number in 0..1000_u64 {
            soonest(&mut asked.nodes, format!("node-{number}"), UnixMillis(10_000 - number));
        }
        asked.services.insert(HealthQuery::default(), UnixMillis(0));
        let needs = asked.needs(None);
        assert_eq!(needs.len(), MAX_NODE_READS + 1);
        assert!(needs.iter().all(|need| need.not_before() <= UnixMillis(9_000 + MAX_NODE_READS as u64)), "{needs:?}");
    }
}
