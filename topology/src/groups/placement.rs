//! On which GPU each rank is.
//!
//! Holmes (arXiv 2312.03549, section 3): physical ranks are sorted by cluster and numbered with the
//! pipeline outermost, so that a cluster holds contiguous ranks and thereby whole stages.

use serde::Serialize;

use crate::Rank;
use crate::cluster::{ClusterId, Inventory, NodeId};
use crate::rank::{WorldSize, WorldSizeError};

/// One GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Seat {
    /// The node.
    pub node: NodeId,
    /// The GPU on it, from 0.
    pub gpu: u32,
}

/// The GPU of each rank, and how they are spread over nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    seats: Vec<Seat>,
    world: WorldSize,
}

/// Ranks that fit on no GPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// More GPUs of a pool than it has.
    #[error("pool {pool} has {has} GPUs, {wanted} are wanted: at most {has} would be right")]
    Full {
        /// The pool, by its number in the inventory.
        pool: usize,
        /// Its GPUs.
        has: usize,
        /// Those that are wanted, all in all.
        wanted: usize,
    },
    /// A pool that there is not.
    #[error("pool {pool} is not in the inventory, which has {pools}")]
    Unknown {
        /// The number.
        pool: usize,
        /// How many there are.
        pools: usize,
    },
    /// Ranks of one node that are not neighbours, so that no launcher can start them.
    #[error(
        "node '{host}' has ranks {first} and {second}, with ranks of others between: ranks of a \
         node must be neighbours"
    )]
    Scattered {
        /// The node.
        host: String,
        /// Its last rank before the gap.
        first: Rank,
        /// Its first after.
        second: Rank,
    },
    /// No ranks, or too many.
    #[error(transparent)]
    World(#[from] WorldSizeError),
}

impl Placement {
    /// All GPUs of the inventory, its clusters in this order.
    pub fn of_clusters(
        inventory: &Inventory,
        clusters: &[ClusterId],
    ) -> Result<Self, PlacementError> {
        let mut runs = Vec::new();
        for &cluster in clusters {
            let pools = inventory.pools().enumerate();
            let own = pools.filter(|(_, pool)| pool.cluster() == cluster);
            runs.extend(own.map(|(index, pool)| (index, pool.gpus())));
        }
        Self::along(inventory, &runs)
    }

    /// Ranks along runs of GPUs: so many of a pool, then so many of another. A pool that comes
    /// again goes on where it was left, on a new node if the run does not fit on the one that is
    /// begun.
    pub fn along(inventory: &Inventory, runs: &[(usize, usize)]) -> Result<Self, PlacementError> {
        let pools: Vec<_> = inventory.pools().collect();
        let mut used = vec![0; pools.len()];
        let mut seats = Vec::new();
        for &(index, count) in runs {
            let Some(pool) = pools.get(index) else {
                return Err(PlacementError::Unknown { pool: index, pools: pools.len() });
            };
            let (node, gpus) = (pool.first_node().0, pool.gpu().per_node as usize);
            let begun = used[index] % gpus;
            let fits = begun == 0 || count <= gpus - begun;
            let first = if fits { used[index] } else { used[index] + gpus - begun };
            let wanted = first + count;
            if wanted > pool.gpus() {
                return Err(PlacementError::Full { pool: index, has: pool.gpus(), wanted });
            }
            seats.extend((first..wanted).map(|gpu| Seat {
                node: NodeId(node + (gpu / gpus) as u32),
                gpu: (gpu % gpus) as u32,
            }));
            used[index] = wanted;
        }
        Self::of_seats(inventory, seats)
    }

    /// The rank i on the i-th seat; each seat is one GPU of the inventory, taken once.
    fn of_seats(inventory: &Inventory, seats: Vec<Seat>) -> Result<Self, PlacementError> {
        let world = WorldSize::new(seats.len() as u64)?;
        let mut last: Vec<Option<usize>> = vec![None; inventory.nodes()];
        for (rank, seat) in seats.iter().enumerate() {
            let before = last[seat.node.index()].replace(rank);
            if let Some(first) = before.filter(|&first| first + 1 != rank) {
                return Err(PlacementError::Scattered {
                    host: inventory.host(seat.node).to_owned(),
                    first: Rank::from_index(first),
                    second: Rank::from_index(rank),
                });
            }
        }
        Ok(Self { seats, world })
    }

    /// How many ranks there are.
    pub const fn world(&self) -> WorldSize {
        self.world
    }

    /// The GPU of a rank.
    pub fn seat(&self, rank: Rank) -> Seat {
        self.seats[rank.index()]
    }

    /// Nodes in order of their ranks, each with its first rank and how many it has.
    pub fn nodes(&self) -> Vec<(NodeId, Rank, u32)> {
        let mut nodes: Vec<(NodeId, Rank, u32)> = Vec::new();
        for (rank, seat) in self.seats.iter().enumerate() {
            match nodes.last_mut().filter(|(node, _, _)| *node == seat.node) {
                Some((_, _, count)) => *count += 1,
                None => nodes.push((seat.node, Rank::from_index(rank), 1)),
            }
        }
        nodes
    }

    /// The different nodes of some ranks, in order of the inventory.
    pub fn nodes_of(&self, ranks: &[Rank]) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = ranks.iter().map(|&rank| self.seat(rank).node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}
