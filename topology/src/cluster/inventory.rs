//! All clusters and the links between them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Cluster, ClusterId, MAX_CLUSTERS, MAX_GPUS_PER_NODE, MAX_NICS, MAX_NODES, Network, NetworkKind,
    NodeId, Pool,
};
use crate::{Bandwidth, Nanos};

/// What connects two clusters, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Its ends, the smaller first.
    pub ends: (ClusterId, ClusterId),
    /// What it carries: rate of one node, latency, and what all nodes share.
    pub network: Network,
}

/// Clusters, their nodes, and the links between.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inventory {
    clusters: Vec<Cluster>,
    links: Vec<Link>,
    /// The route between each two clusters, by index; none between a cluster and itself.
    #[serde(skip)]
    routes: Vec<Vec<Option<Network>>>,
    /// First node of each pool, with the indices of its cluster and of itself there.
    #[serde(skip)]
    starts: Vec<(NodeId, usize, usize)>,
}

/// Clusters that make no inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// A number out of its range.
    #[error("{place}: {count} {what}: from 1 to {most} would be right")]
    Count {
        /// Where.
        place: String,
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// The name of a cluster or host that is used before.
    #[error("{what} '{name}' is named twice: each has a name of its own")]
    Twice {
        /// A cluster or a host.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two clusters without a way between.
    #[error(
        "clusters '{0}' and '{1}' have no link between, and no way over others: add a [[link]]"
    )]
    Apart(String, String),
}

impl Inventory {
    /// An inventory of these clusters and links; pools and nodes are numbered in their order.
    pub fn new(mut clusters: Vec<Cluster>, links: Vec<Link>) -> Result<Self, InventoryError> {
        within("the inventory", clusters.len(), "clusters", MAX_CLUSTERS)?;
        let mut next = 0;
        for (index, cluster) in clusters.iter_mut().enumerate() {
            within(&cluster.name, cluster.pools.len(), "pools", MAX_NODES)?;
            for pool in &mut cluster.pools {
                let gpus = pool.gpu.per_node as usize;
                within(&cluster.name, pool.nodes(), "nodes", MAX_NODES)?;
                within(&cluster.name, gpus, "GPUs a node", MAX_GPUS_PER_NODE as usize)?;
                within(&cluster.name, pool.nics.len(), "NICs", MAX_NICS)?;
                pool.cluster = ClusterId(index as u32);
                pool.first = NodeId(next as u32);
                next += pool.nodes();
            }
        }
        within("the inventory", next, "nodes", MAX_NODES)?;
        distinct("cluster", clusters.iter().map(Cluster::name))?;
        let pools = clusters.iter().flat_map(Cluster::pools);
        distinct("host", pools.flat_map(Pool::hosts).map(String::as_str))?;
        let routes = widest_routes(clusters.len(), &links);
        for (a, row) in routes.iter().enumerate() {
            if let Some(b) = (0..row.len()).find(|&b| b != a && row[b].is_none()) {
                let name = |index: usize| clusters[index].name.clone();
                return Err(InventoryError::Apart(name(a), name(b)));
            }
        }
        let mut starts = Vec::new();
        for (at, cluster) in clusters.iter().enumerate() {
            let pools = cluster.pools.iter().enumerate();
            starts.extend(pools.map(|(index, pool)| (pool.first, at, index)));
        }
        Ok(Self { clusters, links, routes, starts })
    }

    /// Its clusters.
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// A cluster by its number.
    pub fn cluster(&self, id: ClusterId) -> &Cluster {
        &self.clusters[id.index()]
    }

