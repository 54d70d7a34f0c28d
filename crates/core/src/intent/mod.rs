//! What a Service asks for: its labels and annotations, parsed once. Inside, there are only these values.
//!
//! Which Service is whose is in [`labels`]; every annotation stands in one table, [`annotations`]; each direction has its own
//! parser ([`to_kube`], [`to_consul`]). What they accept and refuse is shown by [`examples`], which the tests are made from.

pub mod annotations;
pub mod applied;
pub mod examples;
pub mod labels;
pub mod to_consul;
pub mod to_kube;
pub mod value;

use crate::evidence::UserIntent;
use crate::kube::{KubeService, ServiceType};
use crate::names;
use crate::problem::{Problem, Reason};
use crate::settings::{Direction, Settings};

use labels::Source;
use to_consul::ToConsul;
use to_kube::ToKube;

/// What is to be done about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Not ours. What we published for it goes, with this evidence.
    None(UserIntent),
    /// `consul8s/suspend`: nothing is done, health included. The direction is unknown where the labels contradict each other.
    Suspended(Option<Direction>),
    /// Something about it can't be understood (a problem says what): the last valid settings stay in force and go on being followed.
    Frozen(Option<Direction>),
    /// A rule of the configuration forbids its Consul name in this direction. What we published for it goes at once.
    Forbidden(Direction),
    /// To be filled from Consul, but it has a selector, so that Kubernetes fills it: our slices go once another manager's show a
    /// ready endpoint, or after [`YIELD_AFTER`](crate::to_kube::YIELD_AFTER).
    Yield,
    /// To be filled from Consul.
    ToKube(ToKube),
    /// To be registered in Consul.
    ToConsul(ToConsul),
}

/// An intent with what is to be told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What to do.
    pub intent: Intent,
    /// Problems and warnings, sorted. That a problem stopped something shows in the intent.
    pub problems: Vec<Problem>,
}

/// Reads what a Service asks for (contract §1).
#[must_use]
pub fn parse(service: &KubeService, settings: &Settings) -> Parsed {
    let mut problems = Vec::new();
    let intent = read(service, settings, &mut problems);
    problems.sort();
    problems.dedup();
    Parsed { intent, problems }
}

fn read(service: &KubeService, settings: &Settings, problems: &mut Vec<Problem>) -> Intent {
    let source = labels::source(service, settings);
    if let Source::Nobody(why) = source {
        return Intent::None(why);
    }
    let direction = source.direction();
    match suspended(service) {
        Ok(true) => return Intent::Suspended(direction),
        Ok(false) => {}
        Err(problem) => {
            problems.push(problem);
            return Intent::Frozen(direction);
        }
    }
    let direction = match source {
        Source::Nobody(why) => return Intent::None(why),
        Source::Unclear(problem) => {
            problems.push(problem);
            return Intent::Frozen(None);
        }
        Source::Direction(direction) => direction,
    };
    problems.extend(annotations::unknown(service, direction));
    match direction {
        Direction::ToKube => read_to_kube(service, settings, problems),
        Direction::ToConsul => match to_consul::parse(service, settings) {
            Ok((wish, warnings)) => {
                problems.extend(warnings);
                if_allowed(service, direction, &wish.name.clone(), Intent::ToConsul(wish), settings, problems)
            }
            Err(errors) => {
                problems.extend(errors);
                Intent::Frozen(Some(Direction::ToConsul))
            }
        },
    }
}

fn read_to_kube(service: &KubeService, settings: &Settings, problems: &mut Vec<Problem>) -> Intent {
    if service.service_type == ServiceType::ExternalName {
        problems.push(Problem::new(
            Reason::UnsupportedType,
            "type ExternalName has no endpoints to fill; use ClusterIP, or clusterIP: None for a headless Service",
        ));
        return Intent::None(UserIntent::Unsupported);
    }
    if !service.selector.is_empty() {
        problems.push(Problem::new(
            Reason::SelectorPresent,
            format!(
                "the Service has a selector, so Kubernetes fills it from pods; to fill it from Consul: kubectl -n {} patch service {} \
                 --type=json -p '[{{\"op\":\"remove\",\"path\":\"/spec/selector\"}}]'",
                service.key.namespace, service.key.name
            ),
        ));
        return Intent::Yield;
    }
    match to_kube::parse(service, settings) {
        Ok(wish) => {
            let name = wish.query.name.clone();
            if_allowed(service, Direction::ToKube, &name, Intent::ToKube(wish), settings, problems)
        }
        Err(errors) => {
            problems.extend(errors);
            Intent::Frozen(Some(Direction::ToKube))
        }
    }
}

/// The intent, unless a rule forbids its Consul name.
fn if_allowed(
    service: &KubeService,
    direction: Direction,
    name: &str,
    intent: Intent,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Intent {
    let Some(problem) = settings.rules.refusal(&service.key.namespace, direction, name) else { return intent };
    problems.push(problem);
    Intent::Forbidden(direction)
}

fn suspended(service: &KubeService) -> Result<bool, Problem> {
    let Some(text) = service.annotations.get(names::SUSPEND) else { return Ok(false) };
    value::boolean(text).map_err(|why| value::invalid(names::SUSPEND, text, &why))
}

#[cfg(test)]
mod tests;
