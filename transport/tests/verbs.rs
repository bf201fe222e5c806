//! What is particular to RDMA: keys, receive requests and credits.
//!
//! These need devices: `tests/rxe/verbs/faults` runs them in the machine of `tests/rxe`. That a
//! sender beyond the receive requests gets an error after its retries is shown by the example
//! `verbs_pingpong`, where nothing keeps it from that.

mod support;

use std::time::{Duration, Instant};

use onepath_topology::Rank;
use onepath_transport::TransportError;
use onepath_transport::plan::{After, Plan};
use onepath_transport::verbs::CompletionError;
use onepath_transport::verbs::transport::{Hello, Operation, VerbsCounters, VerbsProblem};
use support::plans::{adding, input, output, pattern, ring_all_reduce, send, store, sum_of};
use support::rank::{Buffers, run};
use support::verbs::{options, verbs_through};

/// Rank 0 sends `length` bytes to rank 1.
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

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_wrong_key_is_named_with_rank_lane_and_operation_and_the_other_side_ends_too() {
    let wrong = |from: Rank, _: Rank, mut hello: Hello| {
        if from == Rank::new(1) {
            hello.region.key ^= 0x5a5a;
        }
        hello
    };
    let (world, _) = verbs_through(&options(), wrong);
    let errors = run(world, |mut end| {
        let (plan, buffers) = one_way(end.rank, 1 << 20);
        end.chunk_bytes = 16 << 10;
        let error = end.run(&plan, buffers).expect_err("the key is wrong");
        println!("rank {}: {error}", end.rank);
        error
    });
    let TransportError::Verbs { peer, problem } = &errors[0] else { panic!("{}", errors[0]) };
    assert_eq!(*peer, Rank::new(1));
    let VerbsProblem::Failed { lane, operation, status } = &**problem else { panic!("{problem}") };
    assert_eq!((*operation, *status), (Operation::Write, CompletionError::RemoteAccess));
    assert!(lane.lane < 2, "{lane}");
    let text = errors[0].to_string();
    assert!(["rank 1", "lane ", "RDMA write"].iter().all(|part| text.contains(part)), "{text}");
    let (TransportError::Verbs { peer, .. } | TransportError::Closed { peer }) = &errors[1] else {
        panic!("{}", errors[1]);
    };
    assert_eq!(*peer, Rank::new(0));
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_peer_that_does_not_poll_for_seconds_stops_the_sender_and_all_arrives() {
    const LENGTH: usize = 6 << 20;
    const LATE: Duration = Duration::from_secs(5);
    let options = options();
    let most = u64::from(options.lanes()) * u64::from(options.slots()) * (32 << 10);
    let (world, counters) = verbs_through(&options, |_, _, hello| hello);
    run(world, |mut end| {
        end.chunk_bytes = 31 << 10;
        let (plan, buffers) = one_way(end.rank, LENGTH);
        if end.rank == Rank::new(1) {
            std::thread::sleep(LATE);
            let sent: u64 = counters[0].read().iter().map(|count| count.bytes).sum();
            println!("{sent} of {LENGTH} bytes were sent while nobody took them");
            assert!(sent > most / 2 && sent <= most, "{sent} bytes of {most} in slots");
            let done = end.run(&plan, buffers).expect("they arrive");
            assert!(done.output == pattern(Rank::new(0), 3, LENGTH));
        } else {
            let start = Instant::now();
            end.run(&plan, buffers).expect("they leave");
            assert!(start.elapsed() >= LATE / 2, "it did not wait for slots");
        }
    });
    let bytes: u64 = counters[0].read().iter().map(|count| count.bytes).sum();
    assert_eq!(bytes, LENGTH as u64, "nothing was sent twice");
    for count in counters.iter().flat_map(VerbsCounters::read) {
        assert_eq!((count.deaths, count.resends), (0, 0), "{count:?}");
    }
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn both_may_be_late_by_turns_and_every_sum_is_right() {
    const ELEMENTS: usize = 40_000;
    let (world, counters) = verbs_through(&options(), |_, _, hello| hello);
    run(world, |mut end| {
        end.kernel = Some(adding(2));
        end.chunk_bytes = 4 << 10;
        for round in 0..8 {
            if round % 2 == end.rank.index() {
                std::thread::sleep(Duration::from_millis(700));
            }
            let inputs: Vec<Vec<u8>> =
                (0..2).map(|r| pattern(Rank::from_index(r), round, 8 * ELEMENTS)).collect();
            let plan = ring_all_reduce(end.rank, 2, ELEMENTS);
            let buffers = Buffers::new(inputs[end.rank.index()].clone(), 8 * ELEMENTS, 0);
            let done = end.run(&plan, buffers).expect("lateness is no failure");
            assert!(done.output == sum_of(&inputs, 2), "round {round}");
        }
    });
    for count in counters.iter().flat_map(VerbsCounters::read) {
        assert_eq!(count.deaths, 0, "{count:?}");
    }
}
