//! Annotations in, wishes and problems out.

use std::fmt::Write;

use expect_test::{Expect, expect};

use crate::identity::Identity;
use crate::intent::annotations::TABLE;
use crate::intent::{self, Intent};
use crate::kube::{KubeService, ObjectKey, Scope, ServicePort};
use crate::names;
use crate::problem::clean;
use crate::settings::{Direction, Settings};

use super::{PortChoice, consul_k8s, parse};

fn settings() -> Settings {
    let text = |text: &str| text.to_owned();
    let identity =
        Identity { owner: text("me"), cluster: text("c1"), cluster_uid: text("c1"), installation: text("a/b") };
    Settings::new(identity, Scope::All { exclude: Vec::new() })
}

fn service(annotations: &[(&str, &str)]) -> KubeService {
    let port =
        |name: &str, port, node_port| ServicePort { name: name.into(), port, node_port, ..ServicePort::default() };
    KubeService {
        key: ObjectKey::new("shop", "web"),
        labels: [(names::LABEL_SOURCE.to_owned(), "kubernetes".to_owned())].into(),
        annotations: annotations.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
        ports: vec![port("http", 80, Some(30080)), port("metrics", 9090, None)],
        ..KubeService::default()
    }
}

/// One line for each set of annotations: what differs from a wish without any, or all that is wrong.
fn check(settings: &Settings, cases: &[&[(&str, &str)]], expected: &Expect) {
    let mut out = String::new();
    for annotations in cases {
        for (key, text) in *annotations {
            write!(out, "{}={} ", key.trim_start_matches("consul8s/service."), clean(text, 40))
                .expect("a string takes all");
        }
        out.push_str("→ ");
        out.push_str(&shown(annotations, settings));
    }
    expected.assert_eq(&out);
}

fn shown(annotations: &[(&str, &str)], settings: &Settings) -> String {
    let mut out = String::new();
    let problems = match parse(&service(annotations), settings) {
        Ok((wish, warnings)) => {
            let port = match &wish.port {
                PortChoice::None => "none".to_owned(),
                PortChoice::Port(port) => port.name.clone(),
                PortChoice::Number(number) => number.to_string(),
            };
            let given = if wish.name_given { " given" } else { "" };
            let meta: Vec<String> = wish.meta.iter().map(|(key, text)| format!("{key}={text}")).collect();
            writeln!(
                out,
                "{:?}{given} id {} port {port} {:?} tags {:?} meta {meta:?} weight {} {:?} {:?}",
                wish.name, wish.id, wish.addresses, wish.tags, wish.weight, wish.on_delete, wish.node_address
            )
            .expect("a string takes all");
            warnings
        }
        Err(errors) => {
            writeln!(out, "refused").expect("a string takes all");
            errors
        }
    };
    problems.iter().fold(out, |out, problem| out + "    " + &problem.to_string() + "\n")
}

