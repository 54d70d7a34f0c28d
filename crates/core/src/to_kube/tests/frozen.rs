//! Settings that can't be understood, and Services that stop being ours.

use std::time::Duration;

use crate::consul::CheckStatus;
use crate::names;
use crate::world::{Stage, World};

use super::stage;

fn world() -> Stage {
    stage(
        "kube:   service shop/foo source=consul @service.name=bar @service.tags=blue port http 80
         consul: a@vm-1 name=bar tags=blue 10.0.0.1:80 passing
                 b@vm-2 name=bar tags=green 10.0.0.2:80 passing",
    )
}

fn ready(stage: &Stage) -> Vec<String> {
    stage.ready(&stage.world.services[0].key)
}

fn annotate(stage: &mut Stage, key: &str, value: &str) {
    stage.world.services[0].annotations.insert(key.to_owned(), value.to_owned());
    stage.sync_all();
}

#[test]
fn the_last_valid_settings_stay_in_force_and_are_followed_over_a_restart() {
    let mut stage = world();
    stage.sync_all();
    annotate(&mut stage, names::SERVICE_TAGS, "green");
    assert_eq!(ready(&stage), ["10.0.0.2"]);
    let writes = stage.writes;
    annotate(&mut stage, names::SERVICE_HEALTH, "healthy");
    assert_eq!((ready(&stage), stage.writes), (vec!["10.0.0.2".to_owned()], writes));
    stage.restart();
    annotate(&mut stage, names::SERVICE_NAME, "..");
    assert_eq!(stage.writes, writes);
    // Followed: what comes is added, what is critical is not ready.
    let more = World::parse("consul: c@vm-3 name=bar tags=green 10.0.0.3:80 passing").unwrap();
    stage.world.instances.extend(more.instances);
    stage.world.instances[1].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.0.0.3"]);
}

#[test]
fn contradicting_labels_freeze_too() {
    let mut stage = world();
    stage.world.services[0].labels.insert(names::LABEL_SOURCE.to_owned(), "both".to_owned());
    stage.sync_all();
    assert!(stage.world.slices.is_empty(), "nothing says that we should fill it");
    stage.world.services[0].labels.insert(names::LABEL_SOURCE.to_owned(), "consul".to_owned());
    stage.sync_all();
    stage.world.services[0].labels.insert(names::LABEL_SOURCE.to_owned(), "both".to_owned());
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.0.0.1"]);
    let writes = stage.writes;
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    assert_eq!((ready(&stage), stage.writes), (vec![], writes + 1));
}

#[test]
fn where_no_valid_settings_are_known_nothing_is_added_and_critical_is_not_ready() {
    let mut stage = world();
    stage.sync_all();
    for slice in &mut stage.world.slices {
        slice.annotations.remove(names::SLICE_APPLIED);
    }
    stage.restart();
    annotate(&mut stage, names::SERVICE_HEALTH, "healthy");
    let more = World::parse("consul: c@vm-3 name=bar tags=blue 10.0.0.3:80 passing").unwrap();
    stage.world.instances.extend(more.instances);
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.0.0.1"]);
    // It moved, but its new place would be an addition.
    stage.world.instances[0].port = 81;
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.0.0.1"]);
    stage.world.instances[0].port = 80;
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    assert!(ready(&stage).is_empty());
}

#[test]
fn a_new_service_with_bad_settings_gets_nothing() {
    let mut stage = world();
    annotate(&mut stage, names::SERVICE_HEALTH, "healthy");
    assert!(stage.world.slices.is_empty());
}

#[test]
fn suspend_stops_everything() {
    let mut stage = world();
    stage.sync_all();
    annotate(&mut stage, names::SUSPEND, "true");
    stage.world.instances[0].checks[0].status = CheckStatus::Critical;
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.0.0.1"]);
}

#[test]
fn a_selector_lets_another_manager_take_over_first() {
    let mut stage = world();
    stage.sync_all();
    stage.world.services[0].selector.insert("app".into(), "foo".into());
    stage.sync_all();
    stage.pass(Duration::from_secs(9));
    assert_eq!(ready(&stage), ["10.0.0.1"]);
    let mut late = stage.clone();
    late.pass(Duration::from_secs(2));
    assert!(late.world.slices.is_empty(), "after 10 s in any case");
    let other = "kube: slice foo-k8s for shop/foo manager=endpointslice-controller.k8s.io ports=http=80 10.9.0.1";
    stage.world.slices.extend(World::parse(other).unwrap().slices);
    stage.sync_all();
    assert_eq!(ready(&stage), ["10.9.0.1"]);
}

#[test]
fn another_source_is_intent_also_after_a_restart() {
    let mut stage = world();
    stage.sync_all();
    stage.restart();
    annotate(&mut stage, names::SERVICE_NAME, "other");
    assert!(ready(&stage).is_empty());
}
