//! IDs of registrations: the plain one for the first address, one with a hash for each further (contract §4).

use std::collections::BTreeSet;

use crate::consul::ServiceId;

use super::candidate::{Candidate, Subject};

/// Digits of the hash in an ID; more only where two subjects of one Service share these.
const DIGITS: [usize; 3] = [8, 16, 64];

/// Gives each candidate its ID, in their order. `standing` is what is registered, each with what it stands for.
///
/// What stands keeps its ID. The plain one goes to the first newcomer while nothing wanted has it: an address that replaces another
/// takes over its registration in one write, and nobody sees a gap.
#[must_use]
pub fn assign(plain: &ServiceId, standing: &[(Subject, &str)], wanted: &[Candidate]) -> Vec<ServiceId> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut ids: Vec<Option<String>> = vec![None; wanted.len()];
    for find in [by_subject, by_hash] {
        for (candidate, id) in wanted.iter().zip(&mut ids).filter(|(_, id)| id.is_none()) {
            *id = find(plain, standing, &candidate.subject).filter(|id| !used.contains(*id)).map(str::to_owned);
            used.extend(id.clone());
        }
    }
    let given = wanted.iter().zip(ids).map(|(candidate, id)| {
        let id = id.unwrap_or_else(|| new_id(plain, &candidate.subject, &used));
        used.insert(id.clone());
        ServiceId::new(id).unwrap_or_else(|| plain.clone())
    });
    given.collect()
}

/// The ID under which a subject stands, as far as it is one that we would give it: the plain one, if it has both.
fn by_subject<'a>(plain: &ServiceId, standing: &[(Subject, &'a str)], subject: &Subject) -> Option<&'a str> {
    let hashed = hashed(plain, subject, DIGITS[0]);
    let fits = |id: &&str| *id == plain.as_str() || id.starts_with(&hashed);
    let mine = standing.iter().filter(|(stands_for, _)| stands_for == subject).map(|(_, id)| *id);
    mine.filter(fits).min() // The plain ID is a prefix of the others.
}

/// What stands under the hash of a subject stands for it, whatever somebody has made of its address since.
fn by_hash<'a>(plain: &ServiceId, standing: &[(Subject, &'a str)], subject: &Subject) -> Option<&'a str> {
    let hashed = hashed(plain, subject, DIGITS[0]);
    standing.iter().map(|(_, id)| *id).find(|id| *id == hashed)
}

fn new_id(plain: &ServiceId, subject: &Subject, used: &BTreeSet<String>) -> String {
    if !used.contains(plain.as_str()) {
        return plain.as_str().to_owned();
    }
    let longest = hashed(plain, subject, DIGITS[2]);
    let mut ids = DIGITS.iter().map(|digits| hashed(plain, subject, *digits));
    ids.find(|id| !used.contains(id)).unwrap_or(longest)
}

fn hashed(plain: &ServiceId, subject: &Subject, digits: usize) -> String {
    format!("{plain}-{}", subject.hash(digits))
}
