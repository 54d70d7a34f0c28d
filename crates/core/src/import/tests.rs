use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::consul::Instance;
use crate::identity::Identity;
use crate::kube::{ConditionStatus, KubeService, Scope};
use crate::names;
use crate::rules::{Glob, Names, Rule};
use crate::settings::{Policy, Settings};

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const DELAY: Duration = Duration::from_secs(3600);

fn settings() -> Settings {
    let identity =
        Identity { owner: "me".into(), cluster: "c".into(), cluster_uid: "c".into(), installation: "d/c".into() };
    Settings::new(identity, Scope::All { exclude: Vec::new() })
}

fn import(name: &str, age: u64, names: &[&str]) -> Import {
    Import {
        key: ObjectKey::new("shop", name),
        uid: format!("uid-{name}"),
        resource_version: "1".into(),
        created: UnixMillis(NOW.0 - age * 1000),
        finalizers: vec![FINALIZER.to_owned()],
        spec: Spec {
            selector: Selector { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Selector::default() },
            ..Spec::default()
        },
        ..Import::default()
    }
}

/// As it was created.
fn made(import: &Import, name: &str, bound: &str) -> KubeService {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    KubeService {
        key: ObjectKey::new("shop", name),
        uid: format!("uid-of-{name}"),
        labels: pairs(&[(MANAGED_BY_LABEL, MANAGED_BY), (names::LABEL_SOURCE, "consul")]),
        annotations: pairs(&[
            (names::SERVICE_NAME, bound),
            (IMPORT, &import.key.to_string()),
            (IMPORT_UID, &import.uid),
        ]),
        ..KubeService::default()
    }
}

fn plain(name: &str) -> KubeService {
    KubeService { key: ObjectKey::new("shop", name), uid: name.to_owned(), ..KubeService::default() }
}

/// A world: everything listed is there and fit.
struct World {
    imports: Vec<Import>,
    services: Vec<KubeService>,
    catalog: Option<Catalog>,
    unread: BTreeSet<&'static str>,
    memories: BTreeMap<String, Memory>,
    busy: BTreeSet<String>,
    definition: Option<Definition>,
    settings: Settings,
    now: UnixMillis,
}

impl World {
    fn new(imports: Vec<Import>, services: Vec<KubeService>, listed: &[&str]) -> World {
        World {
            imports,
            services,
            catalog: Some(listed.iter().map(|name| ((*name).to_owned(), Vec::new())).collect()),
            unread: BTreeSet::new(),
            memories: BTreeMap::new(),
            busy: BTreeSet::new(),
            definition: Some(Definition::Served),
            settings: settings(),
            now: NOW,
        }
    }

    fn plan(&self) -> Plan {
        let mut catalogs = BTreeMap::new();
        let mut candidates = BTreeMap::new();
        for import in &self.imports {
            if let (Some(query), Some(catalog)) = (import.spec.catalog(), &self.catalog) {
                catalogs.insert(query, catalog.clone());
            }
            let names = self.catalog.iter().flat_map(|catalog| catalog.keys()).chain(&import.spec.selector.names);
            for name in names.filter(|name| !self.unread.contains(name.as_str())) {
                candidates.insert(import.spec.instances(name), (Candidate::Fit(Some(80)), "dc1".to_owned()));
            }
        }
        plan(&Input {
            imports: &self.imports.iter().collect::<Vec<_>>(),
            services: &self.services.iter().collect::<Vec<_>>(),
            catalogs: &catalogs,
            troubles: &BTreeMap::new(),
            candidates: &candidates,
            memories: &self.memories,
            busy: &self.busy,
            refused: &BTreeMap::new(),
            definition: self.definition,
            settings: &self.settings,
            domain: "consul",
            delay: DELAY,
            now: self.now,
        })
    }

    /// The writes in short.
    fn actions(&self) -> Vec<String> {
        let plan = self.plan();
        let short = |action: &Action| match action {
            Action::Hold(key) => format!("hold {}", key.name),
            Action::LetGo(key) => format!("let go {}", key.name),
            Action::Create { import, service, new } => {
                format!("{}: create {} for {service}", import.name, new.key.name)
            }
            Action::Delete { import, service, why } => format!("{}: delete {}: {why}", import.name, service.key.name),
            Action::Orphan { import, service, why } => format!("{}: orphan {}: {why}", import.name, service.key.name),
            Action::Remember { import, service, forgotten } => {
                format!("{}: {} is forgotten: {forgotten}", import.name, service.key.name)
            }
        };
        plan.actions.iter().map(short).collect()
    }