    /// Its links, as they were given.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The pools of all clusters, in order; nodes are numbered along them.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.clusters.iter().flat_map(Cluster::pools)
    }

    /// The pool of a node.
    pub fn pool_of(&self, node: NodeId) -> &Pool {
        let after = self.starts.partition_point(|(first, _, _)| *first <= node);
        let (_, cluster, pool) = self.starts[after - 1];
        &self.clusters[cluster].pools[pool]
    }

    /// The name of a node.
    pub fn host(&self, node: NodeId) -> &str {
        let pool = self.pool_of(node);
        &pool.hosts[(node.0 - pool.first.0) as usize]
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.clusters.iter().map(Cluster::nodes).sum()
    }

    /// The number of GPUs.
    pub fn gpus(&self) -> usize {
        self.clusters.iter().map(Cluster::gpus).sum()
    }

    /// The network between two clusters: the link, or the widest way over several, at most as fast
    /// as the NICs of the slowest node at its ends. None for a cluster and itself, and where a
    /// cluster's nodes have no NIC of the link's kind.
    pub fn between(&self, a: ClusterId, b: ClusterId) -> Option<Network> {
        let mut network = self.route(a, b)?;
        for pool in [a, b].into_iter().flat_map(|id| self.cluster(id).pools()) {
            network.rate = slower(network.rate, pool.rate(network.kind)?);
        }
        Some(network)
    }

    /// The way between two clusters as links give it, whatever NICs there are at its ends.
    pub fn route(&self, a: ClusterId, b: ClusterId) -> Option<Network> {
        self.routes[a.index()][b.index()]
    }
}

fn within(
    place: &str,
    count: usize,
    what: &'static str,
    most: usize,
) -> Result<(), InventoryError> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(InventoryError::Count { place: place.to_owned(), count, what, most })
}

fn distinct<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), InventoryError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(InventoryError::Twice { what, name: super::shown(name) });
        }
    }
    Ok(())
}

const fn slower(a: Bandwidth, b: Bandwidth) -> Bandwidth {
    if a.0 < b.0 { a } else { b }
}

/// The widest way between each two clusters, the shorter of equally wide ones (Floyd and Warshall
/// with minimum for the length of a way). A way is of the worst kind on it.
fn widest_routes(clusters: usize, links: &[Link]) -> Vec<Vec<Option<Network>>> {
    let mut best: Vec<Vec<Option<Network>>> = vec![vec![None; clusters]; clusters];
    for link in links {
        let (a, b) = (link.ends.0.index(), link.ends.1.index());
        for (from, to) in [(a, b), (b, a)] {
            best[from][to] = better(best[from][to], Some(link.network));
        }
    }
    for over in 0..clusters {
        for from in (0..clusters).filter(|&from| from != over) {
            let Some(first) = best[from][over] else { continue };
            for to in (0..clusters).filter(|&to| to != over && to != from) {
                let way = best[over][to].map(|second| joined(first, second));
                best[from][to] = better(best[from][to], way);
            }
        }
    }
    best
}

fn joined(a: Network, b: Network) -> Network {
    let narrower = |a: Bandwidth, b: Bandwidth| Bandwidth(a.0.min(b.0));
    Network {
        kind: a.kind.max(b.kind),
        rate: slower(a.rate, b.rate),
        latency: Nanos(a.latency.0.saturating_add(b.latency.0)),
        total: match (a.total, b.total) {
            (Some(a), Some(b)) => Some(narrower(a, b)),
            (a, b) => a.or(b),
        },
    }
}

/// The wider of two ways; of equally wide ones that with less latency, then the better kind.
fn better(a: Option<Network>, b: Option<Network>) -> Option<Network> {
    let (Some(x), Some(y)) = (a, b) else { return a.or(b) };
    let key = |network: &Network| {
        let total = network.total.map_or(f64::INFINITY, |total| total.0);
        (network.rate.0, total)
    };
    let rank = |network: &Network| -> (Nanos, NetworkKind) { (network.latency, network.kind) };
    match key(&x).partial_cmp(&key(&y)) {
        Some(std::cmp::Ordering::Less) => b,
        Some(std::cmp::Ordering::Equal) if rank(&y) < rank(&x) => b,
        _ => a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wider_way_wins_then_the_shorter() {
        let network = |rate: f64, micros: u64| Network {
            kind: NetworkKind::Ethernet,
            rate: Bandwidth(rate),
            latency: Nanos::micros(micros),
            total: None,
        };
        let link = |a, b, network| Link { ends: (ClusterId(a), ClusterId(b)), network };
        let links =
            [link(0, 1, network(1.0, 1)), link(1, 2, network(9.0, 2)), link(0, 2, network(4.0, 3))];
        let routes = widest_routes(3, &links);
        assert_eq!(routes[0][1], Some(network(4.0, 5)));
        assert_eq!(routes[1][0], Some(network(4.0, 5)));
        assert_eq!(routes[0][2], Some(network(4.0, 3)));
    }
}
