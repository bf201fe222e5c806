//! Connections on a network, and virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use onepath_topology::Nanos;

use crate::proto::ConnectionError;
use crate::proto::packet::Entropy;
use crate::proto::random::Random;

use super::endpoint::Endpoint;
use super::network::{Network, Route};

/// Bytes of the headers below ours (Ethernet with preamble and gap, IPv4, UDP).
const LOWER_HEADERS: usize = 66;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was sent and received.
    Done {
        /// When.
        at: Nanos,
    },
    /// A connection failed.
    Failed {
        /// Index of the end.
        end: usize,
        /// Why.
        error: ConnectionError,
    },
    /// The time was over.
    TimeOver,
}

#[derive(Debug)]
struct Flight {
    to: usize,
    entropy: Entropy,
    hop: usize,
    marked: bool,
    bytes: Vec<u8>,
}

/// Ends `2i` and `2i + 1` are connected.
#[derive(Debug)]
pub struct World {
    /// The links.
    pub network: Network,
    /// All ends.
    pub ends: Vec<Endpoint>,
    routes: Vec<Route>,
    random: Random,
    now: Nanos,
    /// Time and order of each datagram under way, with its index in `flights`.
    queue: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    order: u64,
}

impl World {
    /// An empty one; the seed is that of the faults.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            ends: Vec::new(),
            routes: Vec::new(),
            random: Random::new(seed),
            now: Nanos(0),
            queue: BinaryHeap::new(),
            flights: Vec::new(),
            free: Vec::new(),
            order: 0,
        }
    }

    /// Adds a connection; `there` is the way from the first end to the second.
    pub fn connect(&mut self, first: Endpoint, second: Endpoint, there: Route, back: Route) {
        self.ends.extend([first, second]);
        self.routes.extend([there, back]);
    }

    /// The virtual time.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Runs until everything is done, something failed, or the time is over.
    pub fn run(&mut self, until: Nanos) -> Outcome {
        for end in 0..self.ends.len() {
            self.transmit(end);
        }
        while !self.ends.iter().all(Endpoint::is_done) {
            let Some(now) = self.next_time().filter(|&at| at <= until) else {
                return Outcome::TimeOver;
            };
            self.now = self.now.max(now);
            if let Err((end, error)) = self.step() {
                return Outcome::Failed { end, error };
            }
        }
        Outcome::Done { at: self.now }
    }

    fn next_time(&self) -> Option<Nanos> {
        let arrival = self.queue.peek().map(|Reverse((at, _, _))| *at);
        let timers = self.ends.iter().flat_map(|end| {
            [end.connection.poll_timeout(), end.next_opening(self.now)].into_iter().flatten()
        });
        timers.chain(arrival).min()
    }

    fn step(&mut self) -> Result<(), (usize, ConnectionError)> {
        while let Some(&Reverse((at, _, index))) = self.queue.peek() {
            if at > self.now {
                break;
            }
            self.queue.pop();
            if let Some(flight) = self.flights[index].take() {
                self.free.push(index);
                self.arrive(flight)?;
            }
        }
        for end in 0..self.ends.len() {
            let now = self.now;
            let endpoint = &mut self.ends[end];
            endpoint.open_early(now).map_err(|error| (end, error))?;
            if endpoint.connection.poll_timeout().is_some_and(|at| at <= now) {
                endpoint.connection.handle_timeout(now).map_err(|error| (end, error))?;
                self.transmit(end);
            }
        }
        Ok(())
    }

    fn arrive(&mut self, flight: Flight) -> Result<(), (usize, ConnectionError)> {
        let from = flight.to ^ 1;
        if self.routes[from].link(flight.entropy, flight.hop).is_some() {
            self.enter(flight);
            return Ok(());
        }
        let (end, now) = (flight.to, self.now);
        let received = self.ends[end].receive(now, flight.marked, &flight.bytes);
        received.map_err(|error| (end, error))?;
        self.transmit(end);
        Ok(())
    }

    fn transmit(&mut self, end: usize) {
        self.ends[end].feed();
        while let Some(transmit) = self.ends[end].connection.poll_transmit(self.now) {
            let bytes = self.ends[end].datagram(&transmit);
            assert_eq!(bytes.len(), transmit.packet.datagram_bytes());
            let (to, entropy) = (end ^ 1, transmit.entropy);
            self.enter(Flight { to, entropy, hop: 0, marked: false, bytes });
            self.ends[end].feed();
        }
    }

    /// Sends a datagram into its next link.
    fn enter(&mut self, mut flight: Flight) {
        let Some(link) = self.routes[flight.to ^ 1].link(flight.entropy, flight.hop) else {
            return;
        };
        let size = flight.bytes.len() + LOWER_HEADERS;
        let passage = self.network.links[link].enter(self.now, size, &mut self.random);
        let Some(passage) = passage else { return };
        flight.hop += 1;
        flight.marked |= passage.marked;
        if let Some(at) = passage.again {
            let bytes = flight.bytes.clone();
            self.fly(at, Flight { bytes, ..flight });
        }
        if passage.corrupted {
            let bit = self.random.below(flight.bytes.len() as u64 * 8) as usize;
            flight.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.fly(passage.at, flight);
    }

    fn fly(&mut self, at: Nanos, flight: Flight) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        self.flights[index] = Some(flight);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, index)));
    }
}
