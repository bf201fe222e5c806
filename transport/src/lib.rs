//! Moving the flows of collectives between ranks.
//!
//! The steady state runs on the calling thread, without locks and without allocation.
//!
//! | module | what it holds |
//! |---|---|
//! | [`plan`] | what one rank does in one operation, as plain data |
//! | [`share`] | which bytes of a plan's sends take which path |
//! | [`wire`] | the header before every chunk |
//! | `eager` | copies of short payloads |
//! | [`flow`] | the operations in flight: gates, progress, placement |
//! | [`tcp`] | several TCP subflows to each peer |
//! | [`local`] | shared memory between the ranks of one host |
//! | [`path`] | which local port takes which path through the fabric |
//! | `poll_set` | the memory of sets of descriptors that are waited for |
//! | [`proto`] | our datagram protocol, without sockets and without a clock |
//! | [`spray`] | UDP by that protocol, over many source ports |
//! | [`verbs`] | RDMA devices: memory regions, queue pairs, completions |
//! | [`router`] | one transport or the other, by peer |
//!
//! A [`Transport`] is driven by its owner: `post` the flows of an operation, `poll` until the
//! [`flow::FlowTable`] says that it is complete, `wait` when there is nothing to do, `cancel` to
//! give up.

mod eager;
pub mod flow;
pub mod local;
pub mod path;
pub mod plan;
mod poll_set;
pub mod proto;
pub mod router;
pub mod share;
pub mod spray;
pub mod tcp;
pub mod verbs;
pub mod wire;

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use onepath_topology::Rank;

use flow::{FlowTable, MatchError, Slot};
use plan::Plan;
use proto::ConnectionError;
use verbs::MemoryRegionError;
use verbs::transport::{Registration, VerbsProblem};
use wire::WireError;

/// Whether a poll moved anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Bytes moved: poll again.
    Moved,
    /// Nothing to do now.
    Idle,
}

impl Activity {
    /// Moved if either did.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Moved { self } else { other }
    }
}

/// Why a transport can no longer reach a peer. After any of these it must be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The peer closed a connection: it exited, crashed or gave up.
    #[error("rank {peer} closed its connection")]
    Closed {
        /// The peer.
        peer: Rank,
    },
    /// The operating system refused to move bytes.
    #[error("cannot {action} rank {peer}: {source}")]
    Io {
        /// The peer.
        peer: Rank,
        /// What was tried: "send to", "receive from".
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The peer sent bytes that are not a chunk.
    #[error("rank {peer} does not keep to the protocol: {problem}")]
    Protocol {
        /// The peer.
        peer: Rank,
        /// What is wrong.
        problem: WireError,
    },
    /// The peer is in another call, or in the same call with other sizes.
    #[error("rank {peer}: {problem}")]
    Mismatch {
        /// The peer.
        peer: Rank,
        /// How the calls differ.
        problem: MatchError,
    },
    /// Datagrams do not get through to the peer, or it breaks their protocol.
    #[error("rank {peer}: {problem}")]
    Connection {
        /// The peer.
        peer: Rank,
        /// What is wrong.
        problem: ConnectionError,
    },
    /// The peer cannot be reached over RDMA, or breaks the protocol there.
    #[error("rank {peer}: {problem}")]
    Verbs {
        /// The peer; this rank itself, where the own device is to blame.
        peer: Rank,
        /// What is wrong.
        problem: Box<VerbsProblem>,
    },
}

impl TransportError {
    /// The rank at the other end.
    pub fn peer(&self) -> Rank {
        match *self {
            Self::Closed { peer }
            | Self::Io { peer, .. }
            | Self::Protocol { peer, .. }
            | Self::Connection { peer, .. }
            | Self::Verbs { peer, .. }
            | Self::Mismatch { peer, .. } => peer,
        }
    }
}

/// Transports touch the memory of operations as the table tells them; one that told the table of
/// chunks that it had not moved would hand buffers back too early. So they are all in this crate.
mod sealed {
    pub trait Sealed {}
}

/// Carries the flows of operations to and from the peers that it serves.
pub trait Transport: Send + sealed::Sealed {
    /// Deals the sends of a plan to paths, if this transport pins subflows to paths and the plan's
    /// [`share::Shares`] are not of its present paths. To be called before the plan is posted, with
    /// the chunk size of the posting.
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        let _ = (plan, chunk_bytes);
    }

    /// Takes the flows of a posted operation whose peers this transport serves.
    fn post(&mut self, table: &FlowTable, slot: Slot);

    /// Moves what can move now, without blocking, and tells the table.
    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError>;

    /// Sleeps until something may have changed, at most `limit`. May return early for no reason.
    fn wait(&mut self, table: &FlowTable, limit: Duration);

    /// A rank has left in good order, as the control plane says: it needs nothing of this rank any
    /// more. For a transport that does not learn that by itself. May be said again and again.
    fn peer_left(&mut self, peer: Rank, table: &mut FlowTable) {
        let _ = (peer, table);
    }

    /// Lets a device read a caller's memory, so that what is sent from there need not be copied.
    /// Nothing where there is no such device: everything works the same. The registration ends when
    /// the result is dropped, which no posted operation may outlast that sends from this memory.
    ///
    /// Memory of another device (dmabuf) would be one more function of this kind.
    ///
    /// # Safety
    /// The memory stays allocated at its address until the result is dropped.
    unsafe fn register(
        &mut self,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<Option<Registration>, MemoryRegionError> {
        let _ = (start, bytes);
        Ok(None)
    }

    /// Gives up all operations: no memory of a posted operation is touched afterwards, connections
    /// are closed. The transport cannot be used again.
    fn cancel(&mut self);
}

/// The transport of a world of one rank: nobody to talk to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransport;

impl sealed::Sealed for NoTransport {}

impl Transport for NoTransport {
    fn post(&mut self, _table: &FlowTable, _slot: Slot) {}

    fn poll(&mut self, _table: &mut FlowTable) -> Result<Activity, TransportError> {
        Ok(Activity::Idle)
    }

    fn wait(&mut self, _table: &FlowTable, _limit: Duration) {}

    fn cancel(&mut self) {}
}
