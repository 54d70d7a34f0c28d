//! Every metric, in one place. Names are the contract's; no label carries free text or an address.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use consul8s_core::ports::ErrorKind;
use consul8s_core::problem::Reason;
use consul8s_core::settings::Direction;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::process_metrics::ProcessMetrics;

type Float = Gauge<f64, AtomicU64>;

/// Media type of the text that [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => {
        $(
            #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
            struct $name { $($label: &'static str),+ }
        )+
    };
}

labels! {
    ByDirection { direction }
    ByState { direction, state }
    ByReason { reason }
    ByDrop { direction, reason }
    ByReady { ready }
    ByWrite { target, action, result }
    ByChange { direction, action }
    BySource { source }
    ByTransport { transport }
    ByRequest { operation, code }
}

#[derive(Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Milliseconds matter here, so the buckets begin there.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    loop_time: Histogram,
    consul_sourced: Gauge,
    kubernetes_sourced: Gauge,
    propagation: Family<ByDirection, Histogram, Buckets>,
    reconcile: Family<ByDirection, Histogram, Buckets>,
    writes: Family<ByWrite, Counter>,
    pending: Family<ByChange, Gauge>,
    held: Family<ByDirection, Gauge>,
    services: Family<ByState, Gauge>,
    out_of_scope: Gauge,
    problems: Family<ByReason, Gauge>,
    dropped: Family<ByDrop, Gauge>,
    endpoints: Family<ByReady, Gauge>,
    last_success: Family<ByDirection, Float>,
    staleness: Family<BySource, Float>,
    watches: Family<ByTransport, Gauge>,
    watch_delay_bound: Float,
    consul_requests: Family<ByRequest, Counter>,
    queue_depth: Gauge,
    leader: Gauge,
    lease_transitions: Counter,
}

/// One accepted or refused write, for `consul8s_writes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// `slice`, `service` or `registration`.
    pub target: &'static str,
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// `ok`, or the kind of the error.
    pub result: &'static str,
}

