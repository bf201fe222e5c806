//! A set of ranks of one world, as a bitmap in memory and on the wire.

use onepath_topology::{Rank, WorldSize};

const WORD_BITS: usize = u64::BITS as usize;

/// Ranks of a world of fixed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RankSet {
    world: WorldSize,
    words: Vec<u64>,
    count: usize,
}

impl RankSet {
    /// No rank of `world`.
    pub(super) fn empty(world: WorldSize) -> Self {
        Self { world, words: vec![0; world.get().div_ceil(WORD_BITS)], count: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn contains(&self, rank: Rank) -> bool {
        let word = self.words.get(rank.index() / WORD_BITS).copied().unwrap_or(0);
        word >> (rank.index() % WORD_BITS) & 1 == 1
    }

    /// Adds a rank of the world; whether it is new.
    pub(super) fn insert(&mut self, rank: Rank) -> bool {
        assert!(self.world.contains(rank), "rank {rank} is outside the world of {}", self.world);
        let new = !self.contains(rank);
        if new {
            self.words[rank.index() / WORD_BITS] |= 1 << (rank.index() % WORD_BITS);
            self.count += 1;
        }
        new
    }

    /// Adds all ranks of a set of the same world; whether any is new.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        assert_eq!(self.world, other.world, "sets of different worlds");
        let before = self.count;
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
        self.count = self.words.iter().map(|word| word.count_ones() as usize).sum();
        self.count > before
    }

    /// The members, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = Rank> + '_ {
        self.world.ranks().filter(|&rank| self.contains(rank))
    }

    /// The ranks of the world that are not members, ascending.
    pub(super) fn others(&self) -> impl Iterator<Item = Rank> + '_ {
        self.world.ranks().filter(|&rank| !self.contains(rank))
    }

    /// Bytes of the bitmap: one bit a rank, the lowest rank in the lowest bit of the first byte.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.world.get().div_ceil(8));
        bytes
    }

    /// Reads a bitmap; nothing if it has another length or names ranks outside the world.
    pub(super) fn from_bytes(world: WorldSize, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != world.get().div_ceil(8) {
            return None;
        }
        let mut set = Self::empty(world);
        for (word, part) in set.words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            *word = u64::from_le_bytes(whole);
            set.count += word.count_ones() as usize;
        }
        let unused = set.words.len() * WORD_BITS - world.get();
        let beyond = set.words.last().is_some_and(|last| last.leading_zeros() < unused as u32);
        (!beyond).then_some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(ranks: u64) -> WorldSize {
        WorldSize::new(ranks).expect("a world size")
    }

    #[test]
    fn a_bitmap_survives_the_wire_for_worlds_around_a_word() {
        for ranks in [1, 7, 8, 9, 63, 64, 65, 128, 1000] {
            let mut set = RankSet::empty(world(ranks));
            for rank in world(ranks).ranks().filter(|rank| rank.number() % 3 == 0) {
                assert!(set.insert(rank) && !set.insert(rank));
            }
            let read = RankSet::from_bytes(world(ranks), &set.to_bytes());
            assert_eq!(read.as_ref(), Some(&set));
            assert_eq!(set.iter().count(), set.len());
            assert_eq!(set.iter().count() + set.others().count(), ranks as usize);
        }
    }

    #[test]
    fn a_bitmap_with_a_rank_outside_the_world_or_another_length_is_refused() {
        assert_eq!(RankSet::from_bytes(world(5), &[0b10_0000]), None);
        assert_eq!(RankSet::from_bytes(world(5), &[1, 0]), None);
        assert_eq!(RankSet::from_bytes(world(5), &[]), None);
        assert!(RankSet::from_bytes(world(5), &[0b1_0000]).is_some());
    }

    #[test]
    fn merging_says_whether_anything_is_new() {
        let mut left = RankSet::empty(world(70));
        let mut right = RankSet::empty(world(70));
        right.insert(Rank::new(69));
        assert!(left.merge(&right) && !left.merge(&right));
        assert_eq!(left.len(), 1);
    }
}
