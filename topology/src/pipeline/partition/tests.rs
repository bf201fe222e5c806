//! The dynamic program against brute force; orders against all permutations.

use super::*;
use crate::assign::{Random, Seed};
use crate::pipeline::model::LayerCost;
use crate::units::{Bandwidth, Bytes, Nanos};

/// Every way to cut `layers` into `stages` parts, the best by iteration time.
fn brute_force(costs: &impl StageCosts, prefix: &mut Vec<usize>, left: usize) -> Option<Nanos> {
    if prefix.len() + 1 == costs.stages() {
        prefix.push(left);
        let cost = iteration(costs, prefix);
        prefix.pop();
        return cost;
    }
    let after = costs.stages() - prefix.len() - 1;
    let mut best = None;
    for count in 1..=left - after {
        prefix.push(count);
        let cost = brute_force(costs, prefix, left - count);
        prefix.pop();
        best = [best, cost].into_iter().flatten().min();
    }
    best
}

fn random_chain(random: &mut Random) -> ChainCosts {
    let layers = 2 + random.below(8) as usize;
    let stages = 1 + random.below(layers.min(5) as u64) as usize;
    let micro_batches = 1 + random.below(12);
    let bucket = Bytes(1 + random.below(3_000));
    let tight = random.below(3) == 0;
    let transfers = if random.below(2) == 0 { Transfers::Overlapped } else { Transfers::Blocking };
    let stage = |random: &mut Random| {
        let layer = |random: &mut Random| LayerCost {
            forward: Nanos(random.below(1_000)),
            backward: Nanos(random.below(2_000)),
            gradients: Bytes(random.below(2_000)),
            parameters: Bytes(random.below(1_000)),
            state: Bytes(random.below(100)),
            activation: Bytes(random.below(30)),
            output: Bytes(random.below(500)),
        };
        let hop = |random: &mut Random| Hop {
            latency: Nanos(random.below(50)),
            bandwidth: Bandwidth(1e8 + random.below(10_000_000_000) as f64),
        };
        ChainStage {
            layers: (0..layers).map(|_| layer(random)).collect(),
            memory: tight.then(|| Bytes(100 + random.below(600))),
            next: hop(random),
            reduction: Collective { members: 1 + random.below(4) as u32, hop: hop(random) },
        }
    };
    let stages: Vec<ChainStage> = (0..stages).map(|_| stage(random)).collect();
    ChainCosts::new(&stages, micro_batches, bucket, transfers)
}

#[test]
fn ten_thousand_random_cases_equal_brute_force() {
    const SEED: u64 = 20_260_101;
    println!("seed {SEED}");
    let (mut solved, mut unsolved) = (0, 0);
    for case in 0..10_000 {
        let mut random = Random::new(Seed(SEED), case);
        let costs = random_chain(&mut random);
        let right = brute_force(&costs, &mut Vec::new(), costs.layers());
        match exact(&costs) {
            Ok(found) => {
                assert_eq!(Some(found.iteration), right, "case {case} of seed {SEED}");
                assert_eq!(iteration(&costs, &found.layers), right, "case {case}");
                solved += 1;
            }
            Err(PartitionError::Memory { .. }) => {
                assert_eq!(right, None, "case {case} of seed {SEED}");
                unsolved += 1;
            }
            Err(error) => panic!("case {case}: {error}"),
        }
    }
    println!("{solved} solved, {unsolved} do not fit their memory");
    assert!(solved > 7_000 && unsolved > 100, "{solved} {unsolved}");
}

/// Equal layers on stages of these speeds, nothing but computing.
fn pure(layers: usize, speeds: [f64; 2]) -> Vec<usize> {
    let cost = move |stage: usize, range: std::ops::Range<usize>| {
        let time = Nanos((range.len() as f64 * 1e9 / speeds[stage]) as u64);
        Some(StageCost { period: time, fill: time, exposed: Nanos(0) })
    };
    exact(&Costs { stages: 2, layers, micro_batches: 48, cost }).expect("no memory caps").layers
}

