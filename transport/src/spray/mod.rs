//! UDP by our datagram protocol ([`crate::proto`]), over many source ports.
//!
//! A rank receives on one socket and sends from several; the source port is the entropy value by
//! which switches choose a path, and one socket serves all peers. Which port a datagram takes is
//! [`EntropyChoice`]: one for a subflow, which is a single-path transport, or another for each
//! datagram, which is packet spraying. Nothing else differs.
//!
//! - **Placement.** A piece goes to its place, whatever the order, when its operation is posted
//!   and its gates are open; else it is kept, never more than [`SprayOptions::early_bytes`] of a
//!   peer.
//! - **Completion.** A send is complete when the peer has acknowledged all of it; short flows are
//!   copied, so that a small message waits for nobody.
//! - **Progress** is made in calls alone, so an answer may come late, and the clock of a connection
//!   stands still while nobody polls (`clock`).
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what can be chosen |
//! | [`hello`] | how ranks tell each other their addresses |
//! | `sockets` | sockets and their options |
//! | `intake` | many datagrams with one system call (`unsafe`) |
//! | `batch` | runs of datagrams that leave with one system call |
//! | `peer` | one peer: chunks out, pieces in |
//! | `lanes` | chunks to lanes, where subflows keep to their ports |
//! | `setup` | from addresses and keys to a transport |
//! | `counters` | what went to and came from each peer |
//! | `clock` | the time as connections see it |
mod batch;
mod clock;
mod counters;
pub mod hello;
mod intake;
mod lanes;
mod options;
mod peer;
mod setup;
mod sockets;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank, WorldSize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::eager::EagerPool;
use crate::flow::{FlowTable, Slot};
use crate::plan::Plan;
use crate::poll_set::emptied;
use crate::proto::{CloseReason, ConnectionId};
use crate::share::{self, AssignFlows, Cut};
use crate::{Activity, Transport, TransportError};

pub use counters::{SprayCount, SprayCounters};
pub use hello::Hello;
pub use options::{EntropyChoice, MAX_SOCKETS, SprayOptions, UnknownEntropy};
pub use setup::{SetupError, SprayPeer};
pub use sockets::{ReceivePort, SocketError};

use batch::{Batch, Refused};
use clock::Clock;
use intake::Intake;
use peer::Peer;
use setup::Names;
use sockets::SendPort;

/// System calls for receiving in one poll, so that sending gets its turn.
const READS_A_POLL: usize = 4;

/// How often a goodbye is said, since nobody acknowledges it.
const GOODBYES: usize = 3;

/// How long dropping the transport waits for acknowledgements of what was copied.
const LAST_WAIT: Duration = Duration::from_millis(300);

/// Datagrams to any number of peers.
#[derive(Debug)]
pub struct SprayTransport {
    port: ReceivePort,
    senders: Vec<SendPort>,
    names: Names,
    peers: Vec<Peer>,
    /// Index in `peers` by rank.
    by_rank: Vec<Option<u32>>,
    intake: Intake,
    batch: Batch,
    eager: EagerPool,
    options: SprayOptions,
    assigner: Option<Arc<dyn AssignFlows>>,
    /// The largest chunks so far.
    chunk_bytes: usize,
    /// Counts changes of the set of paths in use.
    epoch: u64,
    cuts: Vec<Cut>,
    clock: Clock,
    /// Peers to which something is to be sent.
    sending: u32,
    /// The peer that sends first in the next poll.
    turn: usize,
    /// [`FlowTable::changes`] when early pieces were last looked through.
    changes: u64,
    /// Datagrams of nobody, or with a wrong tag.
    refused: u64,
    counters: SprayCounters,
    /// Empty between waits; kept for its memory.
    poll_set: Vec<PollFd<'static>>,
}

impl SprayTransport {
    /// Over a bound port, to the peers whose addresses came by another way. `session` is a number
    /// that all ranks of this world share and other worlds do not. The assigner deals flows to
    /// paths of peers that have [`SprayPeer::paths`].
    pub fn new(
        (me, world): (Rank, WorldSize),
        session: u32,
        port: ReceivePort,
        peers: Vec<SprayPeer>,
        assigner: Option<Arc<dyn AssignFlows>>,
        options: SprayOptions,
    ) -> Result<Self, SetupError> {
        setup::make((me, world), session, port, peers, assigner, options)
    }

