//! All cases of one rank count and transport on one communicator.

use std::time::{Duration, Instant};

use onepath_collectives::DataType;
use onepath_collectives::communicator::TransportKind;
use onepath_tests::case::{Case, MAX_OFFSET};
use onepath_tests::oracle::Pools;
use onepath_tests::product;
use onepath_tests::seed;
use onepath_tests::world::World;

/// How long all cases of one world may take; ten times what is usual.
const LIMIT: Duration = Duration::from_mins(20);

#[test]
fn every_collective_type_operation_algorithm_rank_count_and_size_is_right_on_both_transports() {
    let seed = seed(1);
    let mut total = 0;
    let start = Instant::now();
    println!("seed {seed}");
    for ranks in product::RANKS {
        for transport in product::TRANSPORTS {
            let cases = product::all(ranks, seed);
            let world = Instant::now();
            run_world(transport, ranks, &cases, seed);
            println!("{ranks} ranks, {transport}: {} cases in {:?}", cases.len(), world.elapsed());
            total += cases.len();
        }
    }
    println!("{total} cases in {:?}", start.elapsed());
}

/// Cases of one type after the other, so that one type's data is in memory at a time.
fn run_world(transport: TransportKind, ranks: usize, cases: &[Case], seed: u64) {
    let length = product::longest(ranks) + MAX_OFFSET;
    let by_type = |data_type| cases.iter().filter(move |case| case.data_type == data_type);
    World::new("conformance", ranks, transport).within(LIMIT).run(|seat| {
        for data_type in DataType::ALL {
            let pools = Pools::new(ranks, length, seed);
            for case in by_type(data_type) {
                seat.note(format_args!("{case}"));
                if let Err(error) = case.run(&seat.communicator, &pools) {
                    panic!("{transport}: {error}");
                }
            }
        }
    });
}
