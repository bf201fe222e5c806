//! What is particular to datagrams: silence, bad links, counters.

mod support;

use std::time::Instant;

use onepath_topology::{Nanos, Rank};
use onepath_transport::TransportError;
use onepath_transport::plan::{After, Plan};
use onepath_transport::proto::ConnectionError;
use onepath_transport::spray::{EntropyChoice, SprayCounters, SprayOptions, SprayTransport};
use support::plans::{all_gather, input, pattern, send};
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
