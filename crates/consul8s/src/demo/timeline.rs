//! What the audience reads: a column of times, what happened, and below it what consul8s did.

use std::io::{self, IsTerminal, Stdout, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::play::Summary;
use super::stage::Addresses;
use super::story::{Expect, Step, Wanted};
use super::worlds::{Change, Side, Written, changes};

/// Ways to set text off, on a terminal.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Good,
    Bad,
}

/// A timeline that is being written.
pub struct Timeline<W> {
    out: W,
    colour: bool,
    start: Instant,
}

impl Timeline<Stdout> {
    /// On stdout; coloured when that is a terminal and the user has not asked for none.
    #[must_use]
    pub fn on_stdout() -> Timeline<Stdout> {
        let given = |name: &str| std::env::var_os(name).unwrap_or_default();
        let wanted = given("NO_COLOR").is_empty() && given("TERM") != "dumb";
        let out = io::stdout();
        Timeline { colour: wanted && out.is_terminal(), out, start: Instant::now() }
    }
}

impl<W: Write> Timeline<W> {
    /// Without colour.
    pub fn plain(out: W) -> Timeline<W> {
        Timeline { out, colour: false, start: Instant::now() }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Who plays, and where.
    pub fn opening(&mut self, addresses: &Addresses) -> io::Result<()> {
        let Addresses { consul, kube, admin, .. } = addresses;
        let title =
            self.set("consul8s demo: the controller, an embedded Consul and an embedded Kubernetes", Style::Bold);
        writeln!(self.out, "{title}")?;
        writeln!(self.out, "Consul {consul}, Kubernetes {kube}, consul8s {admin}\n")?;
        writeln!(
            self.out,
            "A database and an API run on machines, a web shop runs in Kubernetes. On the left: when something"
        )?;
        writeln!(self.out, "happened, and after how long consul8s had followed it.\n")?;
        self.out.flush()
    }

    /// A step happened.
    pub fn happened(&mut self, step: &Step) -> io::Result<()> {
        let text = self.set(&format!("{}: {}", step.side, step.title), Style::Bold);
        self.row(&self.now(), Style::Dim, &text)
    }

    /// It was followed.
    pub fn followed(&mut self, step: &Step, took: Duration, changes: &[Change]) -> io::Result<()> {
        if let Expect::Kept(time) = step.expect {
            let text = format!("  nothing that consul8s has written changed for {time:?}");
            return self.row("kept", Style::Good, &text);
        }
        let mut left = format!("+{}", span(took));
        if changes.is_empty() {
            return self.row(&left, Style::Good, "  it was so already");
        }
        for change in changes {
            self.row(&left, Style::Good, &format!("  {}", line(change)))?;
            left.clear();
        }
        Ok(())
    }

    /// It was not followed.
    pub fn missed(&mut self, step: &Step, why: &str, before: &Written, after: &Written) -> io::Result<()> {
        let text = self.set(why, Style::Bad);
        self.row("FAILED", Style::Bad, &format!("  {text}"))?;
        match step.expect {
            Expect::Followed(wanted) | Expect::Reached(wanted) => {
                self.entries("wanted", &wanted, wanted.entries)?;
                self.entries("seen", &wanted, &wanted.seen(after))
            }
            Expect::Kept(_) => changes(before, after).iter().try_for_each(|change| self.changed(change)),
        }
    }

    fn entries(&mut self, what: &str, of: &Wanted, entries: &[(&str, &str)]) -> io::Result<()> {
        let entries: Vec<String> = entries.iter().map(|(address, state)| format!("{address} {state}")).collect();
        let entries = if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") };
        let text = self.set(&format!("{what}: {}: {}: {entries}", of.side, of.service), Style::Bad);
        self.row("", Style::Bad, &format!("  {text}"))
    }

    /// Something changed outside the story.
    pub fn changed(&mut self, change: &Change) -> io::Result<()> {
        self.row(&self.now(), Style::Dim, &line(change))
    }

    /// The end of the story.
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        let Summary { steps, missed, times } = summary;
        let mut sorted = times.clone();
        sorted.sort();
        let text = match missed {
            0 => self.set(&format!("{steps} of {steps} steps followed"), Style::Good),
            _ => self.set(&format!("{} of {steps} steps followed, {missed} NOT", steps - missed), Style::Bad),
        };
        write!(self.out, "\n{text}")?;
        if let (Some(median), Some(slowest)) = (sorted.get(sorted.len() / 2), sorted.last()) {
            let (median, slowest) = (span(*median), span(*slowest));
            write!(self.out, "; median {median}, slowest {slowest} (start and outage aside)")?;
        }
        writeln!(self.out, ".")?;
        self.out.flush()
    }

    /// How to look inside, and what to try.
    pub fn guide(&mut self, addresses: &Addresses) -> io::Result<()> {
        let Addresses { consul, kube: _, admin, kubeconfig } = addresses;
        let kubectl = format!("kubectl --kubeconfig {}", kubeconfig.display());
        let looks = [
            format!("{kubectl} get services,endpointslices -A"),
            format!("{kubectl} get service api -o yaml"),
            format!("curl '{consul}/v1/health/service/api?pretty'"),
            format!("curl {admin}/metrics"),
        ];
        let tries = [
            ("an instance fails", format!("curl -X PUT {consul}/v1/agent/check/fail/service:api-6")),
            ("and recovers", format!("curl -X PUT {consul}/v1/agent/check/pass/service:api-6")),
            ("a Kubernetes Service goes to Consul", format!("{kubectl} label service blog consul8s_source=kubernetes")),
            ("look at it there", format!("curl '{consul}/v1/health/service/blog?pretty'")),
            ("and it comes back", format!("{kubectl} label service blog consul8s_source-")),
        ];
        writeln!(self.out, "\nBoth worlds stay up. From another terminal, look inside:\n")?;
        for look in looks {
            writeln!(self.out, "  {look}")?;
        }
        writeln!(self.out, "\nor change something; consul8s follows, and what it does is shown here:\n")?;
        for (why, command) in tries {
            let why = self.set(&format!("# {why}"), Style::Dim);
            writeln!(self.out, "  {why}\n  {command}")?;
        }
        writeln!(self.out, "\nCtrl-C ends it.\n")?;
        self.out.flush()
    }

    fn row(&mut self, left: &str, style: Style, text: &str) -> io::Result<()> {
        // Padded before it is coloured: escape codes have a length too.
        let left = self.set(&format!("{left:>9}"), style);
        writeln!(self.out, "{left}  {text}")?;
        self.out.flush()
    }

    fn now(&self) -> String {
        format!("{:.2} s", self.start.elapsed().as_secs_f64())
    }

    fn set(&self, text: &str, style: Style) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "1;31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn line(change: &Change) -> String {
    let Change { entry, before, after } = change;
    let what = match entry.side {
        Side::Kubernetes => "endpoint",
        Side::Consul => "registration",
    };
    let became = match (before.as_deref(), after.as_deref()) {
        (Some(before), Some(after)) => format!("{before} → {after}"),
        (Some(before), None) => format!("{before} → gone"),
        (None, after) => format!("new: {}", after.unwrap_or_default()),
    };
    format!("→ {}: {what} of {:<8}  {:<15}  {became}", entry.side, entry.service, entry.address)
}

/// A time that was measured, in the unit in which it is read best.
fn span(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        ..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
