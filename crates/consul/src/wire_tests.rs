//! Whatever stands in an answer costs at most itself.

use std::collections::BTreeMap;

use consul8s_core::consul::{Registration, ServiceId, TxnApplied, TxnOp};
use serde_json::json;

use super::*;
use crate::txn::{self, Tenancy};

/// As Consul 1.22.7 answers.
const REAL: &str = r#"[{"Node":{"ID":"","Node":"vm-1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},
"Meta":{"rack":"a"},"CreateIndex":18,"ModifyIndex":18},"Service":{"ID":"w1","Service":"web","Tags":["a"],"Address":"10.1.0.1",
"TaggedAddresses":{"wan":{"Address":"198.51.100.1","Port":81},"consul-virtual":{"Address":"240.0.0.1","Port":80},
"consul-virtual:web.consul":{"Address":"240.0.0.2","Port":80}},"Meta":{"k":"v"},"Port":80,"Ports":[{"Name":"http","Port":80,"Default":true}],
"Weights":{"Passing":3,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},
"Locality":{"Region":"r","Zone":"z"},"PeerName":"","CreateIndex":18,"ModifyIndex":19},"Checks":[{"Node":"vm-1","CheckID":"c1","Name":"c",
"Status":"warning","Notes":"","Output":"long","ServiceID":"w1","ServiceName":"web","ServiceTags":["a"],"Type":"","Interval":"",
"Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":18,"ModifyIndex":20}]}]"#;

#[test]
fn a_real_answer() {
    let parsed = instances(REAL.as_bytes()).unwrap();
    let map = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into_iter().collect();
    let expected = Instance {
        node: "vm-1".into(),
        node_address: "10.0.0.1".into(),
        node_meta: map("rack", "a"),
        datacenter: "dc1".into(),
        id: "w1".into(),
        name: "web".into(),
        kind: String::new(),
        address: "10.1.0.1".into(),
        port: 80,
        ports: vec![NamedPort { name: "http".into(), port: 80, default: true }],
        tags: vec!["a".into()],
        meta: map("k", "v"),
        tagged_addresses: [("wan".into(), TaggedAddress { address: "198.51.100.1".into(), port: 81 })]
            .into_iter()
            .collect(),
        node_tagged_addresses: map("lan", "10.0.0.1"),
        zone: Some("z".into()),
        checks: vec![Check {
            node: String::new(),
            id: "c1".into(),
            name: String::new(),
            service_id: "w1".into(),
            status: CheckStatus::Warning,
            output: String::new(),
            modify_index: 20,
        }],
    };
    assert_eq!(parsed, Parsed { value: vec![expected], dropped: 0 });
}

fn one(change: impl FnOnce(&mut serde_json::Value)) -> Instance {
    let mut answer: serde_json::Value = serde_json::from_str(REAL).unwrap();
    change(&mut answer[0]);
    let parsed = instances(answer.to_string().as_bytes()).unwrap();
    assert_eq!((parsed.value.len(), parsed.dropped), (1, 0), "{answer}");
    parsed.value.into_iter().next().unwrap()
}

#[test]
fn ports_of_any_kind() {
    let rows = [
        (json!(80), 80),
        (json!(0), 0),
        (json!(null), 0),
        (json!(-1), -1),
        (json!(65536), 65536),
        (json!(70000), 70000),
        (json!(1_i64 << 40), 1 << 40),
        (json!(u64::MAX), -1),
        (json!(80.0), 80),
        (json!(80.5), -1),
        (json!(1e300), -1),
        (json!("80"), 80),
        (json!("http"), -1),
        (json!([80]), -1),
        (json!({}), -1),
        (json!(true), -1),
    ];
    for (value, port) in rows {
        assert_eq!(one(|entry| entry["Service"]["Port"] = value.clone()).port, port, "{value}");
    }
}

#[test]
fn every_collection_may_be_null_absent_empty_or_nonsense() {
    for value in [Some(json!(null)), None, Some(json!([])), Some(json!({})), Some(json!("x")), Some(json!(7))] {
        let set = |of: &mut serde_json::Value, key: &str| match &value {
            Some(value) => of[key] = value.clone(),
            None => drop(of.as_object_mut().unwrap().remove(key)),
        };
        let instance = one(|entry| {
            for key in ["Tags", "Meta", "TaggedAddresses", "Ports", "Weights", "Locality"] {
                set(&mut entry["Service"], key);
            }
            for key in ["Meta", "TaggedAddresses"] {
                set(&mut entry["Node"], key);
            }
            set(entry, "Checks");
        });
        assert!(instance.tags.is_empty() && instance.meta.is_empty() && instance.tagged_addresses.is_empty());
        assert!(instance.node_meta.is_empty() && instance.zone.is_none());
        // A list of checks that is none hides what it may say.
        let list = matches!(&value, None | Some(serde_json::Value::Null | serde_json::Value::Array(_)));
        let critical = instance.checks.iter().any(|check| check.status == CheckStatus::Critical);
        assert_eq!(critical, !list, "{value:?}");
    }
}

