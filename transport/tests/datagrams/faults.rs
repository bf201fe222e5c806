//! One fault at a time, and what it may cost.

use onepath_topology::{Bandwidth, Bytes, Nanos};
use onepath_transport::proto::congestion::Marking;
use onepath_transport::proto::testing::Outcome;
use onepath_transport::proto::testing::{Faults, Job, Network};
use onepath_transport::proto::{
    Config, CongestionConfig, ConnectionError, EntropyPolicy, MtuConfig,
};

use crate::support::{RATE, config, describe, finish, nscc, pair, share, spoil_all};

const POLICIES: [EntropyPolicy; 5] = [
    EntropyPolicy::PerSubflow { lanes: 4 },
    EntropyPolicy::RoundRobin,
    EntropyPolicy::Random { seed: 5 },
    EntropyPolicy::Burst { packets: 4, seed: 5 },
    EntropyPolicy::Reps { seed: 5 },
];

fn job() -> Job {
    Job { lanes: 4, ..Job::equal(200, 64 << 10) }
}

#[test]
fn a_healthy_single_path_carries_nine_tenths_of_its_rate_and_loses_nothing() {
    let config = config(EntropyPolicy::PerSubflow { lanes: 1 });
    let mut world = pair(&config, &job(), 1, 1, |_, _| {});
    let time = finish(&mut world, Nanos::secs(5), "healthy");
    let share = share(&job(), time, RATE);
    // 1,392 of 1,538 bytes on the wire are payload.
    assert!(share > 0.88, "{share}; {}", describe(&world));
    assert_eq!(world.ends[0].connection.stats().lost, 0);
}

/// Has the paths mark, as REPS and NSCC want it, at about a path's product of rate and delay.
fn mark(network: &mut Network, paths: &[Vec<usize>]) {
    for path in paths.iter().flatten() {
        network.links[*path] = network.links[*path].clone().marking_above(Bytes(8_000));
    }
}

#[test]
fn one_percent_of_random_loss_leaves_more_than_eighty_percent_of_goodput() {
    for congestion in
        [config(POLICIES[1]).congestion, nscc(Marking::Fabric), nscc(Marking::Inferred)]
    {
        for policy in [POLICIES[1], POLICIES[2], POLICIES[4]] {
            let config = Config { congestion, ..config(policy) };
            let healthy = {
                let mut world = pair(&config, &job(), 4, 1, mark);
                finish(&mut world, Nanos::secs(5), "healthy")
            };
            let mut world = pair(&config, &job(), 4, 1, |network, paths| {
                mark(network, paths);
                for path in paths.iter().flatten() {
                    let faults = Faults { loss: 0.01, ..Faults::default() };
                    network.links[*path] = network.links[*path].clone().with(faults);
                }
            });
            let time = finish(&mut world, Nanos::secs(5), "1% loss");
            let share = share(&job(), time, Bandwidth(RATE.0 * 1_392.0 / 1_538.0));
            let what = format!("{policy:?} {congestion:?} healthy {healthy}, lossy {time}");
            println!("goodput at 1% loss {share:.3}: {what}");
            assert!(time.get() * 8 < healthy.get() * 10, "{what}\n{}", describe(&world));
            // Blind random choice with a small window does not fill four paths even without loss.
            let blind = matches!(policy, EntropyPolicy::Random { .. });
            assert!(blind || share > 0.8, "{share}: {what}\n{}", describe(&world));
        }
    }
}

#[test]
fn with_one_of_two_paths_dead_everything_arrives_over_the_other() {
    for policy in POLICIES {
        let config = Config { entropies: 8, ..config(policy) };
        let mut world = pair(&config, &job(), 2, 1, |network, paths| {
            let dead_from = Some(Nanos::millis(3));
            let link = &mut network.links[paths[1][0]];
            *link = link.clone().with(Faults { dead_from, ..Faults::default() });
        });
        let time = finish(&mut world, Nanos::secs(5), &format!("{policy:?}"));
        let ideal = Nanos((job().bytes() as f64 / (RATE.0 / 2.0) * 1e9) as u64);
        println!("dead path, {policy:?}: {time}, {:?}", world.ends[0].retired);
        assert!(world.ends[0].retired.iter().all(|entropy| entropy % 2 == 1), "{policy:?}");
        assert!(!world.ends[0].retired.is_empty(), "{policy:?}");
        assert!(
            time < Nanos(ideal.get() * 3 / 2),
            "{policy:?}: {time}, ideal {ideal}\n{}",
            describe(&world)
        );
    }
}

