//! What must hold at each write, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consul8s_core::consul::{Answer, CheckStatus, Instance, Read};
use consul8s_core::kube::{ObjectKey, SliceSpec};
use consul8s_sim::model::kube::{Resource, text_at};

use crate::LEASE;
use crate::script::Kind;
use crate::truth::{Thing, Truth};
use crate::view;
use crate::worlds::Worlds;

/// A holder goes on for so long after the start of its last renewal.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between an answer and the write that follows it there may be other writes of the same look, each as slow as a fault makes it.
const IN_FLIGHT: Duration = Duration::from_secs(10);

/// How the writes begin that make Services of imports, to be filled from then on.
pub(crate) const MAKES_A_SERVICE: &str = "create service";

/// A write, as it is told.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// When it was sent, and the endpoints that it says are ready.
    pub(crate) says_ready: Vec<Thing>,
    pub(crate) sent: Duration,
}

impl Write {
    pub(crate) fn new(kind: Kind, sent: Duration, what: String) -> Write {
        Write { kind, what, says_ready: Vec::new(), sent }
    }

    /// A write of a slice.
    pub(crate) fn slice(sent: Duration, what: &str, spec: &SliceSpec) -> Write {
        let service = spec.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default();
        let key = ObjectKey::new(spec.key.namespace.clone(), service);
        let ready = spec.endpoints.iter().filter(|endpoint| endpoint.ready);
        let says_ready = ready.flat_map(|endpoint| {
            let ports = spec.ports.iter().filter_map(|port| port.port);
            ports.map(|port| Thing::Endpoint(key.clone(), format!("{}:{port}", endpoint.address))).collect::<Vec<_>>()
        });
        let shown: Vec<String> = spec
            .endpoints
            .iter()
            .map(|it| format!("{}{}", it.address, if it.ready { "" } else { " not ready" }))
            .collect();
        let what = format!("{what} slice {} [{}]", spec.key, shown.join(", "));
        Write { says_ready: says_ready.collect(), ..Write::new(Kind::Write, sent, what) }
    }
}

/// A write that was carried out, or tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// What a process was told about the health of a Consul service, as far as it was to believe it.
#[derive(Default)]
struct Heard {
    highest: u64,
    doubts: bool,
    /// Since when it has been called critical, without a break, by `ADDRESS:PORT`.
    critical: BTreeMap<String, Duration>,
}

/// Watches a run.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) truth: Truth,
    pub(crate) journal: Vec<Entry>,
    pub(crate) violations: Vec<String>,
    numbers: usize,
    renewed: BTreeMap<String, Duration>,
    heard: BTreeMap<(String, String), Heard>,
}