    /// Datagrams that were dropped because nobody who knows the keys sent them, or were damaged.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What went to and came from each peer, to be read at any time by anybody.
    pub fn counters(&self) -> SprayCounters {
        self.counters.clone()
    }

    /// The local ports that it sends from.
    pub fn source_ports(&self) -> Vec<u16> {
        self.senders.iter().filter_map(SendPort::port).collect()
    }

    /// Takes in what has arrived; whether anything has.
    fn receive(&mut self, now: Nanos, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut any = false;
        for _ in 0..READS_A_POLL {
            let count = match self.intake.receive(self.port.socket.as_fd()) {
                Ok(count) => count,
                Err(source) => return Err(self.io("receive from", None, source)),
            };
            for at in 0..count {
                let (datagrams, marked) = self.intake.datagrams(at);
                for datagram in datagrams {
                    let rank = ConnectionId::of(datagram).and_then(|id| self.names.peer(id));
                    let index = rank.and_then(|rank| self.by_rank[rank.index()]);
                    let Some(peer) = index.and_then(|at| self.peers.get_mut(at as usize)) else {
                        self.refused += 1;
                        continue;
                    };
                    let used = (&mut *table, &mut self.batch, &mut self.eager);
                    let good = peer.receive(datagram, marked, now, used)?;
                    self.refused += u64::from(!good);
                    any |= good;
                }
            }
            if !Intake::is_full(count) {
                break;
            }
        }
        Ok(any)
    }

    /// Finds places for what came early, when the table has changed since the last look.
    fn open_early(&mut self, now: Nanos, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut any = false;
        while table.changes() != self.changes {
            self.changes = table.changes();
            for peer in &mut self.peers {
                any |= peer.open_early(now, table)?;
            }
        }
        Ok(any)
    }

