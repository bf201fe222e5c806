//! All cases: the full product of what a call can be.

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
pub const TRANSPORTS: [TransportKind; 3] =
    [TransportKind::Tcp, TransportKind::Local, TransportKind::Spray];

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_is_there_once() {
        let cases = all(5, 1);
        let different: HashSet<Case> =
            cases.iter().map(|case| Case { number: 0, ..*case }).collect();
        assert_eq!(different.len(), cases.len());
        // Of 9 counts: 5 × 10 × 5 × 2 all-reduce, 3 × 10 × 5 × 2 reduce-scatter, 3 × 10 × 2
        // all-gather, 3 × 10 × 3 × 2 broadcast, 3 × 10 × 5 × 3 × 2 reduce, 10 all-to-all; barriers.
        assert_eq!(cases.len(), (500 + 300 + 60 + 180 + 900 + 10) * 9 + 10);
    }

    #[test]
    fn every_collective_has_its_algorithms() {
        // As ARCHITECTURE and the table of `supports` say: 5 + 3 + 3 + 3 + 3 + 1 + 1.
        assert_eq!(calls().len(), 19);
    }
}
