//! Whose a Service is, by its labels and the scope of this installation (contract §1).

use crate::evidence::UserIntent;
use crate::intent::to_consul::consul_k8s;
use crate::kube::{KubeService, ServiceType};
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::{Direction, Settings};

/// What the labels say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// We are not asked.
    Nobody(UserIntent),
    /// We are asked, and can't tell for what.
    Unclear(Problem),
    /// One direction.
    Direction(Direction),
}

impl Source {
    /// The direction, where there is one.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match self {
            Source::Direction(direction) => Some(*direction),
            Source::Nobody(_) | Source::Unclear(_) => None,
        }
    }
}

/// Reads the labels.
#[must_use]
pub fn source(service: &KubeService, settings: &Settings) -> Source {
    if !settings.scope.covers(&service.key.namespace) {
        return Source::Nobody(UserIntent::OutOfScope);
    }
    // The original's prose: only this value of `registration` means us, every other is somebody else's label.
    let registration = service.labels.get(names::LABEL_REGISTRATION).is_some_and(|v| v == "consul");
    match service.labels.get(names::LABEL_SOURCE).map(String::as_str) {
        None if registration => Source::Direction(Direction::ToKube),
        None if opted(service, settings) == Some(true) => Source::Direction(Direction::ToConsul),
        None if opted(service, settings) == Some(false) => Source::Nobody(UserIntent::SourceNone),
        None if settings.default_sync && synced_by_default(service) => Source::Direction(Direction::ToConsul),
        None => Source::Nobody(UserIntent::Unlabelled),
        Some("consul") => Source::Direction(Direction::ToKube),
        Some(word @ ("kubernetes" | "none")) if registration => Source::Unclear(Problem::new(
            Reason::ConflictingLabels,
            format!(
                "the labels {}={word} and {}=consul contradict each other; remove one of them",
                names::LABEL_SOURCE,
                names::LABEL_REGISTRATION
            ),
        )),
        Some("kubernetes") => Source::Direction(Direction::ToConsul),
        Some("none") => Source::Nobody(UserIntent::SourceNone),
        Some(other) => Source::Unclear(Problem::new(
            Reason::UnknownSource,
            format!(
                "the label {}={} is none of consul, kubernetes, none; what is published stays as it is until it is corrected or removed",
                names::LABEL_SOURCE,
                clean(other, 80)
            ),
        )),
    }
}

/// `--compatibility=consul-k8s`: what `service-sync` says, where the label says nothing.
fn opted(service: &KubeService, settings: &Settings) -> Option<bool> {
    settings.consul_k8s.then(|| consul_k8s::sync(service)).flatten()
}

/// `--default-sync`: what has a selector or a load balancer, but never what belongs to Kubernetes itself.
fn synced_by_default(service: &KubeService) -> bool {
    let kubernetes_own = service.key.namespace == "kube-system"
        || (service.key.namespace == "default" && service.key.name == "kubernetes");
    let served = !service.selector.is_empty() || service.service_type == ServiceType::LoadBalancer;
    served && !kubernetes_own && service.service_type != ServiceType::ExternalName
}
