//! What stands on our slices now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::consul::HealthQuery;
use crate::guard::{self, Mark};
use crate::intent::applied;
use crate::kube::{Endpoint, KubeSlice};
use crate::names;

use super::Input;
use super::behind;
use super::belongs::{self, Belongs};
use super::id::{EndpointId, Ports};

/// What stands on our slices of a Service, terminating ones left out: what is on those is as good as gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Endpoints, each once.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Endpoints that no plan of ours could have made (a port or an address that we don't write).
    pub garbage: usize,
    /// Another installation that fills this Service too.
    pub other_installation: Option<Other>,
    /// Other managers' slices with a ready endpoint: their names and who manages them.
    pub foreign_ready: Vec<(String, String)>,
    /// What our slices keep of holds that began earlier.
    pub marks: BTreeMap<EndpointId, Mark>,
    /// Whether they say that `consul8s/allow-removal: true` was used.
    pub used: bool,
    /// What was asked when they were written, as they say.
    pub applied_query: Option<Arc<HealthQuery>>,
    /// The nodes that they say endpoints are on. Read only where that isn't remembered: after our start, and of what is inherited.
    pub nodes: BTreeMap<EndpointId, String>,
    /// Endpoints on slices that are still another installation's, which is gone for good: nobody's drift.
    pub inherited: BTreeSet<EndpointId>,
    applied_text: Option<String>,
}

/// Another installation, as its slices tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// Its owner id.
    pub owner: String,
    /// Its Lease, `NAMESPACE/NAME`; empty where they do not say.
    pub installation: String,
    /// How many slices of this Service are not ours.
    pub slices: usize,
}

impl Standing {
    /// Reads the slices.
    #[must_use]
    pub fn of(input: &Input<'_>) -> Standing {
        let mut standing = Standing::default();
        let mut slices: Vec<&KubeSlice> = input.slices.iter().copied().filter(|s| !s.deleting).collect();
        slices.sort_by(|a, b| a.key.cmp(&b.key));
        for slice in slices {
            match belongs::of(slice, input.service, &input.settings.identity, input.abandoned) {
                Belongs::Ours => standing.add(input, slice),
                Belongs::OursOfAnother => {}
                Belongs::OtherInstallation => standing.add_other(slice),
                Belongs::Foreign if slice.endpoints.iter().any(|e| e.ready) => {
                    let manager = slice.labels.get(names::LABEL_MANAGED_BY).cloned().unwrap_or_default();
                    standing.foreign_ready.push((slice.key.name.clone(), manager));
                }
                Belongs::Foreign => {}
            }
        }
        standing
    }

    fn add_other(&mut self, slice: &KubeSlice) {
        let said = |key: &str| slice.annotations.get(key).cloned().unwrap_or_default();
        let other = self.other_installation.get_or_insert_with(|| Other {
            owner: said(names::SLICE_OWNER),
            installation: said(names::SLICE_INSTALLATION),
            slices: 0,
        });
        other.slices += 1;
    }

    fn add(&mut self, input: &Input<'_>, slice: &KubeSlice) {
        let applied = slice.annotations.get(names::SLICE_APPLIED);
        if applied.is_some() && applied != self.applied_text.as_ref() {
            self.applied_text = applied.cloned();
            let read = applied.and_then(|text| applied::parse(text, input.service, input.settings));
            self.applied_query = read.map(|applied| Arc::new(applied.query)).or(self.applied_query.take());
        }
        let inherited = slice.annotations.get(names::SLICE_OWNER) != Some(&input.settings.identity.owner);
        let ports = Ports::standing(&slice.ports);
        let kept = slice.annotations.get(names::SLICE_ABSENT_SINCE).map_or("", String::as_str);
        let (marks, used) = guard::parse_marks(kept);
        self.used |= used;
        let asked = inherited || !input.memory.is_adopted();
        let noted = slice.annotations.get(names::SLICE_NODES).filter(|_| asked);
        let mut nodes = noted.map(|text| behind::parse(text)).unwrap_or_default();
        for endpoint in &slice.endpoints {
            let id = ports.as_ref().and_then(|ports| EndpointId::standing(slice, endpoint, ports));
            match id {
                Some(id) => {
                    if inherited {
                        self.inherited.insert(id.clone());
                    }
                    if let Some(mark) = marks.get(&id.address) {
                        self.marks.insert(id.clone(), mark.clone());
                    }
                    if let Some(node) = nodes.remove(&id.address) {
                        self.nodes.insert(id.clone(), node);
                    }
                    self.endpoints.entry(id).or_insert_with(|| endpoint.clone());
                }
                None => self.garbage += 1,
            }
        }
    }
}
