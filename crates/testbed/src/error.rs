//! Everything that can go wrong here. Each message says what, which server or file, and what to do next.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a server could not be found, started, asked or stopped.
#[derive(thiserror::Error)]
pub enum TestbedError {
    /// The program has not been built for the versions that this checkout pins.
    #[error("{program} is not built: {} is missing; run `cargo xtask testbed build` (needs Go), then try again", path.display())]
    NotBuilt {
        /// File name of the program.
        program: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },

    /// An environment variable promises a program that is not there.
    #[error("{variable} is set, but {} is not a file; correct the variable or unset it", path.display())]
    NotGiven {
        /// `KUBEBUILDER_ASSETS` or `CONSUL_BIN`.
        variable: &'static str,
        /// The file that should be there.
        path: PathBuf,
    },

    /// None of the variables that say where a cache belongs is set.
    #[error("no place for built servers: set CONSUL8S_CACHE, XDG_CACHE_HOME or HOME to a folder that may be written")]
    NoCacheFolder,

    /// The operating system refused something on this machine.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried, on which file or program.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// All ports that may be used are taken.
    #[error("no free port among {} to {} on 127.0.0.1; end what holds them", ports.start(), ports.end())]
    NoFreePort {
        /// The ports that were tried.
        ports: RangeInclusive<u16>,
    },

    /// A server ended by itself.
    #[error("{server} ended by itself ({status})\ncommand: {command}\nend of its log:\n{log}")]
    Exited {
        /// Which server.
        server: String,
        /// How it ended.
        status: ExitStatus,
        /// Its command line.
        command: String,
        /// The last lines that it printed.
        log: String,
    },

    /// A server runs, but did not become what was waited for.
    #[error(
        "{server}: no {wanted} within {seconds} s; last answer: {last}\ncommand: {command}\nend of its log:\n{log}"
    )]
    NotReady {
        /// Which server.
        server: String,
        /// What was waited for.
        wanted: &'static str,
        /// For how long, in seconds.
        seconds: u64,
        /// Why the last look was not good enough.
        last: String,
        /// Its command line.
        command: String,
        /// The last lines that it printed.
        log: String,
    },

    /// A request to a server got no answer, or one that can't be read.
    #[error("{method} {url}: {reason}")]
    Request {
        /// The HTTP method.
        method: &'static str,
        /// Where the request went.
        url: String,
        /// What happened instead.
        reason: String,
    },

    /// `kubectl` failed.
    #[error("kubectl {arguments}: {status}: {stderr}")]
    Kubectl {
        /// Its arguments, separated by spaces.
        arguments: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on its standard error.
        stderr: String,
    },
}

impl TestbedError {
    /// Wraps what the operating system said; `doing` names the deed and its object.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// As [`std::fmt::Display`]: this is what a failed test shows, and a server's log is no use in one escaped line.
impl Debug for TestbedError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}
