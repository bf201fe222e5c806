//! Which algorithm runs, and in what chunks.

use onepath_topology::WorldSize;

use crate::algorithm::Algorithm;
use crate::call::CallKind;

/// The choices of one communicator, the same on all its ranks.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Bytes of one chunk of a large message.
    pub chunk_bytes: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { chunk_bytes: 128 << 10 }
    }
}

impl Tuning {
    /// The chunk size for a call of `bytes` bytes.
    pub fn chunk_bytes(&self, _bytes: usize, _algorithm: Algorithm) -> usize {
        self.chunk_bytes
    }

    /// The algorithm for a call.
    pub fn choose(&self, kind: CallKind, bytes: usize, ranks: WorldSize) -> Algorithm {
        let _ = (kind, ranks);
        if bytes <= 8 << 10 { Algorithm::OneShot } else { Algorithm::Direct }
    }
}
