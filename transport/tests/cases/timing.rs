//! Posting late, sleeping and waking.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use onepath_topology::Rank;
use onepath_transport::Activity;
use onepath_transport::plan::{After, Plan};

use crate::support::plans::{all_gather, input, output, pattern, send, store};
use crate::support::rank::{Buffers, HUNG, run};
use crate::support::worlds::World;

pub(crate) fn data_waits_for_a_receiver_that_posts_late(make: impl Fn(usize) -> World) {
    const LENGTH: usize = 300_000;
    let sent = Barrier::new(2);
    run(make(2), |mut end| {
        let plan = all_gather(end.rank, 2, LENGTH);
        let buffers = || Buffers::new(pattern(end.rank, 0, LENGTH), 2 * LENGTH, 0);
        let call = if end.rank.index() == 0 {
            let buffers = buffers();
            let call = end.post(&plan, buffers);
            while end.step().expect("nobody fails") == Activity::Moved {}
            sent.wait();
            call
        } else {
            // Polls without an operation must neither lose nor refuse what comes.
            for _ in 0..100 {
                end.step().expect("nobody fails");
            }
            sent.wait();
            let buffers = Buffers::new(pattern(end.rank, 0, LENGTH), 2 * LENGTH, 0);
            end.post(&plan, buffers)
        };
        let done = end.finish(call).expect("both ranks take part");
        let other = 1 - end.rank.index();
        let expected = pattern(Rank::from_index(other), 0, LENGTH);
        assert!(done.output[other * LENGTH..][..LENGTH] == expected);
    });
}

pub(crate) fn a_wait_with_nothing_to_come_ends_by_its_limit(make: impl Fn(usize) -> World) {
    let waited = Barrier::new(2);
    run(make(2), |mut end| {
        let plan = all_gather(end.rank, 2, 8);
        if end.rank.index() == 0 {
            let call = end.post(&plan, Buffers::new(vec![1; 8], 16, 0));
            end.nap = Duration::from_millis(3);
            for _ in 0..5 {
                end.step().expect("nobody fails");
            }
            waited.wait();
            end.finish(call).expect("both ranks take part");
        } else {
            waited.wait();
            end.run(&plan, Buffers::new(vec![1; 8], 16, 0)).expect("both ranks take part");
        }
    });
}

/// Sleeps have no end of their own here: a lost wake-up is found as a hang.
pub(crate) fn a_sleeping_rank_is_woken_by_bytes_and_by_room(make: impl Fn(usize) -> World) {
    let started = Instant::now();
    run(make(2), |mut end| {
        end.nap = 2 * HUNG;
        for round in 0..300 {
            // Now and then more than any ring or socket takes, so that senders sleep as well.
            let length = if round % 60 == 59 { 6 << 20 } else { 1 + 16 * round };
            let plan = all_gather(end.rank, 2, length);
            let buffers = Buffers::new(vec![round as u8; length], 2 * length, 0);
            end.run(&plan, buffers).expect("both ranks take part");
        }
    });
    assert!(started.elapsed() < HUNG, "a wake-up was lost");
}

/// Rank 1 forwards to rank 2 what comes from rank 0, sleeping without an end of its own.
pub(crate) fn a_gate_opened_by_another_peer_wakes_the_flow_behind_it(
    make: impl Fn(usize) -> World,
) {
    const LENGTH: usize = 400_000;
    let started = Instant::now();
    run(make(3), |mut end| {
        end.nap = 2 * HUNG;
        let me = end.rank.index();
        let (next, previous) = (Rank::from_index((me + 1) % 3), Rank::from_index((me + 2) % 3));
        let whole = output(0, LENGTH);
        let mut plan = Plan::default();
        if me == 0 {
            plan.sends.push(send(0, next, 0, input(0, LENGTH), After::NOTHING));
            plan.receives.push(store(2, previous, 0, whole, After::NOTHING));
        } else {
            plan.receives.push(store(me as u32 - 1, previous, 0, whole, After::NOTHING));
            plan.sends.push(send(me as u32, next, 0, whole, After::receive(0)));
        }
        for round in 0..20 {
            let first = pattern(Rank::new(0), round, LENGTH);
            let mine = if me == 0 { first.clone() } else { Vec::new() };
            let done = end.run(&plan, Buffers::new(mine, LENGTH, 0)).expect("all take part");
            assert!(done.output == first);
        }
    });
    assert!(started.elapsed() < HUNG, "a wake-up was lost");
}
