//! Consul as one process reaches it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consul8s_core::consul::{Answer, Check, HealthQuery, Instance, NodeView, Read, TxnOp, TxnOutcome, TxnRefusal};
use consul8s_core::import::{Catalog, CatalogQuery};
use consul8s_core::ports::{ApiError, ConsulApi, ConsulWriter, ErrorKind};

use crate::line::{Line, lock};
use crate::mutants::Mutant;
use crate::oracles::Write;
use crate::script::Kind;

/// Reads and writes of Consul.
#[derive(Clone)]
pub(crate) struct Consul {
    line: Arc<Line>,
    mutant: Option<Mutant>,
    health: Arc<Lagging<Vec<Instance>>>,
    nodes: Arc<Lagging<Option<NodeView>>>,
    checks: Arc<Lagging<Vec<Check>>>,
    services: Arc<Lagging<Catalog>>,
}

/// Answers that a server which lags may still give. It has heard its leader within this time, or nobody believes it.
struct Lagging<T>(Mutex<BTreeMap<String, Past<T>>>);

/// Answers to one question, each with when it was given; the oldest first.
type Past<T> = VecDeque<(Duration, Answer<T>)>;

const LAGS: Duration = Duration::from_secs(5);

impl<T> Default for Lagging<T> {
    fn default() -> Self {
        Lagging(Mutex::default())
    }
}

impl<T: Clone> Lagging<T> {
    /// The oldest that may be given now; only in answer to a plain stale read.
    fn old(&self, what: &str, read: Read, now: Duration) -> Option<Answer<T>> {
        if read != Read::Stale {
            return None;
        }
        let mut all = lock(&self.0);
        let answers = all.get_mut(what)?;
        answers.retain(|(at, _)| now.saturating_sub(*at) <= LAGS);
        answers.front().map(|(_, answer)| answer.clone())
    }

    fn given(&self, what: &str, now: Duration, answer: &Result<Answer<T>, ApiError>) {
        if let Ok(answer) = answer {
            lock(&self.0).entry(what.to_owned()).or_default().push_back((now, answer.clone()));
        }
    }
}

impl Consul {
    pub(crate) fn new(line: &Arc<Line>, mutant: Option<Mutant>) -> Consul {
        Consul {
            line: line.clone(),
            mutant,
            health: Arc::default(),
            nodes: Arc::default(),
            checks: Arc::default(),
            services: Arc::default(),
        }
    }

    fn changed<T>(&self, answer: Result<Answer<T>, ApiError>) -> Result<Answer<T>, ApiError> {
        let mut answer = answer?;
        if self.mutant == Some(Mutant::BelievesAll) {
            (answer.meta.filtered, answer.meta.anonymous_under_deny) = (false, false);
        }
        Ok(answer)
    }
}

impl ConsulApi for Consul {
    async fn health(&self, query: &HealthQuery, read: Read) -> Result<Answer<Vec<Instance>>, ApiError> {
        let what = format!("health {query}");
        let world = &self.line.stage.worlds.consul;
        let old = || self.health.old(&what, read, self.line.now());
        let answer = self.line.read(&what, old, world.health(query, read)).await;
        self.health.given(&what, self.line.now(), &answer);
        if let Ok(answer) = &answer {
            self.line.judge().heard(&self.line.name, &query.name, read, self.line.now(), answer);
        }
        self.changed(answer)
    }

    async fn node(&self, name: &str, dc: Option<&str>, read: Read) -> Result<Answer<Option<NodeView>>, ApiError> {
        let what = format!("node {name}");
        let old = || self.nodes.old(&what, read, self.line.now());
        let answer = self.line.read(&what, old, self.line.stage.worlds.consul.node(name, dc, read)).await;
        self.nodes.given(&what, self.line.now(), &answer);
        self.changed(answer)
    }

    async fn node_checks(&self, name: &str, dc: Option<&str>, read: Read) -> Result<Answer<Vec<Check>>, ApiError> {
        let what = format!("checks {name}");
        let old = || self.checks.old(&what, read, self.line.now());
        let answer = self.line.read(&what, old, self.line.stage.worlds.consul.node_checks(name, dc, read)).await;
        self.checks.given(&what, self.line.now(), &answer);
        self.changed(answer)
    }

    async fn services(&self, query: &CatalogQuery, read: Read) -> Result<Answer<Catalog>, ApiError> {
        let what = if read == Read::Consistent { "lineage" } else { "services" };
        let old = || self.services.old(what, read, self.line.now());
        let answer = self.line.read(what, old, self.line.stage.worlds.consul.services(query, read)).await;
        self.services.given(what, self.line.now(), &answer);
        self.changed(answer)
    }

    async fn leader(&self) -> Result<String, ApiError> {
        self.line.read("leader", || None, self.line.stage.worlds.consul.leader()).await
    }
}

impl ConsulWriter for Consul {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        let shown: Vec<String> = ops.iter().map(show).collect();
        let write = Write::new(Kind::Write, self.line.now(), format!("txn {}", shown.join(", ")));
        let world = self.line.stage.worlds.consul.clone();
        let ops = match self.mutant {
            Some(Mutant::NoPreconditions) => forced(&world, ops),
            _ => ops.to_vec(),
        };
        if self.mutant == Some(Mutant::PretendsToDelete) && matches!(ops.first(), Some(TxnOp::DeleteService { .. })) {
            return Ok(TxnOutcome::Applied(consul8s_core::consul::TxnApplied::default()));
        }
        match self.line.write(write, async move { world.txn(&ops).await }).await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                let what = "failed to set service: index is stale".to_owned();
                Ok(TxnOutcome::Refused(vec![TxnRefusal { op: 0, what }]))
            }
            done => done,
        }
    }
}

fn show(op: &TxnOp) -> String {
    match op {
        TxnOp::SetNode { node, index } => format!("set node {} at {index}", node.name),
        TxnOp::SetService { registration: it, index } => {
            format!("set {} {} {}:{} at {index}", it.id, it.name, it.address, it.port)
        }
        TxnOp::SetCheck { registration: it, index } => format!("check {} {} at {index}", it.id, it.status),
        TxnOp::DeleteService { id, index, .. } => format!("delete {id} at {index}"),
        TxnOp::RemoveNode(node) => format!("remove node {}", node.name()),
    }
}

/// The same, on whatever stands now.
fn forced(world: &consul8s_sim::ConsulWorld, ops: &[TxnOp]) -> Vec<TxnOp> {
    let mut ops = ops.to_vec();
    world.read(|catalog| {
        for op in &mut ops {
            match op {
                TxnOp::SetNode { node, index } => *index = catalog.node(&node.name).map_or(0, |it| it.modify_index),
                TxnOp::SetService { registration: it, index } => {
                    *index = catalog.service(&it.node, it.id.as_str()).map_or(0, |it| it.modify_index);
                }
                TxnOp::SetCheck { registration: it, index } => {
                    *index = catalog.check(&it.node, &it.id.check_id()).map_or(0, |it| it.modify_index);
                }
                TxnOp::DeleteService { node, id, index, .. } => {
                    *index = catalog.service(node, id.as_str()).map_or(*index, |it| it.modify_index);
                }
                TxnOp::RemoveNode(_) => {}
            }
        }
    });
    ops
}
