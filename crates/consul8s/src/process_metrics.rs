//! The process metrics that every Prometheus client shows, read from `/proc` at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Shows them under the names of Prometheus' own conventions.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Elsewhere than on Linux there is nothing to read, and nothing is shown.
        let Some(stat) = Stat::read() else { return Ok(()) };
        let cpu = ConstCounter::new(stat.cpu_seconds);
        let at = encoder.encode_descriptor("process_cpu_seconds", "CPU time used", None, cpu.metric_type())?;
        cpu.encode(at)?;
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use", stat.resident_bytes),
            ("process_virtual_memory_bytes", "Address space in use", stat.virtual_bytes),
            ("process_threads", "Threads", stat.threads),
            ("process_open_fds", "Open file descriptors", open_files().unwrap_or(0.0)),
            ("process_max_fds", "File descriptors that may be open", max_files()),
            ("process_start_time_seconds", "When the process began, since 1970", stat.started),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

struct Stat {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    started: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
        Stat::parse(&stat, boot)
    }

    /// Fields as proc(5) numbers them, less the three up to the state: the name before them may hold spaces.
    fn parse(stat: &str, boot: f64) -> Option<Stat> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started: boot + field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as f64,
        })
    }
}

fn open_files() -> Option<f64> {
    // One of them is for this look.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_files() -> f64 {
    getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_proc() {
        let line = "7 (a b) c) S 1 7 7 0 -1 0 10 0 0 0 150 50 0 0 20 0 5 0 1000 4096000 300 0";
        let stat = Stat::parse(line, 1_000_000.0).unwrap();
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!((stat.cpu_seconds, stat.threads, stat.virtual_bytes), (200.0 / ticks, 5.0, 4_096_000.0));
        assert_eq!(stat.started, 1_000_000.0 + 1000.0 / ticks);
        assert_eq!(stat.resident_bytes, 300.0 * page_size() as f64);
    }
}