    /// A consistent read that shows what the world has now.
    fn read(&mut self) {
        let services: Vec<&KubeService> = self.services.iter().collect();
        for import in &self.imports {
            let memory = self.memories.entry(import.uid.clone()).or_default();
            memory.take_in(import, &services, self.catalog.as_ref().unwrap(), self.now);
        }
    }
}

#[test]
fn what_is_selected_gets_a_service() {
    let all = import("all", 10, &["web", "api", "absent"]);
    let unheld = Import { finalizers: vec!["theirs".into()], ..all.clone() };
    let suspended = Import { spec: Spec { suspend: true, ..all.spec.clone() }, ..all.clone() };
    let filled = KubeService { labels: made(&all, "x", "web").labels, ..plain("web") };
    for (case, import, services, wanted) in [
        ("nothing is there", all.clone(), vec![], vec!["all: create api for api", "all: create web for web"]),
        ("one has a to_kube Service", all.clone(), vec![filled], vec!["all: create api for api"]),
        ("one has one of ours", all.clone(), vec![made(&all, "web", "web")], vec!["all: create api for api"]),
        ("a foreign Service has the name", all.clone(), vec![plain("web")], vec!["all: create api for api"]),
        ("not held yet", unheld, vec![], vec!["hold all"]),
        ("suspended", suspended, vec![], vec![]),
        ("an empty selector", self::import("all", 10, &[]), vec![], vec![]),
    ] {
        let world = World::new(vec![import], services, &["api", "consul", "web"]);
        assert_eq!(world.actions(), wanted, "{case}");
    }
}

#[test]
fn who_has_a_name_keeps_it_then_byte_order_then_age() {
    let (old, young) = (import("old", 10, &["a_b", "a.b"]), import("young", 5, &["a-b", "a.b"]));
    let world = World::new(vec![young.clone(), old.clone()], vec![], &["a-b", "a.b", "a_b"]);
    assert_eq!(world.actions(), ["old: create a-b for a.b"]);
    let world = World::new(vec![young.clone(), old.clone()], vec![made(&young, "a-b", "a-b")], &["a-b", "a.b", "a_b"]);
    assert_eq!(world.actions(), Vec::<String>::new(), "the younger had it first");
    let status = |name: &str| world.plan().statuses.into_iter().find(|(key, _)| key.name == name).unwrap().1;
    assert_eq!((status("old").matched, status("old").created, status("old").conflicts), (2, 0, 2));
    assert_eq!((status("young").matched, status("young").created, status("young").conflicts), (2, 1, 1));
    let conflict = status("old").conflict.unwrap();
    assert_eq!((conflict.status, conflict.reason.as_str()), (ConditionStatus::True, "NameConflict"));
    assert_eq!(conflict.message, "a.b: the name a-b is taken; a_b: the name a-b is taken");

    let mut world = World::new(vec![old], vec![], &["a.b", "a_b"]);
    world.unread.insert("a.b");
    assert_eq!(world.actions(), Vec::<String>::new(), "who is first is not known yet");
    assert_eq!(world.plan().needs.len(), 1);
}

#[test]
fn a_service_goes_only_after_consistent_absence() {
    let all = import("all", 10, &["web"]);
    let mut world = World::new(vec![all.clone()], vec![made(&all, "web", "web")], &[]);
    let at = |minutes: u64| NOW.after(Duration::from_secs(minutes * 60));
    assert_eq!(world.plan().needs, [Need::Catalog(all.key.clone())]);
    world.read();
    assert_eq!((world.actions(), world.plan().look_again), (vec![], Some(at(30))));
    for minutes in [30, 59] {
        world.now = at(minutes);
        world.read();
        assert_eq!((world.actions(), world.plan().look_again), (vec![], Some(at(60))), "{minutes}");
    }
    world.now = at(60);
    assert_eq!(world.plan().needs, [Need::Catalog(all.key.clone())], "the last read must agree");
    world.read();
    assert_eq!(world.actions(), ["all: delete web: missing from the catalog in 4 consistent reads over 1h"]);
    world.busy.insert("web".into());
    assert_eq!(world.actions(), Vec::<String>::new(), "an endpoint of it stands");
    world.busy.clear();
    world.catalog = Some([("web".to_owned(), vec![])].into());
    let services: Vec<&KubeService> = world.services.iter().collect();
    let catalog = world.catalog.clone().unwrap();
    world.memories.get_mut(&all.uid).unwrap().note(&all, &services, &catalog, Lineage::default());
    assert_eq!(world.actions(), Vec::<String>::new());
    world.catalog = Some(Catalog::new());
    assert_eq!(world.plan().needs.len(), 1, "the count begins anew");
    world.catalog = None;
    assert_eq!((world.actions(), world.plan().needs.len()), (vec![], 0), "without a list nothing is known");
}

