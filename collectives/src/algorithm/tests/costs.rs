//! Bytes, steps and scratch as documented.

use onepath_topology::Rank;
use onepath_transport::plan::Plan;

use super::super::{Algorithm, Call, Class, Collective, Shape, effective, plan, supports};
use super::{plans, world};

const LIMIT: usize = 64 << 20;

fn call(collective: Collective, count: usize) -> Call {
    Call { collective, count, element_bytes: 4, in_place: false, finish: false }
}

fn sent(plan: &Plan) -> usize {
    plan.sends.iter().map(|flow| flow.source.length).sum()
}

fn steps(plans: &[Plan]) -> u32 {
    let last = plans.iter().flat_map(|plan| plan.sends.iter().map(|flow| flow.step));
    last.max().map_or(0, |step| step + 1)
}

fn log2_up(n: usize) -> u32 {
    n.next_power_of_two().ilog2()
}

#[test]
fn all_reduce_by_three_algorithms_sends_the_least_bytes_for_any_rank_count() {
    for n in 2..=17 {
        for count in [n, 100, 1_000, 1_003] {
            for algorithm in [Algorithm::Ring, Algorithm::HalvingDoubling, Algorithm::Direct] {
                let least = 2 * (n - 1) * count * 4 / n;
                // Each of the 2 (n − 1) segments may be an element longer than the average.
                let slack = 2 * (n - 1) * 4;
                for plan in plans(&call(Collective::AllReduce, count), algorithm, n, 0, LIMIT) {
                    let bytes = sent(&plan);
                    assert!(bytes.abs_diff(least) <= slack, "{algorithm}, {n} ranks: {bytes}");
                    assert_eq!(plan.scratch_bytes, 0);
                }
            }
        }
    }
}

#[test]
fn all_reduce_takes_the_documented_number_of_steps() {
    for n in 2..=17 {
        let steps_of =
            |algorithm| steps(&plans(&call(Collective::AllReduce, 100), algorithm, n, 0, LIMIT));
        assert_eq!(steps_of(Algorithm::Ring), 2 * (n as u32 - 1));
        assert_eq!(steps_of(Algorithm::HalvingDoubling), 2 * log2_up(n));
        assert_eq!(steps_of(Algorithm::Direct), 2);
        assert_eq!(steps_of(Algorithm::Tree), 2 * n.ilog2());
        assert_eq!(steps_of(Algorithm::OneShot), 1);
    }
}

#[test]
fn other_collectives_take_the_documented_steps_and_the_least_bytes() {
    use Algorithm::{Direct, HalvingDoubling, Ring, Tree};
    let root = Rank::new(1);
    let (broadcast, reduce) = (Collective::Broadcast { root }, Collective::Reduce { root });
    for n in 2..=17 {
        let (others, up, down) = (n as u32 - 1, log2_up(n), n.ilog2());
        let cases = [
            (Collective::ReduceScatter, Ring, others),
            (Collective::ReduceScatter, HalvingDoubling, up),
            (Collective::ReduceScatter, Direct, 1),
            (Collective::AllGather, Ring, others),
            (Collective::AllGather, HalvingDoubling, up),
            (Collective::AllGather, Direct, 1),
            (broadcast, Ring, others),
            (broadcast, Tree, down),
            (broadcast, Direct, 1),
            (reduce, Ring, others),
            (reduce, Tree, down),
            (reduce, Direct, 1),
            (Collective::AllToAll, Direct, 1),
            (Collective::Barrier, HalvingDoubling, up),
        ];
        for (collective, algorithm, expected) in cases {
            let plans = plans(&call(collective, 10), algorithm, n, 0, LIMIT);
            assert_eq!(steps(&plans), expected, "{collective:?} by {algorithm}, {n} ranks");
            let all: usize = plans.iter().map(sent).sum();
            let least = match collective.class() {
                Class::Broadcast | Class::Reduce => (n - 1) * 40,
                Class::Barrier => n * up as usize,
                _ => n * (n - 1) * 40,
            };
            assert_eq!(all, least, "{collective:?} by {algorithm}, {n} ranks");
        }
    }
}

