//! What the machine could do at best: the bytes that an all-reduce moves, moved by a bare loop.
//!
//! An all-reduce of S bytes on n ranks makes each rank send and receive at least 2 (n − 1) / n × S
//! bytes. Here the ranks form a ring in which each sends that many bytes to the next one while it
//! receives as many from the one before, with no reduction and no protocol (`tcp`); or each copies
//! that many bytes between two mapped buffers (`local`). As an all-reduce must, both read from and
//! write to buffers as long as the message.
//!
//! | file | what it holds |
//! |---|---|
//! | `ring` | the connections of the bare loop |
//! | `exchange` | the bare loop itself |
//! | `memory` | memcpy between mapped buffers |
//! | `mapped` | the mapped buffers |
mod exchange;
mod mapped;
mod memory;
mod ring;

use std::io;

use onepath_collectives::{CollectiveError, Communicator};
use onepath_topology::{Rank, WorldSize};

use crate::buffer::Buffer;
use crate::measure::{Slowest, Times, iterations_by_time, warm_up};

use exchange::Exchange;
use memory::MemoryCopy;
use ring::Ring;

const CHUNKS: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
const CONNECTIONS: [usize; 3] = [1, 2, 4];

/// The most connections to one neighbour.
const MAX_CONNECTIONS: usize = 4;

/// The part of a row's time that one way of moving gets.
const SHARE_OF_BUDGET: f64 = 6.0;

/// Why a limit cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitError {
    /// A collective between measurements failed.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// A system call failed.
    #[error("the bare loop cannot {what}: {cause}")]
    System {
        /// What it was to do.
        what: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// A connection was closed.
    #[error("the bare loop's connection to rank {0} closed")]
    Closed(Rank),
    /// Nothing moved for a long time.
    #[error("nothing moved between rank {rank} and its neighbours for {seconds} s")]
    Stalled {
        /// This rank.
        rank: Rank,
        /// For how long.
        seconds: i64,
    },
}

impl LimitError {
    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Loopback TCP.
    Tcp,
    /// Shared memory.
    Local,
}

/// One way to move the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Way {
    /// Bytes of one system call at most.
    pub(crate) chunk_bytes: usize,
    /// Connections to each neighbour; 0 for shared memory.
    pub(crate) connections: usize,
}

/// The limit of one message size.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Limit {
    /// Bytes that each rank sends (and receives), or copies.
    pub(crate) moved_bytes: usize,
    /// The median of the best way, in microseconds.
    pub(crate) median_us: f64,
    /// The best way.
    pub(crate) way: Way,
}

/// Measures limits; made once a run.
#[derive(Debug)]
pub(crate) struct Limits {
    world: WorldSize,
    /// None for shared memory.
    ring: Option<Ring>,
}

/// The ways for one message size, measured in rounds.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    moved: usize,
    buffers: Buffers<'a>,
    ways: Vec<(Way, Times)>,
}

#[derive(Debug)]
enum Buffers<'a> {
    Tcp { ring: &'a Ring, source: Buffer<u8>, target: Buffer<u8> },
    Local(MemoryCopy),
}

/// What each rank of an all-reduce of `size` bytes must send and receive at least.
pub(crate) fn moved_bytes(size: usize, world: WorldSize) -> usize {
    (2 * (world.get() - 1) * size).div_ceil(world.get())
}

impl Limits {
    /// Connects the ring if there is to be one. All ranks must be on this host.
    pub(crate) fn new(communicator: &Communicator, kind: Kind) -> Result<Self, LimitError> {
        let ring = match kind {
            Kind::Tcp => Some(Ring::connect(communicator)?),
            Kind::Local => None,
        };
        Ok(Self { world: communicator.world_size(), ring })
    }

