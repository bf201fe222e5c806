//! Random bytes, and headers that look right at first.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use onepath_collectives::bootstrap::Counters;
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::World;
use onepath_tests::{number, seed};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::{Target, under_attack, with_secret};

const HEADERS: u64 = 100_000;
const HEADER_BYTES: usize = 64;

/// Headers on one connection: mostly some hundred, now and then a long stream.
pub(super) fn headers_of_a_connection(random: &mut StdRng) -> u64 {
    if random.random_bool(0.02) { 5_000 } else { random.random_range(1..500) }
}

/// Random bytes behind the beginning of a chunk header, a handshake, a frame, or nothing.
pub(super) fn header(random: &mut StdRng) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    random.fill_bytes(&mut header);
    let start: &[u8] = match random.random_range(0..6) {
        0 => b"\x4f\x50\x01\x01",
        1 => b"ONEPATH\x1a\x01\x00\x01",
        2 => b"ONEPATH\x1a",
        3 => &[29, 0, 0, 0, 1, 1],
        4 => &[0xFF; 8],
        _ => &[],
    };
    header[..start.len()].copy_from_slice(start);
    header
}

/// Sends headers until they are sent or the other side has had enough; how many it took.
pub(super) fn send(address: SocketAddr, headers: u64, random: &mut StdRng) -> u64 {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let mut bytes = Vec::with_capacity(headers as usize * HEADER_BYTES);
    for _ in 0..headers {
        bytes.extend_from_slice(&header(random));
    }
    let mut sent = 0;
    for part in bytes.chunks(16 * HEADER_BYTES) {
        if stream.write_all(part).is_err() {
            break;
        }
        sent += part.len() / HEADER_BYTES;
    }
    sent as u64
}

fn attack(target: &Target, headers: u64, seed: u64) {
    use std::sync::atomic::Ordering::Relaxed;
    let mut random = StdRng::seed_from_u64(seed);
    let (before, admitted) =
        (target.count(Counters::all_rejected), target.count(|c| c.admitted.load(Relaxed)));
    let (mut taken, mut connections) = (0, 0);
    while taken < headers {
        let address = target.addresses[connections as usize % target.addresses.len()];
        taken += send(address, headers_of_a_connection(&mut random), &mut random);
        connections += 1;
    }
    let rejected =
        target.wait_for("garbage", before + connections, Counters::all_rejected) - before;
    println!("{taken} random headers on {connections} connections; {rejected} rejected");
    assert_eq!(rejected, connections, "{:?}", target.counters);
    let garbage = target.count(|counters| counters.garbage.load(Relaxed));
    assert!(garbage * 2 > connections, "{garbage} of {connections} are counted as garbage");
    let now = target.count(|c| c.admitted.load(Relaxed));
    println!("{} connections of the job admitted meanwhile", now - admitted);
}

#[test]
fn random_headers_on_every_listening_port_are_counted_and_harm_no_job() {
    let (seed, headers) = (seed(21), number("ONEPATH_GARBAGE_HEADERS").unwrap_or(HEADERS));
    println!("seed {seed}");
    for (index, transport) in (0..).zip(TRANSPORTS) {
        let limit = Duration::from_secs(120 + headers / 500);
        let world = World::new("garbage", 3, transport).within(limit).adjusted(with_secret);
        under_attack(&world, |target| attack(target, headers / 2, seed + index));
    }
}
