//! What is printed, and what is written for machines.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::change::Change;
use crate::bench::program::Usage;
use crate::bench::stats::Summary;
use crate::bench::table::load;

/// To reach: consul8s' median in floors.
const P50_TARGET: f64 = 1.5;
/// To reach: consul8s' 99th percentile in floors.
const P99_TARGET: f64 = 2.5;
/// To reach: consul8s' 99th percentile (contract D1).
const P99_TARGET_MS: f64 = 100.0;
/// To reach: resident memory, with a few Services and with many (contract D3).
const MEMORY_TARGET_MIB: f64 = 32.0;
const MEMORY_OF_MANY_MIB: f64 = 64.0;
const FEW: usize = 100;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) stages: Vec<Stage>,
    /// Processors of the machine.
    processors: usize,
    /// Its load over the last minute, before and after: what else ran.
    load_before: f64,
    load_after: f64,
    missed: Vec<String>,
}

/// One kind of change, both ways of carrying it over.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    change: Change,
    watched: usize,
    floor: Summary,
    consul8s: Summary,
    ratio_p50: f64,
    ratio_p99: f64,
}

/// What consul8s used in a stage.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    /// Services watched in each direction.
    pub(super) watched: usize,
    /// Changes that were made while it ran.
    pub(super) changes: usize,
    /// How long they took, pauses included.
    pub(super) seconds: f64,
    /// Processor time for them alone.
    pub(super) cpu_seconds: f64,
    /// In the end.
    pub(super) usage: Usage,
}

impl Row {
    pub(super) fn new(change: Change, watched: usize, floor: &[Duration], consul8s: &[Duration]) -> Self {
        let (floor, consul8s) = (Summary::of(floor), Summary::of(consul8s));
        let (ratio_p50, ratio_p99) = (consul8s.p50_ms / floor.p50_ms, consul8s.p99_ms / floor.p99_ms);
        Self { change, watched, floor, consul8s, ratio_p50, ratio_p99 }
    }

    fn print(&self) {
        let verdict = if self.missed().is_empty() { "met" } else { "MISSED" };
        let times = |of: &Summary| format!("{:>9.2} {:>9.2} {:>9.2}", of.p50_ms, of.p99_ms, of.max_ms);
        println!(
            "{:<37} {:>7} {:>5} {} {} {:>6.2} {:>6.2}  {verdict}",
            self.change.title(),
            self.watched,
            self.consul8s.samples,
            times(&self.floor),
            times(&self.consul8s),
            self.ratio_p50,
            self.ratio_p99,
        );
    }

    /// What it misses.
    fn missed(&self) -> Vec<String> {
        let name = format!("{}, {} watched", self.change.title(), self.watched);
        let judge = |which: &str, ratio: f64, target: f64| {
            (ratio > target).then(|| format!("{name}: {which} is {ratio:.2} times the floor's; to reach: {target}"))
        };
        let judged = [judge("p50", self.ratio_p50, P50_TARGET), judge("p99", self.ratio_p99, P99_TARGET)];
        let p99 = self.consul8s.p99_ms;
        let slow = || format!("{name}: p99 is {p99:.1} ms; to reach: {P99_TARGET_MS}");
        judged.into_iter().flatten().chain((p99 > P99_TARGET_MS).then(slow)).collect()
    }
}

impl Stage {
    fn missed(&self) -> Option<String> {
        let (peak, target) = (self.usage.peak_mib, self.target());
        let name = format!("{0} + {0} watched", self.watched);
        (peak > target).then(|| format!("{name}: {peak:.1} MiB of resident memory at its peak; to reach: {target}"))
    }

    /// Resident memory to reach.
    fn target(&self) -> f64 {
        if self.watched > FEW { MEMORY_OF_MANY_MIB } else { MEMORY_TARGET_MIB }
    }
}

impl Report {
    /// A report without figures; says how busy the machine is.
    pub(super) fn begin() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let load = load();
        let (rows, stages, missed) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, stages, processors, load_before: load, load_after: load, missed }
    }

    /// Judges the figures.
    pub(super) fn end(&mut self) {
        self.load_after = load();
        self.missed =
            self.rows.iter().flat_map(Row::missed).chain(self.stages.iter().filter_map(Stage::missed)).collect();
    }

    /// The targets that were missed, each with its figure.
    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }

    pub(super) fn print(&self) {
        println!(
            "\n{:<51} {:<29} {:<29} consul8s / floor",
            "from just before the write until seen", "floor", "consul8s"
        );
        let times = format!("{:>9} {:>9} {:>9}", "p50", "p99", "max");
        println!("{:<37} {:>7} {:>5} {times} {times} {:>6} {:>6}  target", "", "watched", "n", "p50", "p99");
        for row in &self.rows {
            row.print();
        }
        println!(
            "Times in ms. To reach: p50 at most {P50_TARGET} times the floor's, p99 at most {P99_TARGET} times and \
             {P99_TARGET_MS} ms.\n"
        );
        for stage in &self.stages {
            stage.print();
        }
        println!(
            "Load of the machine ({} processors): {:.1} before, {:.1} after; the bench and its servers are in the second.",
            self.processors, self.load_before, self.load_after
        );
        self.print_missed();
    }

    fn print_missed(&self) {
        if self.missed.is_empty() {
            println!("All targets are met.");
            return;
        }
        println!("{} targets are MISSED:", self.missed.len());
        for missed in &self.missed {
            println!("  {missed}");
        }
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, format!("{text}\n")).with_context(|| format!("writing {}", file.display()))
    }
}

impl Stage {
    fn print(&self) {
        let verdict = if self.missed().is_none() { "met" } else { "MISSED" };
        println!(
            "{0} + {0} watched: {1:.1} MiB resident, {2:.1} at its peak; to reach: {8}, {verdict}. \
             CPU {3:.2} s for {4} changes in {5:.0} s ({6:.2} ms each), {7:.2} s since it was started.",
            self.watched,
            self.usage.resident_mib,
            self.usage.peak_mib,
            self.cpu_seconds,
            self.changes,
            self.seconds,
            self.cpu_seconds * 1e3 / self.changes.max(1) as f64,
            self.usage.cpu_seconds,
            self.target(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_its_ratios() {
        let times = |milliseconds| vec![Duration::from_millis(milliseconds); 10];
        assert!(Row::new(Change::Check, 1, &times(10), &times(15)).missed().is_empty());
        let missed = Row::new(Change::Check, 80, &times(10), &times(20)).missed();
        assert_eq!(missed.len(), 1, "{missed:?}");
        assert!(missed[0].contains("80 watched: p50 is 2.00 times"), "{missed:?}");
        assert_eq!(Row::new(Change::Check, 1, &times(10), &times(30)).missed().len(), 2);
    }
}
