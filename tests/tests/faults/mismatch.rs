//! Ranks that make different calls.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Algorithm, CollectiveError, Communicator, ReduceOp};
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_topology::Rank;

type Call = fn(&Communicator) -> Result<(), CollectiveError>;

/// What rank 1 and the others call, and how each of them names its call.
struct Difference {
    odd: (Call, &'static str),
    usual: (Call, &'static str),
}

const SUM: (Call, &str) =
    (|c| c.all_reduce(&mut [1_u32; 500], ReduceOp::Sum), "all_reduce of 500 u32, sum, ring");

const DIFFERENCES: [Difference; 7] = [
    Difference {
        odd: (
            |c| c.all_reduce(&mut [1_u32; 501], ReduceOp::Sum),
            "all_reduce of 501 u32, sum, ring",
        ),
        usual: SUM,
    },
    Difference {
        odd: (
            |c| c.all_reduce(&mut [1_i32; 500], ReduceOp::Sum),
            "all_reduce of 500 i32, sum, ring",
        ),
        usual: SUM,
    },
    Difference {
        odd: (
            |c| c.all_reduce(&mut [1_u32; 500], ReduceOp::Max),
            "all_reduce of 500 u32, max, ring",
        ),
        usual: SUM,
    },
    Difference {
        odd: (
            |c| c.broadcast(&mut [1_u32; 500], Rank::new(0)),
            "broadcast of 500 u32, root 0, ring",
        ),
        usual: SUM,
    },
    Difference {
        odd: (|c| c.broadcast(&mut [1_u32; 9], Rank::new(1)), "broadcast of 9 u32, root 1, ring"),
        usual: (|c| c.broadcast(&mut [1_u32; 9], Rank::new(0)), "broadcast of 9 u32, root 0, ring"),
    },
    Difference {
        odd: (
            |c| {
                c.set_algorithm(Some(Algorithm::Direct));
                c.all_reduce(&mut [1_u32; 500], ReduceOp::Sum)
            },
            "all_reduce of 500 u32, sum, direct",
        ),
        usual: SUM,
    },
    // No byte is exchanged: each waits for the other to begin.
    Difference {
        odd: (
            |c| c.reduce_in_place(&mut [1_u32; 9], ReduceOp::Sum, Rank::new(1)),
            "reduce of 9 u32, sum, root 1, ring",
        ),
        usual: (|c| c.broadcast(&mut [1_u32; 9], Rank::new(1)), "broadcast of 9 u32, root 1, ring"),
    },
];

/// Runs one difference and checks that each rank has an error that shows both calls, whether it
/// makes one of them, and is told by another, or not.
fn check(transport: TransportKind, ranks: usize, difference: &Difference) {
    let (odd, usual) = (difference.odd, difference.usual);
    // A rank may leave a barrier while others are still in it, whom a mismatch would find there.
    let all_left = Arc::new(Barrier::new(ranks));
    let errors = World::new(odd.1, ranks, transport).run(move |seat| {
        let communicator = &seat.communicator;
        for _ in 0..3 {
            communicator.barrier().expect("all ranks are there");
        }
        all_left.wait();
        communicator.set_algorithm(Some(Algorithm::Ring));
        let is_odd = communicator.rank() == Rank::new(1);
        let call = if is_odd { odd.0 } else { usual.0 };
        seat.note(format_args!("{}", if is_odd { odd.1 } else { usual.1 }));
        let start = Instant::now();
        // A rank that has its result already finds out at the next call.
        let result = call(communicator).and_then(|()| communicator.barrier());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        result.expect_err("the calls differ")
    });
    for (rank, error) in errors.iter().enumerate() {
        let text = error.to_string();
        println!("{transport}, {ranks} ranks, rank {rank}: {text}");
        let CollectiveError::Mismatch(mismatch) = error else {
            panic!("{transport}, {ranks} ranks, rank {rank}: {text}");
        };
        assert_eq!(mismatch.number(), 3, "rank {rank}: {text}");
        assert!(text.contains(odd.1) && text.contains(usual.1), "rank {rank}: {text}");
        assert!(mismatch.calls().iter().any(|(one, _)| *one == Rank::new(1)), "{rank}: {text}");
    }
}

#[test]
fn calls_that_differ_are_named_with_both_values() {
    for transport in TRANSPORTS {
        for ranks in [2, 3, 5] {
            for difference in &DIFFERENCES {
                check(transport, ranks, difference);
            }
        }
    }
}

#[test]
fn calls_in_another_order_are_named_with_both_values() {
    for transport in TRANSPORTS {
        let errors = World::new("another order", 2, transport).run(|seat| {
            let communicator = &seat.communicator;
            communicator.set_algorithm(Some(Algorithm::Ring));
            let (mut ints, mut floats) = ([1_u32; 70], [1_f32; 30]);
            let result = if communicator.rank() == Rank::new(0) {
                let first = communicator.all_reduce(&mut ints, ReduceOp::Sum);
                first.and_then(|()| communicator.all_reduce(&mut floats, ReduceOp::Min))
            } else {
                let first = communicator.all_reduce(&mut floats, ReduceOp::Min);
                first.and_then(|()| communicator.all_reduce(&mut ints, ReduceOp::Sum))
            };
            result.expect_err("the order differs")
        });
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let both = |text: &String| {
            text.contains("all_reduce of 70 u32, sum") && text.contains("all_reduce of 30 f32, min")
        };
        assert!(texts.iter().all(both), "{transport}: {texts:?}");
    }
}

#[test]
fn a_transfer_of_another_length_or_type_is_named_with_both_values() {
    for transport in TRANSPORTS {
        let errors = World::new("transfers differ", 2, transport).run(|seat| {
            let communicator = &seat.communicator;
            let result = if communicator.rank() == Rank::new(0) {
                let sent = communicator.send(&[1_u8; 100], Rank::new(1));
                sent.and_then(|()| communicator.barrier())
            } else {
                communicator.recv(&mut [0_i8; 99], Rank::new(0))
            };
            result.expect_err("the transfers differ")
        });
        for error in errors {
            let text = error.to_string();
            assert!(text.contains("rank 0 calls send/recv of 100 u8"), "{transport}: {text}");
            assert!(text.contains("rank 1 calls send/recv of 99 i8"), "{transport}: {text}");
        }
    }
}
