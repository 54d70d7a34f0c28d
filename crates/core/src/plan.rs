//! The plan as text: what tests compare, what `consul8s plan` prints, what the debug log shows. Equal plans print alike.

use std::fmt::{self, Write};

use crate::guard::{Held, Judged, Need};
use crate::kube::{Endpoint, SliceSpec};
use crate::packing::{Gone, Removed, SliceChange};
use crate::problem::clean;

/// What a Service's plan is: the fate of each instance, what goes and why, what is kept and why, problems, and the writes.
#[must_use]
pub fn text(judged: &Judged, changes: &[SliceChange]) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = write(&mut out, judged, changes);
    out
}

fn write(out: &mut String, judged: &Judged, changes: &[SliceChange]) -> fmt::Result {
    let plan = &judged.plan;
    writeln!(out, "{}", plan.service)?;
    if plan.idle {
        writeln!(out, "  the source has not answered yet: nothing is planned")?;
    }
    for decision in &plan.decisions {
        writeln!(out, "  {decision}")?;
    }
    for (id, evidence) in &judged.removed {
        writeln!(out, "  remove {id}: {evidence}")?;
    }
    for id in &judged.awaiting {
        writeln!(out, "  confirm {id}: missing")?;
    }
    for held in &judged.held {
        writeln!(out, "  {held}")?;
    }
    for (id, count) in &judged.released {
        writeln!(out, "  released {id}: {count} endpoints")?;
    }
    for problem in &judged.problems {
        writeln!(out, "  {problem}")?;
    }
    changes.iter().try_for_each(|change| writeln!(out, "{change}"))
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.until.map_or_else(|| "shown again or released".to_owned(), |until| until.rfc3339());
        write!(f, "hold {} ({}) until {until}:", self.id, self.kind.letter())?;
        self.endpoints.iter().try_for_each(|id| write!(f, " [{id}]"))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::ServiceRead { query, not_before } => write!(f, "read service {query} not before {not_before}"),
            Need::NodeRead { node, datacenter, not_before } => {
                write!(f, "read node {}", clean(node, 80))?;
                datacenter.iter().try_for_each(|dc| write!(f, " dc={dc:?}"))?;
                write!(f, " not before {not_before}")
            }
        }
    }
}

impl fmt::Display for SliceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slice {}", self.action(), self.key())?;
        match self {
            SliceChange::Create(spec) => spec_text(f, spec),
            SliceChange::Update { spec, removed, .. } => {
                spec_text(f, spec)?;
                removed_text(f, removed)
            }
            SliceChange::Delete { evidence: Gone::Because(evidence), .. } => write!(f, ": {evidence}"),
            SliceChange::Delete { evidence: Gone::Emptied(removed), .. } => {
                f.write_str(": empty")?;
                removed_text(f, removed)
            }
        }
    }
}

fn removed_text(f: &mut fmt::Formatter<'_>, removed: &[Removed]) -> fmt::Result {
    removed.iter().try_for_each(|removed| write!(f, "\n  - {removed}"))
}

/// Ports, endpoints by condition, and the annotation that keeps holds. Labels and owner are left out: they follow from the Service.
fn spec_text(f: &mut fmt::Formatter<'_>, spec: &SliceSpec) -> fmt::Result {
    write!(f, " {}", spec.family)?;
    for port in &spec.ports {
        let number = port.port.unwrap_or_default();
        write!(f, " {}={number}/{}", port.name, port.protocol)?;
        port.app_protocol.iter().try_for_each(|app| write!(f, " ({app})"))?;
    }
    if let Some(kept) = spec.annotations.get(crate::names::SLICE_ABSENT_SINCE) {
        write!(f, "\n  kept: {kept}")?;
    }
    if spec.endpoints.is_empty() {
        f.write_str("\n  no endpoint")?;
    }
    spec.endpoints.iter().try_for_each(|endpoint| write!(f, "\n  {}", endpoint_text(endpoint)))
}

fn endpoint_text(endpoint: &Endpoint) -> String {
    let state = match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, true, false) => "ready",
        (false, false, false) => "not ready",
        (false, true, true) => "draining",
        (true, false, false) => "not serving, published as ready",
        (true, true, true) => "draining, published as ready",
        _ => "in a state of its own",
    };
    let mut text = format!("{} {state}", endpoint.address);
    if let Some(zone) = &endpoint.zone {
        text += &format!(" zone={zone}");
    }
    if !endpoint.hint_zones.is_empty() {
        text += &format!(" hints={}", endpoint.hint_zones.join(","));
    }
    text
}