impl Judge {
    /// The number of the next write.
    pub(crate) fn next_number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers - 1
    }

    /// How many writes there were, Events and conditions apart.
    pub(crate) fn writes(&self) -> usize {
        self.numbers
    }

    pub(crate) fn note(&mut self, at: Duration, text: String) {
        self.journal.push(Entry { at, kind: Kind::Watch, text });
    }

    /// A process learned that it holds the Lease, by a call that it began then.
    pub(crate) fn renewed(&mut self, who: &str, begun: Duration) {
        self.renewed.insert(who.to_owned(), begun);
    }

    /// A process was answered how healthy a service is.
    pub(crate) fn heard(
        &mut self,
        who: &str,
        service: &str,
        read: Read,
        now: Duration,
        answer: &Answer<Vec<Instance>>,
    ) {
        let heard = self.heard.entry((who.to_owned(), service.to_owned())).or_default();
        let backwards = answer.meta.index < heard.highest;
        if answer.meta.leaderless || (backwards && read != Read::Consistent) {
            heard.doubts |= backwards;
            return;
        }
        if backwards && !std::mem::take(&mut heard.doubts) {
            return;
        }
        heard.highest = answer.meta.index;
        let is_critical =
            |instance: &&Instance| instance.checks.iter().any(|check| check.status != CheckStatus::Passing);
        let critical: BTreeSet<String> = answer.body.iter().filter(is_critical).map(place).collect();
        let healthy: BTreeSet<String> = answer.body.iter().filter(|it| !is_critical(it)).map(place).collect();
        heard.critical.retain(|place, _| critical.contains(place) && !healthy.contains(place));
        for place in critical.difference(&healthy) {
            heard.critical.entry(place.clone()).or_insert(now);
        }
    }

    /// A write is about to be carried out.
    pub(crate) fn begin(&mut self, worlds: &Worlds, kind: Kind) -> BTreeSet<Thing> {
        if kind == Kind::Tell {
            // An Event or a condition takes nothing away: the types say so.
            return BTreeSet::new();
        }
        view::things(worlds)
    }

    pub(crate) fn end(
        &mut self,
        worlds: &Worlds,
        who: &str,
        write: &Write,
        late: bool,
        outcome: &str,
        before: &BTreeSet<Thing>,
    ) {
        let now = worlds.elapsed();
        let text = format!("{who} {}{}: {outcome}", if late { "late " } else { "" }, write.what);
        self.journal.push(Entry { at: now, kind: write.kind, text: text.clone() });
        let after = if before.is_empty() { BTreeSet::new() } else { view::things(worlds) };
        for lost in before.difference(&after) {
            if self.truth.must_stand(lost, now) {
                self.violate(now, &format!("took away {lost:?}, which nobody had given a reason for: {text}"));
            }
        }
        if outcome == "ok" && write.what.starts_with(MAKES_A_SERVICE) {
            self.truth.follow(worlds);
        }
        if outcome == "ok" {
            self.check_health(worlds, who, write, now);
        }
        if !late {
            self.check_claim(worlds, who, &text, now);
        }
    }

    fn violate(&mut self, now: Duration, what: &str) {
        self.violations.push(format!("{:.3}s {what}", now.as_secs_f64()));
    }

    /// S1
    fn check_health(&mut self, worlds: &Worlds, who: &str, write: &Write, now: Duration) {
        for thing in &write.says_ready {
            let Thing::Endpoint(service, place) = thing else { continue };
            let name = worlds.kube.read(|cluster| {
                let service = cluster.get(Resource::Services, service).ok()?;
                let name = service["metadata"]["annotations"]["consul8s/service.name"].as_str();
                Some(name.unwrap_or_else(|| text_at(&service, "/metadata/name")).to_owned())
            });
            let Some(heard) = name.and_then(|name| self.heard.get(&(who.to_owned(), name))) else { continue };
            if heard.critical.get(place).is_some_and(|since| *since + IN_FLIGHT < write.sent) {
                self.violate(now, &format!("calls {place} ready, which it has long heard is not: {}", write.what));
            }
        }
    }

    /// S6
    fn check_claim(&mut self, worlds: &Worlds, who: &str, text: &str, now: Duration) {
        let (namespace, name) = LEASE;
        let lease = worlds.kube.read(|cluster| cluster.get(Resource::Leases, &ObjectKey::new(namespace, name)).ok());
        let holder = lease.as_ref().map(|lease| text_at(lease, "/spec/holderIdentity").to_owned()).unwrap_or_default();
        if holder != who {
            self.violate(now, &format!("wrote while {holder:?} holds the Lease: {text}"));
        } else if self.renewed.get(who).is_none_or(|begun| now.saturating_sub(*begun) > RENEW_DEADLINE) {
            self.violate(now, &format!("wrote after its claim had ended: {text}"));
        }
    }

    /// At the end: what is wanted and does not stand is for the comparison with the undisturbed run; what stands and is nobody's is here.
    pub(crate) fn check_strangers(&mut self, worlds: &Worlds, before: &[String]) {
        for (before, after) in before.iter().zip(worlds.strangers().iter().map(Some).chain(std::iter::repeat(None))) {
            if after != Some(before) {
                self.violate(worlds.elapsed(), &format!("a stranger's object was changed from {before} to {after:?}"));
            }
        }
    }
}

fn place(instance: &Instance) -> String {
    format!("{}:{}", instance.address, instance.port)
}