#[test]
fn a_service_that_names_the_agents_own_datacenter_counts_as_having_one() {
    let all = import("all", 10, &["web", "api"]);
    let mut own = plain("mine");
    own.labels.insert(names::LABEL_SOURCE.into(), "consul".into());
    let annotate = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    own.annotations.extend([annotate(names::SERVICE_NAME, "web"), annotate(names::SERVICE_DATACENTER, "dc1")]);
    let mut other = own.clone();
    other.key.name = "elsewhere".into();
    other.annotations.extend([annotate(names::SERVICE_NAME, "api"), annotate(names::SERVICE_DATACENTER, "dc2")]);
    let world = World::new(vec![all], vec![own, other], &["web", "api"]);
    assert_eq!(world.actions(), ["all: create api for api"]);
}

#[test]
fn a_template_says_nothing_about_where_a_service_is_read() {
    let mut all = import("all", 10, &["web"]);
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.spec.template.annotations = pairs(&[(names::SERVICE_DATACENTER, "dc9"), (names::SERVICE_HEALTH, "any")]);
    all.spec.template.labels = pairs(&[(names::LABEL_REGISTRATION, "consul")]);
    let new = service::new(&all, "web", "web", Some(80), "consul").unwrap();
    assert_eq!(new.annotations.get(names::SERVICE_DATACENTER), None);
    assert_eq!(new.annotations.get(names::SERVICE_HEALTH).map(String::as_str), Some("any"));
    all.spec.template.external_name = true;
    let new = service::new(&all, "web", "web", Some(80), "consul").unwrap();
    assert!(!new.labels.contains_key(names::LABEL_REGISTRATION), "nothing of it is to_kube");
}

#[test]
fn what_a_wiped_consul_has_forgotten_stays() {
    let all = import("all", 10, &["web"]);
    let mut world = World::new(vec![all.clone()], vec![made(&all, "web", "web")], &[]);
    let note = |world: &mut World, listed: &[&str], lineage| {
        let services = world.services.clone();
        let services: Vec<&KubeService> = services.iter().collect();
        let catalog: Catalog = listed.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        world.catalog = Some(catalog.clone());
        world.memories.entry(all.uid.clone()).or_default().note(&all, &services, &catalog, lineage);
    };
    let [unknown, whole] = [true, false].map(|uncompared| Lineage { uncompared, broken: None });
    let broken = Lineage { broken: Some(NOW), ..Lineage::default() };
    note(&mut world, &[], unknown);
    assert_eq!((world.actions(), world.plan().needs), (vec![], vec![]), "nobody knows yet what it means");
    note(&mut world, &[], broken);
    assert_eq!(world.actions(), ["all: web is forgotten: true"]);
    world.services[0].annotations.insert(IMPORT_FORGOTTEN.to_owned(), "true".to_owned());
    world.now = NOW.after(DELAY * 10);
    for lineage in [broken, whole] {
        // The second by a process that finds the Lease in order again.
        note(&mut world, &[], lineage);
        assert_eq!((world.actions(), world.plan().needs), (vec![], vec![]), "time alone says nothing");
        world.memories.clear();
    }
    // It is registered again, and then goes like any other.
    note(&mut world, &["web"], whole);
    assert_eq!(world.actions(), ["all: web is forgotten: false"]);
    world.services[0].annotations.remove(IMPORT_FORGOTTEN);
    note(&mut world, &[], whole);
    assert_eq!(world.plan().needs, [Need::Catalog(all.key.clone())]);
}