#[test]
fn reordering_and_duplication_without_loss_cause_few_retransmissions() {
    for policy in POLICIES {
        let mut world = pair(&config(policy), &job(), 4, 1, |network, _| {
            let held = Nanos::micros(20);
            let faults = Faults { reordering: 0.05, duplication: 0.05, held, ..Faults::default() };
            spoil_all(network, faults);
        });
        finish(&mut world, Nanos::secs(5), &format!("{policy:?}"));
        let stats = world.ends[0].connection.stats();
        let again = stats.retransmitted_bytes as f64 / job().bytes() as f64;
        println!("reordering, {policy:?}: {again:.4} sent again");
        assert!(again < 0.1, "{policy:?}: {again}; {stats:?}");
    }
}

#[test]
fn a_larger_mtu_is_found_and_a_path_that_stops_carrying_it_is_survived() {
    let mtu = MtuConfig { safe: 1_232, most: 8_952 };
    let config = Config { mtu, ..config(EntropyPolicy::RoundRobin) };
    let mut world = pair(&config, &job(), 2, 1, |_, _| {});
    finish(&mut world, Nanos::secs(5), "jumbo");
    assert_eq!(world.ends[0].connection.datagram_bytes(), 8_952);
    let mut world = pair(&config, &job(), 2, 1, |network, paths| {
        let link = &mut network.links[paths[1][0]];
        *link = link.clone().with(Faults { mtu: Some(1_500), ..Faults::default() });
    });
    finish(&mut world, Nanos::secs(5), "one path with a small MTU");
}

#[test]
fn a_peer_that_never_answers_is_given_up_with_its_silence() {
    let config = config(EntropyPolicy::RoundRobin);
    let mut world = pair(&config, &job(), 2, 1, |network, _| {
        spoil_all(network, Faults { dead_from: Some(Nanos(0)), ..Faults::default() });
    });
    let outcome = world.run(Nanos::secs(60));
    let Outcome::Failed { end: 0, error: ConnectionError::Silent { silence } } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(silence > config.give_up_after && silence < Nanos::secs(6), "{silence}");
}

#[test]
fn a_receiver_that_posts_late_gets_no_more_than_the_credit_and_then_everything() {
    let config = config(EntropyPolicy::RoundRobin);
    let job = Job { open_at: vec![Nanos::millis(50); 200], ..job() };
    let mut world = pair(&config, &job, 2, 1, |_, _| {});
    assert_eq!(world.run(Nanos::millis(49)), Outcome::TimeOver);
    let stats = world.ends[0].connection.stats();
    let sent = stats.data_bytes - stats.retransmitted_bytes;
    assert!(sent <= u64::from(config.early_bytes), "{sent}");
    assert!(sent + (64 << 10) > u64::from(config.early_bytes), "{sent}");
    let time = finish(&mut world, Nanos::secs(5), "late");
    assert!(time < Nanos::millis(62), "{time}");
}

#[test]
fn an_outage_shorter_than_the_patience_is_survived_however_often_pieces_were_sent_in_it() {
    for policy in POLICIES {
        let few = Job { lanes: 4, ..Job::equal(4, 8 << 10) };
        let mut world = pair(&config(policy), &few, 4, 1, |network, _| {
            spoil_all(network, Faults { dead_from: Some(Nanos(0)), ..Faults::default() });
        });
        assert_eq!(world.run(Nanos::secs(4)), Outcome::TimeOver, "{policy:?}");
        spoil_all(&mut world.network, Faults::default());
        finish(&mut world, Nanos::secs(5), &format!("{policy:?}"));
    }
}

#[test]
fn a_dead_path_is_no_reason_to_send_small_datagrams_over_the_others() {
    let mtu = MtuConfig { safe: 1_232, most: 8_952 };
    for policy in POLICIES {
        // A window of several datagrams on each path, all of which are lost at once.
        let congestion = CongestionConfig::Fixed { window: 512 << 10 };
        let config = Config { mtu, congestion, ..config(policy) };
        let mut world = pair(&config, &job(), 4, 1, |network, paths| {
            let dead_from = Some(Nanos::millis(3));
            let link = &mut network.links[paths[1][0]];
            *link = link.clone().with(Faults { dead_from, ..Faults::default() });
        });
        finish(&mut world, Nanos::secs(5), &format!("{policy:?}"));
        assert_eq!(world.ends[0].connection.datagram_bytes(), 8_952, "{policy:?}");
    }
}

#[test]
fn a_network_that_stops_carrying_large_datagrams_gets_small_ones() {
    let mtu = MtuConfig { safe: 1_232, most: 8_952 };
    for policy in POLICIES {
        let config = Config { mtu, ..config(policy) };
        let mut world = pair(&config, &job(), 4, 1, |_, _| {});
        assert_eq!(world.run(Nanos::millis(3)), Outcome::TimeOver, "{policy:?}");
        assert_eq!(world.ends[0].connection.datagram_bytes(), 8_952, "{policy:?}");
        spoil_all(&mut world.network, Faults { mtu: Some(1_500), ..Faults::default() });
        finish(&mut world, Nanos::secs(1), &format!("{policy:?}"));
        assert_eq!(world.ends[0].connection.datagram_bytes(), 1_232, "{policy:?}");
    }
}
