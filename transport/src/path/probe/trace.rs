//! The hops seen from one port.

use core::net::IpAddr;

use onepath_topology::Nanos;

use super::Outcome;
use crate::path::HopRange;
use crate::path::table::{PathId, Refusal, Rejection};

/// What a port turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It takes this path; the time until the last hop answered.
    Path(PathId, Nanos),
    /// The destination answered at the first hop already.
    Near,
    /// No hop answered.
    Silent,
    /// In use.
    Busy,
    /// Not forwarded.
    Rejected(Rejection),
    /// Nothing can be sent.
    Refused(Refusal),
}

/// What is known of a port so far. The hops are asked one after the other, so that two probes with
/// the same addresses and ports are never in flight together.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    port: u16,
    hops: Vec<Option<IpAddr>>,
    round_trip: Nanos,
    end: Option<End>,
}

impl Trace {
    pub(super) const fn new(port: u16) -> Self {
        Self { port, hops: Vec::new(), round_trip: Nanos(0), end: None }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Takes the outcome of the hop that was asked last; the hop to ask next, if there is one.
    pub(super) fn outcome(&mut self, range: HopRange, outcome: Outcome) -> Option<u8> {
        match outcome {
            Outcome::Hop(address, round_trip) => {
                self.hops.push(Some(address));
                self.round_trip = round_trip;
            }
            Outcome::Silent => self.hops.push(None),
            Outcome::Reached => return self.finish(range, true),
            Outcome::PortBusy => self.end = Some(End::Busy),
            Outcome::Rejected(rejection) => self.end = Some(End::Rejected(rejection)),
            Outcome::Refused(refusal) => self.end = Some(End::Refused(refusal)),
        }
        let next = range.first() + self.hops.len() as u8;
        if self.end.is_none() && next <= range.last() {
            return Some(next);
        }
        self.finish(range, false)
    }

    fn finish(&mut self, range: HopRange, reached: bool) -> Option<u8> {
        let end = if self.hops.iter().any(Option::is_some) {
            // Identities of one length compare with each other.
            self.hops.resize(usize::from(range.last() - range.first()) + 1, None);
            End::Path(PathId::Hops(std::mem::take(&mut self.hops)), self.round_trip)
        } else if reached {
            End::Near
        } else {
            End::Silent
        };
        self.end.get_or_insert(end);
        None
    }
}