    /// Sends what may leave now; whether anything left.
    fn transmit(&mut self, now: Nanos, table: &mut FlowTable) -> Result<bool, TransportError> {
        let count = self.peers.len();
        let mut any = false;
        let sending = self.peers.iter().filter(|peer| peer.is_sending()).count() as u32;
        if sending != self.sending {
            self.sending = sending;
            self.peers.iter_mut().for_each(|peer| peer.connection.share_link(sending));
        }
        for turn in 0..count {
            let at = (self.turn + turn) % count;
            let limit = self.options.eager_bytes;
            loop {
                let peer = &mut self.peers[at];
                if peer.transmit(now, table, &mut self.batch, &mut self.eager, limit) {
                    break;
                }
                if !self.flush()? {
                    // Sockets are full: the next poll begins with this peer.
                    self.turn = at;
                    return Ok(any);
                }
                any = true;
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
        Ok(self.flush()? || any)
    }

    fn flush(&mut self) -> Result<bool, TransportError> {
        let peers = &self.peers;
        let address = |peer: u32| peers.get(peer as usize).map(|peer| peer.address.clone());
        let flushed = self.batch.flush(&mut self.senders, address);
        flushed.map_err(|Refused { peer, error }| self.io("send to", Some(peer), error))
    }

    /// An error of the system, named by the peer if it concerns one.
    fn io(&self, action: &'static str, at: Option<u32>, source: std::io::Error) -> TransportError {
        let peer = self.peers.get(at.unwrap_or(0) as usize);
        let peer = peer.map_or(Rank::new(0), |peer| peer.rank);
        TransportError::Io { peer, action, source }
    }

    /// When something is to be done whatever comes.
    fn deadline(&self) -> Option<Nanos> {
        self.peers.iter().filter_map(|peer| peer.connection.poll_timeout()).min()
    }

    /// Waits for a moment until what was copied has arrived: nobody else can send it again.
    fn linger(&mut self) {
        let start = Instant::now();
        // What arrives now was complete before, so the table is not told of it.
        let mut table = FlowTable::new(self.names.world());
        while self.peers.iter().any(Peer::has_copies) && start.elapsed() < LAST_WAIT {
            let now = self.clock.read();
            let moved = self.receive(now, &mut table).and_then(|moved| {
                self.peers.iter_mut().try_for_each(|peer| peer.on_time(now))?;
                Ok(moved | self.transmit(now, &mut table)?)
            });
            match moved {
                Ok(true) => {}
                Ok(false) => self.sleep(Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }

    fn say_goodbye(&mut self, reason: CloseReason) {
        for peer in &mut self.peers {
            peer.close(reason, GOODBYES, &mut self.batch);
            if !self.batch.has_room() {
                break;
            }
        }
        // Whoever does not hear it finds out by the control plane.
        let _ = self.flush();
    }

    /// Sleeps until something arrives, a full socket has room, or the next timer.
    fn sleep(&mut self, limit: Duration) {
        let now = self.clock.read();
        let until = self.deadline().map(|at| Duration::from(at.since(now)));
        let limit = until.map_or(limit, |until| until.min(limit));
        if limit.is_zero() {
            return;
        }
        let mut set: Vec<PollFd<'_>> = std::mem::take(&mut self.poll_set);
        set.push(PollFd::from_borrowed_fd(self.port.socket.as_fd(), PollFlags::IN));
        for socket in self.batch.blocked() {
            set.push(PollFd::from_borrowed_fd(self.senders[socket].as_fd(), PollFlags::OUT));
        }
        let limit = Timespec::try_from(limit).ok();
        // An interrupted or failed wait is an early return, which the contract allows.
        let _ = poll(&mut set, limit.as_ref());
        self.poll_set = emptied(set);
        self.clock.read();
    }
}

impl crate::sealed::Sealed for SprayTransport {}

impl Transport for SprayTransport {
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        if chunk_bytes > self.chunk_bytes {
            self.chunk_bytes = chunk_bytes;
            for peer in &mut self.peers {
                peer.connection.reserve_chunks(chunk_bytes);
            }
        }
        let Some(assigner) = &self.assigner else { return };
        for peer in &mut self.peers {
            self.epoch += u64::from(peer.recount());
        }
        let paths = |rank: Rank| {
            let at = self.by_rank.get(rank.index()).copied().flatten()?;
            let known = self.peers.get(at as usize)?.assigned.as_ref()?;
            Some((known.leaf, &known.live[..]))
        };
        share::deal(assigner.as_ref(), (plan, self.epoch), chunk_bytes, &mut self.cuts, paths);
    }

    fn post(&mut self, table: &FlowTable, slot: Slot) {
        for (send, rank) in table.sends(slot) {
            if let Some(at) = self.by_rank[rank.index()] {
                self.peers[at as usize].queue.push(slot, send);
            }
        }
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let now = self.clock.resume();
        let before = table.changes();
        let received = self.receive(now, table)?;
        let opened = self.open_early(now, table)?;
        let now = if received || opened { self.clock.read() } else { now };
        for peer in &mut self.peers {
            peer.on_time(now)?;
        }
        let sent = self.transmit(now, table)?;
        for peer in &mut self.peers {
            peer.count();
            peer.check(table)?;
        }
        let moved = received || opened || sent || table.changes() != before;
        Ok(if moved { Activity::Moved } else { Activity::Idle })
    }

    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        // What changed since the last poll may have opened a gate.
        if table.changes() == self.changes {
            self.sleep(limit);
        }
    }

    fn peer_left(&mut self, peer: Rank, table: &mut FlowTable) {
        let at = self.by_rank.get(peer.index()).copied().flatten();
        if let Some(peer) = at.and_then(|at| self.peers.get_mut(at as usize)) {
            peer.left(table, &mut self.batch, &mut self.eager);
        }
    }

    fn cancel(&mut self) {
        // Nothing of any operation may leave any more.
        self.batch.clear();
        self.say_goodbye(CloseReason::Cancelled);
        self.batch.clear();
        self.peers.clear();
        self.by_rank.fill(None);
    }
}

impl Drop for SprayTransport {
    fn drop(&mut self) {
        if !self.peers.iter().all(Peer::is_settled) {
            // Whoever dropped it gave up what is in flight.
            return self.cancel();
        }
        self.linger();
        self.batch.clear();
        self.say_goodbye(CloseReason::Finished);
    }
}