#[test]
fn a_pipeline_along_the_ring_sends_the_buffer_once_over_each_link() {
    let root = Rank::new(2);
    for collective in [Collective::Broadcast { root }, Collective::Reduce { root }] {
        for plan in plans(&call(collective, 1_000), Algorithm::Ring, 5, 0, LIMIT) {
            assert!(sent(&plan) <= 4_000);
        }
    }
}

#[test]
fn blocks_bound_the_scratch_of_large_messages() {
    let root = Rank::new(0);
    let count = 64 << 20;
    let calls = [
        (Collective::ReduceScatter, Algorithm::Ring),
        (Collective::Reduce { root }, Algorithm::Tree),
        (Collective::Reduce { root }, Algorithm::Ring),
    ];
    for (collective, algorithm) in calls {
        for plan in plans(&call(collective, count), algorithm, 5, 0, LIMIT) {
            assert!(plan.scratch_bytes <= 2 << 20, "{algorithm}: {}", plan.scratch_bytes);
        }
    }
}

/// Collective, algorithm asked for, ranks, scratch limit in bytes, algorithm that runs.
const SUBSTITUTES: [(Collective, Algorithm, usize, usize, Algorithm); 11] = [
    (Collective::AllReduce, Algorithm::OneShot, 4, 1_200, Algorithm::OneShot),
    (Collective::AllReduce, Algorithm::OneShot, 4, 1_199, Algorithm::Direct),
    (Collective::ReduceScatter, Algorithm::HalvingDoubling, 3, 0, Algorithm::HalvingDoubling),
    (Collective::ReduceScatter, Algorithm::HalvingDoubling, 4, 399, Algorithm::Direct),
    (Collective::ReduceScatter, Algorithm::Ring, 2, 0, Algorithm::Ring),
    (Collective::ReduceScatter, Algorithm::Ring, 3, 7, Algorithm::Direct),
    (Collective::ReduceScatter, Algorithm::OneShot, 3, 1_000, Algorithm::Direct),
    (Collective::Reduce { root: Rank::new(0) }, Algorithm::Tree, 4, 8, Algorithm::Tree),
    (Collective::Reduce { root: Rank::new(0) }, Algorithm::Tree, 4, 7, Algorithm::Direct),
    (Collective::Broadcast { root: Rank::new(0) }, Algorithm::OneShot, 4, 0, Algorithm::Tree),
    (Collective::Barrier, Algorithm::Ring, 4, 0, Algorithm::HalvingDoubling),
];

#[test]
fn an_algorithm_that_does_not_fit_gives_way_to_one_that_does() {
    for (collective, asked, n, limit, expected) in SUBSTITUTES {
        let found = effective(&call(collective, 100), asked, world(n), limit);
        assert_eq!(found, expected, "{collective:?} by {asked}, {n} ranks, {limit} bytes");
        let again = effective(&call(collective, 100), found, world(n), limit);
        assert_eq!(again, found);
        assert!(supports(collective.class(), found));
    }
}

#[test]
fn planning_again_with_enough_capacity_moves_no_vector() {
    let call = call(Collective::AllReduce, 1_000);
    let shape = Shape { rank: Rank::new(3), ranks: world(8) };
    for algorithm in Algorithm::ALL {
        let mut made = Plan::default();
        plan(&call, algorithm, shape, LIMIT, &mut made);
        let (first, places) = (made.clone(), (made.sends.as_ptr(), made.receives.as_ptr()));
        plan(&call, algorithm, shape, LIMIT, &mut made);
        assert_eq!(made, first);
        assert_eq!((made.sends.as_ptr(), made.receives.as_ptr()), places);
    }
}

#[test]
fn names_and_wire_numbers_of_algorithms_survive_a_round_trip() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        assert_eq!(Algorithm::from_wire(algorithm.wire()), Some(algorithm));
    }
    assert_eq!(Algorithm::from_wire(5), None);
    let error = "rings".parse::<Algorithm>().expect_err("no such algorithm");
    let names = "use one of ring, halving-doubling, direct, tree, one-shot";
    assert_eq!(error.to_string(), format!("algorithm 'rings' is not known: {names}"));
}
