//! Percentiles.

use std::time::Duration;

use serde::Serialize;

/// What is told of many measured times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// How many there are.
    pub(crate) samples: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Summary {
    /// The summary of `times`; all zero when there are none.
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |percent| milliseconds(percentile(&sorted, percent));
        Self { samples: sorted.len(), p50_ms: at(50), p90_ms: at(90), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The smallest time that is not exceeded by `percent` of them (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    // Microseconds are finer than anything here is exact.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&times);
        assert_eq!(summary, Summary { samples: 200, p50_ms: 100.0, p90_ms: 180.0, p99_ms: 198.0, max_ms: 200.0 });
        let one = Summary::of(&[Duration::from_micros(1500)]);
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (1.5, 1.5, 1.5));
        assert_eq!(Summary::of(&[]).p99_ms, 0.0);
    }
}
