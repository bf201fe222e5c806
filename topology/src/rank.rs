//! Ranks: the processes that take part in a communicator.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest world that any part of onepath accepts; sizes read from a wire are checked by it.
pub const MAX_WORLD_SIZE: u32 = 65_536;

/// The number of one process inside a communicator, from 0 to world size minus 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(u32);

impl Rank {
    /// The rank with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The rank at this index of a table with one entry a rank.
    pub const fn from_index(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its number, as it is written on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its index in a table with one entry a rank.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A world size that is not between 1 and [`MAX_WORLD_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("world size {0} is out of range: it must be from 1 to {MAX_WORLD_SIZE}")]
pub struct WorldSizeError(pub u64);

/// How many ranks a communicator has: at least 1, at most [`MAX_WORLD_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct WorldSize(u32);

impl WorldSize {
    /// A world of one rank.
    pub const ONE: Self = Self(1);

    /// A world of `ranks` ranks.
    pub const fn new(ranks: u64) -> Result<Self, WorldSizeError> {
        if ranks == 0 || ranks > MAX_WORLD_SIZE as u64 {
            return Err(WorldSizeError(ranks));
        }
        Ok(Self(ranks as u32))
    }

    /// The number of ranks.
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// All ranks in order.
    pub fn ranks(self) -> impl ExactSizeIterator<Item = Rank> {
        (0..self.0).map(Rank::new)
    }

    /// Whether `rank` belongs to a world of this size.
    pub const fn contains(self, rank: Rank) -> bool {
        rank.0 < self.0
    }
}

impl TryFrom<u32> for WorldSize {
    type Error = WorldSizeError;

    fn try_from(ranks: u32) -> Result<Self, WorldSizeError> {
        Self::new(u64::from(ranks))
    }
}

impl From<WorldSize> for u32 {
    fn from(size: WorldSize) -> Self {
        size.0
    }
}

impl fmt::Display for WorldSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_of_no_ranks_is_refused_with_its_value() {
        assert_eq!(WorldSize::new(0), Err(WorldSizeError(0)));
        assert!(WorldSize::new(u64::from(MAX_WORLD_SIZE) + 1).is_err());
        assert_eq!(WorldSize::new(3).map(WorldSize::get), Ok(3));
    }

    #[test]
    fn ranks_are_listed_in_order() {
        let world = WorldSize::new(3).expect("3 is a world size");
        let numbers: Vec<u32> = world.ranks().map(Rank::number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(world.contains(Rank::new(2)) && !world.contains(Rank::new(3)));
    }
}
