//! A network namespace of this test's own. In it 127.0.0.1, addresses and kube-proxy's rules are nobody else's, and all of
//! it is gone with the last process inside.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set inside.
const INSIDE: &str = "CONSUL8S_DATAPATH_INSIDE";
/// The address of the one node.
pub(crate) const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 77, 1));
/// The node's network card; backends' addresses are on it, too.
pub(crate) const DEVICE: &str = "v0";
/// Makes the node's network: the default route is what lets connections to a Service's address set out at all. Then runs
/// its arguments. Some systems have the programs' folders only in root's PATH.
const PREPARE: &str = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip link add v0 type veth peer name v1 && \
     ip link set v0 up && ip link set v1 up && ip addr add 192.168.77.1/24 dev v0 && ip route add default dev v0 && \
     nft list ruleset && exec \"$@\"";

/// Where this process is.
pub(crate) enum Place {
    /// In a namespace of its own.
    Inside,
    /// Where it was, since it may not make one, or something is missing; why.
    NotAllowed(String),
}

/// Runs this whole process anew in a namespace of its own, under the same process id. Comes back only inside, or when
/// that isn't possible.
pub(crate) fn enter() -> Place {
    if env::var_os(INSIDE).is_some() {
        return Place::Inside;
    }
    // As root; else as somebody who is root in a user namespace.
    let mut whys = Vec::new();
    for how in ["-n", "-Urn"] {
        match try_out(how) {
            Ok(()) => return Place::NotAllowed(become_inside(how)),
            Err(why) => whys.push(format!("unshare {how}: {why}")),
        }
    }
    Place::NotAllowed(format!(
        "no network namespace with kube-proxy's rules can be made here (needs unshare, ip, nft, and root or user namespaces): {}",
        whys.join("; ")
    ))
}

fn unshare(how: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([how, "--", "/bin/sh", "-c", PREPARE, "sh"]);
    command
}

/// Makes a namespace and lets it go again.
fn try_out(how: &str) -> Result<(), String> {
    let output = unshare(how).arg("true").stdin(Stdio::null()).output().map_err(|why| why.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', ", "))
}

/// Doesn't return, unless it fails.
fn become_inside(how: &str) -> String {
    let myself = match env::current_exe() {
        Ok(path) => path,
        Err(why) => return format!("this program's own path: {why}"),
    };
    format!("unshare {how}: {}", unshare(how).arg(myself).args(env::args_os().skip(1)).env(INSIDE, "1").exec())
}
