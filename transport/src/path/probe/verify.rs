//! Asking again about the ports of a table: one probe for each port and hop that names its path.

use std::collections::VecDeque;

use core::net::SocketAddr;

use super::trace::{End, Trace};
use super::{Outcome, Purpose, Session, Strategy, Target, Verifier};
use crate::path::config::ConfigError;
use crate::path::table::{PathId, PathTable, Refusal};
use crate::path::{HopRange, ProbeConfig};

/// A port of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOfPath {
    /// The destination.
    pub destination: SocketAddr,
    /// The local port.
    pub port: u16,
    /// The path, as the table has it.
    pub path: PathId,
}

/// A port that takes another path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What the table says.
    pub was: PortOfPath,
    /// The path that it takes now; none if the destination has come nearer than the hops that name
    /// paths.
    pub now: Option<PathId>,
}

/// What a check of a table found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Ports that take the path that the table says.
    pub confirmed: usize,
    /// Ports that take another.
    pub moved: Vec<Moved>,
    /// Ports without an answer, or whose probes are rejected: perhaps their path is dead.
    pub silent: Vec<PortOfPath>,
    /// Ports that are in use, also by the flows pinned to them: nothing is known of them.
    pub in_use: Vec<PortOfPath>,
    /// Ports of paths that only have a name, which no probe can tell.
    pub unnamed: usize,
    /// Ports that were not asked about: time was up, or nothing could be sent.
    pub unchecked: usize,
    /// Why nothing could be sent.
    pub refused: Option<Refusal>,
}

impl Check {
    /// Whether nothing contradicts the table and everything that could be asked was.
    pub fn holds(&self) -> bool {
        self.moved.is_empty() && self.silent.is_empty() && self.unchecked == 0
    }
}

/// The ports of a table that are asked about.
#[derive(Debug)]
pub struct Recheck {
    hops: HopRange,
    ports: Vec<(PortOfPath, Trace)>,
    /// Index of each port's destination.
    destinations: Vec<u32>,
    wishes: VecDeque<Target>,
    open: usize,
    unnamed: usize,
    refused: Option<Refusal>,
}

impl Strategy for Recheck {
    fn next_target(&mut self) -> Option<Target> {
        self.wishes.pop_front()
    }

    fn wants(&self, target: &Target) -> bool {
        self.refused.is_none() && self.trace(target).is_some_and(|(_, trace)| trace.end().is_none())
    }

    fn outcome(&mut self, target: Target, outcome: Outcome) {
        let Purpose::Name(place) = target.purpose else { return };
        let (_, trace) = &mut self.ports[place as usize];
        if let Some(hop) = trace.outcome(self.hops, outcome) {
            self.wishes.push_back(Target { hop, ..target });
            return;
        }
        if let Some(End::Refused(refusal)) = trace.end() {
            self.refused = Some(*refusal);
        }
        self.open -= 1;
    }

    fn is_finished(&self) -> bool {
        self.open == 0 || self.refused.is_some()
    }
}

impl Recheck {
    fn trace(&self, target: &Target) -> Option<&(PortOfPath, Trace)> {
        match target.purpose {
            Purpose::Name(place) => self.ports.get(place as usize),
            Purpose::Leaf(_) => None,
        }
    }

    fn first_wishes(&mut self) {
        let hop = self.hops.first();
        let wish = |(place, (port, _)): (usize, &(PortOfPath, Trace))| Target {
            destination: self.destinations[place],
            purpose: Purpose::Name(place as u32),
            port: port.port,
            hop,
        };
        self.wishes = self.ports.iter().enumerate().map(wish).collect();
    }
}

impl Verifier {
    /// Asks again about every port of `table` whose path has hops. Of `config` only the numbers of
    /// tries and in flight and the time-out count; what is asked, the table says.
    pub fn new(config: &ProbeConfig, table: &PathTable) -> Result<Self, ConfigError> {
        config.check()?;
        let (mut ports, mut indices, mut unnamed) = (Vec::new(), Vec::new(), 0);
        let mut destinations: Vec<SocketAddr> = Vec::new();
        for (destination, path, pinned) in table.entries() {
            if matches!(path, PathId::Named(_)) {
                unnamed += 1;
                continue;
            }
            // Entries come destination by destination.
            if destinations.last() != Some(&destination) {
                destinations.push(destination);
            }
            let of = PortOfPath { destination, port: pinned.port, path: path.clone() };
            ports.push((of, Trace::new(pinned.port)));
            indices.push(destinations.len() as u32 - 1);
        }
        if !destinations.is_empty() {
            ProbeConfig::check_destinations(table.protocol, table.source, &destinations)?;
        }
        let open = ports.len();
        let (wishes, refused) = (VecDeque::new(), None);
        let mut strategy = Recheck {
            hops: table.hops,
            ports,
            destinations: indices,
            wishes,
            open,
            unnamed,
            refused,
        };
        strategy.first_wishes();
        Ok(Session::with(config, strategy, destinations))
    }

    /// What was found until now, also before the end.
    pub fn finish(&self) -> Check {
        let Recheck { ports, unnamed, refused, .. } = &self.strategy;
        let mut check = Check { unnamed: *unnamed, refused: *refused, ..Check::default() };
        for (of, trace) in ports {
            let of = of.clone();
            match trace.end() {
                // A hop that answered before does not.
                Some(End::Path(now, _)) if of.path.says_more_than(now) => check.silent.push(of),
                Some(End::Path(now, _)) if now.agrees(&of.path) => check.confirmed += 1,
                Some(End::Path(now, _)) => {
                    check.moved.push(Moved { was: of, now: Some(now.clone()) });
                }
                Some(End::Near) => check.moved.push(Moved { was: of, now: None }),
                Some(End::Silent | End::Rejected(_)) => check.silent.push(of),
                Some(End::Busy) => check.in_use.push(of),
                Some(End::Refused(_)) | None => check.unchecked += 1,
            }
        }
        check
    }
}