/// What the gauges show, counted afresh from the state for every scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Services by direction and state.
    pub services: Vec<(Direction, &'static str, u64)>,
    /// Services that bear a label of ours outside our scope.
    pub out_of_scope: u64,
    /// Problems by reason.
    pub problems: Vec<(Reason, u64)>,
    /// Instances left out, by direction and reason.
    pub dropped: Vec<(Direction, &'static str, u64)>,
    /// Published endpoints: ready, not ready.
    pub endpoints: (u64, u64),
    /// Removals that the guard holds.
    pub held: Vec<(Direction, u64)>,
    /// Changes planned and not written.
    pub pending: Vec<(Direction, &'static str, u64)>,
    /// Services labelled for each direction.
    pub sourced: (u64, u64),
    /// Seconds since the last good answer of Consul and of Kubernetes.
    pub staleness: (f64, f64),
    /// Running watches of Consul services.
    pub watches: u64,
    /// How they travel: `http1` or `http2`; empty before there are any.
    pub transport: &'static str,
    /// Seconds that taking turns may add to the time until a change is seen.
    pub watch_delay_bound: f64,
    /// Depth of the queue.
    pub queue_depth: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let seconds = || Family::<ByDirection, Histogram, Buckets>::new_with_constructor(Buckets(SECONDS));
        let mut m = Metrics {
            registry: Registry::default(),
            loop_time: Histogram::new(SECONDS.iter().copied()),
            consul_sourced: Gauge::default(),
            kubernetes_sourced: Gauge::default(),
            propagation: seconds(),
            reconcile: seconds(),
            writes: Family::default(),
            pending: Family::default(),
            held: Family::default(),
            services: Family::default(),
            out_of_scope: Gauge::default(),
            problems: Family::default(),
            dropped: Family::default(),
            endpoints: Family::default(),
            last_success: Family::default(),
            staleness: Family::default(),
            watches: Family::default(),
            watch_delay_bound: Float::default(),
            consul_requests: Family::default(),
            queue_depth: Gauge::default(),
            leader: Gauge::default(),
            lease_transitions: Counter::default(),
        };
        let r = &mut m.registry;
        r.register("loop_time_seconds", "Time that a full audit of all Services took", m.loop_time.clone());
        r.register("number_of_consul_sourced_services", "Services filled from Consul", m.consul_sourced.clone());
        r.register(
            "number_of_kubernetes_sourced_services",
            "Services registered in Consul",
            m.kubernetes_sourced.clone(),
        );
        r.register_collector(Box::new(ProcessMetrics));
        let r = r.sub_registry_with_prefix("consul8s");
        r.register(
            "propagation_seconds",
            "From the answer or event that brought a change to its write accepted",
            m.propagation.clone(),
        );
        r.register("reconcile_duration_seconds", "Time that one look at a Service took", m.reconcile.clone());
        r.register("writes", "Writes of slices, Services and registrations", m.writes.clone());
        r.register("pending_changes", "Changes planned and not written", m.pending.clone());
        r.register("removals_held", "Endpoints and registrations kept by the guard", m.held.clone());
        r.register("services", "Services by direction and state", m.services.clone());
        r.register(
            "services_out_of_scope",
            "Services outside the scope that bear a label of ours, where they may be listed",
            m.out_of_scope.clone(),
        );
        r.register("problems", "Problems by reason", m.problems.clone());
        r.register("instances_dropped", "Instances and addresses left out, by reason", m.dropped.clone());
        r.register("endpoints", "Endpoints published, by readiness", m.endpoints.clone());
        r.register(
            "last_sync_success_timestamp_seconds",
            "When a Service was last found or brought in sync",
            m.last_success.clone(),
        );
        r.register(
            "staleness_seconds",
            "Time since the last good answer, 0 while answers come as expected",
            m.staleness.clone(),
        );
        r.register("consul_watches", "Consul services watched by blocking queries", m.watches.clone());
        r.register(
            "watch_delay_bound_seconds",
            "What taking turns on few connections may add to the time until a change in Consul is seen",
            m.watch_delay_bound.clone(),
        );
        r.register("consul_requests", "Requests that Consul answered, or did not", m.consul_requests.clone());
        r.register("queue_depth", "Services that are due or being looked at", m.queue_depth.clone());
        r.register("leader", "1 while this replica may write", m.leader.clone());
        r.register(
            "lease_transitions",
            "How often this replica began or ceased to be the one that may write",
            m.lease_transitions.clone(),
        );
        r.register("build", "The program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        m
    }

    /// A full audit took this long.
    pub fn audit_took(&self, time: Duration) {
        self.loop_time.observe(time.as_secs_f64());
    }

    /// A change was written this long after it was seen.
    pub fn propagated(&self, direction: Direction, time: Duration) {
        self.propagation.get_or_create(&ByDirection { direction: direction.as_str() }).observe(time.as_secs_f64());
    }

    /// One look at a Service took this long.
    pub fn reconciled(&self, direction: Direction, time: Duration) {
        self.reconcile.get_or_create(&ByDirection { direction: direction.as_str() }).observe(time.as_secs_f64());
    }

    /// A Service was found or brought in sync at `unix_seconds`.
    pub fn succeeded(&self, direction: Direction, unix_seconds: f64) {
        self.last_success.get_or_create(&ByDirection { direction: direction.as_str() }).set(unix_seconds);
    }

    /// A write was answered. One that was not sent, because the claim was over, is none.
    pub fn wrote(&self, write: Write) {
        let Write { target, action, result } = write;
        if result == ErrorKind::NotLeading.as_str() {
            return;
        }
        self.writes.get_or_create(&ByWrite { target, action, result }).inc();
    }

    /// A request to Consul ended: `ok`, or the kind of the error.
    pub fn asked_consul(&self, operation: &'static str, code: &'static str) {
        self.consul_requests.get_or_create(&ByRequest { operation, code }).inc();
    }

    /// This replica has begun or ceased to lead.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.lease_transitions.inc();
    }

    /// The text for a scrape, with the gauges as `now` has them.
    #[must_use]
    pub fn encode(&self, now: &Snapshot) -> String {
        self.show(now);
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            // Writing into a String cannot fail; should it ever, the scrape must show it.
            let _ = writeln!(text, "# encoding failed: {error}");
        }
        text
    }

    fn show(&self, now: &Snapshot) {
        // What is no longer there must not go on being shown, so each family begins anew.
        self.services.clear();
        self.problems.clear();
        self.dropped.clear();
        self.pending.clear();
        let int = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for (direction, state, n) in &now.services {
            self.services.get_or_create(&ByState { direction: direction.as_str(), state }).set(int(*n));
        }
        for (reason, n) in &now.problems {
            self.problems.get_or_create(&ByReason { reason: reason.as_str() }).set(int(*n));
        }
        for (direction, reason, n) in &now.dropped {
            self.dropped.get_or_create(&ByDrop { direction: direction.as_str(), reason }).set(int(*n));
        }
        for (direction, action, n) in &now.pending {
            self.pending.get_or_create(&ByChange { direction: direction.as_str(), action }).set(int(*n));
        }
        for (direction, n) in &now.held {
            self.held.get_or_create(&ByDirection { direction: direction.as_str() }).set(int(*n));
        }
        self.endpoints.get_or_create(&ByReady { ready: "true" }).set(int(now.endpoints.0));
        self.endpoints.get_or_create(&ByReady { ready: "false" }).set(int(now.endpoints.1));
        self.consul_sourced.set(int(now.sourced.0));
        self.kubernetes_sourced.set(int(now.sourced.1));
        self.staleness.get_or_create(&BySource { source: "consul" }).set(now.staleness.0);
        self.staleness.get_or_create(&BySource { source: "kubernetes" }).set(now.staleness.1);
        for transport in ["http1", "http2"] {
            let watches = if transport == now.transport { now.watches } else { 0 };
            self.watches.get_or_create(&ByTransport { transport }).set(int(watches));
        }
        self.watch_delay_bound.set(now.watch_delay_bound);
        self.queue_depth.set(int(now.queue_depth));
        self.out_of_scope.set(int(now.out_of_scope));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_names_and_ours_are_served() {
        let metrics = Metrics::new();
        metrics.audit_took(Duration::from_millis(5));
        metrics.wrote(Write { target: "slice", action: "create", result: "ok" });
        metrics.propagated(Direction::ToKube, Duration::from_millis(3));
        let text = metrics.encode(&Snapshot { sourced: (2, 3), ..Snapshot::default() });
        for line in [
            "loop_time_seconds_count 1",
            "number_of_consul_sourced_services 2",
            "number_of_kubernetes_sourced_services 3",
            "consul8s_writes_total{target=\"slice\",action=\"create\",result=\"ok\"} 1",
            "consul8s_propagation_seconds_count{direction=\"to_kube\"} 1",
            "consul8s_build_info{version=",
            "consul8s_lease_transitions_total 0",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn what_went_is_no_longer_shown() {
        let metrics = Metrics::new();
        let before = Snapshot { problems: vec![(Reason::NoAddress, 1)], ..Snapshot::default() };
        assert!(metrics.encode(&before).contains("reason=\"NoAddress\""));
        assert!(!metrics.encode(&Snapshot::default()).contains("NoAddress"));
    }
}