    /// Buffers and room for `iterations` of each way of moving an all-reduce of `size` bytes.
    pub(crate) fn series(&self, size: usize, iterations: u32) -> Result<Series<'_>, LimitError> {
        let moved = moved_bytes(size, self.world);
        let buffers = match &self.ring {
            Some(ring) => Buffers::Tcp {
                ring,
                source: Buffer::filled(size, 1),
                target: Buffer::filled(size, 0),
            },
            None => Buffers::Local(MemoryCopy::new(size, moved)?),
        };
        let times = |way| (way, Times::new(iterations, Slowest::AtTheEnd));
        let ways = match self.ring {
            Some(_) => ways(moved).into_iter().map(times).collect(),
            None => vec![times(Way { chunk_bytes: size, connections: 0 })],
        };
        Ok(Series { moved, buffers, ways })
    }

    /// The limit of one size alone.
    pub(crate) fn measure(
        &self,
        communicator: &Communicator,
        size: usize,
        iterations: Option<u32>,
        warm: u32,
    ) -> Result<Limit, LimitError> {
        let mut trial = self.series(size, 0)?;
        let seconds = trial.warm_up(communicator, warm.max(1))?;
        let iterations =
            iterations.unwrap_or_else(|| iterations_by_time(seconds * SHARE_OF_BUDGET));
        let mut series = self.series(size, iterations)?;
        series.warm_up(communicator, warm)?;
        series.round(communicator, iterations)?;
        series.best(communicator)
    }
}

/// Every combination that is another one for this many bytes.
fn ways(moved: usize) -> Vec<Way> {
    let mut ways = Vec::new();
    for connections in CONNECTIONS {
        let share = moved.div_ceil(connections);
        for (index, &chunk_bytes) in CHUNKS.iter().enumerate() {
            let another = index == 0 || share > CHUNKS[index - 1];
            let worthwhile = connections == 1 || share >= CHUNKS[0] / 4;
            if another && worthwhile {
                ways.push(Way { chunk_bytes, connections });
            }
        }
    }
    ways
}

impl Series<'_> {
    /// A few iterations of every way; how long one took on the slowest rank.
    pub(crate) fn warm_up(
        &mut self,
        communicator: &Communicator,
        iterations: u32,
    ) -> Result<f64, LimitError> {
        let mut longest = 0.0_f64;
        for (way, _) in &self.ways {
            let seconds = match &mut self.buffers {
                Buffers::Tcp { ring, source, target } => {
                    let mut exchange = Exchange::new(ring, source, target, self.moved, *way);
                    warm_up(communicator, &mut exchange, iterations, Slowest::AtTheEnd)?
                }
                Buffers::Local(copy) => warm_up(communicator, copy, iterations, Slowest::AtTheEnd)?,
            };
            longest = longest.max(seconds);
        }
        Ok(longest)
    }

    /// `iterations` of every way.
    pub(crate) fn round(
        &mut self,
        communicator: &Communicator,
        iterations: u32,
    ) -> Result<(), LimitError> {
        for (way, times) in &mut self.ways {
            match &mut self.buffers {
                Buffers::Tcp { ring, source, target } => {
                    let mut exchange = Exchange::new(ring, source, target, self.moved, *way);
                    times.run(communicator, &mut exchange, iterations)?;
                }
                Buffers::Local(copy) => times.run(communicator, copy, iterations)?,
            }
        }
        Ok(())
    }

    /// The fastest way.
    pub(crate) fn best(self, communicator: &Communicator) -> Result<Limit, LimitError> {
        let moved_bytes = self.moved;
        let mut best: Option<Limit> = None;
        for (way, times) in self.ways {
            let median_us = times.summary(communicator)?.median_us;
            if best.is_none_or(|best| median_us < best.median_us) {
                best = Some(Limit { moved_bytes, median_us, way });
            }
        }
        Ok(best.expect("there is always a way"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_all_reduce_moves_nearly_twice_its_bytes() {
        let world = |ranks| WorldSize::new(ranks).expect("a world size");
        assert_eq!(moved_bytes(4, world(2)), 4);
        assert_eq!(moved_bytes(1 << 20, world(4)), (1 << 20) * 3 / 2);
        assert_eq!(moved_bytes(100, world(3)), 134);
        assert_eq!(moved_bytes(100, world(1)), 0);
    }

    #[test]
    fn large_messages_are_moved_in_nine_ways_and_small_ones_in_one() {
        assert_eq!(ways(64 << 20).len(), 9);
        assert_eq!(ways(4), [Way { chunk_bytes: CHUNKS[0], connections: 1 }]);
    }
}
