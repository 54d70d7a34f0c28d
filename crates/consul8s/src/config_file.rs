//! `--config`: flags by their config key, and rules. A key is the flag in camelCase: `--removal-hold` is `removalHold`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Arg, Command};
use consul8s_core::nearest::nearest;
use consul8s_core::rules::Rules;
use serde_json::Value;

use crate::config_rules;

/// A configuration has a few dozen lines. What is larger is some other file.
const MAX_BYTES: u64 = 1024 * 1024;
/// Flags that make no sense in the file itself.
const NOT_IN_FILE: [&str; 3] = ["config", "help", "version"];
/// Keys that are no flags.
const RULES: &str = "rules";
const DEFAULT_RULE: &str = "defaultRule";

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    /// Values of flags by the ID of the argument, as they would be written on the command line.
    pub values: BTreeMap<String, String>,
    /// `rules:` and `defaultRule:`.
    pub rules: Rules,
}

/// Every key with the argument that it is for, in the order of the table.
pub fn keys(command: &Command) -> Vec<(String, String)> {
    let args = command.get_arguments().filter(|arg| !NOT_IN_FILE.contains(&arg.get_id().as_str()));
    args.flat_map(|arg| {
        let aliases = arg.get_visible_aliases().unwrap_or_default();
        let names = arg.get_long().into_iter().chain(aliases);
        names.map(|name| (camel_case(name), arg.get_id().to_string())).collect::<Vec<_>>()
    })
    .collect()
}

/// The key of a flag: `--removal-hold` is `removalHold`.
#[must_use]
pub fn camel_case(flag: &str) -> String {
    let mut words = flag.split('-');
    let mut key = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        key.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        key.push_str(letters.as_str());
    }
    key
}

/// Reads a file.
///
/// # Errors
/// What is wrong with which key, and what is accepted.
pub fn read(path: &Path, command: &Command) -> Result<ConfigFile, String> {
    let text = text(path).map_err(|why| format!("--config {}: {why}", path.display()))?;
    parse(&text, command).map_err(|why| format!("--config {}: {why}", path.display()))
}

fn text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let size = file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if size as u64 == MAX_BYTES { Err("too large for a configuration".to_owned()) } else { Ok(text) }
}

fn parse(text: &str, command: &Command) -> Result<ConfigFile, String> {
    let mut file = ConfigFile::default();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(file);
    }
    let keys = keys(command);
    // `off` is a word here, as it is on the command line, and not a boolean.
    let options = serde_saphyr::options! { strict_booleans: true };
    let content: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| format!("no valid YAML: {error}"))?;
    let Value::Object(content) = content else {
        return Err("must hold keys with values, such as `allNamespaces: true`".to_owned());
    };
    for (key, value) in &content {
        match key.as_str() {
            RULES => file.rules.rules = config_rules::rules(value)?,
            DEFAULT_RULE => file.rules.deny_by_default = config_rules::denies_by_default(value)?,
            _ => flag(&mut file, &keys, key, value, command)?,
        }
    }
    Ok(file)
}

fn flag(
    file: &mut ConfigFile,
    keys: &[(String, String)],
    key: &str,
    value: &Value,
    command: &Command,
) -> Result<(), String> {
    let Some((_, id)) = keys.iter().find(|(known, _)| known == key) else {
        let words = keys.iter().map(|(known, _)| known.as_str()).chain([RULES, DEFAULT_RULE]);
        let near = nearest(key, words).unwrap_or_default();
        return Err(format!("{key}: unknown key; nearest: {near}"));
    };
    // As if it were not there: templates leave such lines behind.
    if value.is_null() {
        return Ok(());
    }
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id.as_str()) else { return Ok(()) };
    let text = written(value, takes_many(arg)).ok_or_else(|| {
        let form = if takes_many(arg) { "one value, or a list of them" } else { "one value" };
        format!("{key}: takes {form}")
    })?;
    check(command, arg, &text).map_err(|why| format!("{key}: {why}"))?;
    if file.values.insert(id.clone(), text).is_some() {
        return Err(format!("{key}: given twice, under two names of one flag"));
    }
    Ok(())
}

/// Whether a flag takes a list. `--direction` reads its list itself.
fn takes_many(arg: &Arg) -> bool {
    let repeatable = matches!(arg.get_action(), clap::ArgAction::Append);
    repeatable || arg.get_id() == "direction"
}

/// A value as it would be written on the command line.
fn written(value: &Value, many: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) if many => {
            let items: Vec<String> = items.iter().map(|item| written(item, false)).collect::<Option<_>>()?;
            Some(items.join(","))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Has the flag's own reader judge a value.
fn check(command: &Command, arg: &Arg, text: &str) -> Result<(), String> {
    let Some(long) = arg.get_long() else { return Ok(()) };
    let bare = command.clone().mut_args(|arg| arg.env(Resettable::Reset));
    let read = bare.try_get_matches_from(["consul8s".to_owned(), format!("--{long}={text}")]);
    read.map(drop).map_err(|error| {
        let told = error.to_string();
        // Without the prefix and the hint at --help.
        let lines = told.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
        let mut out = String::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let line = line.strip_prefix("error: ").unwrap_or(line);
            let _ = write!(out, "{}{line}", if out.is_empty() { "" } else { " " });
        }
        out
    })
}
