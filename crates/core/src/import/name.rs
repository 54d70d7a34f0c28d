//! Names of the Services (contract §3): lower case, illegal characters become `-`, `-` at the ends is dropped.

use super::Spec;

/// Longest name of a Service.
const LONGEST: usize = 63;

/// The name that the Service for `service` gets. `datacenter` is the one that is read.
///
/// # Errors
/// Why there can be none.
pub(super) fn of(service: &str, spec: &Spec, datacenter: &str) -> Result<String, String> {
    let template = spec.template.name.as_deref().unwrap_or("{name}");
    let namespace = spec.namespace.as_deref().unwrap_or("default");
    let datacenter = spec.datacenter.as_deref().unwrap_or(datacenter);
    let raw = filled(template, &[("{name}", service), ("{datacenter}", datacenter), ("{namespace}", namespace)]);
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = raw.chars().map(legal).collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        return Err("no character of its name can be part of a Service's".to_owned());
    }
    if name.len() > LONGEST {
        return Err(format!("{name} is longer than {LONGEST} characters; give a shorter spec.template.metadata.name"));
    }
    Ok(name.to_owned())
}

/// Each place is filled once: what is filled in may itself look like a place.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while !rest.is_empty() {
        match values.iter().find(|(place, _)| rest.starts_with(place)) {
            Some((place, value)) => {
                out.push_str(value);
                rest = &rest[place.len()..];
            }
            None => {
                let next = rest.chars().next().map_or(rest.len(), char::len_utf8);
                out.push_str(&rest[..next]);
                rest = &rest[next..];
            }
        }
    }
    out
}
