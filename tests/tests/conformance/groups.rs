//! Communicators made from others.

use std::io::Write as _;
use std::time::Duration;

use onepath_collectives::communicator::TransportKind;
use onepath_collectives::{Communicator, ReduceOp};
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_topology::Rank;

fn members(communicator: &Communicator, mine: u32) -> Vec<u32> {
    let mut all = vec![0; communicator.world_size().get()];
    communicator.all_gather(&[mine], &mut all).expect("all ranks are there");
    all
}

#[test]
fn odd_and_even_ranks_split_and_work_beside_each_other_and_their_parent() {
    for transport in TRANSPORTS {
        World::new("split by parity", 5, transport).run(|seat| {
            let parent = &seat.communicator;
            let me = parent.rank().number();
            let half = parent.split(Some(me % 2), 0).expect("split").expect("a color was said");
            let expected: Vec<u32> = (0..5).filter(|rank| rank % 2 == me % 2).collect();
            assert_eq!(members(&half, me), expected);
            for round in 0..50 {
                let mut sum = vec![me; 5_003];
                half.all_reduce(&mut sum, ReduceOp::Sum).expect("all ranks are there");
                assert_eq!(sum[round], expected.iter().sum::<u32>());
                parent.all_reduce(&mut sum, ReduceOp::Sum).expect("all ranks are there");
                assert_eq!(sum[round], 3 * 6 + 2 * 4);
            }
        });
    }
}

#[test]
fn a_split_numbers_ranks_by_key_and_then_by_old_rank() {
    World::new("split by key", 6, TransportKind::Tcp).run(|seat| {
        let me = seat.communicator.rank().number();
        // 0..6 with keys 2 1 0 2 1 0.
        let reordered = seat.communicator.split(Some(7), 2 - me % 3).expect("split");
        let reordered = reordered.expect("a color was said");
        assert_eq!(members(&reordered, me), [2, 5, 1, 4, 0, 3]);
        let again = reordered.split(Some(0), reordered.rank().number()).expect("split");
        assert_eq!(members(&again.expect("a color was said"), me), [2, 5, 1, 4, 0, 3]);
    });
}

#[test]
fn a_rank_without_a_color_gets_no_communicator_and_one_alone_works_alone() {
    World::new("split with none", 4, TransportKind::Local).run(|seat| {
        let me = seat.communicator.rank().number();
        let color = [None, Some(0), Some(1), Some(1)][me as usize];
        let part = seat.communicator.split(color, 0).expect("split");
        assert_eq!(part.is_some(), me != 0);
        if let Some(part) = part {
            let mut sum = [me; 3];
            part.all_reduce(&mut sum, ReduceOp::Sum).expect("all ranks are there");
            assert_eq!(sum, if me == 1 { [1; 3] } else { [5; 3] });
        }
        seat.communicator.barrier().expect("the parent goes on");
    });
}

#[test]
fn a_dropped_part_leaves_its_parent_working() {
    World::new("dropped part", 3, TransportKind::Auto).run(|seat| {
        for round in 0..10 {
            let key = seat.communicator.rank().number();
            let part = seat.communicator.split(Some(0), key).expect("split").expect("color");
            let mut copy = [part.rank().number() + round];
            part.broadcast(&mut copy, Rank::new(2)).expect("all ranks are there");
            assert_eq!(copy, [2 + round]);
        }
        seat.communicator.barrier().expect("the parent goes on");
    });
}

#[test]
fn all_ranks_may_shrink_without_a_failure_and_stay_the_same() {
    World::new("shrink without failure", 3, TransportKind::Tcp).run(|seat| {
        let me = seat.communicator.rank().number();
        let again = seat.communicator.shrink(Duration::from_secs(20)).expect("all are there");
        assert_eq!(members(&again, me), [0, 1, 2]);
    });
}

#[test]
fn a_world_on_the_ipv6_loopback_address_works() {
    let port = match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => onepath_tests::world::free_port(),
        Err(error) => {
            return drop(writeln!(std::io::stderr(), "skipped: no IPv6 loopback here: {error}"));
        }
    };
    let sums: Vec<u32> = std::thread::scope(|scope| {
        let rank = |rank| {
            move || {
                let builder = onepath_tests::world::builder(rank, 2, port).expect("builder");
                let builder = builder.rendezvous(&format!("[::1]:{port}")).expect("address");
                let builder = builder.transport(TransportKind::Tcp);
                let communicator = builder.build().expect("both ranks join");
                let mut sum = [rank as u32 + 1];
                communicator.all_reduce(&mut sum, ReduceOp::Sum).expect("both ranks are there");
                sum[0]
            }
        };
        let threads = [0, 1].map(|number| scope.spawn(rank(number)));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(sums, [3, 3]);
}
