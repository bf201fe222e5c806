//! Kinds of networks, and the NICs that reach them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Bandwidth, Nanos};

/// Bits of 10^9 a second, as data sheets give rates.
pub const fn gigabits(count: f64) -> Bandwidth {
    Bandwidth(count * 1e9 / 8.0)
}

/// What carries bytes between nodes. The order is that of preference: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// RDMA over InfiniBand.
    InfiniBand,
    /// RDMA over converged Ethernet.
    Roce,
    /// Sockets over Ethernet.
    Ethernet,
}

impl NetworkKind {
    /// All kinds, the best first.
    pub const ALL: [Self; 3] = [Self::InfiniBand, Self::Roce, Self::Ethernet];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InfiniBand => "infiniband",
            Self::Roce => "roce",
            Self::Ethernet => "ethernet",
        }
    }

    /// The latency between two nodes of a cluster when the inventory does not say: 2, 4 and 30
    /// microseconds, the usual magnitudes of a small message with one or two switches between.
    pub const fn usual_latency(self) -> Nanos {
        Nanos::micros(match self {
            Self::InfiniBand => 2,
            Self::Roce => 4,
            Self::Ethernet => 30,
        })
    }
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no kind of network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no kind of network: infiniband, roce or ethernet would be right")]
pub struct NetworkKindError(pub String);

impl FromStr for NetworkKind {
    type Err = NetworkKindError;

    fn from_str(text: &str) -> Result<Self, NetworkKindError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| NetworkKindError(super::shown(text)))
    }
}

/// A NIC, or a port of one, of each node of a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nic {
    /// Its name in the inventory, unique in its node.
    pub name: String,
    /// What it reaches.
    pub kind: NetworkKind,
    /// Its rate in one direction.
    pub rate: Bandwidth,
    /// The RDMA device, as in `mlx5_0`; every InfiniBand or RoCE NIC has one.
    pub hca: Option<String>,
    /// The network interface, as in `eth0`; every Ethernet NIC has one.
    pub interface: Option<String>,
    /// The index of the GID that RoCE connections use.
    pub gid_index: Option<u8>,
}

/// What a group of nodes can use between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Network {
    /// The kind.
    pub kind: NetworkKind,
    /// What one node can send at once, over all its NICs of the kind.
    pub rate: Bandwidth,
    /// How long a small message takes.
    pub latency: Nanos,
    /// What all nodes together can send at once, where a shared line limits them.
    pub total: Option<Bandwidth>,
}

impl Network {
    /// What each of `nodes` nodes gets when they all send at once.
    pub fn rate_of_each(&self, nodes: usize) -> Bandwidth {
        let share = self.total.map_or(f64::INFINITY, |total| total.0 / nodes.max(1) as f64);
        Bandwidth(self.rate.0.min(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_from_their_names() {
        for kind in NetworkKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("token-ring".parse::<NetworkKind>().is_err());
    }

    #[test]
    fn a_shared_line_is_divided_among_its_nodes() {
        let mut network = Network {
            kind: NetworkKind::Ethernet,
            rate: gigabits(25.0),
            latency: Nanos::micros(30),
            total: None,
        };
        assert_eq!(network.rate_of_each(8), gigabits(25.0));
        network.total = Some(gigabits(100.0));
        assert_eq!(network.rate_of_each(8), gigabits(12.5));
    }
}
