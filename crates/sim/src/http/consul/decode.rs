//! Consul's JSON to values. Absent, null and empty are three things where Consul keeps them apart; a wrong type is an error.

use std::collections::BTreeMap;

use consul8s_core::consul::{NamedPort, TaggedAddress};
use serde_json::{Map, Value};

use crate::model::consul::{CheckRecord, Node, Registration, ServiceRecord, TxnItem, TxnRequest, Verb, Weights};

/// What is wrong with a body.
pub(super) type Wrong = String;

/// A JSON object whose keys are looked up as Go does: the case does not matter.
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// The object, or what it is instead.
    pub(super) fn of(value: &'a Value) -> Result<Object<'a>, Wrong> {
        value.as_object().map(Object).ok_or_else(|| "expected an object".to_owned())
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find(|(have, _)| have.eq_ignore_ascii_case(key)).map(|(_, value)| value).filter(|v| !v.is_null())
    }

    /// Text; empty when absent.
    pub(super) fn text(&self, key: &str) -> Result<String, Wrong> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("'{key}' expected type 'string'")),
        }
    }

    /// Number; 0 when absent.
    fn number(&self, key: &str) -> Result<i64, Wrong> {
        match self.get(key) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or_else(|| format!("'{key}' expected type 'int'")),
        }
    }

    fn index(&self) -> Result<u64, Wrong> {
        u64::try_from(self.number("ModifyIndex")?).map_err(|_| "'ModifyIndex' is negative".to_owned())
    }

    /// True or false; false when absent.
    fn flag(&self, key: &str) -> Result<bool, Wrong> {
        match self.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("'{key}' expected type 'bool'")),
        }
    }

    fn object(&self, key: &str) -> Result<Option<Object<'a>>, Wrong> {
        self.get(key).map(Object::of).transpose()
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Wrong> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let items = value.as_array().ok_or_else(|| format!("'{key}' expected a list"))?;
        let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| format!("'{key}' expected texts"));
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    fn map<V>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Result<V, Wrong>,
    ) -> Result<Option<BTreeMap<String, V>>, Wrong> {
        let Some(Object(entries)) = self.object(key)? else { return Ok(None) };
        entries.iter().map(|(key, value)| Ok((key.clone(), read(value)?))).collect::<Result<_, Wrong>>().map(Some)
    }

    fn meta(&self, key: &str) -> Result<Option<BTreeMap<String, String>>, Wrong> {
        self.map(key, |value| value.as_str().map(str::to_owned).ok_or_else(|| format!("'{key}' expected texts")))
    }

    /// A list; empty when absent.
    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], Wrong> {
        match self.get(key) {
            None => Ok(&[]),
            Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| format!("'{key}' expected a list")),
        }
    }
}

/// Body of `/v1/catalog/register`.
pub(super) fn registration(body: &Value) -> Result<Registration, Wrong> {
    let object = Object::of(body)?;
    let mut checks = Vec::new();
    if let Some(value) = object.get("Check") {
        checks.push(check(value)?);
    }
    for value in object.list("Checks")? {
        checks.push(check(value)?);
    }
    Ok(Registration {
        node: node_fields(&object, "NodeMeta")?,
        skip_node_update: object.flag("SkipNodeUpdate")?,
        service: object.get("Service").map(service).transpose()?,
        checks,
    })
}

fn node_fields(object: &Object<'_>, meta: &str) -> Result<Node, Wrong> {
    Ok(Node {
        id: object.text("ID")?,
        name: object.text("Node")?,
        address: object.text("Address")?,
        tagged_addresses: object.meta("TaggedAddresses")?,
        meta: object.meta(meta)?,
        create_index: 0,
        modify_index: object.index()?,
    })
}

/// A service in the catalog's words; the agent says `Name` where the catalog says `Service`.
pub(super) fn service(value: &Value) -> Result<ServiceRecord, Wrong> {
    let object = Object::of(value)?;
    let name = object.text("Service")?;
    let address = |value: &Value| {
        let object = Object::of(value)?;
        Ok(TaggedAddress { address: object.text("Address")?, port: object.number("Port")? })
    };
    Ok(ServiceRecord {
        id: object.text("ID")?,
        name: if name.is_empty() { object.text("Name")? } else { name },
        kind: object.text("Kind")?,
        tags: object.texts("Tags")?,
        address: object.text("Address")?,
        port: object.number("Port")?,
        ports: object.get("Ports").map(ports).transpose()?,
        tagged_addresses: object.map("TaggedAddresses", address)?,
        meta: object.meta("Meta")?,
        weights: weights(&object)?,
        locality: match object.object("Locality")? {
            Some(locality) => Some((locality.text("Region")?, locality.text("Zone")?)),
            None => None,
        },
        create_index: 0,
        modify_index: object.index()?,
    })
}

fn ports(value: &Value) -> Result<Vec<NamedPort>, Wrong> {
    let items = value.as_array().ok_or("'Ports' expected a list")?;
    let port = |item: &Value| {
        let object = Object::of(item)?;
        Ok(NamedPort { name: object.text("Name")?, port: object.number("Port")?, default: object.flag("Default")? })
    };
    items.iter().map(port).collect()
}

fn weights(object: &Object<'_>) -> Result<Weights, Wrong> {
    match object.object("Weights")? {
        Some(weights) => Ok(Weights { passing: weights.number("Passing")?, warning: weights.number("Warning")? }),
        None => Ok(Weights::default()),
    }
}

/// A check in the catalog's words.
pub(super) fn check(value: &Value) -> Result<CheckRecord, Wrong> {
    let object = Object::of(value)?;
    Ok(CheckRecord {
        node: object.text("Node")?,
        id: object.text("CheckID")?,
        name: object.text("Name")?,
        status: object.text("Status")?,
        notes: object.text("Notes")?,
        output: object.text("Output")?,
        service_id: object.text("ServiceID")?,
        kind: object.text("Type")?,
        modify_index: object.index()?,
        ..CheckRecord::default()
    })
}

/// Body of `/v1/txn`; operations of no kind that we know are passed over, as Consul does.
pub(super) fn txn(body: &Value) -> Result<Vec<TxnRequest>, Wrong> {
    let ops = body.as_array().ok_or("expected a list")?;
    let ops = ops.iter().map(|op| operation(&Object::of(op)?));
    Ok(ops.collect::<Result<Vec<_>, Wrong>>()?.into_iter().flatten().collect())
}

fn operation(op: &Object<'_>) -> Result<Option<TxnRequest>, Wrong> {
    let part = |object: &Object<'_>, key: &str| object.get(key).cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let request = |object: &Object<'_>, item| Ok(Some(TxnRequest { verb: Verb::parse(&object.text("Verb")?), item }));
    if let Some(object) = op.object("Node")? {
        let node = part(&object, "Node");
        return request(&object, TxnItem::Node(node_fields(&Object::of(&node)?, "Meta")?));
    }
    if let Some(object) = op.object("Service")? {
        let record = service(&part(&object, "Service"))?;
        return request(&object, TxnItem::Service(object.text("Node")?, Box::new(record)));
    }
    if let Some(object) = op.object("Check")? {
        return request(&object, TxnItem::Check(check(&part(&object, "Check"))?));
    }
    Ok(None)
}
