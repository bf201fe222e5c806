//! Messages of many chunks, by every algorithm and rank count.

use std::time::Duration;

use onepath_collectives::algorithm::Class;
use onepath_collectives::{DataType, ReduceOp};
use onepath_tests::case::{Case, MAX_OFFSET, is_segmented};
use onepath_tests::oracle::Pools;
use onepath_tests::product;
use onepath_tests::world::World;
use onepath_topology::Rank;

/// Elements a rank: 4 MB of `f32`, several chunks also for a ninth of it.
const ELEMENTS: usize = 1_200_007;

#[test]
fn messages_of_many_chunks_are_right_by_every_algorithm_and_rank_count() {
    for transport in product::TRANSPORTS {
        for ranks in [2, 3, 4, 6, 9] {
            let pools = Pools::new(ranks, ELEMENTS + MAX_OFFSET, 5);
            let world = World::new("large messages", ranks, transport);
            world.within(Duration::from_mins(5)).run(|seat| {
                for (number, (class, algorithm)) in (0..).zip(product::calls()) {
                    let rooted = matches!(class, Class::Broadcast | Class::Reduce);
                    let case = Case {
                        class,
                        algorithm: Some(algorithm),
                        data_type: DataType::F32,
                        op: reduces(class).then_some(ReduceOp::Sum),
                        root: rooted.then(|| Rank::from_index(ranks / 2)),
                        in_place: number % 2 == 0 && class != Class::AllToAll,
                        count: if is_segmented(class) { ELEMENTS / ranks } else { ELEMENTS },
                        number,
                    };
                    seat.note(format_args!("{case}"));
                    if let Err(error) = case.run(&seat.communicator, &pools) {
                        panic!("{transport}: {error}");
                    }
                }
            });
        }
    }
}

fn reduces(class: Class) -> bool {
    matches!(class, Class::AllReduce | Class::ReduceScatter | Class::Reduce)
}
