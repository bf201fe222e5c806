//! The network of a group.
//!
//! A group whose nodes share InfiniBand uses it, RoCE likewise, as Holmes does; a mixed group falls
//! back to the best network that all have. Over several clusters it is the link between that
//! counts, whatever is inside.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::cluster::{ClusterId, Inventory, Network, NetworkKind, NodeId, Pool};
use crate::{Bandwidth, Nanos};

/// What carries the bytes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// Links between the GPUs of one node.
    Node,
    /// A network.
    Network(NetworkKind),
}

/// As one word, so that it fits beside other fields.
impl Serialize for Carrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.pad("node"),
            Self::Network(kind) => kind.fmt(f),
        }
    }
}

/// Why a link is the slowest of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Reason {
    /// All members are on one node.
    OneNode,
    /// All links are alike.
    Alike,
    /// This node has the slowest NICs of the kind.
    Nics {
        /// Its name.
        host: String,
    },
    /// The way between two clusters.
    Link {
        /// One.
        from: String,
        /// The other.
        to: String,
        /// Whether a line that all nodes share limits it.
        shared: bool,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneNode => f.write_str("inside of one node"),
            Self::Alike => f.write_str("all nodes alike"),
            Self::Nics { host } => write!(f, "the NICs of {host} are the slowest"),
            Self::Link { from, to, shared: false } => write!(f, "the link {from} - {to}"),
            Self::Link { from, to, shared: true } => {
                write!(f, "the link {from} - {to}, which all nodes share")
            }
        }
    }
}

/// The network of a group and its slowest link.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// What carries its bytes.
    pub carrier: Carrier,
    /// What one node (or, on one node, one GPU) can send at once over the slowest link.
    pub rate: Bandwidth,
    /// Of a small message over the slowest link.
    pub latency: Nanos,
    /// The ends of the slowest link; one node when all members are on it.
    pub slowest: (NodeId, NodeId),
    /// Why it is the slowest.
    pub reason: Reason,
    /// The best kind that a member has and the group cannot use.
    pub fallback_from: Option<NetworkKind>,
}

/// A group without a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No node at all.
    #[error("a group without members has no network")]
    Empty,
    /// No kind that all nodes have.
    #[error(
        "'{a}' and '{b}' have no network in common: NICs of one kind on both would be right, as \
         Ethernet"
    )]
    Nothing {
        /// A node.
        a: String,
        /// Another.
        b: String,
    },
    /// A cluster whose nodes have no NIC for the link.
    #[error(
        "'{host}' has no {kind} NIC for the link from '{from}' to '{to}': a NIC of this kind would \
         be right"
    )]
    NoNic {
        /// A node.
        host: String,
        /// What it lacks.
        kind: NetworkKind,
        /// One cluster.
        from: String,
        /// The other.
        to: String,
    },
}

/// The network between these nodes, which are sorted and different.
pub fn select(inventory: &Inventory, nodes: &[NodeId]) -> Result<Selection, SelectError> {
    let (&first, &last) = nodes.first().zip(nodes.last()).ok_or(SelectError::Empty)?;
    let pools = pools_of(inventory, nodes);
    if first == last {
        let pool = pools[0].0;
        return Ok(Selection {
            carrier: Carrier::Node,
            rate: pool.between_gpus(),
            latency: Nanos(0),
            slowest: (first, first),
            reason: Reason::OneNode,
            fallback_from: None,
        });
    }
    let mut selection = if pools[0].0.cluster() == pools[pools.len() - 1].0.cluster() {
        inside(inventory, &pools, (first, last))?
    } else {
        between(inventory, &pools, nodes)?
    };
    let Carrier::Network(kind) = selection.carrier else { return Ok(selection) };
    let best = pools.iter().map(|(pool, _)| pool.inside().kind).min();
    selection.fallback_from = best.filter(|&best| best < kind);
    Ok(selection)
}

/// The pools of some sorted nodes, each with the first of them.
fn pools_of<'a>(inventory: &'a Inventory, nodes: &[NodeId]) -> Vec<(&'a Pool, NodeId)> {
    let mut pools: Vec<(&Pool, NodeId)> = Vec::new();
    for &node in nodes {
        if pools.last().is_none_or(|(pool, _)| node.0 >= pool.first_node().0 + pool.nodes() as u32)
        {
            pools.push((inventory.pool_of(node), node));
        }
    }
    pools
}

