//! What is read from a Service.

use crate::intent::annotations::TABLE;
use crate::intent::{Intent, parse};
use crate::rules::{Glob, Names, Rule};
use crate::settings::Direction;
use crate::world::{World, settings};

#[test]
fn refused_services() {
    for (line, expected) in [
        ("source=consul selector=app=foo", "Yield SelectorPresent"),
        ("source=consul type=ExternalName", "None(Unsupported) UnsupportedType"),
        ("source=consul label:registration=consul", "ToKube"),
        ("source=kubernetes label:registration=consul", "Frozen(None) ConflictingLabels"),
        ("source=none label:registration=consul", "Frozen(None) ConflictingLabels"),
        ("source=Consul", "Frozen(None) UnknownSource"),
        ("label:registration=nginx", "None(Unlabelled)"),
        ("source=none", "None(SourceNone)"),
        ("", "None(Unlabelled)"),
        ("source=consul @suspend=True", "Suspended(Some(ToKube))"),
        ("source=consul @suspend=no", "Frozen(Some(ToKube)) InvalidAnnotation"),
        ("source=x @suspend=true", "Suspended(None)"),
        ("source=consul @service.max_staleness=5s", "Frozen(Some(ToKube)) InvalidAnnotation"),
        ("source=consul @service.tagz=a", "ToKube UnknownAnnotation"),
        ("source=consul @service.weight=2", "ToKube UnknownAnnotation"),
    ] {
        let world = World::parse(&format!("kube: service shop/foo {line} port http 80")).unwrap();
        let parsed = parse(&world.services[0], &settings());
        let mut shown = format!("{:?}", parsed.intent);
        if shown.starts_with("ToKube") {
            "ToKube".clone_into(&mut shown);
        }
        for problem in &parsed.problems {
            shown += &format!(" {}", problem.reason);
        }
        assert_eq!(shown, expected, "{line}");
    }
}

/// Every row of the table for this direction: what it calls good is accepted, what it calls bad is refused with its reason.
#[test]
fn the_table_of_annotations_is_true() {
    let service = World::parse("kube: service shop/foo source=consul port http 80").unwrap().services.remove(0);
    for row in TABLE.iter().filter(|row| row.directions.contains(&Direction::ToKube)) {
        let with = |value: &str| {
            let mut service = service.clone();
            service.annotations.insert(row.key.to_owned(), value.to_owned());
            parse(&service, &settings())
        };
        let good = with(row.good);
        assert!(good.problems.is_empty() && !matches!(good.intent, Intent::Frozen(_)), "{}", row.key);
        if let Some((value, why)) = row.bad {
            let bad = with(value);
            assert_eq!(bad.intent, Intent::Frozen(Some(Direction::ToKube)), "{}", row.key);
            let [problem] = bad.problems.as_slice() else { panic!("{}: {:?}", row.key, bad.problems) };
            assert!(problem.to_string().contains(why), "{}: {problem}", row.key);
        }
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    let text = "kube: service shop/foo source=consul @service.health=fine @service.ports=x @service.tagz=a";
    let parsed = parse(&World::parse(text).unwrap().services[0], &settings());
    let told: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
    expect_test::expect![[r#"
        InvalidAnnotation: annotation consul8s/service.health: "fine" is none of passing, warning, any; the last valid settings stay in force until it is corrected or removed
        InvalidAnnotation: annotation consul8s/service.ports: "x" has "x", which is not PORT=SOURCE; the last valid settings stay in force until it is corrected or removed
        UnknownAnnotation: annotation consul8s/service.tagz does not exist; nearest: consul8s/service.tags; rename or remove it, it does nothing"#]].assert_eq(&told.join("\n"));
}

#[test]
fn a_rule_forbids_a_name_in_each_direction() {
    let mut settings = settings();
    let deny = |name: &str| Names { deny: vec![Glob::new(name)], ..Names::default() };
    let rule = Rule { namespaces: vec![Glob::new("shop")], to_kube: deny("bar"), to_consul: deny("foo") };
    settings.rules.rules.push(rule);
    for (line, expected) in [
        ("source=consul", "ToKube"),
        ("source=consul @service.name=bar", "Forbidden(ToKube) NotAllowed"),
        ("source=consul @service.name=bar @service.failover=dc2", "Forbidden(ToKube) NotAllowed"),
        ("source=consul @service.name=bar @suspend=true", "Suspended(Some(ToKube))"),
        ("source=kubernetes @service.address=10.0.0.1", "Forbidden(ToConsul) NotAllowed"),
        ("source=kubernetes @service.address=10.0.0.1 @service.name=bar", "ToConsul"),
        ("source=none @service.name=bar", "None(SourceNone)"),
    ] {
        let world = World::parse(&format!("kube: service shop/foo {line} port http 80")).unwrap();
        let parsed = parse(&world.services[0], &settings);
        let intent = format!("{:?}", parsed.intent);
        let intent = intent.split(" {").next().unwrap_or_default();
        let intent = if intent.starts_with("ToKube(") || intent.starts_with("ToConsul(") {
            intent.split('(').next().unwrap()
        } else {
            intent
        };
        let reasons: String = parsed.problems.iter().map(|problem| format!(" {}", problem.reason)).collect();
        assert_eq!(format!("{intent}{reasons}"), expected, "{line}");
    }
}
