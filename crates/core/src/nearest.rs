//! The nearest of some words: what somebody who mistyped most likely meant.

/// Longest word that is compared; what is longer was not mistyped.
const LONGEST: usize = 253;

/// The word with the fewest letters to change; of several the first. None where there is no word at all.
pub fn nearest<'a>(to: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let to: String = to.chars().take(LONGEST).collect();
    words.into_iter().min_by_key(|word| distance(&to, word))
}

/// How many letters to insert, drop or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewest_letters_to_change() {
        let words = ["interval", "namespace", "nameTemplate"];
        for (to, wanted) in [("intervall", "interval"), ("name-space", "namespace"), ("namesTemplate", "nameTemplate")]
        {
            assert_eq!(nearest(to, words), Some(wanted));
        }
        assert_eq!(nearest("x", []), None);
        assert!(nearest(&"y".repeat(100_000), words).is_some());
    }
}
