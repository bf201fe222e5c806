//! Peers that do something else, or leave.

use std::sync::Barrier;
use std::time::Instant;

use onepath_topology::Rank;
use onepath_transport::TransportError;
use onepath_transport::flow::MatchError;
use onepath_transport::plan::{After, Plan};
use onepath_transport::wire::Signature;

use crate::support::plans::{all_gather, input, output, pattern, send, store};
use crate::support::rank::{Buffers, HUNG, run};
use crate::support::worlds::World;

/// Every rank failed; at least one found the mismatch, the others that or the closed peer.
fn assert_mismatch(
    results: Vec<Result<Buffers, TransportError>>,
    expected: fn(&MatchError) -> bool,
) {
    let mut found = 0;
    for result in results {
        match result.expect_err("the calls differ") {
            TransportError::Mismatch { problem, .. } => {
                assert!(expected(&problem), "{problem}");
                found += 1;
            }
            TransportError::Closed { .. } => {}
            error => panic!("{error}"),
        }
    }
    assert!(found > 0, "nobody found the mismatch");
}

pub(crate) fn different_calls_are_found_by_the_receiver(make: impl Fn(usize) -> World) {
    let results = run(make(2), |mut end| {
        end.signature = Signature([7, end.rank.index() as u64]);
        let plan = all_gather(end.rank, 2, 1_000);
        end.run(&plan, Buffers::new(vec![0; 1_000], 2_000, 0))
    });
    assert_mismatch(results, |p| matches!(p, MatchError::CallsDiffer { .. }));
}

pub(crate) fn different_sizes_are_found_by_the_receiver(make: impl Fn(usize) -> World) {
    let results = run(make(2), |mut end| {
        let length = 1_000 + end.rank.index();
        let plan = all_gather(end.rank, 2, length);
        end.run(&plan, Buffers::new(vec![0; length], 2 * length, 0))
    });
    assert_mismatch(results, |p| matches!(p, MatchError::ChunkUnknown { .. }));
}

fn one_way(rank: Rank, length: usize) -> (Plan, Buffers) {
    let mut plan = Plan::default();
    let other = Rank::new(1 - rank.number());
    if rank.index() == 0 {
        plan.sends.push(send(0, other, 0, input(0, length), After::NOTHING));
        (plan, Buffers::new(pattern(rank, 3, length), 0, 0))
    } else {
        plan.receives.push(store(0, other, 0, output(0, length), After::NOTHING));
        (plan, Buffers::new(Vec::new(), length, 0))
    }
}

pub(crate) fn a_cancelled_peer_ends_receiving_as_closed(make: impl Fn(usize) -> World) {
    run(make(2), |mut end| {
        if end.rank.index() == 0 {
            end.transport.cancel();
            return;
        }
        let (plan, buffers) = one_way(end.rank, 100);
        let error = end.run(&plan, buffers).expect_err("the peer has left");
        assert!(
            matches!(error, TransportError::Closed { peer } if peer == Rank::new(0)),
            "{error}"
        );
    });
}

pub(crate) fn a_cancelled_peer_ends_sending_as_closed(make: impl Fn(usize) -> World) {
    run(make(2), |mut end| {
        if end.rank.index() == 1 {
            end.transport.cancel();
            return;
        }
        // More than sockets keep for a peer that does not read.
        let (plan, buffers) = one_way(end.rank, 32 << 20);
        let error = end.run(&plan, buffers).expect_err("the peer has left");
        assert!(
            matches!(error, TransportError::Closed { peer } if peer == Rank::new(1)),
            "{error}"
        );
    });
}

pub(crate) fn what_was_sent_before_a_clean_exit_arrives(make: impl Fn(usize) -> World) {
    let left = Barrier::new(2);
    run(make(2), |mut end| {
        let (plan, buffers) = one_way(end.rank, 20_000);
        if end.rank.index() == 0 {
            end.run(&plan, buffers).expect("it fits in the ring or socket");
            end.transport.cancel();
            left.wait();
        } else {
            left.wait();
            let done = end.run(&plan, buffers).expect("everything was sent");
            assert!(done.output == pattern(Rank::new(0), 3, 20_000));
        }
    });
}

/// The sleep has no end of its own: a lost wake-up is found as a hang.
pub(crate) fn a_sleeping_rank_is_woken_by_a_peer_that_leaves(make: impl Fn(usize) -> World) {
    let started = Instant::now();
    for _ in 0..10 {
        let ready = Barrier::new(2);
        run(make(2), |mut end| {
            end.nap = 2 * HUNG;
            ready.wait();
            if end.rank.index() == 0 {
                end.transport.cancel();
            } else {
                let (plan, buffers) = one_way(end.rank, 100);
                let result = end.run(&plan, buffers);
                assert!(matches!(result, Err(TransportError::Closed { .. })));
            }
        });
    }
    assert!(started.elapsed() < HUNG, "a wake-up was lost");
}
