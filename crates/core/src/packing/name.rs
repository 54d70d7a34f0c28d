//! Names of slices: `SERVICE-HASH-N`. Fixed by Service UID, family and ports, so that a duplicate create meets a conflict instead of
//! making a second slice.

use std::collections::BTreeSet;

use crate::identity::short_hash;
use crate::kube::Family;
use crate::to_kube::Ports;

use super::Input;

/// Length of a name up to which the Service's name is kept whole: longer ones are legal, and hard to read.
const READABLE: usize = 63;
/// Digits of the hash.
const DIGITS: usize = 10;
/// Digits of N for which room is left.
const NUMBER: usize = 4;

/// Hash of a group's identity.
#[must_use]
pub(super) fn hash(uid: &str, family: Family, ports: Option<&Ports>) -> String {
    let port = |p: &crate::to_kube::PortId| format!("{}/{}/{}", p.name, p.protocol, p.number);
    let ports: Vec<String> = ports.iter().flat_map(|ports| ports.iter()).map(port).collect();
    let family = family.to_string();
    let mut parts: Vec<&str> = vec![uid, &family];
    parts.extend(ports.iter().map(String::as_str));
    short_hash(&parts, DIGITS)
}

/// Gives out names, and reads them.
pub(super) struct Names {
    stem: String,
    taken: BTreeSet<String>,
}

impl Names {
    /// A name that any slice has, terminating and foreign ones included, is passed over.
    pub(super) fn new(input: &Input<'_>) -> Names {
        let room = READABLE - DIGITS - NUMBER - 2;
        let name = &input.service.key.name;
        // Names of Services are ASCII; whatever a test makes of it is cut at a character border.
        let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        let stem = name[..end].to_owned();
        let standing = input.slices.iter().map(|slice| slice.key.name.clone());
        Names { stem, taken: standing.chain(input.taken.iter().cloned()).collect() }
    }

    /// The next free name of a group: the lowest number.
    pub(super) fn next(&mut self, hash: &str) -> String {
        let stem = &self.stem;
        let mut names = (1_u64..).map(|n| format!("{stem}-{hash}-{n}"));
        let name = names.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }

    /// The hash in a name of ours.
    #[must_use]
    pub(super) fn hash_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (hash, number) = name.strip_prefix(&self.stem)?.strip_prefix('-')?.split_once('-')?;
        (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(hash)
    }
}
