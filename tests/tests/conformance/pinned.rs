//! Calls over connections pinned to paths.

use std::sync::Arc;
use std::time::Duration;

use onepath_collectives::communicator::{Builder, TransportKind};
use onepath_collectives::{DataType, ReduceOp};
use onepath_tests::case::MAX_OFFSET;
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::{Pools, hash};
use onepath_tests::pinned::pinning;
use onepath_tests::product;
use onepath_tests::seed;
use onepath_tests::world::World;
use onepath_topology::Rank;
use onepath_topology::assign::Scheme;
use onepath_transport::tcp::pinned::Sharing;

const LIMIT: Duration = Duration::from_mins(10);

type Adjust = fn(Builder, Rank) -> Builder;

/// The three ways to use paths, by the names that the bench gives them, and without assignment.
const WAYS: [(&str, Adjust); 4] = [
    ("split-line", |b, _| b.pinning(pinning(3, Some(Scheme::Line), Sharing::Static))),
    ("split-equal", |b, _| b.pinning(pinning(4, Some(Scheme::Equal), Sharing::Static))),
    ("split", |b, _| b.pinning(pinning(4, Some(Scheme::Line), Sharing::Shared))),
    ("unassigned", |b, _| b.pinning(pinning(2, None, Sharing::Shared))),
];

fn world(name: &str, ranks: usize, adjust: Adjust) -> World {
    World::new(name, ranks, TransportKind::Tcp).within(LIMIT).adjusted(adjust)
}

#[test]
fn collectives_over_pinned_connections_are_right() {
    let seed = seed(21);
    println!("seed {seed}");
    for ((name, adjust), ranks) in WAYS.into_iter().zip([2, 3, 5, 4]) {
        let cases = product::all(ranks, seed);
        let length = product::longest(ranks) + MAX_OFFSET;
        world(name, ranks, adjust).run(|seat| {
            for data_type in DataType::ALL {
                let pools = Pools::new(ranks, length, seed);
                for case in cases.iter().filter(|case| case.data_type == data_type) {
                    seat.note(format_args!("{case}"));
                    if let Err(error) = case.run(&seat.communicator, &pools) {
                        panic!("{name}: {error}");
                    }
                }
            }
        });
    }
}

#[test]
fn random_sequences_of_calls_over_pinned_connections_are_right() {
    let seed = seed(22);
    println!("seed {seed}");
    for ((name, adjust), ranks) in WAYS.into_iter().zip([5, 4, 3, 2]) {
        let pools = Arc::new(Pools::new(ranks, 70_000, seed));
        let seed = hash(seed + ranks as u64);
        world(name, ranks, adjust).run(|seat| {
            let mut mixed = Mixed::new(seed, Arc::clone(&pools));
            for number in 0..150 {
                let step = mixed.next(ranks);
                seat.note(format_args!("step {number} of seed {seed}: {step}"));
                if let Err(error) = mixed.run(step, &seat.communicator) {
                    panic!("{name}, seed {seed}, step {number}: {error}");
                }
            }
        });
    }
}

#[test]
fn a_direct_all_reduce_loads_the_paths_to_each_leaf_alike() {
    const BYTES: usize = 6 << 20;
    let (name, adjust) = WAYS[0];
    let counts = world(name, 6, adjust).run(|seat| {
        let algorithm = Some(onepath_collectives::Algorithm::Direct);
        seat.communicator.set_algorithm(algorithm);
        let before = seat.communicator.path_counts();
        let mut buffer = vec![1_u8; BYTES];
        seat.communicator.all_reduce(&mut buffer, ReduceOp::Sum).expect("all are there");
        let after = seat.communicator.path_counts();
        (0..3)
            .map(|path| {
                let bytes = after.iter().zip(&before).filter(|(count, _)| count.path.0 == path);
                bytes.map(|(a, b)| a.bytes - b.bytes).sum::<u64>()
            })
            .collect::<Vec<u64>>()
    });
    // Two phases, five peers below three leaves (one of them with this rank), chunks of 32 KiB.
    let ideal = 2 * 5 * BYTES as u64 / 6 / 3;
    for loads in counts {
        assert!(loads.iter().all(|load| load.abs_diff(ideal) <= 6 * (32 << 10)), "{loads:?}");
    }
}

#[test]
fn parts_and_survivors_of_a_pinned_communicator_are_pinned_too() {
    let (name, adjust) = WAYS[2];
    world(name, 4, adjust).run(|seat| {
        let rank = seat.communicator.rank().index() as u32;
        let part = seat.communicator.split(Some(rank % 2), rank).expect("split").expect("a part");
        let mut one = [1_u64; 1_000];
        part.all_reduce(&mut one, ReduceOp::Sum).expect("both are there");
        assert_eq!((one[999], part.path_counts().len()), (2, 4));
        drop(part);
        let all = seat.communicator.shrink(LIMIT).expect("all survive");
        all.all_reduce(&mut one, ReduceOp::Sum).expect("all are there");
        assert_eq!((one[0], all.path_counts().len()), (8, 12));
    });
}