#[test]
fn speeds_of_197_and_160_cut_30_36_and_48_layers_as_computed_by_hand() {
    assert_eq!(pure(30, [197.0, 160.0]), [17, 13]);
    assert_eq!(pure(36, [197.0, 160.0]), [20, 16]);
    assert_eq!(pure(48, [197.0, 160.0]), [27, 21]);
}

#[test]
fn large_cases_end_and_beat_an_even_cut() {
    let mut random = Random::new(Seed(5), 0);
    let weights: Vec<u64> = (0..96).map(|_| 500 + random.below(1_000)).collect();
    let speed: Vec<u64> = (0..16).map(|_| 1 + random.below(4)).collect();
    let cost = |stage: usize, range: std::ops::Range<usize>| {
        let time = Nanos(weights[range].iter().sum::<u64>() / speed[stage]);
        Some(StageCost { period: time, fill: time, exposed: Nanos(time.0 % 777) })
    };
    let costs = Costs { stages: 16, layers: 96, micro_batches: 64, cost };
    let found = exact(&costs).expect("no memory caps");
    let even = iteration(&costs, &[6; 16]).expect("no memory caps");
    assert!(found.iteration < even, "{} {even}", found.iteration);
    assert_eq!(found.cuts().last(), Some(&96));
}

#[test]
fn what_cannot_be_cut_is_refused_with_its_reason() {
    let cost = |_: usize, _: std::ops::Range<usize>| None;
    let costs = Costs { stages: 3, layers: 2, micro_batches: 1, cost };
    assert_eq!(exact(&costs), Err(PartitionError::Stages { stages: 3, layers: 2 }));
    let costs = Costs { stages: 2, layers: 3, micro_batches: 1, cost };
    assert_eq!(exact(&costs), Err(PartitionError::Memory { stages: 2, layers: 3 }));
    let costs = Costs { stages: 2, layers: 3, micro_batches: 0, cost };
    assert_eq!(exact(&costs), Err(PartitionError::Zero("micro_batches")));
}

fn random_matrix(random: &mut Random, clusters: usize) -> Vec<Vec<Nanos>> {
    let pairs: Vec<u64> = (0..clusters * clusters).map(|_| 1 + random.below(1_000)).collect();
    let cost = |a: usize, b: usize| match a.cmp(&b) {
        std::cmp::Ordering::Equal => Nanos(0),
        _ => Nanos(pairs[a.min(b) * clusters + a.max(b)]),
    };
    (0..clusters).map(|a| (0..clusters).map(|b| cost(a, b)).collect()).collect()
}

#[test]
fn held_karp_equals_all_orders() {
    println!("seed 3");
    for case in 0..200 {
        let mut random = Random::new(Seed(3), case);
        let clusters = 1 + random.below(7) as usize;
        let between = random_matrix(&mut random, clusters);
        let price = |path: &[usize]| {
            Some(Nanos(path.windows(2).map(|pair| between[pair[0]][pair[1]].0).sum()))
        };
        let all = order_by_price(clusters, price).expect("every order has a price");
        let found = order(&between).expect("a square matrix");
        assert_eq!((found.cost, found.method), (all.cost, OrderMethod::HeldKarp), "case {case}");
        assert_eq!(price(&found.clusters), Some(found.cost));
    }
}

#[test]
fn beyond_15_clusters_an_order_comes_with_its_bound() {
    let mut random = Random::new(Seed(4), 0);
    let between = random_matrix(&mut random, 40);
    let found = order(&between).expect("a square matrix");
    assert_eq!(found.method, OrderMethod::Heuristic);
    assert!(found.bound <= found.cost && found.cost.0 < 3 * found.bound.0, "{found:?}");
    let mut sorted = found.clusters.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
}
