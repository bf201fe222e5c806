//! Seeded inputs whose results are exact, and the count of elements that are not as they must be.
//!
//! Every element of every rank is a function of (seed, rank, index). Sums of floats stay among the
//! integers that the type holds exactly, so that they are the same in any order; integers wrap.

use onepath_collectives::ReduceOp;
use onepath_topology::{Rank, WorldSize};

use crate::collective::{Collective, Place, previous};
use crate::value::{Value, scale};

/// How many ranks may put a factor of two into one product: the result is at most 8.
const FACTORS: usize = 3;

/// What is checked, and who checks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    /// The collective.
    pub(crate) collective: Collective,
    /// The reduction; it does not count for collectives without one.
    pub(crate) op: ReduceOp,
    /// The root; it does not count for collectives without one.
    pub(crate) root: Rank,
    /// Elements of the call.
    pub(crate) count: usize,
    /// The rank that asks.
    pub(crate) rank: Rank,
    /// All ranks.
    pub(crate) world: WorldSize,
    /// Random.
    pub(crate) seed: u64,
}

/// An element that is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wrong {
    /// Its index in the output.
    pub(crate) index: usize,
    /// What it should be.
    pub(crate) expected: f64,
    /// What it is.
    pub(crate) found: f64,
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// How many elements are wrong.
    pub(crate) wrong: u64,
    /// The first of them.
    pub(crate) first: Option<Wrong>,
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014): each input bit changes half of the output bits.
#[inline]
fn mix(seed: u64, rank: usize, index: usize) -> u64 {
    let mut z = seed
        .wrapping_add((rank as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
        .wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Pattern {
    /// The word that `rank` contributes at `index`.
    #[inline]
    fn word<T: Value>(&self, rank: usize, index: usize) -> i64 {
        let bits = mix(self.seed, rank, index);
        match (self.op, T::EXACT) {
            _ if !self.collective.reduces() => T::random_word(bits),
            (ReduceOp::Sum | ReduceOp::Avg, Some(exact)) => self.summand(bits, rank, index, exact),
            (ReduceOp::Prod, Some(_)) => {
                // A few neighbouring ranks, others at each index.
                let near = (rank + index) % self.world.get() < FACTORS;
                if near { 1 + (bits & 1) as i64 } else { 1 }
            }
            // Odd, so that products of many ranks do not end as zero.
            (ReduceOp::Prod, None) => T::random_word(bits) | 1,
            _ => T::random_word(bits),
        }
    }

    /// A word whose sums over all ranks stay within ±`exact`.
    #[inline]
    fn summand(&self, bits: u64, rank: usize, index: usize, exact: i64) -> i64 {
        let ranks = self.world.get() as i64;
        let span = (exact / ranks).min(1 << 20);
        if span > 0 {
            return scale(bits, 2 * span as u64 + 1) - span;
        }
        // More ranks than exact integers: only every stride-th rank is not zero.
        let stride = (ranks / exact + 1) as usize;
        i64::from((rank + index).is_multiple_of(stride))
    }

    #[inline]
    fn own<T: Value>(&self, rank: usize, index: usize) -> T {
        T::from_word(self.word::<T>(rank, index))
    }

    /// The reduction at `index` of everybody's input.
    #[inline]
    fn reduced<T: Value>(&self, index: usize) -> T {
        let ranks = self.world.get();
        let words = (0..ranks).map(|rank| self.word::<T>(rank, index));
        match self.op {
            ReduceOp::Sum => T::from_word(words.fold(0, i64::wrapping_add)),
            ReduceOp::Prod => T::from_word(words.fold(1, i64::wrapping_mul)),
            ReduceOp::Min => T::from_word(words.fold(i64::MAX, i64::min)),
            ReduceOp::Max => T::from_word(words.fold(i64::MIN, i64::max)),
            // A world of one has nothing to divide, and its sum is its value.
            ReduceOp::Avg => T::average(words.fold(0, i64::wrapping_add), ranks as u32),
        }
    }

    /// What the output must hold at `index` after the call.
    #[inline]
    fn expected<T: Value>(&self, index: usize) -> T {
        let (count, me) = (self.count, self.rank.index());
        match self.collective {
            Collective::AllReduce | Collective::Reduce => self.reduced(index),
            Collective::ReduceScatter => self.reduced(me * count + index),
            Collective::AllGather => self.own(index / count, index % count),
            Collective::Broadcast => self.own(self.root.index(), index),
            Collective::AllToAll => self.own(index / count, me * count + index % count),
            Collective::SendReceive | Collective::Barrier => {
                self.own(previous(self.rank, self.world).index(), index)
            }
        }
    }

    /// Writes what this rank contributes; for a broadcast, ranks but the root contribute what must
    /// not be seen in the result.
    pub(crate) fn fill<T: Value>(&self, input: &mut [T]) {
        let rank = self.rank.index();
        for (index, element) in input.iter_mut().enumerate() {
            *element = self.own(rank, index);
        }
    }

    /// Whether this rank has a result.
    pub(crate) fn has_result(&self) -> bool {
        match self.collective {
            Collective::Barrier => false,
            Collective::Reduce => self.rank == self.root,
            _ => true,
        }
    }

    /// Compares every element of the result with what it must be.
    pub(crate) fn check<T: Value>(&self, output: &[T]) -> Findings {
        let mut findings = Findings::default();
        if !self.has_result() {
            return findings;
        }
        for (index, &found) in output.iter().enumerate() {
            let expected = self.expected::<T>(index);
            if found != expected {
                findings.wrong += 1;
                findings.first.get_or_insert(Wrong {
                    index,
                    expected: expected.to_f64(),
                    found: found.to_f64(),
                });
            }
        }
        findings
    }

    /// What each element of the result is when everybody contributes ones; none if that cannot be
    /// computed exactly.
    pub(crate) fn of_ones<T: Value>(&self) -> Option<T> {
        let ranks = self.world.get() as i64;
        if !self.has_result() || T::EXACT.is_some_and(|exact| ranks > exact) {
            return None;
        }
        Some(match self.op {
            ReduceOp::Sum if self.collective.reduces() => T::from_word(ranks),
            // The integer sum may have wrapped.
            ReduceOp::Avg if self.collective.reduces() => T::average(ranks, ranks as u32),
            _ => T::from_word(1),
        })
    }

    /// Where in a buffer used in place this rank's contribution begins, and its result.
    pub(crate) fn offsets(&self, place: Place) -> (usize, usize) {
        let own = self.rank.index() * self.count;
        match (place, self.collective) {
            (Place::In, Collective::AllGather) => (own, 0),
            (Place::In, Collective::ReduceScatter) => (0, own),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests;
