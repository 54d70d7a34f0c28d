//! The program `nft`, which kube-proxy calls in the tests of the data path. It belongs to the system, so it comes from the
//! system's packages. Without it those tests say that they are not run; nothing else needs it.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Debian's and Ubuntu's.
const APT_GET: &str = "/usr/bin/apt-get";
/// The package, on these and on most others.
const PACKAGE: &str = "nftables";

/// Installs it where it is missing and may be installed; elsewhere says what to do.
pub(super) async fn ensure() {
    if is_there().await {
        return;
    }
    if Path::new(APT_GET).is_file() && is_root().await {
        eprintln!("testbed: nft is not installed; installing the package {PACKAGE} with apt-get");
        // A list of packages that is old, or not there yet, is the usual reason for a first attempt to fail.
        if install().await || (apt_get(&["update"]).await && install().await) {
            return;
        }
    }
    eprintln!(
        "testbed: nft is not installed, and without it the tests of the data path are not run; install the package \
         {PACKAGE} (Debian and Ubuntu: sudo apt-get install {PACKAGE})"
    );
}

async fn install() -> bool {
    apt_get(&["install", PACKAGE]).await
}

async fn is_there() -> bool {
    // Some systems have these folders only in root's PATH.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "PATH=$PATH:/usr/sbin:/sbin nft --version"]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().await.is_ok_and(|status| status.success())
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await;
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether it succeeded; it prints on standard error, since standard output is what a chore answers.
async fn apt_get(arguments: &[&str]) -> bool {
    let mut apt = Command::new(APT_GET);
    apt.args(["--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60"]).args(arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(std::io::stderr());
    apt.status().await.is_ok_and(|status| status.success())
}
