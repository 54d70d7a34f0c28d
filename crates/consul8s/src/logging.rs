//! The log: text for people or a JSON object a line, on stderr.

mod writer;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LogLevel};

pub use writer::Rest;

/// Starts logging; what is left to write when the program ends is written by what this gives. A second call in one process (tests)
/// changes nothing.
#[must_use]
pub fn start(level: LogLevel, format: LogFormat) -> Rest {
    let ours = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries speak up only when something is wrong, unless everything is wanted.
    let others = if level == LogLevel::Trace { "debug" } else { "error" };
    let filter = EnvFilter::new(format!(
        "{others},consul8s={ours},consul8s_core={ours},consul8s_consul={ours},consul8s_kube={ours}"
    ));
    let (log, rest) = writer::start(std::io::stderr());
    // Its own complaints would go to stderr, past all this.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).log_internal_errors(false);
    let builder = builder.with_writer(log);
    // The only failure is that a logger is running already, which is what was wanted.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    rest
}
