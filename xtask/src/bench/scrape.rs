//! What consul8s says of itself: one answer of `/metrics`.

use std::collections::BTreeMap;

/// The samples of a scrape, by name and labels as they are printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads the text form; what is no sample is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The sum of all samples of `name` whose labels contain each of `labels` (`key="value"`); 0 without any.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let all = self.0.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        all.filter(|(sample, _)| labels.iter().all(|label| sample.contains(label))).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_added_up_by_name_and_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"2\",y=\"2\"} 4\nab 5\nno sample\n# EOF\n";
        let scrape = Scrape::parse(text);
        assert_eq!((scrape.sum("a", &[]), scrape.sum("a", &["x=\"1\""]), scrape.sum("ab", &[])), (7.0, 3.0, 5.0));
        assert_eq!((scrape.sum("a", &["x=\"1\"", "y=\"3\""]), scrape.sum("b", &[])), (0.0, 0.0));
    }
}
