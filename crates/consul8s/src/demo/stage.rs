//! What the demo needs of this machine: three ports and a folder. Nothing else is touched, and nothing stays.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};
use consul8s_sim::{Server, serve_consul, serve_kube};
use tokio::net::TcpListener;

use super::worlds::Worlds;
use crate::cli::Cli;
use crate::config::Options;

/// Ports that are easy to remember, taken when they are free: the usual ones, 20000 higher.
const CONSUL: u16 = 28500;
const KUBE: u16 = 26443;
const ADMIN: u16 = 28080;

/// The servers in front of the worlds, and the folder. Dropped, they are gone.
#[derive(Debug)]
pub struct Stage {
    /// Where everything is.
    pub addresses: Addresses,
    servers: [Server; 2],
    _folder: Folder,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// URL of the embedded Consul.
    pub consul: String,
    /// URL of the embedded Kubernetes API.
    pub kube: String,
    /// URL of the controller's own listener.
    pub admin: String,
    /// A kubeconfig that names the embedded Kubernetes API alone.
    pub kubeconfig: PathBuf,
}

impl Stage {
    /// Puts servers in front of the worlds, on this machine's loopback address alone.
    ///
    /// # Errors
    /// No port or no folder is to be had.
    pub async fn build(worlds: &Worlds) -> Result<Stage> {
        let consul = listen(CONSUL).await?;
        // Who has the first port has the others: two demos that start together would else take them from each other.
        let first = consul.local_addr()?.port() == CONSUL;
        let kube = listen(if first { KUBE } else { 0 }).await?;
        // The controller opens this one itself; it is only looked for here.
        let admin = listen(if first { ADMIN } else { 0 }).await?.local_addr()?;
        let (consul, kube) = (serve_consul(worlds.consul.clone(), consul)?, serve_kube(worlds.kube.clone(), kube)?);
        let folder = Folder::create()?;
        let kubeconfig = folder.0.join("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_of(&kube.url()))
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let addresses =
            Addresses { consul: consul.url(), kube: kube.url(), admin: format!("http://{admin}"), kubeconfig };
        Ok(Stage { addresses, servers: [consul, kube], _folder: folder })
    }

    /// Removes the folder. The servers end with the runtime: if they went first, polls that are still open would be cut and the log
    /// would complain.
    pub fn leave(self) {
        self.servers.into_iter().for_each(std::mem::forget);
    }

    /// The options of a `run` in these worlds, by way of the command line. The user's own Consul and Kubernetes are out of reach: no
    /// environment variable is read.
    ///
    /// # Errors
    /// The flags below are not those of `run` any more.
    pub fn options(&self) -> Result<Options> {
        let Addresses { consul, kube: _, admin, kubeconfig } = &self.addresses;
        let admin = admin.strip_prefix("http://").unwrap_or(admin);
        let kubeconfig = kubeconfig.to_str().context("the temporary folder's name is not UTF-8")?;
        let flags = ["consul8s", "--all-namespaces", "-k", kubeconfig, "--consul", consul, "--admin-address", admin];
        let command = Cli::command().mut_args(|arg| arg.env(Resettable::Reset));
        let cli = Cli::from_arg_matches(&command.try_get_matches_from(flags)?)?;
        Options::resolve(&cli.flags, &|_| None)
    }
}

/// The preferred port of the loopback address, or any when it is taken.
async fn listen(preferred: u16) -> Result<TcpListener> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(at(preferred)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(at(0)).await.context("cannot listen on 127.0.0.1"),
    }
}

fn kubeconfig_of(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: consul8s-demo\n\
         clusters:\n- name: consul8s-demo\n  cluster: {{server: \"{server}\"}}\n\
         contexts:\n- name: consul8s-demo\n  context: {{cluster: consul8s-demo, user: consul8s-demo, namespace: default}}\n\
         users:\n- name: consul8s-demo\n  user: {{}}\n"
    )
}

/// A folder of ours. Dropped, it is removed with all that is in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("consul8s-demo-{:08x}", rand::random::<u32>()));
        // It fails when there is something of this name, so what is removed in the end is ours.
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "the demo's folder stays behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_ports_are_no_obstacle_and_nothing_stays_behind() {
        let worlds = Worlds::default();
        let (one, two) = (Stage::build(&worlds).await.unwrap(), Stage::build(&worlds).await.unwrap());
        assert_ne!(one.addresses.consul, two.addresses.consul);
        assert_ne!(one.addresses.kube, two.addresses.kube);
        assert_ne!(one.addresses.admin, two.addresses.admin);
        let folder = one.addresses.kubeconfig.parent().unwrap().to_owned();
        assert!(folder.exists());
        drop(one);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn the_options_name_the_embedded_worlds_alone() {
        let stage = Stage::build(&Worlds::default()).await.unwrap();
        let options = stage.options().unwrap();
        assert_eq!(options.access.kubeconfig.as_ref(), Some(&stage.addresses.kubeconfig));
        let consul: Vec<String> = options.consul.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(consul.join(","), stage.addresses.consul);
        let connection = options.access.connect().await.unwrap();
        assert_eq!(connection.server, stage.addresses.kube);
    }
}
