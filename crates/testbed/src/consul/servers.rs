//! Several servers of one datacenter, of which any minority may be lost.

use std::net::{Ipv4Addr, SocketAddr};

use futures::future::try_join_all;

use super::{AgentPorts, Consul, ConsulOptions, Join, Port};
use crate::Result;

impl Consul {
    /// Starts `count` servers of one datacenter, named after `options.node_name`, and waits until each is ready. They elect a leader
    /// among themselves; without more than half of them nothing can be written, and only stale reads are answered.
    ///
    /// # Errors
    /// As [`Consul::start`].
    pub async fn start_servers(options: &ConsulOptions, count: usize) -> Result<Vec<Self>> {
        let mut servers = Self::servers(options, count)?;
        Self::start_all(&mut servers).await?;
        Ok(servers)
    }

    /// The same, not started yet.
    ///
    /// # Errors
    /// As [`Consul::start`].
    pub fn servers(options: &ConsulOptions, count: usize) -> Result<Vec<Self>> {
        let ports = (0..count).map(|_| AgentPorts::take(true, options)).collect::<Result<Vec<_>>>()?;
        let gossip: Vec<String> = ports.iter().map(|ports| ports.serf_lan.address()).collect();
        let prepare = |(number, ports)| {
            let node_name = format!("{}-{}", options.node_name, number + 1);
            let next = |first: Ipv4Addr| Ipv4Addr::from_bits(first.to_bits() + number as u32);
            let wired = options.wired.map(next);
            Self::prepare(ConsulOptions { node_name, wired, ..options.clone() }, ports, Join::Servers(&gossip))
        };
        ports.into_iter().enumerate().map(prepare).collect()
    }

    /// Where the other servers seek this one, and where it listens for them, with [`ConsulOptions::wired`].
    #[must_use]
    pub fn wire(&self) -> Option<(String, SocketAddr)> {
        let (rpc, inside) = (self.ports.rpc.as_ref()?, self.options.wired?);
        Some((rpc.address(), (inside, rpc.number()).into()))
    }

    /// Starts servers of one datacenter together, each as [`Consul::start_again`] does: alone, one of them would wait in vain for a
    /// leader.
    ///
    /// # Errors
    /// As [`Consul::start_again`].
    pub async fn start_all(servers: &mut [Self]) -> Result<()> {
        try_join_all(servers.iter_mut().map(Consul::start_again)).await.map(drop)
    }

    /// Which of these servers leads, as this one says; none where it knows no leader.
    ///
    /// # Errors
    /// As [`Consul::get`].
    pub async fn leader_among(&self, servers: &[Self]) -> Result<Option<usize>> {
        let leader = self.get("/v1/status/leader").await?.json();
        let rpc = |server: &Self| server.ports.rpc.as_ref().map(Port::address);
        Ok(servers.iter().position(|server| rpc(server).is_some_and(|address| leader == address.as_str())))
    }
}
