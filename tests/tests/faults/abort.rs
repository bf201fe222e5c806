//! One rank ends the communicator for all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use onepath_collectives::{CollectiveError, ReduceOp};
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_topology::Rank;

#[test]
fn an_abort_ends_the_call_on_every_other_rank_naming_who_aborted() {
    for transport in TRANSPORTS {
        // A rank may leave the barrier while others are in it, who would find the abort there.
        let all_left = Arc::new(Barrier::new(4));
        let errors = World::new("abort", 4, transport).run(move |seat| {
            let communicator = &seat.communicator;
            communicator.barrier().expect("all ranks are there");
            all_left.wait();
            if communicator.rank() == Rank::new(2) {
                std::thread::sleep(Duration::from_millis(50));
                communicator.abort();
                return communicator.barrier().expect_err("aborted");
            }
            let start = Instant::now();
            let mut buffer = vec![1_u8; 1_000_000];
            let error = communicator.all_reduce(&mut buffer, ReduceOp::Max).expect_err("aborted");
            assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
            assert_eq!(communicator.barrier().expect_err("it stays so"), error);
            assert!(communicator.flight_record().contains("all_reduce of 1000000 u8, max"));
            error
        });
        for error in errors {
            assert_eq!(error, CollectiveError::Aborted { by: Rank::new(2) }, "{transport}");
        }
    }
}

#[test]
fn all_ranks_may_go_on_by_shrinking_after_an_abort() {
    World::new("shrink after abort", 3, TRANSPORTS[0]).run(|seat| {
        let me = seat.communicator.rank();
        if me == Rank::new(0) {
            seat.communicator.abort();
        } else {
            seat.communicator.barrier().expect_err("aborted");
        }
        let again = seat.communicator.shrink(Duration::from_secs(20)).expect("all are there");
        let mut sum = [me.number()];
        again.all_reduce(&mut sum, ReduceOp::Sum).expect("all ranks are there");
        assert_eq!((sum, again.world_size().get()), ([3], 3));
    });
}

#[test]
fn a_rank_that_shrinks_while_others_are_in_a_call_aborts_it_and_is_taken_for_dead_by_nobody() {
    for transport in TRANSPORTS {
        let all_left = Arc::new(Barrier::new(3));
        World::new("shrink in good health", 3, transport).run(move |seat| {
            let communicator = seat.communicator;
            communicator.barrier().expect("all ranks are there");
            all_left.wait();
            if communicator.rank() != Rank::new(1) {
                let error = communicator.barrier().expect_err("rank 1 makes another call");
                assert_eq!(error, CollectiveError::Aborted { by: Rank::new(1) }, "{transport}");
            }
            let again = communicator.shrink(Duration::from_secs(20)).expect("all are there");
            assert_eq!(again.world_size().get(), 3);
        });
    }
}

#[test]
fn a_panic_among_calls_in_flight_aborts_them_on_every_rank() {
    for transport in TRANSPORTS {
        let errors = World::new("panic in a scope", 3, transport).run(|seat| {
            let communicator = &seat.communicator;
            let mut buffer = vec![1_u8; 3_000_000];
            if communicator.rank() != Rank::new(2) {
                return communicator.all_reduce(&mut buffer, ReduceOp::Sum).expect_err("aborted");
            }
            let body = AssertUnwindSafe(|| {
                communicator.scope(|scope| -> Result<(), CollectiveError> {
                    let _handle = scope.all_reduce(&mut buffer, ReduceOp::Sum)?;
                    panic!("the caller's own")
                })
            });
            assert!(catch_unwind(body).is_err());
            communicator.barrier().expect_err("aborted")
        });
        for error in errors {
            assert_eq!(error, CollectiveError::Aborted { by: Rank::new(2) }, "{transport}");
        }
    }
}

#[test]
fn a_rank_that_leaves_is_named_by_those_that_still_need_it() {
    for transport in TRANSPORTS {
        let errors = World::new("a rank leaves", 3, transport).run(|seat| {
            let communicator = seat.communicator;
            communicator.barrier().expect("all ranks are there");
            if communicator.rank() == Rank::new(1) {
                return None;
            }
            let error = communicator.barrier().expect_err("rank 1 is gone").to_string();
            // Whoever leaves because of it would be named by the last one.
            Some((communicator, error))
        });
        for (_, error) in errors.into_iter().flatten() {
            assert!(error.starts_with("rank 1 has left the communicator"), "{transport}: {error}");
        }
    }
}

#[test]
fn ranks_that_leave_after_the_same_last_call_disturb_nobody() {
    for transport in TRANSPORTS {
        for round in 0..30 {
            World::new("leaving", 3, transport).run(|seat| {
                let mut buffer = vec![seat.communicator.rank().number(); 1 + round * 3_001];
                let done = seat.communicator.all_reduce(&mut buffer, ReduceOp::Sum);
                done.expect("leaving after the last call is in good order");
                assert_eq!(buffer[round * 3_001], 3);
            });
        }
    }
}
