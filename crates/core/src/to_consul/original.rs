//! Moving from the Python original: it made a Consul node `kubernetes-ID` for each Service, without meta and without checks.
//!
//! Ours is registered first. Once it stands in Consul, the old service goes by compare-and-set; once two consistent reads have shown
//! the old node without any service, it may go too (contract S5: Consul has no compare-and-set for that).

use crate::consul::{NodeView, ServiceId};
use crate::empty_node::EmptyNode;
use crate::evidence::{Evidence, Successor};
use crate::intent::to_consul::ToConsul;
use crate::kube::KubeService;
use crate::names;
use crate::problem::clean;
use crate::settings::Policy;
use crate::time::UnixMillis;

use super::change::RegistrationChange;
use super::register::Draft;
use super::{Fate, Need};

/// What is known about the original's node of one Service, by consistent reads since our start.
#[derive(Clone, Copy, Debug, Default)]
pub enum Original<'a> {
    /// Nothing yet.
    #[default]
    Unread,
    /// There is none.
    Absent,
    /// It stands.
    Read {
        /// As last read.
        view: &'a NodeView,
        /// When consistent reads showed it without a service, since one last showed it with one.
        empty: &'a [UnixMillis],
    },
}

/// Name of the node that the original made for a Service.
#[must_use]
pub fn node_name(wish: &ToConsul) -> String {
    format!("kubernetes-{}", wish.original_id)
}

/// What the original left goes, as far as ours stands in Consul.
pub(super) fn taken_over(draft: &mut Draft<'_>, service: &KubeService, wish: &ToConsul) {
    // What this plan only just writes doesn't stand yet, and no gap may open.
    if !draft.plan.changes.is_empty() {
        return;
    }
    let ours = draft.standing.iter().find_map(|standing| Some((standing.node, ServiceId::new(&standing.service.id)?)));
    if let Some((node, id)) = ours {
        removed(draft, service, wish, Evidence::Moved(Successor::registration(node, &id)));
    }
}

/// What the original left goes.
pub(super) fn removed(draft: &mut Draft<'_>, service: &KubeService, wish: &ToConsul, evidence: Evidence) {
    if draft.input.settings.policy == Policy::UpsertOnly {
        return;
    }
    // Without this annotation the original registered nothing, and there is nothing to ask Consul for.
    let Some(domain) = service.annotations.get(names::DOMAIN_NAME) else { return };
    let now = draft.input.now;
    match draft.input.original {
        Original::Absent => {}
        Original::Unread => draft.plan.needs.push(Need::ReadOriginal { node: node_name(wish), at: now }),
        Original::Read { view, .. } if !is_the_originals(view, wish, domain) => {}
        Original::Read { view, empty } => match view.services.get(&wish.original_id) {
            Some(stands) => {
                let Some(id) = ServiceId::new(&stands.id) else { return };
                draft.decide(
                    format!("{}@{}", clean(&stands.id, 300), clean(&view.node.name, 300)),
                    Fate::Goes(evidence.clone()),
                );
                draft.plan.changes.push(RegistrationChange::Deregister {
                    node: view.node.name.clone(),
                    id,
                    name: stands.name.clone(),
                    index: stands.modify_index,
                    evidence,
                });
            }
            None => remove_node(draft, view, empty),
        },
    }
}

/// By its shape, as it carries no mark: one service at most, at the address of its node, no meta anywhere, and no check.
fn is_the_originals(view: &NodeView, wish: &ToConsul, domain: &str) -> bool {
    let same = |address: &str| address.eq_ignore_ascii_case(domain);
    view.node.name == node_name(wish)
        && same(&view.node.address)
        && view.node.meta.is_empty()
        && view.checks.is_empty()
        && view
            .services
            .iter()
            .all(|(id, service)| *id == wish.original_id && same(&service.address) && service.meta.is_empty())
}

fn remove_node(draft: &mut Draft<'_>, view: &NodeView, empty: &[UnixMillis]) {
    match EmptyNode::shown(view, empty, draft.input.now) {
        Ok(node) => draft.plan.empty_original = Some(node),
        Err(at) => draft.plan.needs.push(Need::ReadOriginal { node: view.node.name.clone(), at }),
    }
}
