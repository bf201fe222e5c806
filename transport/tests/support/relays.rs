//! Relays between the ranks of a world that lose, repeat, overtake and damage datagrams.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use onepath_transport::flow::{FlowTable, Slot};
use onepath_transport::plan::Plan;
use onepath_transport::proto::Random;
use onepath_transport::spray::{SprayCounters, SprayOptions, SprayTransport};
use onepath_transport::{Activity, Transport, TransportError};

use super::sprayed::sprayed_through;
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

/// Passes datagrams on from its own address.
struct Relay {
    socket: UdpSocket,
    to: SocketAddr,
    faults: Faults,
    random: Random,
    /// Waits to be overtaken.
    held: Option<Vec<u8>>,
    ended: Arc<AtomicBool>,
}

impl Relay {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.ended.load(Ordering::Relaxed) {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.pass(&mut buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.release(),
                Err(error) => panic!("a relay receives nothing more: {error}"),
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

/// The relays of a world; they end with it.
#[derive(Debug, Default)]
struct Relays {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relays {
    fn add(&mut self, to: SocketAddr, faults: Faults, seed: u64) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (random, ended) = (Random::new(seed), Arc::clone(&self.ended));
        let relay = Relay { socket, to, faults, random, held: None, ended };
        self.threads.push(std::thread::spawn(move || relay.run()));
        address
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A relay that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A transport whose relays live as long as it does.
struct Relayed {
    transport: SprayTransport,
    _relays: Arc<Relays>,
}

impl Transport for Relayed {
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        self.transport.assign(plan, chunk_bytes);
    }

    fn post(&mut self, table: &FlowTable, slot: Slot) {
        self.transport.post(table, slot);
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        self.transport.poll(table)
    }

    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        self.transport.wait(table, limit);
    }

    fn cancel(&mut self) {
        self.transport.cancel();
    }
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
    let mut relays = Relays::default();
    let through = |from: usize, to: usize, address| {
        relays.add(address, faults, seed + (from * ranks + to) as u64)
    };
    let transports = sprayed_through(ranks, options, paths, through);
    let relays = Arc::new(relays);
    let wrap = |transport| Relayed { transport, _relays: Arc::clone(&relays) };
    let counters = transports.iter().map(SprayTransport::counters).collect();
    let world = transports.into_iter().map(|t| Box::new(wrap(t)) as Box<dyn Transport>);
    (world.collect(), counters)
}
