//! Send and receive, and several calls in flight.

use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{ArgumentError, CollectiveError, Communicator, ReduceOp};
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_topology::Rank;

fn filled(count: usize, salt: usize) -> Vec<u64> {
    (0..count).map(|i| (i * 31 + salt * 1_000_003) as u64).collect()
}

fn neighbours(communicator: &Communicator) -> (Rank, Rank) {
    let (rank, ranks) = (communicator.rank().index(), communicator.world_size().get());
    (Rank::from_index((rank + ranks - 1) % ranks), Rank::from_index((rank + 1) % ranks))
}

#[test]
fn a_ring_of_sends_and_receives_of_any_size_gives_each_rank_what_the_one_before_sent() {
    for transport in TRANSPORTS {
        for ranks in [2, 3, 5] {
            World::new("ring of transfers", ranks, transport).run(|seat| {
                let communicator = &seat.communicator;
                let (before, after) = neighbours(communicator);
                for count in [0, 1, 13, 4_099, 100_003, 2_000_003, 1] {
                    seat.note(format_args!("{count} elements"));
                    let sent = filled(count, communicator.rank().index());
                    let mut received = vec![0; count];
                    let result = communicator.scope(|scope| {
                        let outgoing = scope.send(&sent, after)?;
                        scope.recv(&mut received, before)?.wait()?;
                        outgoing.wait()?;
                        Ok(())
                    });
                    result.expect("all ranks are there");
                    assert!(received == filled(count, before.index()), "{count} elements");
                }
            });
        }
    }
}

#[test]
fn transfers_of_a_pair_keep_their_order_in_both_directions() {
    for transport in TRANSPORTS {
        World::new("order of transfers", 2, transport).run(|seat| {
            let communicator = &seat.communicator;
            let me = communicator.rank().index();
            let peer = Rank::from_index(1 - me);
            for round in 0..200 {
                let count = [3, 70_001, 1][round % 3];
                let mut buffer = filled(count, round * 2 + me);
                if me == 0 {
                    communicator.send(&buffer, peer).expect("the peer receives");
                    communicator.recv(&mut buffer, peer).expect("the peer sends");
                } else {
                    let mut received = vec![0; count];
                    communicator.recv(&mut received, peer).expect("the peer sends");
                    communicator.send(&buffer, peer).expect("the peer receives");
                    buffer = received;
                }
                assert!(buffer == filled(count, round * 2 + 1 - me), "round {round}");
            }
        });
    }
}

#[test]
fn transfers_between_two_ranks_do_not_disturb_collectives_of_all() {
    for transport in TRANSPORTS {
        World::new("transfers and collectives", 4, transport).run(|seat| {
            let communicator = &seat.communicator;
            let me = communicator.rank().index();
            for round in 0..50 {
                let mut all = vec![me as u64; 10_007];
                let mut received = vec![0; 501];
                let sent = filled(501, round);
                let result = communicator.scope(|scope| {
                    let reduction = scope.all_reduce(&mut all, ReduceOp::Sum)?;
                    match me {
                        1 => drop(scope.send(&sent, Rank::new(3))?.wait()?),
                        3 => drop(scope.recv(&mut received, Rank::new(1))?.wait()?),
                        _ => {}
                    }
                    reduction.wait().map(|_| ())
                });
                result.expect("all ranks are there");
                assert!(all.iter().all(|&element| element == 6));
                assert!(me != 3 || received == sent);
            }
        });
    }
}

#[test]
fn calls_in_flight_of_all_kinds_end_in_any_order_of_waiting() {
    for transport in TRANSPORTS {
        World::new("calls in flight", 3, transport).run(|seat| {
            let communicator = &seat.communicator;
            let me = communicator.rank().index() as u64;
            for round in 0..30_u64 {
                let mut sum = vec![me + round; 40_009];
                let mut copy = vec![me; 1_009];
                let (part, mut gathered) = ([me * 10; 100], vec![0; 300]);
                let (parts, mut mine) = (vec![me + 1; 21], vec![0; 7]);
                let (swapped_in, mut swapped) = ([me * 100, me * 100 + 1, me * 100 + 2], [0; 3]);
                let result = communicator.scope(|scope| {
                    let first = scope.all_reduce(&mut sum, ReduceOp::Sum)?;
                    let second = scope.broadcast(&mut copy, Rank::new(1))?;
                    let third = scope.all_gather(&part, &mut gathered)?;
                    // Never waited for by itself.
                    let _ = scope.reduce_scatter(&parts, &mut mine, ReduceOp::Prod)?;
                    let last = scope.all_to_all(&swapped_in, &mut swapped)?;
                    last.wait()?;
                    while !second.test()? {}
                    first.wait()?;
                    third.wait()?;
                    Ok(())
                });
                result.expect("all ranks are there");
                assert!(sum.iter().all(|&element| element == 3 + 3 * round));
                assert!(copy.iter().all(|&element| element == 1));
                assert!((0..300).all(|i| gathered[i] == (i as u64 / 100) * 10));
                assert_eq!(mine, [6; 7]);
                assert_eq!(swapped, [me, 100 + me, 200 + me]);
            }
        });
    }
}

#[test]
fn one_call_too_many_in_flight_is_refused_and_the_others_end_well() {
    World::new("too many in flight", 2, TransportKind::Tcp).run(|seat| {
        let mut buffers = vec![[1_u8; 8]; 10_000];
        let result = seat.communicator.scope(|scope| {
            for (started, buffer) in buffers.iter_mut().enumerate() {
                match scope.all_reduce(buffer, ReduceOp::Sum) {
                    Ok(_) => {}
                    Err(CollectiveError::Argument(ArgumentError::TooManyInFlight)) => {
                        return Ok(started);
                    }
                    Err(error) => return Err(error),
                }
            }
            panic!("10,000 calls in flight are no limit");
        });
        let started = result.expect("all ranks are there");
        assert!(buffers[..started].iter().all(|buffer| *buffer == [2; 8]), "{started}");
        assert!(buffers[started..].iter().all(|buffer| *buffer == [1; 8]), "{started}");
        seat.communicator.barrier().expect("the communicator is as it was");
    });
}

#[test]
fn wrong_arguments_are_refused_with_their_values_and_nothing_is_sent() {
    World::new("wrong arguments", 3, TransportKind::Local).run(|seat| {
        let communicator = &seat.communicator;
        let texts = [
            communicator.all_reduce_into(&[1_u8; 4], &mut [0; 5], ReduceOp::Sum),
            communicator.reduce_scatter(&[1_u8; 7], &mut [0; 2], ReduceOp::Sum),
            communicator.all_gather_in_place(&mut [1_u8; 4]),
            communicator.broadcast(&mut [1_u8], Rank::new(3)),
            communicator.send(&[1_u8], communicator.rank()),
        ]
        .map(|result| result.expect_err("wrong").to_string());
        assert_eq!(texts[0], "output has 5 elements where 4 are needed");
        assert_eq!(texts[1], "input has 7 elements where 6 are needed");
        assert_eq!(texts[2], "buffer has 4 elements, not a multiple of the 3 ranks");
        assert_eq!(texts[3], "root 3 is not a rank of this communicator of 3");
        assert!(texts[4].contains("cannot send to itself"), "{}", texts[4]);
        communicator.barrier().expect("the communicator is as it was");
    });
}
