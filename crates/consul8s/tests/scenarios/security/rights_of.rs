//! Rights in Kubernetes, verb by verb: what a manifest gives, and what was asked for.

use std::fmt;

use serde_json::{Value, json};

use crate::harness::{Outcome, list, text};

/// One verb on one kind of objects, as one rule of a role gives it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Atom {
    role: Value,
    rule: usize,
    verb: String,
    group: String,
    resource: String,
    names: Vec<String>,
    /// None for a role of the cluster.
    namespace: Option<String>,
}

/// What was asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) verb: String,
    pub(crate) group: String,
    /// With its subresource.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Request {
    /// From an audited event; none for what is about no object, such as discovery.
    pub(crate) fn of(event: &Value) -> Option<Request> {
        let object = event["objectRef"].as_object()?;
        let part = |key: &str| object.get(key).map(text).unwrap_or_default();
        let resource = match part("subresource") {
            sub if sub.is_empty() => part("resource"),
            sub => format!("{}/{sub}", part("resource")),
        };
        let verb = text(&event["verb"]);
        // Kubernetes can't bind these to a name.
        let nameless = ["create", "list", "watch"].contains(&verb.as_str());
        let name = if nameless { String::new() } else { part("name") };
        Some(Request { verb, group: part("apiGroup"), resource, namespace: part("namespace"), name })
    }

    pub(crate) fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }
}

impl Atom {
    /// As Kubernetes judges it.
    pub(crate) fn allows(&self, request: &Request) -> bool {
        self.verb == request.verb
            && self.group == request.group
            && self.resource == request.resource
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == request.namespace)
            && (self.names.is_empty() || self.names.contains(&request.name))
    }

    /// Whether it holds in the whole cluster.
    pub(crate) fn is_of_cluster(&self) -> bool {
        self.namespace.is_none()
    }

    /// Path and content of its role.
    pub(crate) fn role_object(&self) -> (String, Value) {
        let base = "/apis/rbac.authorization.k8s.io/v1";
        let name = text(&self.role["metadata"]["name"]);
        let path = match &self.namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/roles/{name}"),
            None => format!("{base}/clusterroles/{name}"),
        };
        (path, self.role.clone())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Atom { verb, group, resource, names, namespace, .. } = self;
        write!(f, "{verb} {resource}.{group} {names:?} in {}", namespace.as_deref().unwrap_or("the cluster"))
    }
}

/// The role without this verb.
pub(crate) fn without(role: &Value, atom: &Atom) -> Value {
    let mut role = role.clone();
    let verbs: Vec<Value> =
        list(&role["rules"][atom.rule]["verbs"]).into_iter().filter(|verb| *verb != atom.verb.as_str()).collect();
    if verbs.is_empty() {
        let mut rules = list(&role["rules"]);
        rules.remove(atom.rule);
        role["rules"] = Value::Array(rules);
    } else {
        role["rules"][atom.rule]["verbs"] = json!(verbs);
    }
    role
}

/// Every verb that a manifest gives.
pub(crate) fn atoms(manifest: &str) -> Outcome<Vec<Atom>> {
    let mut all = Vec::new();
    for document in manifest.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).map_err(|why| format!("{why}: {document}"))?;
        if !["Role", "ClusterRole"].contains(&text(&object["kind"]).as_str()) {
            continue;
        }
        let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
        for (number, rule) in list(&object["rules"]).iter().enumerate() {
            let words = |key: &str| -> Vec<String> { list(&rule[key]).iter().map(text).collect() };
            let (groups, resources, names) = (words("apiGroups"), words("resources"), words("resourceNames"));
            for verb in words("verbs") {
                all.push(Atom {
                    role: object.clone(),
                    rule: number,
                    verb,
                    group: groups.concat(),
                    resource: resources.concat(),
                    names: names.clone(),
                    namespace: namespace.clone(),
                });
            }
        }
    }
    Ok(all)
}
