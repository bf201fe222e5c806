//! Which algorithm runs, and in what chunks.

use onepath_topology::{Bytes, WorldSize};

use crate::algorithm::cost::Model;
use crate::algorithm::{Algorithm, Call, Class, CostTable};

/// Chunks of large messages: whole multiples of the 64 KiB segments of a loopback device. Each
/// costs a header and a match; what is reduced from cache is the staging buffer, not the chunk.
const CHUNK_BYTES: usize = 512 << 10;

/// The choices of one communicator, the same on all its ranks.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    table: CostTable,
}

impl Tuning {
    /// Choices by formula.
    pub(crate) fn modelled(ranks: WorldSize) -> Self {
        Self { table: CostTable::modelled(ranks, Model::default()) }
    }

    /// Choices by a table.
    pub(crate) fn new(table: CostTable) -> Self {
        Self { table }
    }

    /// The table.
    pub(crate) fn table(&self) -> &CostTable {
        &self.table
    }

    /// The chunk size for a call: the same on all ranks, a multiple of every element's size.
    pub(crate) fn chunk_bytes(_call: Option<&Call>, _algorithm: Algorithm) -> usize {
        CHUNK_BYTES
    }

    /// The algorithm for a call.
    pub(crate) fn choose(&self, call: &Call, ranks: WorldSize) -> Algorithm {
        let class = call.collective.class();
        let buffers = match class {
            Class::ReduceScatter | Class::AllGather | Class::AllToAll => ranks.get(),
            Class::AllReduce | Class::Broadcast | Class::Reduce | Class::Barrier => 1,
        };
        let bytes = call.count * call.element_bytes * buffers;
        self.table.choose(class, Bytes(bytes as u64), ranks)
    }
}
