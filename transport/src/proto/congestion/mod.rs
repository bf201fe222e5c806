//! How much may be in flight, behind one trait.
//!
//! | file | what it holds |
//! |---|---|
//! | `nscc` | by delay and marks, as the Ultra Ethernet specification has it |
//! | `fixed` | always the same |
mod fixed;
mod nscc;

use std::fmt::Debug;

use onepath_topology::Nanos;

pub use fixed::FixedWindow;
pub use nscc::{Marking, Nscc, NsccConfig};

/// What one acknowledgement told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The time.
    pub now: Nanos,
    /// Bytes of datagrams that are known to have arrived since the last one.
    pub bytes: u64,
    /// Whether any of them was marked "congestion experienced".
    pub marked: bool,
    /// Round trip of the latest packet without the receiver's delay, if that packet is news.
    pub rtt: Option<Nanos>,
    /// Bytes in flight after this.
    pub in_flight: u64,
}

/// What was found to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The time.
    pub now: Nanos,
    /// Bytes of datagrams.
    pub bytes: u64,
    /// Whether a time-out said so, without any word from the peer.
    pub timeout: bool,
    /// Bytes in flight after this.
    pub in_flight: u64,
}

/// Decides how many bytes may be in flight on one connection.
pub trait CongestionControl: Debug + Send {
    /// Bytes of datagrams that may be in flight; at least one datagram.
    fn window(&self) -> u64;

    /// What fills this host's link by itself, so that connections which send at the same time
    /// should divide it; nothing if that is not known.
    fn link_window(&self) -> Option<u64>;

    /// Learns how large datagrams are from now on.
    fn set_datagram_bytes(&mut self, bytes: u32);

    /// Whether a packet with this round trip met a queue that is too long, where switches do not
    /// mark: what is known of its path instead of a mark.
    fn is_congested(&self, rtt: Nanos) -> bool;

    /// Learns of arrivals.
    fn acknowledged(&mut self, ack: &Acknowledged);

    /// Learns of losses.
    fn lost(&mut self, loss: &Loss);
}