#[test]
fn every_row_of_the_table_accepts_and_refuses_what_it_says() {
    for row in TABLE.iter().filter(|row| row.directions.contains(&Direction::ToConsul)) {
        let key = if row.prefix { format!("{}team", row.key) } else { row.key.to_owned() };
        let good = service(&[(&key, row.good)]);
        let parsed = intent::parse(&good, &settings());
        assert!(parsed.problems.is_empty(), "{key}: {:?}", parsed.problems);
        if let Some((bad, why)) = row.bad {
            let parsed = intent::parse(&service(&[(&key, bad)]), &settings());
            assert!(
                parsed.problems.iter().any(|problem| problem.message.contains(why)),
                "{key}: {:?}",
                parsed.problems
            );
            assert!(matches!(parsed.intent, Intent::Frozen(Some(Direction::ToConsul))), "{key}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    check(
        &settings(),
        &[&[
            ("consul8s/service.name", "a\nb"),
            ("consul8s/service.id", " "),
            ("consul8s/service.port_name", "nope"),
            ("consul8s/service.address", "10.0.0.1, 010.0.0.1"),
            ("consul8s/service.weight", "70000"),
            ("consul8s/service.on_delete", "leave"),
            ("consul8s/service.node_address", "public"),
            ("consul8s/service.remove_registration", "yes"),
        ]],
        &expect![[r#"
            name=a\u{a}b id=  port_name=nope address=10.0.0.1, 010.0.0.1 weight=70000 on_delete=leave node_address=public remove_registration=yes → refused
                InvalidAnnotation: annotation consul8s/service.name: "a\u{a}b" holds control characters; the last valid settings stay in force until it is corrected or removed
                InvalidAnnotation: annotation consul8s/service.id: " " is blank; the last valid settings stay in force until it is corrected or removed
                PortNameNotFound: annotation consul8s/service.port_name: the Service has no port named "nope": its ports are http, metrics; what is registered stays as it is
                InvalidAnnotation: annotation consul8s/service.address: "10.0.0.1, 010.0.0.1" holds "010.0.0.1", which is neither an IP address nor a DNS name; the last valid settings stay in force until it is corrected or removed
                InvalidAnnotation: annotation consul8s/service.weight: "70000" is not a weight between 1 and 65535; the last valid settings stay in force until it is corrected or removed
                InvalidAnnotation: annotation consul8s/service.remove_registration: "yes" is neither true nor false; the last valid settings stay in force until it is corrected or removed
                InvalidAnnotation: annotation consul8s/service.on_delete: "leave" is none of deregister, keep; the last valid settings stay in force until it is corrected or removed
                InvalidAnnotation: annotation consul8s/service.node_address: "public" is none of external_first, internal, external; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
}

#[test]
fn names() {
    let long = "x".repeat(256);
    let fits = "ä".repeat(255);
    check(
        &settings(),
        &[
            &[],
            &[("consul8s/service.name", "Shop Web/1")],
            &[("consul8s/service.name", ".")],
            &[("consul8s/service.name", &long)],
        ],
        &expect![[r#"
            → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            name=Shop Web/1 → "Shop Web/1" given id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            name=. → refused
                InvalidAnnotation: annotation consul8s/service.name: "." can't be asked for: Consul's HTTP API reads it as a path; the last valid settings stay in force until it is corrected or removed
            name=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… → refused
                InvalidAnnotation: annotation consul8s/service.name: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" is longer than 255 characters; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
    assert!(parse(&service(&[("consul8s/service.name", &fits)]), &settings()).is_ok(), "255 characters, not bytes");
    let blank = Settings { name_template: " ".into(), ..settings() };
    check(
        &blank,
        &[&[], &[("consul8s/service.name", "web")]],
        &expect![[r#"
        → refused
            InvalidAnnotation: the name that --name-template gives, " ", is blank; set consul8s/service.name
        name=web → "web" given id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
    "#]],
    );
}

#[test]
fn meta_keeps_within_what_consul_takes() {
    let value = "x".repeat(513);
    check(
        &settings(),
        &[
            &[("consul8s/service.meta.team", "a b"), ("consul8s/service.meta.port-http", "8080")],
            &[("consul8s/service.meta.", "x")],
            &[("consul8s/service.meta.a.b", "x")],
            &[("consul8s/service.meta.consul-x", "x")],
            &[("consul8s/service.meta.consul8s-owner", "x")],
            &[("consul8s/service.meta.external-k8s-ns", "x")],
            &[("consul8s/service.meta.external-source", "nomad")],
            &[("consul8s/service.meta.long", &value)],
        ],
        &expect![[r#"
            meta.team=a b meta.port-http=8080 → "web" id shop.web port http From(Auto) tags [] meta ["port-http=8080", "port-metrics=9090", "team=a b"] weight 1 Deregister ExternalFirst
            meta.=x → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            meta.a.b=x → refused
                InvalidAnnotation: annotation consul8s/service.meta.a.b: "x" has a key that Consul refuses: at most 128 letters, digits, '-' and '_'; the last valid settings stay in force until it is corrected or removed
            meta.consul-x=x → refused
                InvalidAnnotation: annotation consul8s/service.meta.consul-x: "x" has a key that begins with consul-, which Consul keeps for itself; the last valid settings stay in force until it is corrected or removed
            meta.consul8s-owner=x → refused
                InvalidAnnotation: annotation consul8s/service.meta.consul8s-owner: "x" has a key that consul8s writes itself; the last valid settings stay in force until it is corrected or removed
            meta.external-k8s-ns=x → refused
                InvalidAnnotation: annotation consul8s/service.meta.external-k8s-ns: "x" has a key that consul8s writes itself; the last valid settings stay in force until it is corrected or removed
            meta.external-source=nomad → refused
                InvalidAnnotation: annotation consul8s/service.meta.external-source: "nomad" has a key that consul8s writes itself; the last valid settings stay in force until it is corrected or removed
            meta.long=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… → refused
                InvalidAnnotation: annotation consul8s/service.meta.long: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" is longer than 512 bytes; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
}

#[test]
fn no_more_pairs_of_meta_than_consul_has_room_for() {
    let key = |n: usize| format!("consul8s/service.meta.k{n}");
    let keys: Vec<String> = (0..52).map(key).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    let (wish, _) = parse(&service(&pairs[..51]), &settings()).expect("51 fit");
    assert_eq!(wish.meta.len(), 51, "one port as well");
    assert_eq!(parse(&service(&pairs), &settings()).expect_err("52 do not").len(), 1);
}

#[test]
fn where_addresses_come_from() {
    let endpoints = Settings { default_address_source: super::AddressSource::Endpoints, ..settings() };
    let domain = ("domainName", ".a.example.com.");
    let dns = ("external-dns.alpha.kubernetes.io/hostname", "b.example.com");
    let cases: [&[(&str, &str)]; 6] = [
        &[domain, dns],
        &[dns],
        &[domain, ("consul8s/service.address_source", "node_port")],
        &[domain, ("consul8s/service.address_source", "auto")],
        &[domain, ("consul8s/service.address", " , ")],
        &[("domainName", "*.example.com")],
    ];
    check(
        &settings(),
        &cases,
        &expect![[r#"
            domainName=.a.example.com. external-dns.alpha.kubernetes.io/hostname=b.example.com → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            external-dns.alpha.kubernetes.io/hostname=b.example.com → "web" id shop.web port http Given(["b.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address_source=node_port → "web" id shop.web port http From(NodePort) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address_source=auto → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address= ,  → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=*.example.com → refused
                InvalidAnnotation: annotation domainName: "*.example.com" holds "*.example.com", which is neither an IP address nor a DNS name; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
    check(
        &endpoints,
        &cases,
        &expect![[r#"
            domainName=.a.example.com. external-dns.alpha.kubernetes.io/hostname=b.example.com → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            external-dns.alpha.kubernetes.io/hostname=b.example.com → "web" id shop.web port http From(Endpoints) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address_source=node_port → "web" id shop.web port http From(NodePort) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address_source=auto → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=.a.example.com. address= ,  → "web" id shop.web port http Given(["a.example.com"]) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            domainName=*.example.com → refused
                InvalidAnnotation: annotation domainName: "*.example.com" holds "*.example.com", which is neither an IP address nor a DNS name; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
}

#[test]
fn annotations_of_hashicorps_sync() {
    let compatible = Settings { consul_k8s: true, ..settings() };
    let cases: [&[(&str, &str)]; 11] = [
        &[(consul_k8s::NAME, " theirs "), (consul_k8s::TAGS, r"a\,b, c ,,d\\,e\"), (consul_k8s::WEIGHT, "7")],
        &[
            (consul_k8s::NAME, "theirs"),
            ("consul8s/service.name", "ours"),
            ("consul8s/service.tags", "x"),
            (consul_k8s::TAGS, "y"),
        ],
        &[
            ("consul.hashicorp.com/service-meta-team", "a"),
            ("consul.hashicorp.com/service-meta-x", "1"),
            ("consul8s/service.meta.x", "2"),
        ],
        &[(consul_k8s::PORT, "metrics")],
        &[(consul_k8s::PORT, "nope")],
        &[(consul_k8s::PORT, "8443")],
        &[(consul_k8s::PORT, "0x50"), ("consul8s/service.port_name", "metrics")],
        &[(consul_k8s::PORT, "70000")],
        &[(consul_k8s::WEIGHT, "heavy"), (consul_k8s::SYNC, "yes")],
        &[(consul_k8s::PORT, "-1"), (consul_k8s::WEIGHT, "+7")],
        &[(consul_k8s::NAME, " ")],
    ];
    check(
        &compatible,
        &cases,
        &expect![[r#"
            consul.hashicorp.com/service-name= theirs  consul.hashicorp.com/service-tags=a\,b, c ,,d\\,e\ consul.hashicorp.com/service-weight=7 → "theirs" given id shop.web port http From(Auto) tags ["a,b", "c", "d\\,e\\"] meta ["port-http=80", "port-metrics=9090"] weight 7 Deregister ExternalFirst
            consul.hashicorp.com/service-name=theirs name=ours tags=x consul.hashicorp.com/service-tags=y → "ours" given id shop.web port http From(Auto) tags ["x"] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            consul.hashicorp.com/service-meta-team=a consul.hashicorp.com/service-meta-x=1 meta.x=2 → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090", "team=a", "x=2"] weight 1 Deregister ExternalFirst
            consul.hashicorp.com/service-port=metrics → "web" id shop.web port metrics From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            consul.hashicorp.com/service-port=nope → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
                PortNameNotFound: annotation consul.hashicorp.com/service-port: the Service has no port named "nope": its ports are http, metrics; the first port is registered
            consul.hashicorp.com/service-port=8443 → "web" id shop.web port 8443 From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            consul.hashicorp.com/service-port=0x50 port_name=metrics → "web" id shop.web port metrics From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
            consul.hashicorp.com/service-port=70000 → refused
                InvalidAnnotation: annotation consul.hashicorp.com/service-port: "70000" is not a port between 1 and 65535; the last valid settings stay in force until it is corrected or removed
            consul.hashicorp.com/service-weight=heavy consul.hashicorp.com/service-sync=yes → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
                InvalidAnnotation: annotation consul.hashicorp.com/service-sync: "yes" is none of true, false, 1, 0, t, f; it is passed over
                InvalidAnnotation: annotation consul.hashicorp.com/service-weight: "heavy" is not a weight between 1 and 65535; it is passed over
            consul.hashicorp.com/service-port=-1 consul.hashicorp.com/service-weight=+7 → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 7 Deregister ExternalFirst
                InvalidAnnotation: annotation consul.hashicorp.com/service-port: "-1" is not a port between 1 and 65535; it is passed over
            consul.hashicorp.com/service-name=  → refused
                InvalidAnnotation: annotation consul.hashicorp.com/service-name: " " is blank; the last valid settings stay in force until it is corrected or removed
        "#]],
    );
    check(
        &settings(),
        &cases[..1],
        &expect![[r#"
        consul.hashicorp.com/service-name= theirs  consul.hashicorp.com/service-tags=a\,b, c ,,d\\,e\ consul.hashicorp.com/service-weight=7 → "web" id shop.web port http From(Auto) tags [] meta ["port-http=80", "port-metrics=9090"] weight 1 Deregister ExternalFirst
    "#]],
    );
}

#[test]
fn hashicorps_switch_opts_in_and_out() {
    let compatible = Settings { consul_k8s: true, ..settings() };
    let by_default = Settings { default_sync: true, ..compatible.clone() };
    let intent = |text: &str, label: Option<&str>, settings: &Settings| {
        let mut service = service(&[(consul_k8s::SYNC, text)]);
        service.selector.insert("app".into(), "web".into());
        service.labels = label.map(|label| (names::LABEL_SOURCE.to_owned(), label.to_owned())).into_iter().collect();
        matches!(intent::parse(&service, settings).intent, Intent::ToConsul(_))
    };
    for (text, opted) in
        [("true", true), ("T", true), ("1", true), ("TRUE", true), ("yes", false), ("tRuE", false), ("0", false)]
    {
        assert_eq!(intent(text, None, &compatible), opted, "{text}");
        assert!(!intent(text, None, &settings()), "{text} without the flag");
    }
    assert!(!intent("false", None, &by_default) && !intent("F", None, &by_default));
    assert!(intent("no", None, &by_default), "what can't be read counts for nothing");
    assert!(intent("false", Some("kubernetes"), &compatible), "our label wins");
    assert!(!intent("true", Some("none"), &compatible), "our label wins");
}

#[test]
fn named_ports_that_have_no_room_are_told() {
    let port = |n: u16| ServicePort { name: format!("p{n}"), port: n, ..ServicePort::default() };
    let with = |ports: u16| KubeService {
        ports: (1..=ports).map(port).collect(),
        ..service(&[("consul8s/service.meta.team", "a")])
    };
    let (wish, warnings) = parse(&with(50), &settings()).unwrap();
    assert_eq!((wish.meta.len(), warnings), (51, Vec::new()));
    let (wish, warnings) = parse(&with(52), &settings()).unwrap();
    assert_eq!(wish.meta.len(), 51);
    expect!["UnmappedPorts: Consul takes 51 pairs of meta beside ours, so that 2 of the Service's named ports stand in none: p51, p52; have fewer ports, or fewer annotations consul8s/service.meta.KEY"].assert_eq(&warnings[0].to_string());
}
