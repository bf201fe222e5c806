//! What is measured: the collectives, their buffers and their bandwidths.

use onepath_topology::{Rank, WorldSize};

/// A collective, as the subcommands name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collective {
    /// Everybody gets the reduction of everybody's buffer.
    AllReduce,
    /// Each rank gets its part of the reduction.
    ReduceScatter,
    /// Everybody gets everybody's part.
    AllGather,
    /// Everybody gets the root's buffer.
    Broadcast,
    /// The root gets the reduction.
    Reduce,
    /// Everybody sends a part to everybody.
    AllToAll,
    /// Everybody sends to the next rank and receives from the one before.
    SendReceive,
    /// Nobody goes on before everybody is there.
    Barrier,
}

/// Whether input and output are the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Separate buffers.
    Out,
    /// One buffer.
    In,
}

impl Place {
    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Out => "out-of-place",
            Self::In => "in-place",
        }
    }
}

/// Elements of the buffers of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Of what it contributes.
    pub(crate) input: usize,
    /// Of what it gets.
    pub(crate) output: usize,
}

impl Collective {
    /// Its name: the subcommand's.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "allreduce",
            Self::ReduceScatter => "reducescatter",
            Self::AllGather => "allgather",
            Self::Broadcast => "broadcast",
            Self::Reduce => "reduce",
            Self::AllToAll => "alltoall",
            Self::SendReceive => "sendrecv",
            Self::Barrier => "barrier",
        }
    }

    /// Whether it combines elements.
    pub(crate) const fn reduces(self) -> bool {
        matches!(self, Self::AllReduce | Self::ReduceScatter | Self::Reduce)
    }

    /// Whether it has a root.
    pub(crate) const fn has_root(self) -> bool {
        matches!(self, Self::Broadcast | Self::Reduce)
    }

    /// Whether it can be made in one buffer.
    pub(crate) const fn in_place(self) -> bool {
        !matches!(self, Self::AllToAll | Self::SendReceive | Self::Barrier)
    }

    /// Whether the larger buffer consists of one part for each rank.
    const fn parted(self) -> bool {
        matches!(self, Self::ReduceScatter | Self::AllGather | Self::AllToAll)
    }

    /// Elements of a call (of one part, if the larger buffer has parts) whose larger buffer has
    /// about `bytes` bytes: rounded down to whole parts, but at least one element a part.
    pub(crate) fn count(self, bytes: usize, element_bytes: usize, world: WorldSize) -> usize {
        let elements = bytes / element_bytes;
        match self {
            Self::Barrier => 0,
            _ if self.parted() => (elements / world.get()).max(1),
            _ => elements,
        }
    }

    /// Bytes of the larger buffer of a call of `count` elements: nccl-tests' "size".
    pub(crate) fn size(self, count: usize, element_bytes: usize, world: WorldSize) -> usize {
        count * element_bytes * if self.parted() { world.get() } else { 1 }
    }

    /// Elements of both buffers of a call of `count` elements.
    pub(crate) fn lengths(self, count: usize, world: WorldSize) -> Lengths {
        let all = count * world.get();
        let (input, output) = match self {
            Self::ReduceScatter => (all, count),
            Self::AllGather => (count, all),
            Self::AllToAll => (all, all),
            _ => (count, count),
        };
        Lengths { input, output }
    }

    /// Bus bandwidth / algorithm bandwidth, as nccl-tests' PERFORMANCE.md derives it: what the
    /// busiest link carries for each byte of the result.
    pub(crate) fn bus_factor(self, world: WorldSize) -> f64 {
        let ranks = world.get() as f64;
        match self {
            Self::AllReduce => 2.0 * (ranks - 1.0) / ranks,
            Self::ReduceScatter | Self::AllGather | Self::AllToAll => (ranks - 1.0) / ranks,
            Self::Broadcast | Self::Reduce | Self::SendReceive | Self::Barrier => 1.0,
        }
    }
}

/// The rank after `rank`, in a ring.
pub(crate) fn next(rank: Rank, world: WorldSize) -> Rank {
    Rank::from_index((rank.index() + 1) % world.get())
}

/// The rank before `rank`, in a ring.
pub(crate) fn previous(rank: Rank, world: WorldSize) -> Rank {
    Rank::from_index((rank.index() + world.get() - 1) % world.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(ranks: u64) -> WorldSize {
        WorldSize::new(ranks).expect("a world size of a test")
    }

    #[test]
    fn bus_factors_are_those_of_nccl_tests() {
        for (collective, ranks, factor) in [
            (Collective::AllReduce, 2, 1.0),
            (Collective::AllReduce, 4, 1.5),
            (Collective::AllReduce, 1, 0.0),
            (Collective::ReduceScatter, 4, 0.75),
            (Collective::AllGather, 8, 0.875),
            (Collective::AllToAll, 2, 0.5),
            (Collective::Broadcast, 4, 1.0),
            (Collective::Reduce, 4, 1.0),
            (Collective::SendReceive, 4, 1.0),
        ] {
            let found = collective.bus_factor(world(ranks));
            assert!((found - factor).abs() < 1e-12, "{collective:?} {ranks}: {found}");
        }
    }

    #[test]
    fn counts_are_whole_parts_and_at_least_one_element() {
        assert_eq!(Collective::AllReduce.count(4, 4, world(4)), 1);
        assert_eq!(Collective::AllGather.count(4, 4, world(4)), 1);
        assert_eq!(Collective::AllGather.size(1, 4, world(4)), 16);
        assert_eq!(Collective::ReduceScatter.count(100, 4, world(3)), 8);
        assert_eq!(Collective::ReduceScatter.size(8, 4, world(3)), 96);
        assert_eq!(Collective::Barrier.count(64, 4, world(3)), 0);
    }

    #[test]
    fn neighbours_close_a_ring() {
        assert_eq!(next(Rank::new(2), world(3)), Rank::new(0));
        assert_eq!(previous(Rank::new(0), world(3)), Rank::new(2));
    }
}
