//! `--compatibility=consul-k8s`: the annotations of HashiCorp's catalog sync, read as that program reads them, so that its users can
//! switch. Where both kinds are given ours win.

use crate::kube::{KubeService, ServicePort};
use crate::names;
use crate::problem::{Problem, Reason, clean};

use super::{PortChoice, Reader, no_such_port, service_name};

/// Opts in, or out of `--default-sync`.
pub const SYNC: &str = "consul.hashicorp.com/service-sync";
/// Consul service name.
pub const NAME: &str = "consul.hashicorp.com/service-name";
/// Name or number of the port.
pub const PORT: &str = "consul.hashicorp.com/service-port";
/// Tags; a comma within a tag is written `\,`.
pub const TAGS: &str = "consul.hashicorp.com/service-tags";
/// Meta.
pub const META_PREFIX: &str = "consul.hashicorp.com/service-meta-";
/// Passing weight.
pub const WEIGHT: &str = "consul.hashicorp.com/service-weight";

/// What `service-sync` says; none where it is absent or can't be read.
#[must_use]
pub fn sync(service: &KubeService) -> Option<bool> {
    go_bool(service.annotations.get(SYNC)?)
}

/// A value of `service-sync` that can't be read is passed over, as there, but told.
pub(super) fn check_sync(reader: &mut Reader<'_>) {
    let text = reader.annotations.get(SYNC).filter(|text| reader.consul_k8s && go_bool(text).is_none());
    reader.warnings.extend(text.map(|text| ignored(SYNC, text, "is none of true, false, 1, 0, t, f")));
}

/// Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(super) fn name(text: &str) -> Result<String, String> {
    service_name(text.trim())
}

/// Split at commas; `\,` is a comma within a tag.
#[expect(clippy::unnecessary_wraps, reason = "the shape of an annotation's reader")]
pub(super) fn tags(text: &str) -> Result<Vec<String>, String> {
    let mut tags = Vec::new();
    let mut next = String::new();
    for c in text.chars() {
        if c != ',' {
            next.push(c);
        } else if next.ends_with('\\') {
            next.pop();
            next.push(',');
        } else {
            tags.push(std::mem::take(&mut next));
        }
    }
    tags.push(next);
    let trimmed = tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty());
    Ok(trimmed.map(str::to_owned).collect())
}

/// A number is registered as it stands; a name that no port has leaves the first, and so does a number below 1.
pub(super) fn port(reader: &mut Reader<'_>, service: &KubeService) -> Option<Option<PortChoice>> {
    let text = reader.theirs(names::SERVICE_PORT_NAME, PORT)?;
    if let Some(number) = go_int(text) {
        return match u16::try_from(number) {
            Ok(number) if number > 0 => Some(Some(PortChoice::Number(number))),
            _ if number < 1 => {
                reader.warnings.push(ignored(PORT, text, "is not a port between 1 and 65535"));
                None
            }
            _ => {
                reader.errors.push(super::value::invalid(PORT, text, "is not a port between 1 and 65535"));
                Some(None)
            }
        };
    }
    let found = service.ports.iter().find(|port: &&ServicePort| port.name == text);
    if found.is_none() {
        reader.warnings.push(no_such_port(PORT, text, service, "the first port is registered"));
    }
    found.cloned().map(|port| Some(PortChoice::Port(port)))
}

/// Go's `strconv.ParseInt` with base 0: decimal, or with the prefixes `0x`, `0o`, `0b`, `0`.
fn go_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    let value = plain.then(|| i64::from_str_radix(digits, base).ok()).flatten()?;
    Some(if negative { -value } else { value })
}

/// One that can't be read is passed over, as there, but told. Go's `strconv.Atoi`: a sign may stand before it, and nothing around it.
pub(super) fn weight(reader: &mut Reader<'_>) -> Option<u16> {
    let text = reader.theirs(names::SERVICE_WEIGHT, WEIGHT).filter(|text| !text.is_empty())?;
    let digits = text.strip_prefix('+').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let weight = digits.parse().ok().filter(|weight: &u16| plain && *weight > 0);
    if weight.is_none() {
        reader.warnings.push(ignored(WEIGHT, text, "is not a weight between 1 and 65535"));
    }
    weight
}

fn ignored(key: &str, text: &str, why: &str) -> Problem {
    let message = format!("annotation {key}: \"{}\" {why}; it is passed over", clean(text, 80));
    Problem::new(Reason::InvalidAnnotation, message)
}