#[test]
fn an_unreadable_check_is_critical() {
    for check in
        [json!(null), json!(7), json!({}), json!({"Status": 7}), json!({"Status": "fine"}), json!({"Status": null})]
    {
        let instance = one(|entry| entry["Checks"] = json!([check.clone()]));
        assert_eq!(instance.checks[0].status, CheckStatus::Critical, "{check}");
    }
}

#[test]
fn what_has_no_identity_is_dropped_and_counted_and_the_rest_stands() {
    let good: serde_json::Value = serde_json::from_str(REAL).unwrap();
    let mut bad = vec![json!(null), json!(7), json!("x"), json!([]), json!({})];
    for (part, value) in [
        ("Service", json!(null)),
        ("Node", json!(null)),
        ("Service", json!({"ID": ""})),
        ("Node", json!({"Node": null})),
    ] {
        let mut entry = good[0].clone();
        entry[part] = value;
        bad.push(entry);
    }
    let count = bad.len();
    bad.insert(3, good[0].clone());
    let parsed = instances(serde_json::Value::Array(bad).to_string().as_bytes()).unwrap();
    assert_eq!((parsed.value.len(), parsed.dropped), (1, count));
    assert_eq!(parsed.value[0].id, "w1");
}

#[test]
fn a_body_that_is_no_list_is_garbage_and_never_empty() {
    for body in
        ["", "<html></html>", "{}", "7", "\"x\"", "[", "[]x", &REAL[..REAL.len() - 1], &REAL[..100], "\u{feff}[]"]
    {
        assert!(instances(body.as_bytes()).is_err(), "{body:.20}");
        assert!(checks(body.as_bytes()).is_err(), "{body:.20}");
    }
    assert!(instances(b"[\"\xff\xfe\"]").is_err());
    for body in ["null", "[]", " [ ] \n"] {
        assert_eq!(instances(body.as_bytes()).unwrap(), Parsed { value: Vec::new(), dropped: 0 });
    }
    for body in ["", "<html></html>", "7", "{", "{}", "{\"error\":\"no\"}", "{\"Node\":{\"Node\":\"n\"}"] {
        assert!(node_view(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn nodes() {
    for none in ["null", r#"{"Node":null,"Services":null}"#] {
        assert_eq!(node_view(none.as_bytes()).unwrap().value, None, "{none}");
    }
    let body = r#"{"Node":{"Node":"n","Address":"127.0.0.2","Meta":null,"ModifyIndex":18},"Services":[
        {"ID":"a","Service":"web","Tags":null,"Meta":null,"ModifyIndex":19},{"ID":"b","Weights":{"Passing":7}},{"Service":"x"},null]}"#;
    let parsed = node_view(body.as_bytes()).unwrap();
    assert_eq!(parsed.dropped, 2);
    let view = parsed.value.unwrap();
    assert_eq!((view.node.name.as_str(), view.node.modify_index), ("n", 18));
    let weights: Vec<_> =
        view.services.values().map(|service| (service.id.as_str(), service.weight, service.port)).collect();
    assert_eq!(weights, [("a", 1, 0), ("b", 7, 0)]);
    // What should be the list and isn't must not look like a node without services.
    assert_eq!(node_view(br#"{"Node":{"Node":"n"},"Services":"x"}"#).unwrap().dropped, 1);
}

#[test]
fn checks_of_a_node_bear_their_output() {
    let body = r#"[{"Node":"n","CheckID":"c","Status":"passing","Output":"fine","ServiceID":"a","ModifyIndex":4},{"Status":"passing"}]"#;
    let parsed = checks(body.as_bytes()).unwrap();
    assert_eq!((parsed.value.len(), parsed.dropped), (1, 1));
    assert_eq!((parsed.value[0].output.as_str(), parsed.value[0].status), ("fine", CheckStatus::Passing));
}

fn registration(id: &str) -> Registration {
    Registration {
        node: "syn".into(),
        id: ServiceId::new(id).unwrap(),
        name: "web".into(),
        address: "10.0.0.1".into(),
        port: 80,
        tags: vec!["a".into()],
        meta: [("k".to_owned(), "v".to_owned())].into(),
        weight: 3,
        status: CheckStatus::Passing,
        output: "fine".into(),
    }
}

#[test]
fn a_transaction_leaves_out_what_is_empty() {
    let plain = Registration {
        tags: Vec::new(),
        meta: BTreeMap::new(),
        address: String::new(),
        port: 0,
        output: String::new(),
        ..registration("w1")
    };
    let ops = [
        TxnOp::SetNode {
            node: NodeRecord { name: "syn".into(), address: "127.0.0.2".into(), ..NodeRecord::default() },
            index: 0,
        },
        TxnOp::SetService { registration: registration("w1"), index: 7 },
        TxnOp::SetService { registration: plain.clone(), index: 0 },
        TxnOp::SetCheck { registration: registration("w1"), index: 8 },
        TxnOp::SetCheck { registration: plain, index: 0 },
        TxnOp::DeleteService { node: "syn".into(), id: ServiceId::new("w1").unwrap(), name: "web".into(), index: 9 },
    ];
    let body: serde_json::Value = serde_json::from_slice(&txn::body(&ops, Tenancy::default()).unwrap()).unwrap();
    let expected = json!([
        {"Node": {"Verb": "cas", "Node": {"Node": "syn", "Address": "127.0.0.2", "ModifyIndex": 0}}},
        {"Service": {"Verb": "cas", "Node": "syn", "Service": {"ID": "w1", "Service": "web", "Address": "10.0.0.1", "Port": 80, "Tags": ["a"],
            "Meta": {"k": "v"}, "Weights": {"Passing": 3, "Warning": 1}, "ModifyIndex": 7}}},
        {"Service": {"Verb": "cas", "Node": "syn", "Service": {"ID": "w1", "Service": "web", "Weights": {"Passing": 3, "Warning": 1}, "ModifyIndex": 0}}},
        {"Check": {"Verb": "cas", "Check": {"Node": "syn", "CheckID": "consul8s:readiness:w1", "Name": "consul8s:readiness", "Status": "passing",
            "Output": "fine", "ServiceID": "w1", "ServiceName": "web", "ModifyIndex": 8}}},
        {"Check": {"Verb": "cas", "Check": {"Node": "syn", "CheckID": "consul8s:readiness:w1", "Name": "consul8s:readiness", "Status": "passing",
            "ServiceID": "w1", "ServiceName": "web", "ModifyIndex": 0}}},
        {"Service": {"Verb": "delete-cas", "Node": "syn", "Service": {"ID": "w1", "Service": "web", "ModifyIndex": 9}}},
    ]);
    assert_eq!(body, expected);
}

#[test]
fn results_find_their_operations() {
    let ops = [
        TxnOp::DeleteService { node: "syn".into(), id: ServiceId::new("old").unwrap(), name: "web".into(), index: 9 },
        TxnOp::SetService { registration: registration("w1"), index: 7 },
        TxnOp::SetCheck { registration: registration("w1"), index: 8 },
    ];
    let answer = br#"{"Results":[{"Service":{"ID":"w1","Service":"web","Port":80,"ModifyIndex":18}},
        {"Check":{"Node":"syn","CheckID":"consul8s:readiness:w1","Status":"passing","Output":"fine","ModifyIndex":19}}],"Errors":null}"#;
    let applied = txn::applied(&ops, answer).unwrap();
    assert_eq!((applied.services[0].0.as_str(), applied.services[0].1.modify_index), ("syn", 18));
    assert_eq!((applied.checks[0].output.as_str(), applied.checks[0].modify_index), ("fine", 19));
    for short in ["{}", r#"{"Results":null}"#, r#"{"Results":[null,7,{}]}"#] {
        assert_eq!(txn::applied(&ops, short.as_bytes()).unwrap(), TxnApplied::default(), "{short}");
    }
    assert!(txn::applied(&ops, b"<html>").is_err());
}

#[test]
fn refusals() {
    let answer = br#"{"Results":null,"Errors":[{"OpIndex":2,"What":"failed to set node \"syn\", index is stale"},{"What":"x"}]}"#;
    let refusals = txn::refused(answer).unwrap();
    assert_eq!((refusals[0].op, refusals[0].is_conflict()), (2, true));
    assert_eq!((refusals[1].op, refusals[1].is_conflict()), (0, false));
    for none in ["{}", r#"{"Errors":[]}"#, r#"{"Errors":null}"#, "<html>", ""] {
        assert_eq!(txn::refused(none.as_bytes()), None, "{none}");
    }
}
