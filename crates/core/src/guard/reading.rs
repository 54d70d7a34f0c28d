//! What the guard asks for, and what it is answered: confirming reads as values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::consul::{Answer, AnswerMeta, Check, CheckStatus, HealthQuery, Instance, InstanceRef, NodeView};
use crate::evidence::NodeProof;
use crate::intent::to_kube::ToKube;
use crate::kube::KubeService;
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::{self, Behind, EndpointId};

/// Check of an agent's node that its Serf membership keeps.
pub const SERF_HEALTH: &str = "serfHealth";

/// A read that the guard needs. All are consistent reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The instances of a service, for [`ServiceReading::of`].
    ServiceRead {
        /// What to ask.
        query: HealthQuery,
        /// Not earlier than this.
        not_before: UnixMillis,
    },
    /// A node with its services and checks, for [`NodeReading::of`].
    NodeRead {
        /// Name of the node.
        node: String,
        /// Its datacenter; none = the agent's.
        datacenter: Option<String>,
        /// Not earlier than this.
        not_before: UnixMillis,
    },
}

impl Need {
    /// When it is due.
    #[must_use]
    pub fn not_before(&self) -> UnixMillis {
        match self {
            Need::ServiceRead { not_before, .. } | Need::NodeRead { not_before, .. } => *not_before,
        }
    }
}

/// Whether what the source doesn't show can be taken as missing (contract §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The answer in use was filtered by ACL, or asked for without a token under default deny.
    pub hidden: bool,
    /// Since when the lineage is broken: what was published and not seen since is held.
    pub broken: Option<UnixMillis>,
    /// Whether the lineage has still to be compared with what the Lease remembers. Until then it proves nothing that a node is alive
    /// without an instance: a Consul that was wiped knows its agents before they have told it of their services.
    pub uncompared: bool,
}

impl SourceState {
    /// From the headers of the answer in use.
    #[must_use]
    pub fn of(meta: &AnswerMeta, broken: Option<UnixMillis>) -> SourceState {
        SourceState { hidden: meta.hides(), broken, uncompared: false }
    }
}

/// What a consistent read of a service showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReading {
    /// What was asked.
    pub query: HealthQuery,
    /// When it was answered.
    pub at: UnixMillis,
    /// Whether it may be believed about what is missing.
    pub whole: bool,
    /// Every endpoint that its instances have or would have, published or not.
    pub endpoints: BTreeSet<EndpointId>,
    /// Its instances.
    pub instances: BTreeSet<InstanceRef>,
}

impl ServiceReading {
    /// From the answer to a consistent read of `query`.
    #[must_use]
    pub fn of(
        service: &KubeService,
        intent: &ToKube,
        settings: &Settings,
        resolved: &BTreeMap<String, Vec<IpAddr>>,
        query: &HealthQuery,
        at: UnixMillis,
        answer: &Answer<Vec<Instance>>,
    ) -> ServiceReading {
        let (endpoints, instances) = to_kube::digest(service, intent, settings, resolved, &answer.body);
        let whole = !answer.meta.hides() && !answer.meta.leaderless;
        ServiceReading { query: query.clone(), at, whole, endpoints, instances }
    }

    /// Whether it shows the endpoint, or the instance that was behind it.
    #[must_use]
    pub fn shows(&self, endpoint: &EndpointId, instance: Option<&InstanceRef>) -> bool {
        self.endpoints.contains(endpoint) || instance.is_some_and(|i| self.instances.contains(i))
    }
}

/// What a consistent read of a node showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReading {
    /// Name of the node.
    pub node: String,
    /// When it was answered.
    pub at: UnixMillis,
    /// Whether it may be believed about what is missing.
    pub whole: bool,
    /// Whether the catalog has the node.
    pub exists: bool,
    /// Whether its `serfHealth` is passing.
    pub alive: bool,
    /// Names of its services, by ID.
    pub services: BTreeMap<String, String>,
}

impl NodeReading {
    /// From the answers to consistent reads of the node and of its checks (see
    /// [`ConsulApi::node_checks`](crate::ports::ConsulApi::node_checks)).
    #[must_use]
    pub fn of(
        node: &str,
        at: UnixMillis,
        answer: &Answer<Option<NodeView>>,
        checks: &Answer<Vec<Check>>,
    ) -> NodeReading {
        let serf = checks.body.iter().find(|check| check.id == SERF_HEALTH && check.service_id.is_empty());
        let services = answer.body.iter().flat_map(|view| view.services.values());
        NodeReading {
            node: node.to_owned(),
            at,
            whole: [&answer.meta, &checks.meta].iter().all(|meta| !meta.hides() && !meta.leaderless),
            exists: answer.body.is_some(),
            alive: serf.is_some_and(|check| check.status == CheckStatus::Passing),
            services: services.map(|service| (service.id.clone(), service.name.clone())).collect(),
        }
    }

    /// The proof that the node is alive without what stood behind an endpoint of the service that `query` asks for, where it shows that. `missing` says
    /// whether a consistent read of the service was without that endpoint: that has to tell where only the node is remembered, and where the
    /// service is in a namespace, whose services the read of a node leaves out.
    #[must_use]
    pub(crate) fn explicit(&self, behind: &Behind, query: &HealthQuery, missing: bool) -> Option<NodeProof> {
        let without = match behind {
            Behind::Instance(instance) if query.namespace.is_none() => {
                self.services.get(&instance.id).is_none_or(|other| *other != query.name)
            }
            Behind::Instance(_) | Behind::Node(_) => missing,
        };
        let proven = self.whole && self.exists && self.alive && self.node == behind.node() && without;
        proven.then(|| NodeProof::of(&self.node, self.at))
    }
}
