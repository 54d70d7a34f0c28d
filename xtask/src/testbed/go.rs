//! Is there a Go that can build the servers? Go's own messages about that send people to the wrong places.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use consul8s_testbed::binaries::{BUILD_ENVIRONMENT, Program};
use tokio::process::Command;

/// Major, minor, patch.
type Version = [u32; 3];

/// An error that says what to install, unless Go is new enough for the modules of all `programs`.
pub(super) async fn check(programs: &[Program]) -> Result<()> {
    for program in programs {
        let source = program.module.source();
        let needed = needed(&source)?;
        // Asked inside the module, a Go that may fetch a newer one (GOTOOLCHAIN) does so, and answers for that one.
        let found = version_in(&source, &[]).await;
        if found.is_some_and(|found| found >= needed) {
            continue;
        }
        let local = version_in(Path::new("/"), &[("GOTOOLCHAIN", "local")]).await;
        bail!(too_old(local, needed));
    }
    Ok(())
}

fn too_old(found: Option<Version>, needed: Version) -> String {
    let found = match found {
        None => "no working `go` was found in PATH".to_owned(),
        Some(found) => format!("the `go` in PATH is {}", dotted(found)),
    };
    format!(
        "the servers are built with Go {} or newer, and {found}. Install Go from https://go.dev/doc/install (Debian's \
         and Ubuntu's own packages are often older), see that its bin folder comes first in PATH, and run this again. \
         Or use programs that you have: set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, \
         kube-controller-manager, kube-proxy and kubectl, and CONSUL_BIN to consul",
        dotted(needed)
    )
}

/// The module's `go` line.
fn needed(source: &Path) -> Result<Version> {
    let path = source.join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .find_map(|line| parse(line.strip_prefix("go ")?))
        .with_context(|| format!("{} has no line `go VERSION`", path.display()))
}

async fn version_in(folder: &Path, environment: &[(&str, &str)]) -> Option<Version> {
    let mut go = Command::new("go");
    go.args(["env", "GOVERSION"]).current_dir(folder);
    go.envs(BUILD_ENVIRONMENT.iter().chain(environment).copied());
    let output = go.output().await.ok().filter(|output| output.status.success())?;
    parse(std::str::from_utf8(&output.stdout).ok()?)
}

/// Reads `go1.26.8`, `1.26`, `go1.27rc1` and `devel go1.27-abcdef`.
fn parse(text: &str) -> Option<Version> {
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let end = text[start..].find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let digits = &text[start..end.map_or(text.len(), |end| start + end)];
    let mut numbers = digits.split('.').map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

fn dotted([major, minor, patch]: Version) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        for (text, version) in [
            ("go1.26.8\n", Some([1, 26, 8])),
            ("1.26", Some([1, 26, 0])),
            ("go1.27rc1", Some([1, 27, 0])),
            ("devel go1.27-abcdef 2026-01-01", Some([1, 27, 0])),
            ("go", None),
            ("", None),
            ("7", None),
        ] {
            assert_eq!(parse(text), version, "{text:?}");
        }
        assert!(parse("go1.9.7") < parse("go1.26"));
    }

    #[test]
    fn the_message_says_what_was_found_and_what_is_needed() {
        let old = too_old(Some([1, 19, 8]), [1, 26, 0]);
        assert!(old.contains("Go 1.26.0 or newer") && old.contains("is 1.19.8"), "{old}");
        assert!(too_old(None, [1, 26, 0]).contains("no working `go`"));
    }
}
