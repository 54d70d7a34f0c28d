//! Running cargo from inside a program that cargo runs.

use std::env;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Variables with these beginnings describe this program to itself. Handed on to another cargo they would look like a
/// change to build scripts that watch them (ring's does), which then compile anew on every turn.
const OWN_VARIABLES: &[&str] = &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The cargo that runs us, in the workspace's folder, without an input.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    clean(&mut command);
    command
}

/// Lets `command` run as if it had been started in a shell in the workspace's folder.
pub(crate) fn clean(command: &mut Command) {
    command.current_dir(workspace()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let own = name.to_str().is_some_and(|name| OWN_VARIABLES.iter().any(|own| name.starts_with(own)));
        if own {
            command.env_remove(name);
        }
    }
}
