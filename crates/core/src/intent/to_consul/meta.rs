//! Meta of a registration: the user's, and the numbers of the Service's ports, within what Consul takes.

use std::collections::BTreeMap;

use crate::intent::value;
use crate::kube::KubeService;
use crate::names;
use crate::problem::{Problem, Reason, clean};

use super::{Reader, consul_k8s};

/// Consul takes 64 pairs of meta; 13 are for our own keys.
const MAX_META: usize = 64 - 13;
/// Longest key.
const MAX_META_KEY: usize = 128;
/// Longest value in bytes.
pub(crate) const MAX_META_VALUE: usize = 512;

/// The user's meta, then `port-NAME` as far as Consul has room (what a user wrote under such a key stands).
pub(super) fn meta(reader: &mut Reader<'_>, service: &KubeService) -> BTreeMap<String, String> {
    let mut meta = BTreeMap::new();
    let theirs = if reader.consul_k8s { Some(consul_k8s::META_PREFIX) } else { None };
    // Ours come last and win.
    for prefix in theirs.into_iter().chain([names::SERVICE_META_PREFIX]) {
        for (annotation, text) in reader.annotations {
            let Some(key) = annotation.strip_prefix(prefix).filter(|key| !key.is_empty()) else { continue };
            match meta_pair(key, text, meta.len()) {
                Ok(()) => drop(meta.insert(key.to_owned(), text.clone())),
                Err(why) => reader.errors.push(value::invalid(annotation, text, &why)),
            }
        }
    }
    let mut left_out = Vec::new();
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        let key = format!("{}{}", names::META_PORT_PREFIX, port.name);
        if meta.len() < MAX_META || meta.contains_key(&key) {
            meta.entry(key).or_insert_with(|| port.port.to_string());
        } else {
            left_out.push(port.name.as_str());
        }
    }
    if !left_out.is_empty() {
        reader.warnings.push(without_room(&left_out));
    }
    meta
}

fn without_room(ports: &[&str]) -> Problem {
    let message = format!(
        "Consul takes {MAX_META} pairs of meta beside ours, so that {} of the Service's named ports stand in none: {}; have fewer ports, or \
         fewer annotations {}KEY",
        ports.len(),
        clean(&ports.join(", "), 300),
        names::SERVICE_META_PREFIX
    );
    Problem::new(Reason::UnmappedPorts, message)
}

fn meta_pair(key: &str, text: &str, before: usize) -> Result<(), String> {
    let reserved =
        key == names::META_EXTERNAL_SOURCE || key.starts_with("external-k8s-") || key.starts_with("consul8s-");
    if reserved {
        return Err("has a key that consul8s writes itself".to_owned());
    }
    if key.starts_with("consul-") {
        return Err("has a key that begins with consul-, which Consul keeps for itself".to_owned());
    }
    if key.len() > MAX_META_KEY || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(format!("has a key that Consul refuses: at most {MAX_META_KEY} letters, digits, '-' and '_'"));
    }
    if text.len() > MAX_META_VALUE {
        return Err(format!("is longer than {MAX_META_VALUE} bytes"));
    }
    if before >= MAX_META {
        return Err(format!("is one pair of meta too many: Consul takes {MAX_META} beside ours"));
    }
    Ok(())
}
