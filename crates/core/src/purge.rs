//! `consul8s purge`: what of one installation stands in Consul, and in which order it may go.

use crate::consul::{NodeService, NodeView, ServiceId};
use crate::evidence::{Evidence, UserIntent};
use crate::identity::Identity;
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::to_consul::RegistrationChange;
use crate::to_consul::nodes::{self, OurNodes};

/// By what our own is known.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// All three values of a node's identity.
    Identity(&'a Identity),
    /// The owner id alone: the cluster can't be asked any more.
    Owner(&'a str),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// Registrations of ours, by node and ID.
    pub registrations: Vec<RegistrationChange>,
    /// Nodes that hold nothing but ours, the last first: so that what is left when this breaks off is complete up to the first that
    /// doesn't exist, and is found again.
    pub nodes: Vec<String>,
    /// What others have put on our nodes, as `ID@NODE`. It stays, and its node with it.
    pub foreign: Vec<String>,
    /// A node of our name is somebody else's: nothing is done at all.
    pub blocked: Option<Problem>,
}

impl Purge {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.nodes.is_empty() && self.blocked.is_none()
    }
}

/// Reads it off our nodes.
#[must_use]
pub fn plan(nodes: &OurNodes, whose: Whose<'_>) -> Purge {
    let mut purge = Purge::default();
    for view in nodes.views() {
        if let Some(problem) = whose.conflict(view) {
            return Purge { blocked: Some(problem), ..Purge::default() };
        }
        let before = purge.foreign.len();
        for service in view.services.values() {
            match ServiceId::new(&service.id).filter(|_| whose.has(service)) {
                Some(id) => purge.registrations.push(RegistrationChange::Deregister {
                    node: view.node.name.clone(),
                    id,
                    name: service.name.clone(),
                    index: service.modify_index,
                    evidence: Evidence::Intent(UserIntent::Purged),
                }),
                None => purge.foreign.push(format!("{}@{}", clean(&service.id, 300), view.node.name)),
            }
        }
        if purge.foreign.len() == before {
            purge.nodes.push(view.node.name.clone());
        }
    }
    purge.nodes.reverse();
    purge
}

impl Whose<'_> {
    fn owner(&self) -> &str {
        match self {
            Whose::Identity(identity) => &identity.owner,
            Whose::Owner(owner) => owner,
        }
    }

    fn has(&self, service: &NodeService) -> bool {
        service.meta.get(names::META_OWNER).is_some_and(|owner| owner == self.owner())
    }

    /// Why a node of our name is not ours.
    fn conflict(&self, view: &NodeView) -> Option<Problem> {
        let node = &view.node;
        match self {
            Whose::Identity(identity) => (!identity.owns_node(node)).then(|| nodes::conflict(view, identity)),
            Whose::Owner(owner) => {
                let theirs = node.meta.get(names::NODE_OWNER).map_or("nobody that we know", String::as_str);
                let message = format!(
                    "Consul node {} belongs to owner {}, not to {owner}: nothing is removed; give its owner in --owner-id",
                    clean(&node.name, 80),
                    clean(theirs, 80)
                );
                (theirs != *owner).then(|| Problem::new(Reason::OwnershipConflict, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Identity {
        Identity { owner: "me".into(), cluster: "c".into(), cluster_uid: "u".into(), installation: "a/b".into() }
    }

    fn view(name: &str, services: &[(&str, &str)]) -> NodeView {
        let service = |(id, owner): &(&str, &str)| {
            let meta = [(names::META_OWNER.to_owned(), (*owner).to_owned())].into();
            let (id, name) = ((*id).to_owned(), "web".to_owned());
            (id.clone(), NodeService { id, name, meta, modify_index: 7, ..NodeService::default() })
        };
        NodeView {
            node: nodes::record(name.to_owned(), &me()),
            services: services.iter().map(service).collect(),
            ..NodeView::default()
        }
    }

    fn shown(views: Vec<NodeView>, whose: Whose<'_>) -> Vec<String> {
        let mut nodes = OurNodes::new("n");
        views.into_iter().for_each(|view| nodes.set(view));
        let Purge { registrations, nodes, foreign, blocked } = plan(&nodes, whose);
        let registrations = registrations.iter().map(ToString::to_string);
        let foreign = foreign.iter().map(|what| format!("stays: {what}"));
        registrations.chain(nodes).chain(foreign).chain(blocked.map(|problem| problem.to_string())).collect()
    }

    #[test]
    fn ours_goes_and_what_is_foreign_keeps_its_node() {
        let views = || vec![view("n", &[("a", "me"), ("b", "they")]), view("n-2", &[("c", "me")]), view("n-3", &[])];
        let expected =
            ["deregister a@n, web: intent: purge", "deregister c@n-2, web: intent: purge", "n-3", "n-2", "stays: b@n"];
        assert_eq!(shown(views(), Whose::Identity(&me())), expected);
        assert_eq!(shown(views(), Whose::Owner("me")), expected);
        assert!(shown(Vec::new(), Whose::Owner("me")).is_empty());
    }

    #[test]
    fn a_node_of_somebody_else_stops_it() {
        let other = Identity { installation: "a/c".into(), ..me() };
        let told = shown(vec![view("n", &[("a", "me")])], Whose::Identity(&other));
        assert!(told.len() == 1 && told[0].starts_with("OwnershipConflict"), "{told:?}");
        assert_eq!(shown(vec![view("n", &[("a", "me")])], Whose::Owner("me")).len(), 2, "its owner is what counts");
        assert!(shown(vec![view("n", &[])], Whose::Owner("you"))[0].contains("owner me, not to you"));
    }
}
