//! Connections that do not belong to the job.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use onepath_collectives::bootstrap::Rejection;
use onepath_collectives::control::Event;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

#[test]
fn a_thousand_random_headers_are_counted_and_harm_nobody() {
    let seed = 5;
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let endpoints = endpoints(2);
    let sessions = open(&endpoints, |_, _| ());
    let counters = endpoints[0].counters();
    for _ in 0..1_000 {
        let mut bytes = vec![0; random.random_range(1..100)];
        random.fill(&mut bytes[..]);
        let mut stream = TcpStream::connect(endpoints[0].addresses()[0]).expect("connect");
        // The endpoint may have closed before the last byte.
        let _ = stream.write_all(&bytes);
    }
    let turned_away = || {
        let others = [&counters.closed_early, &counters.displaced, &counters.silent];
        count(&counters.garbage) + others.into_iter().map(count).sum::<u64>()
    };
    wait_for("all are turned away", LIMIT, || (turned_away() == 1_000).then_some(()));
    assert!(count(&counters.garbage) > 900, "{counters:?}");
    assert!(sessions.iter().all(|session| !session.control.failure_flag()));
    open(&endpoints, |_, config| config.session = 3);
}

#[test]
fn silent_connections_make_room_for_a_rank_and_are_turned_away_in_time() {
    let endpoints = endpoints(2);
    let address = endpoints[0].addresses()[0];
    let connect = |_| TcpStream::connect(address).expect("connect");
    let silent: Vec<TcpStream> = (0..80).map(connect).collect();
    open(&endpoints, |_, _| ());
    let counters = endpoints[0].counters();
    assert!(count(&counters.displaced) >= 16, "{counters:?}");
    wait_for("all are turned away", LIMIT, || {
        (count(&counters.displaced) + count(&counters.silent) == 80).then_some(())
    });
    drop(silent);
}

#[test]
fn a_rank_with_a_wrong_secret_is_counted_and_told_and_harms_nobody() {
    let good = endpoints(2);
    let sessions = open(&good, |_, _| ());
    let stranger = endpoint_with(secret("another secret than that"));
    let mut config = config(1, addresses(&good));
    config.session = 9;
    config.deadline = Duration::from_secs(3);
    let error = stranger.open(config).expect_err("not trusted").to_string();
    assert!(error.contains("the same job secret"), "{error}");
    assert!(count(&good[0].counters().wrong_secret) >= 1);
    let is_rejection =
        |event| matches!(event, Event::ConnectionRejected { reason: Rejection::WrongSecret, .. });
    assert!(good[0].events().try_iter().any(is_rejection));
    assert!(sessions.iter().all(|session| !session.control.failure_flag()));
}
