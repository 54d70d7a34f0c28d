//! Reading JSON of which any part may be missing, null or of the wrong type, without losing the rest. Consul's catalog stores
//! almost anything, and what stands between may cut or change it.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// What stands for a port that is no whole number: no port has it, so the planner refuses it as it refuses 70000.
const NO_PORT: i64 = -1;

/// Null as the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Text; a number or a flag as its text.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Value::deserialize(from).map(as_text)
}

/// A whole number; [`NO_PORT`] for what is something else.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Null => 0,
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)).unwrap_or(NO_PORT),
        Value::String(text) => text.trim().parse().unwrap_or(NO_PORT),
        _ => NO_PORT,
    })
}

/// An index; 0 for what is none, which no compare-and-set on something that exists accepts.
pub(crate) fn index<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(Value::deserialize(from)?.as_u64().unwrap_or(0))
}

/// A list of texts.
pub(crate) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(list) => list.into_iter().map(as_text).collect(),
        _ => Vec::new(),
    })
}

/// Texts by key.
pub(crate) fn text_map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, as_text(value))).collect(),
        _ => BTreeMap::new(),
    })
}

/// The elements of a list, unread. Null is an empty list; anything else counts as one element, which its reader then finds
/// unreadable: what should be a list and isn't must not look like an empty one.
pub(crate) fn elements(from: Option<&RawValue>) -> Vec<&RawValue> {
    let Some(raw) = from else { return Vec::new() };
    serde_json::from_str::<Option<Vec<&RawValue>>>(raw.get()).map_or_else(|_| vec![raw], Option::unwrap_or_default)
}

/// One part by itself; none when it is missing, null or unreadable.
pub(crate) fn part<'a, T: Deserialize<'a>>(from: Option<&'a RawValue>) -> Option<T> {
    from.and_then(|raw| serde_json::from_str::<Option<T>>(raw.get()).ok().flatten())
}

fn as_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn whole(number: f64) -> Option<i64> {
    // Beyond this, not every whole number is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
