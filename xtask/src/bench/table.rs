//! What a bench prints: one line for each figure, with what is to be reached beside it.

use std::fs;

use anyhow::{Result, bail};

/// The figures of a bench.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    value: String,
    /// What is to be reached, and whether it is.
    target: Option<(String, bool)>,
}

impl Table {
    /// A figure without a target.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have just made")]
    pub(crate) fn figure(&mut self, what: &str, value: impl ToString) {
        self.rows.push(Row { what: what.to_owned(), value: value.to_string(), target: None });
    }

    /// A figure that shall be at most `limit`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64, unit: &str) {
        let target =
            Some((format!("at most {} {unit}", (limit * 100.0).round() / 100.0).trim_end().to_owned(), value <= limit));
        self.rows.push(Row {
            what: what.to_owned(),
            value: format!("{value:.2} {unit}").trim_end().to_owned(),
            target,
        });
    }

    /// A number that shall be `wanted`.
    pub(crate) fn exactly(&mut self, what: &str, value: usize, wanted: usize) {
        let target = Some((format!("exactly {wanted}"), value == wanted));
        self.rows.push(Row { what: what.to_owned(), value: value.to_string(), target });
    }

    /// Prints it under `title`. With `enforce` a missed target is an error; without, that is only said, since a busy
    /// machine measures itself.
    pub(crate) fn finish(&self, title: &str, enforce: bool) -> Result<()> {
        println!("\n{title}");
        for row in &self.rows {
            println!("  {}", row.text());
        }
        let missed = self.missed();
        println!("  {}", machine());
        match missed {
            0 => println!("  All targets are met."),
            missed if enforce => bail!("{missed} targets are missed (--enforce)"),
            missed => println!("  {missed} targets are MISSED."),
        }
        Ok(())
    }

    fn missed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.target, Some((_, false)))).count()
    }
}

impl Row {
    fn text(&self) -> String {
        let target = match &self.target {
            None => String::new(),
            Some((target, met)) => format!("to reach: {target}, {}", if *met { "met" } else { "MISSED" }),
        };
        format!("{:<58} {:>14}  {target}", self.what, self.value).trim_end().to_owned()
    }
}

/// What else ran.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Machine: {processors} processors, load {:.1}; the bench and its servers are in it.", load())
}

/// The machine's load over the last minute; 0 where it can't be read.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_counted_and_shown() {
        let mut table = Table::default();
        table.figure("changes", 20);
        table.at_most("memory", 63.0, 64.0, "MiB");
        assert_eq!(table.missed(), 0);
        table.at_most("memory", 64.5, 64.0, "MiB");
        table.exactly("writes", 2, 1);
        assert_eq!(table.missed(), 2);
        let last = table.rows[3].text();
        assert!(last.starts_with("writes ") && last.ends_with("2  to reach: exactly 1, MISSED"), "{last}");
        assert!(table.finish("a bench", true).is_err() && table.finish("a bench", false).is_ok());
    }
}
