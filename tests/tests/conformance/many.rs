//! Long random sequences of calls on one communicator.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Algorithm, ReduceOp};
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::{Pools, hash};
use onepath_tests::seed;
use onepath_tests::world::World;
use onepath_topology::Rank;

const LIMIT: Duration = Duration::from_mins(3);

/// Random calls, all sizes mixed.
fn sequence(transport: TransportKind, ranks: usize, subflows: u16, steps: usize, seed: u64) {
    println!("{ranks} ranks, {transport}, {subflows} subflows: seed {seed}");
    let pools = Arc::new(Pools::new(ranks, 70_000, seed));
    let mut world = World::new("random sequence", ranks, transport).within(LIMIT);
    world.subflows = subflows;
    world.run(|seat| {
        let mut mixed = Mixed::new(seed, Arc::clone(&pools));
        for number in 0..steps {
            let step = mixed.next(ranks);
            seat.note(format_args!("step {number} of seed {seed}: {step}"));
            if let Err(error) = mixed.run(step, &seat.communicator) {
                panic!("{transport}, seed {seed}, step {number}: {error}");
            }
        }
    });
}

#[test]
fn random_sequences_of_calls_are_right_with_any_number_of_subflows() {
    let seed = seed(2);
    for (index, subflows) in (0..).zip([1, 2, 3, 8, 16]) {
        sequence(TransportKind::Tcp, 3, subflows, 150, hash(seed + index));
    }
}

#[test]
fn random_sequences_of_calls_are_right_on_every_transport_without_rdma() {
    let seed = seed(3);
    // RDMA has a machine and a test of its own (`tests/rxe`).
    let here = TransportKind::ALL.into_iter().filter(|&kind| kind != TransportKind::Verbs);
    for (index, transport) in (0..).zip(here) {
        for ranks in [2, 4, 5] {
            sequence(transport, ranks, 2, 250, hash(seed + index * 100 + ranks as u64));
        }
    }
}

#[test]
fn small_and_large_calls_in_turn_keep_their_order() {
    for transport in [TransportKind::Tcp, TransportKind::Local] {
        World::new("small and large in turn", 3, transport).within(LIMIT).run(|seat| {
            let mut buffer = vec![0_i32; 200_003];
            for round in 0..400 {
                let algorithm = Algorithm::ALL[round % Algorithm::ALL.len()];
                let count = [1, 200_003, 7, 65_537, 0, 300][round % 6];
                seat.note(format_args!("round {round}: {count}, {algorithm}"));
                seat.communicator.set_algorithm(Some(algorithm));
                buffer[..count].fill(seat.communicator.rank().number() as i32 + round as i32);
                let part = &mut buffer[..count];
                seat.communicator.all_reduce(part, ReduceOp::Sum).expect("all ranks are there");
                let right = 3 + 3 * round as i32;
                assert!(part.iter().all(|&element| element == right), "round {round}");
            }
        });
    }
}

#[test]
fn handles_that_are_moved_dropped_or_forgotten_leave_the_right_result_at_the_end_of_their_scope() {
    for transport in [TransportKind::Tcp, TransportKind::Local] {
        World::new("fates of handles", 3, transport).within(LIMIT).run(|seat| {
            let me = seat.communicator.rank().number();
            let mut buffers = vec![vec![me; 100_003]; 4];
            for round in 0..20 {
                seat.note(format_args!("round {round}"));
                for buffer in &mut buffers {
                    buffer.fill(me);
                }
                let [moved, dropped, forgotten, kept] = &mut buffers[..] else { unreachable!() };
                let whole = seat.communicator.scope(|scope| {
                    let moved = Box::new(scope.all_reduce(moved, ReduceOp::Sum)?);
                    let _ = scope.all_reduce(dropped, ReduceOp::Sum)?;
                    let _never_dropped =
                        ManuallyDrop::new(scope.all_reduce(forgotten, ReduceOp::Sum)?);
                    let kept = scope.all_reduce(kept, ReduceOp::Sum)?;
                    while !moved.test()? {}
                    let sums = [moved.wait()?, kept.wait()?];
                    Ok(sums.into_iter().flatten().all(|element| *element == 3))
                });
                assert_eq!(whole, Ok(true), "round {round}");
                assert!(buffers.iter().flatten().all(|&element| element == 3), "round {round}");
            }
        });
    }
}

#[test]
fn a_small_message_arrives_while_its_sender_makes_no_further_call() {
    for transport in [TransportKind::Tcp, TransportKind::Local] {
        let arrived = AtomicBool::new(false);
        World::new("send and compute", 2, transport).run(|seat| {
            let communicator = &seat.communicator;
            if communicator.rank().number() == 1 {
                let mut buffer = [0_u8; 1_000];
                communicator.recv(&mut buffer, Rank::new(0)).expect("rank 0 sends");
                assert_eq!(buffer, [7; 1_000]);
                arrived.store(true, Ordering::Relaxed);
                return;
            }
            let start = Instant::now();
            let sent = communicator.scope(|scope| {
                let handle = scope.send(&[7_u8; 1_000], Rank::new(1))?;
                while !arrived.load(Ordering::Relaxed) {
                    assert!(start.elapsed() < Duration::from_secs(20), "nothing was sent");
                    std::thread::yield_now();
                }
                handle.wait().map(|_| ())
            });
            sent.expect("rank 1 receives");
        });
    }
}
