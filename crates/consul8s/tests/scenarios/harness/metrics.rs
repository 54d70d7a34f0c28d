//! What a scrape says.

/// The text of one scrape.
#[derive(Clone, Debug)]
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    /// Sum of all samples with this name that carry these labels; none if there is no such sample.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples =
            self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| value_of(line, name, labels));
        samples.reduce(|sum, value| sum + value)
    }

    /// The same, where no sample means 0.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or(0.0)
    }
}

fn value_of(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (given, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => ("", rest),
    };
    let value = value.strip_prefix(' ')?;
    let has = |(key, value): &(&str, &str)| given.split(',').any(|label| label == format!("{key}=\"{value}\""));
    if labels.iter().all(has) { value.split(' ').next()?.parse().ok() } else { None }
}
