//! What is particular to datagrams: silence, bad links, counters.

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank};
use onepath_transport::TransportError;
use onepath_transport::plan::{After, Plan};
use onepath_transport::proto::ConnectionError;
use onepath_transport::spray::{EntropyChoice, SprayCounters, SprayOptions, SprayTransport};
use support::plans::{all_gather, input, output, pattern, send, store};
use support::rank::{Buffers, HUNG, run};
use support::relays::{Faults, relayed_counted};
use support::sprayed::{boxed, sprayed_through};

#[test]
fn a_peer_that_is_silent_for_too_long_is_named() {
    let give_up_after = Nanos::millis(300);
    let options = SprayOptions { give_up_after, ..SprayOptions::default() };
    let mut transports = sprayed_through(2, options, None, |_, _, address| address);
    // Nobody drives it, but its sockets are open.
    let silent: SprayTransport = transports.pop().expect("two ranks");
    let started = Instant::now();
    run(boxed(transports), |mut end| {
        let mut plan = Plan::default();
        plan.sends.push(send(0, Rank::new(1), 0, input(0, 1 << 20), After::NOTHING));
        let buffers = Buffers::new(vec![1; 1 << 20], 0, 0);
        match end.run(&plan, buffers).expect_err("nobody answers") {
            TransportError::Connection { peer, problem: ConnectionError::Silent { silence } } => {
                assert_eq!(peer, Rank::new(1));
                assert!(silence > give_up_after);
            }
            error => panic!("{error}"),
        }
    });
    assert!(started.elapsed() < HUNG);
    drop(silent);
}

#[test]
fn bad_links_cost_retransmissions_and_nothing_else() {
    const LENGTH: usize = 4 << 20;
    for entropy in [EntropyChoice::RoundRobin, EntropyChoice::PerSubflow] {
        let options = SprayOptions { entropy, ..SprayOptions::default() };
        let (world, counters) = relayed_counted(2, options, None, (Faults::ALL, 77));
        run(world, |mut end| {
            let plan = all_gather(end.rank, 2, LENGTH);
            let mine = pattern(end.rank, 1, LENGTH);
            let done = end.run(&plan, Buffers::new(mine, 2 * LENGTH, 0)).expect("both take part");
            for from in 0..2 {
                let expected = pattern(Rank::from_index(from), 1, LENGTH);
                assert!(done.output[from * LENGTH..][..LENGTH] == expected);
            }
        });
        for count in counters.iter().flat_map(SprayCounters::read) {
            let stats = count.stats;
            println!("{entropy}: {stats:?}");
            assert!(stats.retransmissions > 5 && stats.duplicates > 5, "{stats:?}");
            // A twentieth is lost or damaged; what a late answer costs comes on top.
            assert!(stats.retransmissions * 4 < stats.data_packets, "{stats:?}");
        }
    }
}

#[test]
fn a_send_to_a_rank_that_left_unheard_is_complete_when_the_control_plane_says_so() {
    // No more than a window: nothing is acknowledged.
    const LENGTH: usize = 128 << 10;
    // Takes what rank 1 says and tells nobody.
    let grave = UdpSocket::bind("127.0.0.1:0").expect("loopback is bound");
    let nobody = grave.local_addr().expect("it is bound");
    let through = |from: usize, _: usize, address| if from == 1 { nobody } else { address };
    let transports = sprayed_through(2, SprayOptions::default(), None, through);
    run(boxed(transports), |mut end| {
        let mut plan = Plan::default();
        if end.rank == Rank::new(1) {
            plan.receives.push(store(0, Rank::new(0), 0, output(0, LENGTH), After::NOTHING));
            let done = end.run(&plan, Buffers::new(Vec::new(), LENGTH, 0)).expect("it comes");
            assert!(done.output == vec![7; LENGTH]);
            return;
        }
        plan.sends.push(send(0, Rank::new(1), 0, input(0, LENGTH), After::NOTHING));
        let call = end.post(&plan, Buffers::new(vec![7; LENGTH], 0, 0));
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(500) {
            end.step().expect("silence is borne");
            assert!(!end.table.is_complete(call.slot), "nothing was acknowledged");
        }
        end.transport.peer_left(Rank::new(1), &mut end.table);
        assert!(end.table.is_complete(call.slot));
        end.finish(call).expect("it is complete");
        // Nothing can be sent it any more, and nothing of the old call leaves.
        end.step().expect("nobody wants anything of it");
        let error = end.run(&plan, Buffers::new(vec![7; LENGTH], 0, 0)).expect_err("it has left");
        assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    });
}
