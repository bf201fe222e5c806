//! Nodes of one kind, and the clusters that they make.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Network, NetworkKind, Nic};
use crate::{Bandwidth, Bytes, Nanos};

/// The number of a cluster in its inventory, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u32);

impl ClusterId {
    /// Its index in [`Inventory::clusters`](super::Inventory::clusters).
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a node in its inventory, from 0, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Its index in a table with one entry a node.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The GPUs of a node, all alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gpu {
    /// The kind, as in `A100`; profiles and speeds are found by it.
    pub kind: String,
    /// How many a node has.
    pub per_node: u32,
    /// The memory of each.
    pub memory: Bytes,
    /// What one computes of a model when it waits for no network, in 10^12 operations a second,
    /// if the inventory says so.
    pub tflops: Option<f64>,
    /// What one sends to another of the same node.
    pub rate: Bandwidth,
}

/// Nodes of one cluster with the same GPUs and NICs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    pub(super) cluster: ClusterId,
    pub(super) first: NodeId,
    pub(super) hosts: Vec<String>,
    pub(super) gpu: Gpu,
    pub(super) nics: Vec<Nic>,
    pub(super) latency: Option<Nanos>,
}

impl Pool {
    /// A pool of these hosts; the inventory that it goes into numbers it. `latency` is that between
    /// two of its nodes, by default the usual one of the network.
    pub const fn new(hosts: Vec<String>, gpu: Gpu, nics: Vec<Nic>, latency: Option<Nanos>) -> Self {
        Self { cluster: ClusterId(0), first: NodeId(0), hosts, gpu, nics, latency }
    }

    /// The cluster it belongs to.
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its number of nodes.
    pub const fn nodes(&self) -> usize {
        self.hosts.len()
    }

    /// Names of its nodes, in order.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Its nodes, in order.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (self.first.0..self.first.0 + self.hosts.len() as u32).map(NodeId)
    }

    /// The first of its nodes.
    pub const fn first_node(&self) -> NodeId {
        self.first
    }

    /// The GPUs of each node.
    pub const fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The NICs of each node.
    pub fn nics(&self) -> &[Nic] {
        &self.nics
    }

    /// All its GPUs.
    pub const fn gpus(&self) -> usize {
        self.hosts.len() * self.gpu.per_node as usize
    }

    /// The NICs through which a node of this pool reaches a network of this kind. Sockets go over
    /// Ethernet NICs; only without any over the interfaces of RoCE NICs.
    pub fn nics_for(&self, kind: NetworkKind) -> Vec<&Nic> {
        let of = |kind| self.nics.iter().filter(move |nic| nic.kind == kind);
        let nics: Vec<&Nic> = of(kind).collect();
        if nics.is_empty() && kind == NetworkKind::Ethernet {
            return of(NetworkKind::Roce).filter(|nic| nic.interface.is_some()).collect();
        }
        nics
    }

    /// What one node of this pool can send at once over networks of this kind, if it has any.
    pub fn rate(&self, kind: NetworkKind) -> Option<Bandwidth> {
        let nics = self.nics_for(kind);
        (!nics.is_empty()).then(|| Bandwidth(nics.iter().map(|nic| nic.rate.0).sum()))
    }

    /// The best network between the nodes of this pool: every node of an inventory has a NIC.
    pub fn inside(&self) -> Network {
        let known = NetworkKind::ALL.into_iter().find_map(|kind| self.network(kind));
        known.expect("an inventory refuses a pool without a NIC")
    }

    /// The network of this kind between the nodes of this pool, if they have it.
    pub fn network(&self, kind: NetworkKind) -> Option<Network> {
        let latency = self.latency.unwrap_or(kind.usual_latency());
        self.rate(kind).map(|rate| Network { kind, rate, latency, total: None })
    }

    /// What one GPU sends to another of the same node.
    pub const fn between_gpus(&self) -> Bandwidth {
        self.gpu.rate
    }
}

/// Nodes that share a fabric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    pub(super) name: String,
    pub(super) pools: Vec<Pool>,
}

impl Cluster {
    /// A cluster of these pools.
    pub const fn new(name: String, pools: Vec<Pool>) -> Self {
        Self { name, pools }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pools, in the order of the file.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Its number of nodes.
    pub fn nodes(&self) -> usize {
        self.pools.iter().map(Pool::nodes).sum()
    }

    /// All its GPUs.
    pub fn gpus(&self) -> usize {
        self.pools.iter().map(Pool::gpus).sum()
    }

    /// The best network that all its nodes have, at the rate of the slowest; none when there is
    /// no such kind.
    pub fn inside(&self) -> Option<Network> {
        NetworkKind::ALL.into_iter().find_map(|kind| common(&self.pools, kind))
    }
}

/// The network of this kind between the nodes of some pools of one cluster, if all have it.
fn common(pools: &[Pool], kind: NetworkKind) -> Option<Network> {
    let mut all = pools.iter().map(|pool| pool.network(kind));
    let first = all.next()??;
    all.try_fold(first, |worst, network| {
        let network = network?;
        Some(Network {
            rate: Bandwidth(worst.rate.0.min(network.rate.0)),
            latency: worst.latency.max(network.latency),
            ..worst
        })
    })
}
