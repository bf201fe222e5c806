//! Pools as the search sees them.

use super::SearchError;
use crate::cluster::{ClusterId, Inventory, Network};
use crate::pipeline::model::Device;
use crate::pipeline::partition::{Collective, Hop};
use crate::units::{Bandwidth, Nanos};

/// Between GPUs of one node: 5 us a message, a kernel's launch at either end.
const NODE_LATENCY: Nanos = Nanos::micros(5);

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its nodes.
    pub nodes: u32,
    /// GPUs of each.
    pub gpus_per_node: u32,
    /// One GPU.
    pub device: Device,
    /// Between its nodes.
    pub inside: Network,
}

impl Site {
    /// How many stages of `gpus` GPUs have room.
    pub(super) const fn slots(&self, gpus: u32) -> u32 {
        if gpus <= self.gpus_per_node {
            return self.nodes * (self.gpus_per_node / gpus);
        }
        self.nodes / gpus.div_ceil(self.gpus_per_node)
    }

    /// Nodes of a stage of `gpus` GPUs.
    const fn nodes_of(&self, gpus: u32) -> u32 {
        gpus.div_ceil(self.gpus_per_node)
    }

    /// What one GPU gets when all GPUs of a stage send over this network.
    fn share(&self, network: Network, gpus: u32) -> Hop {
        let sending = gpus.min(self.gpus_per_node);
        let rate = network.rate_of_each(self.nodes_of(gpus) as usize).0 / f64::from(sending);
        Hop { latency: network.latency, bandwidth: Bandwidth(rate) }
    }

    /// From a stage of `gpus` GPUs to the next in the same pool.
    pub(super) fn hop(&self, gpus: u32) -> Hop {
        if gpus * 2 <= self.gpus_per_node {
            return Hop { latency: NODE_LATENCY, bandwidth: self.device.node_link };
        }
        self.share(self.inside, gpus)
    }

    /// The ring of one of `tensor` ranks over `data` replicas.
    pub(super) fn ring(&self, tensor: u32, data: u32) -> Collective {
        let on_node = (self.gpus_per_node / tensor).max(1);
        let hop = if data <= on_node {
            Hop { latency: NODE_LATENCY, bandwidth: self.device.node_link }
        } else {
            let nodes = self.nodes_of(tensor * data) as usize;
            let rate = self.inside.rate_of_each(nodes).0 / f64::from(tensor);
            let rate = rate.min(self.device.node_link.0);
            Hop { latency: self.inside.latency, bandwidth: Bandwidth(rate) }
        };
        Collective { members: data, hop }
    }
}

/// All pools, and the networks between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sites {
    sites: Vec<Site>,
    /// By pool and pool; between pools of one cluster the cluster's own network.
    between: Vec<Vec<Option<Network>>>,
}

impl Sites {
    /// From an inventory; every pool must say what its GPUs compute.
    pub fn new(inventory: &Inventory) -> Result<Self, SearchError> {
        let mut sites = Vec::new();
        for pool in inventory.pools() {
            let gpu = pool.gpu();
            let tflops = gpu.tflops.filter(|tflops| tflops.is_finite() && *tflops > 0.0);
            let tflops = tflops.ok_or_else(|| SearchError::Speed(gpu.kind.clone()))?;
            sites.push(Site {
                cluster: pool.cluster(),
                nodes: pool.nodes() as u32,
                gpus_per_node: gpu.per_node,
                device: Device {
                    flop_per_s: tflops * 1e12,
                    memory: gpu.memory,
                    node_link: pool.between_gpus(),
                },
                inside: pool.inside(),
            });
        }
        let network = |a: &Site, b: &Site| {
            if a.cluster == b.cluster {
                inventory.cluster(a.cluster).inside()
            } else {
                inventory.between(a.cluster, b.cluster)
            }
        };
        let between = sites.iter().map(|a| sites.iter().map(|b| network(a, b)).collect()).collect();
        Ok(Self { sites, between })
    }

    /// The pools, in the inventory's order.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All GPUs.
    pub fn gpus(&self) -> u64 {
        let gpus = |site: &Site| u64::from(site.nodes) * u64::from(site.gpus_per_node);
        self.sites.iter().map(gpus).sum()
    }

    /// From a stage of `gpus` GPUs in pool `a` to one in pool `b`, if there is a way.
    pub(super) fn hop(&self, a: usize, b: usize, gpus: u32) -> Option<Hop> {
        if a == b {
            return Some(self.sites[a].hop(gpus));
        }
        let network = self.between[a][b]?;
        let ends = [a, b].map(|site| self.sites[site].share(network, gpus));
        Some(if ends[0].bandwidth.0 <= ends[1].bandwidth.0 { ends[0] } else { ends[1] })
    }
}
