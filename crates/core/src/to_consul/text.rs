//! The plan as text: what tests compare, `consul8s plan` prints, and debug logs show.

use std::fmt;

use crate::problem::clean;

use super::{Fate, HeldBecause, Need, RegistrationPlan, Stays};

impl fmt::Display for RegistrationPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegistrationPlan {
            changes,
            decisions,
            problems,
            held,
            released,
            needs,
            look_again: _,
            loss: _,
            blocked,
            elsewhere: _,
            empty_original,
        } = self;
        if let Some(problem) = blocked {
            writeln!(f, "blocked, {problem}")?;
        }
        for change in changes {
            writeln!(f, "{change}")?;
        }
        if let Some(node) = empty_original {
            writeln!(f, "{node}")?;
        }
        if let Some(held) = held {
            writeln!(f, "hold {} {}: {}", held.hold.id, held.why, held.registrations.join(", "))?;
        }
        if let Some(released) = released {
            writeln!(f, "released {}", released.id)?;
        }
        for need in needs {
            writeln!(f, "{need}")?;
        }
        for problem in problems {
            writeln!(f, "{problem}")?;
        }
        for decision in decisions {
            writeln!(f, "· {}: {}", decision.what, decision.fate)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Registered { status, output } => write!(f, "registered, {status}: {output}"),
            Fate::LeftOut(why) => write!(f, "left out: {}", why.as_str()),
            Fate::Taken => f.write_str("not registered: the ID is taken"),
            Fate::Stays(why) => write!(f, "stays: {why}"),
            Fate::Goes(evidence) => write!(f, "goes: {evidence}"),
            Fate::Held(id) => write!(f, "held: {id}"),
        }
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stays::Suspended => "suspended",
            Stays::Frozen => "frozen, only its check follows",
            Stays::OnDelete => "on_delete: keep",
            Stays::NoSlices => "its Service has no EndpointSlice at all, which proves nothing",
            Stays::Unconfirmed => "its Service is missing, to be confirmed",
            Stays::Policy => "--policy upsert-only removes nothing",
            Stays::NewIdTaken => "the ID it is to get is taken",
        })
    }
}

impl fmt::Display for HeldBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeldBecause::Mass => "(too much went within a minute)",
            HeldBecause::OldList => "(missing from a list older than what was registered)",
        })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::ReadService { key, at } => write!(f, "need a read of Service {key} at {at}"),
            Need::ReadOriginal { node, at } => write!(f, "need a read of Consul node {} at {at}", clean(node, 300)),
        }
    }
}
