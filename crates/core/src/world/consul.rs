//! The Consul of a [`Stage`].

use std::collections::BTreeMap;

use crate::consul::{Answer, HealthQuery, Instance, NodeRecord, NodeService, NodeView};
use crate::guard::{Need, NodeReading, ServiceReading};
use crate::intent::to_kube::ToKube;
use crate::kube::KubeService;
use crate::to_kube::Source;

use super::Stage;

/// Datacenter of the agent, and of instances that name none.
pub(super) const HOME: &str = "dc1";

impl Stage {
    /// Asks everything that a Service is filled from.
    pub(super) fn hear(&mut self, wish: &ToKube) {
        for query in wish.queries() {
            if self.is_up(query.datacenter.as_deref()) {
                let answer = Answer { meta: self.meta.clone(), body: self.answer(&query).into() };
                self.answers.insert(query, (self.now, answer));
            }
        }
    }

    /// What was heard last.
    pub(super) fn source<'a>(&'a self, query: &'a HealthQuery) -> Source<'a> {
        let last = self.answers.get(query);
        Source { query, answer: last.map(|(_, answer)| answer), heard: last.map_or(self.started, |(at, _)| *at) }
    }

    fn is_up(&self, datacenter: Option<&str>) -> bool {
        self.answering && !self.down.contains(datacenter.unwrap_or(HOME))
    }

    fn answers_read(&self, need: &Need) -> bool {
        match need {
            Need::ServiceRead { query, .. } => self.is_up(query.datacenter.as_deref()),
            Need::NodeRead { datacenter, .. } => self.is_up(datacenter.as_deref()),
        }
    }

    /// What Consul shows: names without regard to case, as it does.
    fn answer(&self, query: &HealthQuery) -> Vec<Instance> {
        let datacenter = query.datacenter.as_deref().unwrap_or(HOME);
        let there = self.world.instances.iter().filter(|i| i.datacenter == datacenter);
        let named = there.filter(|i| i.name.eq_ignore_ascii_case(&query.name));
        // The one filter expression that worlds know: `Service.Meta.version == X`.
        let version = query.filter.as_deref().and_then(|filter| filter.strip_prefix("Service.Meta.version == "));
        named.filter(|i| version.is_none_or(|v| i.meta.get("version").is_some_and(|m| m == v))).cloned().collect()
    }

    /// Answers the reads that are due.
    pub(super) fn read(
        &mut self,
        service: &KubeService,
        wish: &ToKube,
        needs: &[Need],
    ) -> (Vec<ServiceReading>, Vec<NodeReading>) {
        let (mut services, mut nodes) = (Vec::new(), Vec::new());
        let due: Vec<&Need> =
            needs.iter().filter(|need| need.not_before() <= self.now && self.answers_read(need)).collect();
        self.reads += due.len();
        for need in due {
            match need {
                Need::ServiceRead { query, .. } => {
                    let answer = Answer { meta: self.meta.clone(), body: self.answer(query) };
                    let (settings, resolved) = (&self.settings, &self.resolved);
                    services.push(ServiceReading::of(service, wish, settings, resolved, query, self.now, &answer));
                }
                Need::NodeRead { node, .. } => nodes.push(self.read_node(node)),
            }
        }
        (services, nodes)
    }

    fn read_node(&self, node: &str) -> NodeReading {
        let on_node: Vec<&Instance> = self.world.instances.iter().filter(|i| i.node == node).collect();
        let exists = self.alive.contains(node) || !on_node.is_empty();
        let view = exists.then(|| NodeView {
            node: NodeRecord { name: node.to_owned(), ..NodeRecord::default() },
            services: on_node
                .iter()
                .map(|i| {
                    (i.id.clone(), NodeService { id: i.id.clone(), name: i.name.clone(), ..NodeService::default() })
                })
                .collect(),
            checks: BTreeMap::new(),
        });
        let reading = NodeReading::of(
            node,
            self.now,
            &Answer { meta: self.meta.clone(), body: view },
            &Answer { meta: self.meta.clone(), body: Vec::new() },
        );
        NodeReading { alive: self.alive.contains(node), ..reading }
    }
}
