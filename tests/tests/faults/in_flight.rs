//! Failures are found by callers that never wait.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use onepath_collectives::{CollectiveError, Communicator, ReduceOp};
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_topology::Rank;

const ODD: Rank = Rank::new(1);

/// Starts an all-reduce and asks for it, until it ends or fails.
fn test_only(communicator: &Communicator) -> Result<(), CollectiveError> {
    let start = Instant::now();
    let mut buffer = vec![1_u32; 500_000];
    communicator.scope(|scope| {
        let handle = scope.all_reduce(&mut buffer, ReduceOp::Sum)?;
        while !handle.test()? {
            assert!(start.elapsed() < Duration::from_secs(20), "neither ended nor failed");
            std::thread::yield_now();
        }
        Ok(())
    })
}

#[test]
fn a_time_out_is_found_by_a_rank_that_only_tests_its_call() {
    for transport in TRANSPORTS {
        let world = World::new("time-out while testing", 3, transport);
        let world = world.adjusted(|builder, _| builder.operation_timeout(Duration::from_secs(5)));
        let others_failed = Arc::new(Barrier::new(3));
        let errors = world.run(move |seat| {
            let communicator = &seat.communicator;
            communicator.barrier().expect("all ranks are there");
            if communicator.rank() == ODD {
                others_failed.wait();
            }
            let error = test_only(communicator).expect_err("rank 1 is too late");
            if communicator.rank() != ODD {
                others_failed.wait();
            }
            error
        });
        for error in errors {
            let CollectiveError::TimedOut { late, .. } = &error else {
                panic!("{transport}: {error}")
            };
            assert_eq!(late, &[ODD], "{transport}: {error}");
        }
    }
}

#[test]
fn an_abort_is_found_by_a_rank_that_only_makes_progress() {
    for transport in TRANSPORTS {
        // A rank may leave the barrier while others are in it, who would find the abort there.
        let all_left = Arc::new(Barrier::new(3));
        let errors = World::new("abort while computing", 3, transport).run(move |seat| {
            let communicator = &seat.communicator;
            communicator.barrier().expect("all ranks are there");
            all_left.wait();
            if communicator.rank() == ODD {
                communicator.abort();
            }
            let start = Instant::now();
            let endless = communicator.scope(|scope| -> Result<(), _> {
                loop {
                    scope.progress()?;
                    assert!(start.elapsed() < Duration::from_secs(20), "no abort is noticed");
                    std::thread::yield_now();
                }
            });
            endless.expect_err("aborted")
        });
        for error in errors {
            assert_eq!(error, CollectiveError::Aborted { by: ODD }, "{transport}");
        }
    }
}