#[test]
fn what_its_author_no_longer_names_goes_at_once() {
    let all = import("all", 10, &["web"]);
    let gone = made(&all, "api", "api");
    let world = World::new(vec![all.clone()], vec![gone.clone()], &["api"]);
    assert_eq!(world.actions(), ["all: delete api: its ConsulImport no longer selects its name"]);
    // Its user made it another's.
    let repointed = made(&all, "api", "other");
    assert_eq!(World::new(vec![all.clone()], vec![repointed], &["api"]).actions(), Vec::<String>::new());
    let orphan = Import { spec: Spec { orphan: true, ..all.spec.clone() }, ..all };
    let world = World::new(vec![orphan], vec![gone], &["api"]);
    assert_eq!(world.actions(), ["all: orphan api: its ConsulImport no longer selects its name"]);
}

#[test]
fn the_end_of_an_import() {
    let all = Import { deleting: true, ..import("all", 10, &["web"]) };
    let own = || vec![made(&all, "web", "web"), plain("other")];
    let with = |spec: Spec| Import { spec, ..all.clone() };
    let orphan = with(Spec { orphan: true, ..all.spec.clone() });
    let suspended = with(Spec { suspend: true, ..all.spec.clone() });
    let free = Import { finalizers: Vec::new(), ..all.clone() };
    let served = Some(Definition::Served);
    for (case, import, services, definition, wanted) in [
        ("deleted", all.clone(), own(), served, vec!["all: delete web: its ConsulImport is deleted"]),
        ("orphaned", orphan, own(), served, vec!["all: orphan web: its ConsulImport is deleted"]),
        ("nothing left", all.clone(), vec![plain("other")], served, vec!["let go all"]),
        ("suspended", suspended, own(), served, vec!["let go all"]),
        ("the definition goes", all.clone(), own(), Some(Definition::Deleting), vec!["let go all"]),
        ("the definition is gone", all.clone(), own(), Some(Definition::Absent), vec!["let go all"]),
        ("that is not known", all.clone(), own(), None, vec![]),
        ("not held by us", free, own(), served, vec![]),
    ] {
        let world = World { definition, ..World::new(vec![import], services, &["web"]) };
        assert_eq!(world.actions(), wanted, "{case}");
    }
}

#[test]
fn names_are_made_legal() {
    let spec = |template: &str| Spec {
        template: Template { name: Some(template.to_owned()), ..Template::default() },
        ..Spec::default()
    };
    for (service, template, wanted) in [
        ("Web_1", "{name}", Some("web-1")),
        ("-a.b-", "{name}", Some("a-b")),
        ("web", "{datacenter}-{namespace}-{name}", Some("dc1-default-web")),
        ("{datacenter}", "{name}", Some("datacenter")),
        ("___", "{name}", None),
        ("ü", "x{name}", Some("x")),
    ] {
        assert_eq!(name::of(service, &spec(template), "dc1").ok().as_deref(), wanted, "{service} {template}");
    }
    assert!(name::of(&"x".repeat(63), &Spec::default(), "").is_ok());
    assert!(name::of(&"x".repeat(64), &Spec::default(), "").unwrap_err().contains("63"));
}

#[test]
fn selectors() {
    let catalog: Catalog =
        [("web", vec!["a", "b"]), ("web-2", vec!["a"]), ("api", vec![]), ("Consul", vec!["a"]), ("a\n", vec![])]
            .map(|(name, tags)| (name.to_owned(), tags.into_iter().map(str::to_owned).collect()))
            .into();
    let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    for (names, prefix, tags, filter, wanted) in [
        (vec![], None, vec![], None, vec![]),
        (vec!["web", "nope"], None, vec![], None, vec!["web"]),
        (vec![], Some("web"), vec![], None, vec!["web", "web-2"]),
        (vec![], None, vec!["a"], None, vec!["web", "web-2"]),
        (vec![], Some("web"), vec!["b", "a"], None, vec!["web"]),
        (vec!["api"], Some("web"), vec![], None, vec![]),
        (vec![], None, vec![], Some("any"), vec!["api", "web", "web-2"]),
    ] {
        let selector = Selector {
            names: texts(&names),
            prefix: prefix.map(str::to_owned),
            tags: texts(&tags),
            filter: filter.map(str::to_owned),
        };
        let spec = Spec { selector, ..Spec::default() };
        let seen: Vec<&str> = select::of(&spec, &catalog).into_iter().collect();
        assert_eq!(seen, wanted, "{spec:?}");
    }
}

