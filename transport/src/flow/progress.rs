//! How far a flow has come, when its chunks may end out of order.

/// Bits of one operation: which chunks ended ahead of an unfinished earlier one.
pub(super) type ChunkBits = Vec<u64>;

/// Contiguous progress of one flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes of the flow.
    total: usize,
    /// All bytes below this are done.
    prefix: usize,
    /// First bit of this flow in the operation's [`ChunkBits`].
    first_bit: usize,
}

impl Progress {
    /// Progress of a flow of `total` bytes; reserves its bits in `bits`.
    pub(super) fn new(total: usize, chunk_bytes: usize, bits: &mut ChunkBits) -> Self {
        let first_bit = bits.len() * 64;
        let chunks = total.div_ceil(chunk_bytes);
        // A flow of one chunk cannot get ahead of itself.
        let words = if chunks > 1 { chunks.div_ceil(64) } else { 0 };
        bits.resize(bits.len() + words, 0);
        Self { total, prefix: 0, first_bit }
    }

    /// Bytes done without a gap from the start.
    pub(super) fn prefix(&self) -> usize {
        self.prefix
    }

    /// Whether every byte is done.
    pub(super) fn is_complete(&self) -> bool {
        self.prefix == self.total
    }

    /// Whether the chunk at `offset` is already done.
    pub(super) fn has(&self, offset: usize, chunk_bytes: usize, bits: &ChunkBits) -> bool {
        if offset < self.prefix {
            return true;
        }
        let bit = self.first_bit + offset / chunk_bytes;
        bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
            && self.total > chunk_bytes
    }

    /// Notes that the chunk at `offset` is done, and moves the prefix over all that are.
    pub(super) fn finish_chunk(&mut self, offset: usize, chunk_bytes: usize, bits: &mut ChunkBits) {
        if offset != self.prefix {
            let bit = self.first_bit + offset / chunk_bytes;
            bits[bit / 64] |= 1 << (bit % 64);
            return;
        }
        self.prefix = (self.prefix + chunk_bytes).min(self.total);
        while self.prefix < self.total && self.has(self.prefix, chunk_bytes, bits) {
            self.prefix = (self.prefix + chunk_bytes).min(self.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_of_chunks_ends_complete_with_the_right_prefix(
            total in 1_usize..5_000,
            chunk in 1_usize..400,
            seed in any::<u64>(),
        ) {
            let mut bits = ChunkBits::new();
            let mut other = Progress::new(3 * chunk, chunk, &mut bits);
            let mut flow = Progress::new(total, chunk, &mut bits);
            let mut order: Vec<usize> = (0..total.div_ceil(chunk)).collect();
            let mut state = seed | 1;
            for i in (1..order.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                order.swap(i, (state >> 33) as usize % (i + 1));
            }
            let mut done = vec![false; order.len()];
            for &index in &order {
                prop_assert!(!flow.has(index * chunk, chunk, &bits));
                flow.finish_chunk(index * chunk, chunk, &mut bits);
                done[index] = true;
                prop_assert!(flow.has(index * chunk, chunk, &bits));
                let whole = done.iter().take_while(|&&d| d).count();
                prop_assert_eq!(flow.prefix(), (whole * chunk).min(total));
            }
            prop_assert!(flow.is_complete());
            prop_assert_eq!(other.prefix(), 0);
            other.finish_chunk(0, chunk, &mut bits);
            prop_assert_eq!(other.prefix(), chunk);
        }
    }
}
