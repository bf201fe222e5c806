//! The collectives that are compared, and what each rank sends in them.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use onepath_collectives::algorithm::call::{Call, Collective as Planned, Shape};
use onepath_collectives::algorithm::plan;
use onepath_collectives::{Algorithm, DataType};
use onepath_topology::{Rank, WorldSize};
use onepath_transport::plan::Plan;
use serde::{Deserialize, Serialize};

/// Elements are single floats.
pub(crate) const ELEMENT: DataType = DataType::F32;

/// What the library lets one call use; plans for the optimum are made by the same rule.
const SCRATCH_LIMIT: usize = 8 << 20;

/// A collective between all ranks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Collective {
    /// Each rank sends its buffer to one rank of another leaf and receives one
    Permutation,
    /// All-reduce around a ring
    Ring,
    /// All-reduce over distances that halve and double
    HalvingDoubling,
    /// All-reduce in one step each way, all with all
    Direct,
    /// Each rank sends a part of its buffer to every other, all at once
    AllToAll,
    /// The first rank receives a part of its buffer from every other, all at once
    Incast,
}

/// What a rank sends another in the whole collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) from: Rank,
    pub(crate) to: Rank,
    pub(crate) bytes: u64,
}

impl Collective {
    /// Its name in results and options.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Permutation => "permutation",
            Self::Ring => "ring",
            Self::HalvingDoubling => "halving-doubling",
            Self::Direct => "direct",
            Self::AllToAll => "all-to-all",
            Self::Incast => "incast",
        }
    }

    /// The algorithm of an all-reduce.
    pub(crate) const fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Ring => Some(Algorithm::Ring),
            Self::HalvingDoubling => Some(Algorithm::HalvingDoubling),
            Self::Direct => Some(Algorithm::Direct),
            Self::Permutation | Self::AllToAll | Self::Incast => None,
        }
    }

    /// Elements of a call in which a rank's buffer has at most `bytes` bytes: of the whole buffer,
    /// or of the part for one peer.
    pub(crate) fn count(self, bytes: usize, world: WorldSize) -> usize {
        let elements = bytes / ELEMENT.size();
        match self {
            Self::Permutation | Self::Ring | Self::HalvingDoubling | Self::Direct => elements,
            Self::AllToAll => elements / world.get(),
            Self::Incast => elements / (world.get() - 1).max(1),
        }
    }

    /// To how many others a rank sends in the whole collective.
    pub(crate) fn receivers(self, rank: Rank, count: usize, world: WorldSize) -> usize {
        let sent = match self {
            Self::Permutation => return 1,
            Self::Incast => return usize::from(rank != Rank::new(0)),
            Self::AllToAll => planned(Planned::AllToAll, None, count, rank, world),
            _ => planned(Planned::AllReduce, self.algorithm(), count, rank, world),
        };
        let receivers: BTreeSet<Rank> = sent.iter().map(|sent| sent.to).collect();
        receivers.len()
    }

    /// All that is sent, by the very plans of the library; `targets` has the receiver of each rank
    /// in a permutation.
    pub(crate) fn sent(self, count: usize, world: WorldSize, targets: &[Rank]) -> Vec<Sent> {
        let bytes = (count * ELEMENT.size()) as u64;
        let ranks = || world.ranks();
        match self {
            Self::Permutation => {
                let pairs = ranks().zip(targets);
                pairs.map(|(from, &to)| Sent { from, to, bytes }).collect()
            }
            Self::Incast => {
                let to = Rank::new(0);
                ranks().skip(1).map(|from| Sent { from, to, bytes }).collect()
            }
            Self::AllToAll => ranks()
                .flat_map(|rank| planned(Planned::AllToAll, None, count, rank, world))
                .collect(),
            Self::Ring | Self::HalvingDoubling | Self::Direct => {
                let algorithm = self.algorithm();
                let of = |rank| planned(Planned::AllReduce, algorithm, count, rank, world);
                ranks().flat_map(of).collect()
            }
        }
    }
}

fn planned(
    collective: Planned,
    algorithm: Option<Algorithm>,
    count: usize,
    rank: Rank,
    world: WorldSize,
) -> Vec<Sent> {
    let element_bytes = ELEMENT.size();
    let call = Call { collective, count, element_bytes, in_place: false, finish: false };
    let mut made = Plan::default();
    let shape = Shape { rank, ranks: world };
    plan(&call, algorithm.unwrap_or(Algorithm::Direct), shape, SCRATCH_LIMIT, &mut made);
    let sent = |to: Rank, bytes: usize| Sent { from: rank, to, bytes: bytes as u64 };
    made.sends.iter().map(|flow| sent(flow.peer, flow.source.length)).collect()
}

impl fmt::Display for Collective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 16 << 10;

    fn world() -> WorldSize {
        WorldSize::new(4).expect("a size")
    }

    fn total(collective: Collective) -> u64 {
        let targets: Vec<Rank> = [1, 2, 3, 0].map(Rank::new).to_vec();
        let count = collective.count(BYTES, world());
        collective.sent(count, world(), &targets).iter().map(|sent| sent.bytes).sum()
    }

    #[test]
    fn every_collective_sends_what_its_definition_says() {
        let buffer = BYTES as u64;
        assert_eq!(total(Collective::Permutation), 4 * buffer);
        for all_reduce in [Collective::Ring, Collective::HalvingDoubling, Collective::Direct] {
            assert_eq!(total(all_reduce), 2 * 3 * buffer, "{all_reduce}");
        }
        assert_eq!(total(Collective::AllToAll), 3 * buffer);
        assert!(total(Collective::Incast).abs_diff(buffer) < 16);
    }

    #[test]
    fn every_collective_reads_back_by_the_name_that_results_have() {
        for &collective in Collective::value_variants() {
            assert_eq!(Collective::from_str(collective.name(), false), Ok(collective));
        }
    }
}
