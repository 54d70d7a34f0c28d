//! A map for a handful of entries, of which a catalog has tens of thousands: meta and tagged addresses. A `BTreeMap` takes more than
//! half a kilobyte for its first entry; this takes what the entries take.

use std::collections::BTreeMap;

/// Values by key, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<V>(Box<[(String, V)]>);

impl<V> Default for Few<V> {
    fn default() -> Few<V> {
        Few(Box::default())
    }
}

impl<V> Few<V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Whether a key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value of a key, and gives the one that it had. Copies the whole map: it is meant to be read.
    pub fn insert(&mut self, key: String, value: V) -> Option<V> {
        let mut entries = std::mem::take(&mut self.0).into_vec();
        let before = match entries.binary_search_by(|(known, _)| known.as_str().cmp(&key)) {
            Ok(at) => Some(std::mem::replace(&mut entries[at].1, value)),
            Err(at) => {
                entries.insert(at, (key, value));
                None
            }
        };
        self.0 = entries.into_boxed_slice();
        before
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> From<BTreeMap<String, V>> for Few<V> {
    fn from(map: BTreeMap<String, V>) -> Few<V> {
        Few(map.into_iter().collect())
    }
}

impl<V: Clone> From<&Few<V>> for BTreeMap<String, V> {
    fn from(few: &Few<V>) -> BTreeMap<String, V> {
        few.0.iter().cloned().collect()
    }
}

/// Of several values for one key the last counts.
impl<V> FromIterator<(String, V)> for Few<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> Few<V> {
        entries.into_iter().collect::<BTreeMap<String, V>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut few: Few<u8> =
            [("b", 2), ("a", 1), ("b", 3)].map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        assert_eq!((few.get("a"), few.get("b"), few.get("c"), few.is_empty()), (Some(&1), Some(&3), None, false));
        assert_eq!(
            (few.insert("c".into(), 4), few.insert("a".into(), 5), few.insert("0".into(), 6)),
            (None, Some(1), None)
        );
        let map = BTreeMap::from(&few);
        assert!(few.iter().eq(map.iter()));
        assert_eq!((map.len(), Few::from(map)), (4, few));
        assert!(Few::<u8>::default().is_empty());
    }
}
