//! The log: text for people or a JSON object a line, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LogLevel};

/// Starts logging. A second call in one process (tests) changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    // The only failure is that a logger is running already, which is what was wanted.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
