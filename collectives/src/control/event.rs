//! What the control plane noticed, as one stream of typed events.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use onepath_topology::Rank;

use super::counters::Counters;
use super::failure::{DeathCause, Departure};
use super::reason::AbortReason;

/// Events that wait to be read; more are dropped and counted.
const CAPACITY: usize = 1_024;

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Its first bytes were not ours.
    Garbage,
    /// It did not know the job secret.
    WrongSecret,
    /// It said nothing, or too little, in time.
    Silent,
    /// It said nothing yet when too many others waited.
    Displaced,
    /// It speaks another version.
    VersionMismatch,
    /// Its address is not trusted.
    UntrustedAddress,
    /// It proved to be of the job but said what makes no sense.
    Malformed,
    /// Nobody opened its session in time, or too many waited for that.
    UnknownSession,
    /// Its session has this connection already, or does not want it.
    Unwanted,
    /// It closed before it had said who it is.
    Closed,
}

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
            counters.lost_events.fetch_add(1, Ordering::Relaxed);
        }
    }
}
