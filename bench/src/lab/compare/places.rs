//! Which rank is on which host, and who sends to whom in a permutation.

use clap::ValueEnum;
use onepath_topology::Rank;
use onepath_topology::assign::{Random, Seed};
use serde::{Deserialize, Serialize};

use crate::lab::fabric::{FabricSpec, Host};

/// Streams of the generator, so that one seed gives several unrelated shuffles.
const ORDER_STREAM: u64 = 1;
const TARGETS_STREAM: u64 = 2;

/// Exchanges of two receivers for each rank: far more than a shuffle needs.
const EXCHANGES: usize = 20;

/// How ranks are laid out over the hosts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Leaf after leaf
    Contiguous,
    /// By chance, from the seed
    #[default]
    Shuffled,
}

impl Order {
    /// Its name in results and options.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Contiguous => "contiguous",
            Self::Shuffled => "shuffled",
        }
    }
}

/// Where the ranks of one run are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The host of each rank.
    pub(crate) hosts: Vec<Host>,
    /// The receiver of each rank in a permutation, on another leaf.
    pub(crate) targets: Vec<Rank>,
}

impl Places {
    /// Decided by the seed alone.
    pub(crate) fn new(spec: &FabricSpec, order: Order, seed: u32) -> Self {
        let mut hosts: Vec<Host> = spec.hosts().collect();
        let random = |stream| Random::new(Seed(u64::from(seed)), stream);
        if order == Order::Shuffled {
            random(ORDER_STREAM).shuffle(&mut hosts);
        }
        let targets = targets(spec, &mut random(TARGETS_STREAM));
        let rank_on = |host: Host| hosts.iter().position(|other| *other == host);
        let target_of = |host: &Host| rank_on(targets[host.index()]).map(Rank::from_index);
        let targets = hosts.iter().filter_map(target_of).collect();
        Self { hosts, targets }
    }
}

/// The receiver of each host: a random permutation without a pair below one leaf. Begins with the
/// same slot of the next leaf and exchanges receivers of two hosts as long as that allows it, a
/// walk that reaches every such permutation with equal probability.
fn targets(spec: &FabricSpec, random: &mut Random) -> Vec<Host> {
    let count = spec.host_count();
    let of_leaf = count / spec.leaf_count();
    let mut targets: Vec<Host> =
        (0..count).map(|host| Host(((host + of_leaf) % count) as u32)).collect();
    let leaf = |host: usize| spec.leaf_of(Host(host as u32));
    for _ in 0..EXCHANGES * count {
        let mut any = || random.below(count as u64) as usize;
        let (one, other) = (any(), any());
        let local =
            leaf(one) == spec.leaf_of(targets[other]) || leaf(other) == spec.leaf_of(targets[one]);
        if !local {
            targets.swap(one, other);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fabric::FabricOptions;

    fn spec() -> FabricSpec {
        FabricSpec::new(&FabricOptions::default()).expect("the defaults are right")
    }

    #[test]
    fn everybody_sends_once_and_receives_once_across_leaves() {
        for seed in 0..50 {
            for order in [Order::Contiguous, Order::Shuffled] {
                let places = Places::new(&spec(), order, seed);
                let leaf = |rank: usize| spec().leaf_of(places.hosts[rank]);
                let mut seen = [false; 16];
                for (from, to) in places.targets.iter().enumerate() {
                    assert_ne!(leaf(from), leaf(to.index()), "seed {seed}");
                    assert!(!std::mem::replace(&mut seen[to.index()], true), "seed {seed}");
                }
                assert_eq!(places.targets.len(), 16);
            }
        }
    }

    #[test]
    fn seeds_differ_and_a_contiguous_order_is_the_hosts() {
        let of = |order, seed| Places::new(&spec(), order, seed);
        assert_eq!(of(Order::Shuffled, 3), of(Order::Shuffled, 3));
        assert_ne!(of(Order::Shuffled, 3).hosts, of(Order::Shuffled, 4).hosts);
        assert_ne!(of(Order::Contiguous, 3).targets, of(Order::Contiguous, 4).targets);
        assert!(of(Order::Contiguous, 3).hosts.iter().copied().eq(spec().hosts()));
    }
}