/// The network inside of one cluster.
fn inside(
    inventory: &Inventory,
    pools: &[(&Pool, NodeId)],
    ends: (NodeId, NodeId),
) -> Result<Selection, SelectError> {
    let all = |kind| -> Option<Vec<Network>> {
        pools.iter().map(|(pool, _)| pool.network(kind)).collect()
    };
    let Some((kind, networks)) =
        NetworkKind::ALL.into_iter().find_map(|kind| Some((kind, all(kind)?)))
    else {
        let host = |node| inventory.host(node).to_owned();
        let lacking = pools.iter().find(|(pool, _)| pool.rate(NetworkKind::Ethernet).is_none());
        let lacking = lacking.map_or(ends.1, |(_, node)| *node);
        let other = if lacking == ends.0 { ends.1 } else { ends.0 };
        return Err(SelectError::Nothing { a: host(lacking), b: host(other) });
    };
    let slowest =
        (0..pools.len()).reduce(|a, b| if networks[b].rate.0 < networks[a].rate.0 { b } else { a });
    let slowest = slowest.unwrap_or(0);
    let rate = networks[slowest].rate;
    let latency = networks.iter().map(|network| network.latency).max();
    let alike = networks.iter().all(|network| network.rate.0 <= rate.0);
    let node = pools[slowest].1;
    let other = if node == ends.0 { ends.1 } else { ends.0 };
    Ok(Selection {
        carrier: Carrier::Network(kind),
        rate,
        latency: latency.unwrap_or_default(),
        slowest: (node.min(other), node.max(other)),
        reason: if alike {
            Reason::Alike
        } else {
            Reason::Nics { host: inventory.host(node).to_owned() }
        },
        fallback_from: None,
    })
}

/// The network over several clusters: the worst kind and the slowest of the ways between them.
fn between(
    inventory: &Inventory,
    pools: &[(&Pool, NodeId)],
    nodes: &[NodeId],
) -> Result<Selection, SelectError> {
    let mut clusters: Vec<(ClusterId, NodeId)> = Vec::new();
    for (pool, node) in pools {
        if clusters.last().is_none_or(|(known, _)| *known != pool.cluster()) {
            clusters.push((pool.cluster(), *node));
        }
    }
    let mut worst: Option<(Network, usize, usize)> = None;
    let (mut kind, mut latency) = (NetworkKind::InfiniBand, Nanos(0));
    for a in 0..clusters.len() {
        for b in a + 1..clusters.len() {
            let way = way(inventory, clusters[a], clusters[b])?;
            kind = kind.max(way.kind);
            latency = latency.max(way.latency);
            let rate = |way: &Network| way.rate_of_each(nodes.len()).0;
            if worst.is_none_or(|(slowest, _, _)| rate(&way) < rate(&slowest)) {
                worst = Some((way, a, b));
            }
        }
    }
    let (way, a, b) = worst.ok_or(SelectError::Empty)?;
    let rate = way.rate_of_each(nodes.len());
    let name = |index: usize| inventory.cluster(clusters[index].0).name().to_owned();
    let nics = |(pool, node): &(&Pool, NodeId)| Some((pool.rate(kind)?, *node));
    let slow_nic = pools.iter().filter_map(nics).reduce(|a, b| if b.0.0 < a.0.0 { b } else { a });
    let limited = slow_nic.filter(|(nics, _)| nics.0 < rate.0);
    Ok(Selection {
        carrier: Carrier::Network(kind),
        rate: limited.map_or(rate, |(rate, _)| rate),
        latency,
        slowest: (clusters[a].1, clusters[b].1),
        reason: match limited {
            Some((_, node)) => Reason::Nics { host: inventory.host(node).to_owned() },
            None => Reason::Link { from: name(a), to: name(b), shared: rate.0 < way.rate.0 },
        },
        fallback_from: None,
    })
}

/// The way between two clusters, each with a node of the group.
fn way(
    inventory: &Inventory,
    a: (ClusterId, NodeId),
    b: (ClusterId, NodeId),
) -> Result<Network, SelectError> {
    inventory.between(a.0, b.0).ok_or_else(|| {
        let kind = inventory.route(a.0, b.0).map_or(NetworkKind::Ethernet, |route| route.kind);
        let lacks =
            |id: ClusterId| inventory.cluster(id).pools().iter().find(|p| p.rate(kind).is_none());
        let pool = lacks(a.0).or_else(|| lacks(b.0));
        let name = |id: ClusterId| inventory.cluster(id).name().to_owned();
        let host = pool.map_or_else(String::new, |pool| pool.hosts()[0].clone());
        SelectError::NoNic { host, kind, from: name(a.0), to: name(b.0) }
    })
}
