//! All cases, and a part of them that covers all pairs or triples of arguments.

use std::collections::HashSet;

use onepath_collectives::algorithm::{Class, supports};
use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Algorithm, DataType, ReduceOp};
use onepath_topology::Rank;

use crate::case::{Case, is_segmented};
use crate::oracle::hash;

/// Elements: none, one, few, primes, a multiple of every rank count to 9, and enough for several
/// chunks of the wider types.
pub const COUNTS: [usize; 9] = [0, 1, 2, 5, 13, 257, 2_520, 4_099, 40_009];

/// As [`COUNTS`], for collectives whose buffers are as many times longer as there are ranks.
pub const SEGMENT_COUNTS: [usize; 9] = [0, 1, 2, 5, 13, 101, 1_021, 2_520, 5_003];

/// Rank counts.
pub const RANKS: std::ops::RangeInclusive<usize> = 1..=9;

/// Transports that every case runs on.
pub const TRANSPORTS: [TransportKind; 2] = [TransportKind::Tcp, TransportKind::Local];

/// The most elements that a case of `ranks` ranks needs of each rank.
pub fn longest(ranks: usize) -> usize {
    let last = COUNTS.len() - 1;
    COUNTS[last].max(SEGMENT_COUNTS[last] * ranks)
}

/// Collectives with each of their algorithms.
pub fn calls() -> Vec<(Class, Algorithm)> {
    let mut calls = Vec::new();
    for class in Class::ALL {
        let fits = |algorithm: &Algorithm| supports(class, *algorithm);
        calls.extend(Algorithm::ALL.into_iter().filter(fits).map(|algorithm| (class, algorithm)));
    }
    calls
}

/// First, middle and last rank.
fn roots(ranks: usize) -> Vec<Rank> {
    let mut roots: Vec<Rank> = [0, ranks / 2, ranks - 1].map(Rank::from_index).into();
    roots.dedup();
    roots
}

/// Every case for one rank count, in an order that `seed` shuffles.
pub fn all(ranks: usize, seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (class, algorithm) in calls() {
        for data_type in DataType::ALL {
            for op in ops(class) {
                for root in roots_of(class, ranks) {
                    for in_place in places(class) {
                        cases.extend(counts(class).into_iter().map(|count| Case {
                            class,
                            algorithm: Some(algorithm),
                            data_type,
                            op,
                            root,
                            in_place,
                            count,
                            number: 0,
                        }));
                    }
                }
            }
        }
    }
    for (number, case) in (0..).zip(&mut cases) {
        case.number = number;
    }
    cases.sort_by_key(|case| hash(case.number ^ hash(seed)));
    cases
}

fn ops(class: Class) -> Vec<Option<ReduceOp>> {
    match class {
        Class::AllReduce | Class::ReduceScatter | Class::Reduce => {
            ReduceOp::ALL.into_iter().map(Some).collect()
        }
        _ => vec![None],
    }
}

fn roots_of(class: Class, ranks: usize) -> Vec<Option<Rank>> {
    match class {
        Class::Broadcast | Class::Reduce => roots(ranks).into_iter().map(Some).collect(),
        _ => vec![None],
    }
}

fn places(class: Class) -> Vec<bool> {
    match class {
        Class::AllToAll | Class::Barrier => vec![false],
        _ => vec![false, true],
    }
}

fn counts(class: Class) -> Vec<usize> {
    match class {
        Class::Barrier => vec![0],
        _ if is_segmented(class) => SEGMENT_COUNTS.into(),
        _ => COUNTS.into(),
    }
}

/// Chooses cases from those of several worlds such that every combination of `strength` arguments
/// (transport, ranks, collective, algorithm, type, operation, root, place, count) that is in any
/// case is in a chosen one. The same in every run.
#[derive(Debug)]
pub struct Cover {
    strength: u32,
    covered: HashSet<[u32; 4]>,
}

/// Arguments of a case.
const FACTORS: usize = 8;

impl Cover {
    /// Covers combinations of `strength` arguments, at most 4.
    pub fn new(strength: u32) -> Self {
        assert!((1..=4).contains(&strength), "strength {strength} is not from 1 to 4");
        Self { strength, covered: HashSet::new() }
    }

    /// Keeps the cases of one world that cover something new.
    pub fn keep(&mut self, transport: TransportKind, ranks: usize, cases: &mut Vec<Case>) {
        cases.retain(|case| self.adds(&factors(transport, ranks, case)));
    }

    fn adds(&mut self, factors: &[u32; FACTORS]) -> bool {
        let mut new = false;
        for chosen in 0..1_u32 << FACTORS {
            if chosen.count_ones() != self.strength {
                continue;
            }
            let mut combination = [u32::MAX; 4];
            let positions = (0..FACTORS).filter(|factor| chosen >> factor & 1 == 1);
            for (place, factor) in combination.iter_mut().zip(positions) {
                *place = (factor as u32) << 16 | factors[factor];
            }
            new |= self.covered.insert(combination);
        }
        new
    }
}

/// Each argument as a number; what a collective does not have counts as a value of its own.
fn factors(transport: TransportKind, ranks: usize, case: &Case) -> [u32; FACTORS] {
    let root = match case.root {
        None => 0,
        Some(root) if root.index() == 0 => 1,
        Some(root) if root.index() + 1 == ranks => 2,
        Some(_) => 3,
    };
    let algorithm = case.algorithm.map_or(0, |algorithm| u32::from(algorithm.wire()) + 1);
    [
        transport as u32,
        ranks as u32,
        (case.class as u32) << 8 | algorithm,
        case.data_type as u32,
        case.op.map_or(9, |op| op as u32),
        root,
        u32::from(case.in_place),
        case.count as u32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_of_pairs_has_every_pair_of_the_product_in_far_fewer_cases() {
        let mut cover = Cover::new(2);
        let (mut every, mut chosen) = (HashSet::new(), HashSet::new());
        let mut kept = 0;
        let pairs = |factors: [u32; FACTORS]| {
            (0..FACTORS).flat_map(move |a| {
                (0..a).map(move |b| (a, factors[a], b, factors[b]))
            })
        };
        let mut total = 0;
        for ranks in [2, 5] {
            let mut cases = all(ranks, 1);
            total += cases.len();
            let numbers = |case: &Case| factors(TransportKind::Tcp, ranks, case);
            every.extend(cases.iter().map(numbers).flat_map(pairs));
            cover.keep(TransportKind::Tcp, ranks, &mut cases);
            chosen.extend(cases.iter().map(numbers).flat_map(pairs));
            kept += cases.len();
        }
        assert_eq!(every, chosen);
        assert!(kept * 20 < total, "{kept} of {total}");
    }

    #[test]
    fn every_collective_has_its_algorithms() {
        // As ARCHITECTURE and the table of `supports` say: 5 + 3 + 3 + 3 + 3 + 1 + 1.
        assert_eq!(calls().len(), 19);
    }
}
