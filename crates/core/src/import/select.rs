//! Which services of the catalog an import takes.

use std::collections::BTreeSet;

use super::{Catalog, Selector, Spec};
use crate::names::CONSUL_SERVICE;

/// Names of what the selector takes, of those that a list shows. The filter was Consul's business.
pub(super) fn of<'a>(spec: &Spec, catalog: &'a Catalog) -> BTreeSet<&'a str> {
    let taken = catalog.iter().filter(|(name, tags)| takes(&spec.selector, name, Some(tags)));
    taken.map(|(name, _)| name.as_str()).collect()
}

/// What a peer is asked for, whose services can't be listed.
pub(super) fn of_peer(selector: &Selector) -> BTreeSet<&str> {
    if selector.prefix.is_some() || !selector.tags.is_empty() || selector.filter.is_some() {
        return BTreeSet::new();
    }
    selector.names.iter().map(String::as_str).filter(|name| takes(selector, name, None)).collect()
}

/// Whether it may be taken, as far as its name tells: what is not is left by the import's author, and not by Consul.
pub(super) fn may_take(selector: &Selector, name: &str) -> bool {
    takes(selector, name, None)
}

fn takes(selector: &Selector, name: &str, tags: Option<&Vec<String>>) -> bool {
    let Selector { names, prefix, tags: wanted, filter } = selector;
    let empty = names.is_empty() && prefix.is_none() && wanted.is_empty() && filter.is_none();
    let asked = !name.is_empty() && name != "." && name != ".." && !name.chars().any(char::is_control);
    !empty
        && asked
        // Consul's own service has one name in any case.
        && !name.eq_ignore_ascii_case(CONSUL_SERVICE)
        && (names.is_empty() || names.iter().any(|one| one == name))
        && prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
        && tags.is_none_or(|tags| wanted.iter().all(|tag| tags.contains(tag)))
}
