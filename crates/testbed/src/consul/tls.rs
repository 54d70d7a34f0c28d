//! Certificates for Consul's HTTPS interface, made by Consul itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Result, TestbedError};

/// What Consul calls the certificate of the authority that it makes.
const AUTHORITY: &str = "consul-agent-ca.pem";

/// The certificate to trust, in a server's folder.
pub(super) fn ca_file(folder: &Path) -> PathBuf {
    folder.join(AUTHORITY)
}

/// Makes an authority, and a certificate for a server of `datacenter` on 127.0.0.1, in `folder`.
pub(super) fn create(consul: &Path, folder: &Path, datacenter: &str) -> Result<()> {
    run(consul, folder, &["tls", "ca", "create"])?;
    run(consul, folder, &["tls", "cert", "create", "-server", "-dc", datacenter])
}

/// Takes away what [`create`] made.
pub(super) fn remove(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(TestbedError::io("reading the folder of certificates"))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "pem") {
            std::fs::remove_file(&path).map_err(TestbedError::io(format!("deleting {}", path.display())))?;
        }
    }
    Ok(())
}

/// Makes a certificate for a client; gives it and its key.
pub(super) fn client(consul: &Path, folder: &Path, datacenter: &str) -> Result<(PathBuf, PathBuf)> {
    let file = |number: usize, suffix: &str| folder.join(format!("{datacenter}-client-consul-{number}{suffix}.pem"));
    let number = (0..).find(|number| !file(*number, "").exists()).unwrap_or_default();
    run(consul, folder, &["tls", "cert", "create", "-client", "-dc", datacenter])?;
    Ok((file(number, ""), file(number, "-key")))
}

/// The part of the agent's configuration that uses them. Clients need a certificate only if they are `verified`.
pub(super) fn config(folder: &Path, datacenter: &str, verified: bool) -> Value {
    let file = |suffix: &str| folder.join(format!("{datacenter}-server-consul-0{suffix}.pem"));
    json!({ "https": { "cert_file": file(""), "key_file": file("-key"), "ca_file": ca_file(folder), "verify_incoming": verified } })
}

fn run(consul: &Path, folder: &Path, arguments: &[&str]) -> Result<()> {
    let name = || format!("consul {}", arguments.join(" "));
    let output = Command::new(consul).args(arguments).current_dir(folder).output();
    let output = output.map_err(TestbedError::io(name()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(TestbedError::io(name())(std::io::Error::other(format!("{}: {said}", output.status))))
}
