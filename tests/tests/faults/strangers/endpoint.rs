//! Strangers who say nothing, or who do not know the secret.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use onepath_collectives::bootstrap::{AuthError, Counters, Side, Trust, authenticate_within};
use onepath_collectives::communicator::TransportKind;
use onepath_tests::world::World;

use super::{secret, under_attack, with_secret};

/// Ties a proof to the listeners of the control plane; a constant of the protocol.
const CONTEXT: &[u8] = b"onepath endpoint";

#[test]
fn connections_that_say_nothing_are_closed_after_some_seconds_and_counted() {
    let world = World::new("silent connections", 3, TransportKind::Tcp);
    under_attack(&world, |target| {
        let silent: Vec<TcpStream> = target
            .addresses
            .iter()
            .map(|address| TcpStream::connect(address).expect("somebody listens"))
            .collect();
        let counter = |counters: &Counters| counters.silent.load(Relaxed);
        let count = target.wait_for("silence", silent.len() as u64, counter);
        assert_eq!(count, silent.len() as u64);
        for mut stream in silent {
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
            let end = stream.read(&mut [0; 64]);
            assert!(matches!(end, Ok(0)), "{end:?}");
        }
    });
}

#[test]
fn a_flood_of_silent_connections_makes_room_for_the_jobs_own() {
    let world = World::new("flood", 3, TransportKind::Local).adjusted(with_secret);
    under_attack(&world, |target| {
        let mut held = Vec::new();
        for number in 0..600 {
            let address = target.addresses[number % target.addresses.len()];
            held.push(TcpStream::connect(address).expect("somebody listens"));
        }
        // Each of three listeners holds few of its two hundred.
        target.wait_for("displaced", 300, |counters| counters.displaced.load(Relaxed));
        // The job makes new communicators, whose connections must come through.
        let admitted = || target.count(|counters| counters.admitted.load(Relaxed));
        let goal = admitted() + 6;
        target.wait_for("admitted", goal, |counters| counters.admitted.load(Relaxed));
    });
}

fn knock(address: SocketAddr, trust: &Trust) -> Result<(), AuthError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
        let limit = Duration::from_secs(30);
        authenticate_within(limit, &mut stream, Side::Connector, trust, CONTEXT).await
    })
}

#[test]
fn a_connection_with_a_wrong_secret_or_none_is_refused_and_counted_on_every_port() {
    let world = World::new("wrong secret", 3, TransportKind::Tcp).adjusted(with_secret);
    under_attack(&world, |target| {
        let wrong = Trust::Secret(secret("the secret of that job"));
        for address in &target.addresses {
            for trust in [&wrong, &Trust::LoopbackOnly] {
                let result = knock(*address, trust);
                assert!(matches!(result, Err(AuthError::WrongSecret)), "{result:?}");
            }
        }
        let least = 2 * target.addresses.len() as u64;
        let count = target.wait_for("wrong secret", least, |c| c.wrong_secret.load(Relaxed));
        assert_eq!(count, least);
    });
}
