//! `rules:` and `defaultRule:` of the configuration file.

use consul8s_core::intent::value;
use consul8s_core::nearest::nearest;
use consul8s_core::rules::{Glob, Names, Rule};
use serde_json::{Map, Value};

/// Reads `rules:`.
pub(crate) fn rules(value: &Value) -> Result<Vec<Rule>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            items.iter().enumerate().map(|(number, item)| rule(item, &format!("rules[{number}]"))).collect()
        }
        _ => Err("rules: takes a list of {namespaces, to_kube: {allow, deny}, to_consul: {allow, deny}}".to_owned()),
    }
}

/// Reads `defaultRule:`.
pub(crate) fn denies_by_default(value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::String(word) if word == "allow" => Ok(false),
        Value::String(word) if word == "deny" => Ok(true),
        other => Err(format!("defaultRule: {other} is not accepted; write allow or deny")),
    }
}

fn rule(item: &Value, at: &str) -> Result<Rule, String> {
    let fields = object(item, at, &["namespaces", "to_kube", "to_consul"])?;
    let everywhere = || vec![Glob::new("*")];
    let namespaces = globs(fields.get("namespaces"), &format!("{at}.namespaces"))?.unwrap_or_else(everywhere);
    if namespaces.is_empty() {
        return Err(format!("{at}.namespaces: name at least one, or leave the key out for all"));
    }
    let names = |direction: &str| names(fields.get(direction), &format!("{at}.{direction}"));
    Ok(Rule { namespaces, to_kube: names("to_kube")?, to_consul: names("to_consul")? })
}

fn names(item: Option<&Value>, at: &str) -> Result<Names, String> {
    let Some(item) = item.filter(|item| !item.is_null()) else { return Ok(Names::default()) };
    let fields = object(item, at, &["allow", "deny"])?;
    let list = |key: &str| globs(fields.get(key), &format!("{at}.{key}"));
    Ok(Names { allow: list("allow")?, deny: list("deny")?.unwrap_or_default() })
}

fn object<'a>(item: &'a Value, at: &str, keys: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(fields) = item else { return Err(format!("{at}: takes keys with values: {}", keys.join(", "))) };
    match fields.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(fields),
        Some(key) => {
            let near = nearest(key, keys.iter().copied()).unwrap_or_default();
            Err(format!("{at}.{key}: unknown key; nearest: {near}"))
        }
    }
}

/// A list, as YAML has it or with commas; none where it is not given.
fn globs(item: Option<&Value>, at: &str) -> Result<Option<Vec<Glob>>, String> {
    let wrong = || format!("{at}: takes a list of names, which may hold * and ?");
    let words = match item {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => value::list(text),
        Some(Value::Array(items)) => {
            let word =
                |item: &Value| item.as_str().map(str::to_owned).or_else(|| item.is_number().then(|| item.to_string()));
            items.iter().map(word).collect::<Option<Vec<String>>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Some(words.iter().map(|word| Glob::new(word.trim())).filter(|glob| !glob.to_string().is_empty()).collect()))
}