#[test]
fn a_peer_is_asked_for_by_name() {
    let mut peered = import("all", 10, &["web"]);
    peered.spec.peer = Some("west".into());
    let world = World::new(vec![peered.clone()], vec![], &[]);
    assert_eq!(world.actions(), ["all: create web for web"]);
    let Action::Create { new, .. } = &world.plan().actions[0] else { panic!("a Service") };
    assert_eq!(new.annotations.get(names::SERVICE_PEER).map(String::as_str), Some("west"));
    peered.spec.selector.prefix = Some("w".into());
    let world = World::new(vec![peered], vec![], &[]);
    assert_eq!(world.actions(), Vec::<String>::new());
    assert_eq!(world.plan().statuses[0].1.ready.as_ref().unwrap().reason, "InvalidSelector");
}

#[test]
fn who_may_have_a_service_and_with_which_port() {
    let instance = |port: i64, kind: &str, meta: &[(&str, &str)]| Instance {
        name: "web".into(),
        port,
        kind: kind.into(),
        meta: meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Instance::default()
    };
    let synced = |port| instance(port, "", &[("external-source", "kubernetes")]);
    for (case, instances, wanted) in [
        ("none", vec![], Candidate::Unfit),
        ("most", vec![instance(1, "", &[]), instance(2, "", &[]), instance(2, "", &[])], Candidate::Fit(Some(2))),
        ("as many", vec![instance(2, "", &[]), instance(1, "", &[])], Candidate::Fit(Some(1))),
        ("no port", vec![instance(0, "", &[]), instance(70_000, "", &[])], Candidate::Fit(None)),
        ("a proxy", vec![instance(1, "connect-proxy", &[])], Candidate::Unfit),
        ("of Kubernetes", vec![synced(1)], Candidate::Unfit),
        ("ours", vec![instance(1, "", &[(names::META_OWNER, "me")])], Candidate::Unfit),
        ("some of Kubernetes", vec![synced(1), synced(1), instance(2, "", &[])], Candidate::Fit(Some(2))),
        ("another case", vec![Instance { name: "WEB".into(), ..instance(1, "", &[]) }], Candidate::Unfit),
    ] {
        assert_eq!(Candidate::of("web", &instances), wanted, "{case}");
    }
}

#[test]
fn a_status_moves_its_time_with_its_status_only() {
    let all = import("all", 10, &["web"]);
    let first = World::new(vec![all.clone()], vec![], &["web"]).plan().statuses.remove(0).1;
    assert_eq!(first.ready.as_ref().unwrap().since, NOW);
    let later = Import { status: first.clone(), ..all };
    let mut world = World::new(vec![later.clone()], vec![made(&later, "web", "web")], &["web"]);
    world.now = NOW.after(Duration::from_secs(60));
    assert_eq!(world.plan().statuses[0].1, first, "equal worlds, equal status");
}

#[test]
fn a_rule_keeps_a_name_out_and_says_so() {
    let mut world = World::new(vec![import("all", 10, &["web", "payments"])], Vec::new(), &["web", "payments"]);
    let to_kube = Names { deny: vec![Glob::new("pay*")], ..Names::default() };
    let rule = Rule { namespaces: vec![Glob::new("shop")], to_kube, to_consul: Names::default() };
    world.settings.rules.rules.push(rule);
    assert_eq!(world.actions(), ["all: create web for web"]);
    let ready = world.plan().statuses[0].1.ready.clone().unwrap();
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "NotAllowed"));
    assert!(ready.message.contains("1 not allowed: ") && ready.message.contains("rule 1"), "{}", ready.message);
}

#[test]
fn upsert_only_creates_and_removes_nothing() {
    let all = import("all", 10, &["web"]);
    let mut world = World::new(vec![all.clone()], vec![made(&all, "old", "old")], &["web"]);
    assert_eq!(
        world.actions(),
        ["all: delete old: its ConsulImport no longer selects its name", "all: create web for web"]
    );
    world.settings.policy = Policy::UpsertOnly;
    assert_eq!(world.actions(), ["all: create web for web"]);
    world.imports[0].deleting = true;
    assert!(world.actions().is_empty(), "its finalizer stays as long as what it created");
    let ready = world.plan().statuses[0].1.ready.clone().unwrap();
    assert!(ready.message.contains("upsert-only"), "{}", ready.message);
    world.imports[0].spec.orphan = true;
    assert_eq!(world.actions(), ["all: orphan old: its ConsulImport is deleted"]);
}
