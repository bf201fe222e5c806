//! The state machines of probing: answers and the time go in, probes and timers come out.
//!
//! | file | what it holds |
//! |---|---|
//! | `flight` | probes in flight: their number, time-outs, tries |
//! | `order` | the order in which local ports are tried |
//! | `stopping` | how many answers are enough |
//! | `trace` | the hops seen from one port |
//! | `search` | the search of the paths to one destination |
//! | `discover` | that of all destinations |
//! | `verify` | asking again about the ports of a table |

mod discover;
mod flight;
mod order;
mod search;
mod stopping;
#[cfg(test)]
mod tests;
mod trace;
mod verify;

use core::net::{IpAddr, SocketAddr};

use onepath_topology::Nanos;

use super::ProbeConfig;
use super::table::{Refusal, Rejection};
use flight::{Expired, Flight};

pub use discover::Discover;
pub use stopping::answers_to_exclude;
pub use verify::{Check, Moved, PortOfPath, Recheck};

/// Finds the paths to destinations.
pub type Prober = Session<Discover>;
/// Checks whether the ports of a table still take their paths.
pub type Verifier = Session<Recheck>;

/// Names a probe in flight; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// A packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To be named with the answer.
    pub id: ProbeId,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// The local port.
    pub port: u16,
    /// Time to live, or hop limit.
    pub hop: u8,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It expired at this router.
    Hop(IpAddr),
    /// The destination itself answered, in whatever way.
    Reached,
    /// The local port is in use.
    PortBusy,
    /// A router, or the destination's, does not forward it.
    Rejected(Rejection),
    /// The operating system does not let us send; another probe would fare no better.
    Refused(Refusal),
    /// No descriptors or memory are left for more probes in flight.
    Exhausted(Refusal),
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Naming the path of a port: its place in the strategy's order of ports.
    Name(u32),
    /// Naming the last router before the destination, over the path of this index.
    Leaf(u32),
}

/// What a strategy wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index of the destination.
    pub destination: u32,
    /// What for.
    pub purpose: Purpose,
    /// The local port.
    pub port: u16,
    /// The hop.
    pub hop: u8,
}

/// What a strategy is told, after all tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The router at this hop, and how long the answer took.
    Hop(IpAddr, Nanos),
    /// The destination is not farther than this hop.
    Reached,
    /// No answer to any try.
    Silent,
    /// The local port is in use.
    PortBusy,
    /// A router does not forward it.
    Rejected(Rejection),
    /// Nothing can be sent.
    Refused(Refusal),
}

/// Decides what to ask and when enough is known.
pub trait Strategy {
    /// What to ask next, if anything can be asked before more outcomes are known.
    fn next_target(&mut self) -> Option<Target>;

    /// Whether an outcome of this target would still be of use.
    fn wants(&self, target: &Target) -> bool;

    /// What was found.
    fn outcome(&mut self, target: Target, outcome: Outcome);

    /// Whether enough is known.
    fn is_finished(&self) -> bool;
}

/// A strategy with its probes in flight.
///
/// The owner sends what [`poll_transmit`](Self::poll_transmit) gives until that is `None`, waits
/// for answers until [`poll_timeout`](Self::poll_timeout), tells
/// [`handle_answer`](Self::handle_answer) or [`handle_timeout`](Self::handle_timeout), forgets what
/// [`poll_abandoned`](Self::poll_abandoned) gives, and begins again until
/// [`is_finished`](Self::is_finished).
#[derive(Debug)]
pub struct Session<S> {
    flight: Flight,
    strategy: S,
    destinations: Vec<SocketAddr>,
}

impl<S: Strategy> Session<S> {
    fn with(config: &ProbeConfig, strategy: S, destinations: Vec<SocketAddr>) -> Self {
        Self { flight: Flight::new(config), strategy, destinations }
    }

    /// The next probe to be sent now.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Probe> {
        if self.strategy.is_finished() || !self.flight.has_room() {
            return None;
        }
        let (target, tried) = loop {
            let (target, tried) = self.next()?;
            if self.flight.may_launch(target, tried) {
                break (target, tried);
            }
        };
        let id = self.flight.launch(now, target, tried);
        let destination = self.destinations[target.destination as usize];
        Some(Probe { id, destination, port: target.port, hop: target.hop })
    }

    fn next(&mut self) -> Option<(Target, u8)> {
        while let Some((target, tried)) = self.flight.next_again() {
            if self.strategy.wants(&target) {
                return Some((target, tried));
            }
        }
        self.strategy.next_target().map(|target| (target, 0))
    }

    /// Takes the answer to a probe; one that comes too late is ignored.
    pub fn handle_answer(&mut self, now: Nanos, id: ProbeId, answer: Answer) {
        let Some((target, round_trip)) = self.flight.land(now, id) else { return };
        let outcome = match answer {
            Answer::Hop(address) => Outcome::Hop(address, round_trip),
            Answer::Reached => Outcome::Reached,
            Answer::PortBusy => Outcome::PortBusy,
            Answer::Rejected(rejection) => Outcome::Rejected(rejection),
            Answer::Refused(refusal) => Outcome::Refused(refusal),
            Answer::Exhausted(refusal) => {
                if self.flight.shrink(target) {
                    return;
                }
                Outcome::Refused(refusal)
            }
        };
        self.strategy.outcome(target, outcome);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; none while nothing is in
    /// flight.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.flight.first_deadline()
    }

    /// Gives up the probes whose time is over.
    pub fn handle_timeout(&mut self, now: Nanos) {
        while let Some(expired) = self.flight.expire(now) {
            if let Expired::Silent(target) = expired {
                self.strategy.outcome(target, Outcome::Silent);
            }
        }
    }

    /// The next probe that nobody waits for any more: its socket can be closed.
    pub fn poll_abandoned(&mut self) -> Option<ProbeId> {
        self.flight.next_abandoned()
    }

    /// Whether enough is known.
    pub fn is_finished(&self) -> bool {
        self.strategy.is_finished()
    }

    /// How many probes were sent so far.
    pub fn probes(&self) -> u64 {
        self.flight.launched()
    }
}
