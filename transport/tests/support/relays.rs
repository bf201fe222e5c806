//! Relays between the ranks of a world that lose, repeat, overtake and damage datagrams.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use onepath_transport::proto::Random;
use onepath_transport::spray::{SprayCounters, SprayOptions, SprayTransport};
use socket2::Socket;

use super::sprayed::{boxed, sprayed_through};
use super::worlds::World;

/// How often each thing happens to a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: f64,
    pub(crate) repeated: f64,
    pub(crate) overtaken: f64,
    pub(crate) damaged: f64,
}

impl Faults {
    /// All of them, often.
    pub(crate) const ALL: Self = Self { lost: 0.03, repeated: 0.03, overtaken: 0.1, damaged: 0.02 };
}

/// After so long without a successor, an overtaken datagram goes on alone.
const PATIENCE: Duration = Duration::from_millis(1);

/// A relay ends when nothing has come for so long: its world is over, or hangs.
const OVER: Duration = Duration::from_mins(1);

/// Passes datagrams on from its own address.
struct Relay {
    socket: UdpSocket,
    to: SocketAddr,
    faults: Faults,
    random: Random,
    /// Waits to be overtaken.
    held: Option<Vec<u8>>,
}

impl Relay {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let limit = if self.held.is_some() { PATIENCE } else { OVER };
            self.socket.set_read_timeout(Some(limit)).expect("a time-out can be set");
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.pass(&mut buffer[..length]),
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    panic!("a relay receives nothing more: {error}")
                }
                Err(_) if self.held.is_none() => return,
                Err(_) => self.release(),
            }
        }
    }

    fn pass(&mut self, datagram: &mut [u8]) {
        if self.random.chance(self.faults.lost) {
            return;
        }
        if self.random.chance(self.faults.damaged) && !datagram.is_empty() {
            let bit = self.random.below(8 * datagram.len() as u64) as usize;
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        if self.held.is_none() && self.random.chance(self.faults.overtaken) {
            self.held = Some(datagram.to_vec());
            return;
        }
        self.send(datagram);
        if self.random.chance(self.faults.repeated) {
            self.send(datagram);
        }
        if self.random.chance(0.3) {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.send(&held);
        }
    }

    fn send(&self, datagram: &[u8]) {
        // Full or closed: one more that is lost.
        let _ = self.socket.send_to(datagram, self.to);
    }
}

/// Starts a relay and gives the address that it listens on.
fn relay(to: SocketAddr, faults: Faults, seed: u64) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is bound");
    // Only what `faults` says is to be lost.
    let socket = Socket::from(socket);
    socket.set_recv_buffer_size(4 << 20).expect("a size can be asked for");
    let socket = UdpSocket::from(socket);
    let address = socket.local_addr().expect("a bound socket has an address");
    let relay = Relay { socket, to, faults, random: Random::new(seed), held: None };
    std::thread::spawn(move || relay.run());
    address
}

/// A world with a relay between any two ranks in each direction.
pub(crate) fn relayed(
    ranks: usize,
    options: SprayOptions,
    paths: Option<u32>,
    faults: (Faults, u64),
) -> World {
    relayed_counted(ranks, options, paths, faults).0
}

/// The same, with the counters of each rank.
pub(crate) fn relayed_counted(
    ranks: usize,
    options: SprayOptions,
    paths: Option<u32>,
    (faults, seed): (Faults, u64),
) -> (World, Vec<SprayCounters>) {
    println!("seed {seed}");
    let through =
        |from: usize, to: usize, address| relay(address, faults, seed + (from * ranks + to) as u64);
    let transports = sprayed_through(ranks, options, paths, through);
    let counters = transports.iter().map(SprayTransport::counters).collect();
    (boxed(transports), counters)
}
