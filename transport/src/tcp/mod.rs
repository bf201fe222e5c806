//! Several TCP subflows to each peer.
//!
//! Chunks are dealt to whichever subflow can take bytes, so that a slow one does not hold up the
//! rest; each subflow is one 5-tuple, which a fabric keeps on one path.
//!
//! | file | what it holds |
//! |---|---|
//! | `send` | the sending half of a subflow: header and payload in one gathered write |
//! | `receive` | the receiving half: staging, matching, direct placement |
//! | [`pinned`] | subflows pinned to paths, with failover |
//! | `options` | socket options |
//! | `fuzzing` | the receiving half over any bytes, for the fuzz targets |
#[doc(hidden)]
pub mod fuzzing;
mod options;
pub mod pinned;
mod receive;
mod send;

use std::os::fd::AsFd;
use std::time::Duration;

use onepath_topology::{Rank, WorldSize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use crate::flow::{FlowTable, SendQueue, Slot};
use crate::poll_set::emptied;
use crate::{Activity, Transport, TransportError};

pub use options::{OptionError, prepare};
use receive::Receiver;
use send::Sender;

/// The largest number of subflows to one peer.
pub const MAX_SUBFLOWS: usize = 16;

/// After so many polls that brought nothing, a subflow other than the first is quiet.
const QUIET_POLLS: u32 = 4;

/// A quiet subflow is looked at once in so many polls, and after each sleep.
const QUIET_TURNS: u32 = 8;

/// How the TCP transport uses its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Bytes of the staging buffer of each subflow: reductions read from it, so it should stay in
    /// the second-level cache.
    pub staging_bytes: usize,
    /// Most payload bytes that one gathered write takes.
    pub batch_bytes: usize,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { staging_bytes: 256 << 10, batch_bytes: 256 << 10 }
    }
}

/// One connection.
#[derive(Debug)]
struct Subflow {
    socket: Socket,
    sender: Sender,
    receiver: Receiver,
    /// Polls in a row that brought nothing.
    quiet: u32,
}

impl Subflow {
    /// Whether it is worth a system call to look for bytes. Small messages come over the first
    /// subflow; the others are looked at less often until something comes.
    fn is_due(&self, index: usize, turn: u32) -> bool {
        index == 0 || self.quiet < QUIET_POLLS || turn.is_multiple_of(QUIET_TURNS)
    }

    /// What its socket is waited for, when bytes of its peer are expected or not.
    fn awaited(&self, expects: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        let receiver = &self.receiver;
        let may_read = !receiver.is_held() && !receiver.has_ended();
        flags.set(PollFlags::IN, expects && may_read);
        flags.set(PollFlags::OUT, self.sender.is_busy());
        flags
    }
}

#[derive(Debug)]
struct Peer {
    rank: Rank,
    queue: SendQueue,
    subflows: Vec<Subflow>,
    /// Polls so far; at every [`QUIET_TURNS`]th all subflows are looked at.
    turn: u32,
}

/// TCP to any number of peers.
#[derive(Debug)]
pub struct TcpTransport {
    peers: Vec<Peer>,
    /// Index in `peers` by rank.
    by_rank: Vec<Option<u32>>,
    /// Empty between waits; kept for its memory.
    poll_set: Vec<PollFd<'static>>,
    options: TcpOptions,
}

impl TcpTransport {
    /// Takes over connected sockets, the same number to each peer, in the same order on both ends.
    pub fn new(
        world: WorldSize,
        connections: Vec<(Rank, Vec<Socket>)>,
        options: TcpOptions,
    ) -> Result<Self, OptionError> {
        let mut by_rank = vec![None; world.get()];
        let mut peers = Vec::with_capacity(connections.len());
        for (rank, sockets) in connections {
            by_rank[rank.index()] = Some(peers.len() as u32);
            let mut subflows = Vec::with_capacity(sockets.len());
            for socket in sockets {
                prepare(&socket)?;
                subflows.push(Subflow {
                    socket,
                    sender: Sender::new(options.batch_bytes),
                    receiver: Receiver::new(options.staging_bytes),
                    quiet: QUIET_POLLS,
                });
            }
            peers.push(Peer { rank, queue: SendQueue::default(), subflows, turn: 0 });
        }
        let sockets = peers.iter().map(|peer| peer.subflows.len()).sum();
        // The first wait may come long after the first call, when nothing may be allocated.
        Ok(Self { peers, by_rank, poll_set: Vec::with_capacity(sockets), options })
    }

    /// Whether anything that is under way could move by a peer's doing.
    pub(crate) fn is_waiting(&self, table: &FlowTable) -> bool {
        self.peers.iter().any(|peer| {
            let expects = table.expects(peer.rank);
            peer.subflows.iter().any(|s| !s.awaited(expects).is_empty())
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> TcpOptions {
        self.options
    }
}

impl Peer {
    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        let peer = self.rank;
        for (index, subflow) in self.subflows.iter_mut().enumerate() {
            let acknowledged = subflow.receiver.placed();
            if subflow.sender.is_busy() || !self.queue.is_empty() {
                let sent = subflow.sender.poll(
                    peer,
                    &subflow.socket,
                    &mut self.queue,
                    table,
                    acknowledged,
                )?;
                activity = activity.or(sent);
            }
            if table.expects(peer) && subflow.is_due(index, self.turn) {
                let received = subflow.receiver.poll(peer, &subflow.socket, table)?;
                subflow.quiet = match received {
                    Activity::Moved => 0,
                    Activity::Idle => subflow.quiet.saturating_add(1),
                };
                activity = activity.or(received);
            }
        }
        self.turn = self.turn.wrapping_add(1);
        if table.expects(peer) && self.subflows.iter().all(|s| s.receiver.has_ended()) {
            return Err(TransportError::Closed { peer });
        }
        Ok(activity)
    }
}

impl crate::sealed::Sealed for TcpTransport {}

impl Transport for TcpTransport {
    fn post(&mut self, table: &FlowTable, slot: Slot) {
        for (index, rank) in table.sends(slot) {
            if let Some(at) = self.by_rank[rank.index()] {
                self.peers[at as usize].queue.push(slot, index);
            }
        }
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        for peer in &mut self.peers {
            activity = activity.or(peer.poll(table)?);
        }
        Ok(activity)
    }

    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        let mut set: Vec<PollFd<'_>> = std::mem::take(&mut self.poll_set);
        for peer in &mut self.peers {
            peer.turn = 0;
        }
        for peer in &self.peers {
            let expects = table.expects(peer.rank);
            for subflow in &peer.subflows {
                let flags = subflow.awaited(expects);
                if !flags.is_empty() {
                    let fd = subflow.socket.as_fd();
                    set.push(PollFd::from_borrowed_fd(fd, flags));
                }
            }
        }
        let limit = Timespec::try_from(limit).ok();
        // An interrupted or failed wait is an early return, which the contract allows.
        let _ = poll(&mut set, limit.as_ref());
        self.poll_set = emptied(set);
    }

    fn cancel(&mut self) {
        self.peers.clear();
        self.by_rank.fill(None);
    }
}
