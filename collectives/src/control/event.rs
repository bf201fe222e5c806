//! What the control plane noticed, as one stream of typed events.

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use onepath_topology::Rank;
use onepath_transport::tcp::pinned::PathEvent;

use super::failure::{DeathCause, Departure};
use super::reason::AbortReason;
use crate::bootstrap::{Counters, Rejection};

/// Events that wait to be read; more are dropped and counted.
const CAPACITY: usize = 1_024;

/// Something that people who watch a job want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A rank is dead.
    PeerDead {
        /// In which session.
        session: u128,
        /// The rank.
        rank: Rank,
        /// How it was found.
        cause: DeathCause,
    },
    /// A rank left in good order.
    PeerDeparted {
        /// In which session.
        session: u128,
        /// The rank.
        rank: Rank,
        /// Its reason.
        departure: Departure,
    },
    /// A rank has been silent for half the time that is allowed.
    PeerLate {
        /// In which session.
        session: u128,
        /// The rank.
        rank: Rank,
        /// For how long.
        silent: Duration,
    },
    /// A rank aborted a session.
    Aborted {
        /// In which session.
        session: u128,
        /// The rank.
        by: Rank,
        /// What it found.
        reason: AbortReason,
    },
    /// The other ranks go on without this one.
    Excluded {
        /// In which session.
        session: u128,
    },
    /// Something happened to a path of this rank's data.
    Path {
        /// In which session.
        session: u128,
        /// What.
        event: PathEvent,
    },
    /// A connection to this endpoint was turned away.
    ConnectionRejected {
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        reason: Rejection,
    },
}

/// Both ends of the stream of one endpoint.
#[derive(Debug)]
pub(super) struct EventStream {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl EventStream {
    pub(super) fn new() -> Self {
        let (sender, receiver) = bounded(CAPACITY);
        Self { sender, receiver }
    }

    pub(super) fn receiver(&self) -> Receiver<Event> {
        self.receiver.clone()
    }

    /// Adds an event, or counts it as lost when nobody reads.
    pub(super) fn emit(&self, event: Event, counters: &Counters) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            Counters::count(&counters.lost_events);
        }
    }
}
