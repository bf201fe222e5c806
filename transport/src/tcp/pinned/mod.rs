//! TCP subflows pinned to paths, with failover.
//!
//! Each rank makes its own connections for its own sending, one for each path to a peer: a
//! connection's addresses and ports fix the path only from the side that connects to the other
//! (the ports are swapped on the way back, and hash to something else). Chunks go one way,
//! acknowledgements the other.
//!
//! - **Assignment.** Before a plan is posted, [`Transport::assign`] gives the sends of each step to
//!   [`AssignFlows`] and keeps the shares with the plan. Each share waits in the queue of its path;
//!   with [`Sharing::Shared`] a path that has run dry takes chunks from the one that would be last.
//! - **Acknowledgements.** The receiver says how many chunks of a connection it has placed. A send
//!   is complete, its memory free to be written, when every chunk of it was acknowledged: before
//!   that a dead path may make it necessary to send the bytes again. (After completion the caller
//!   may overwrite them, so whatever could still have to be sent must be either acknowledged or
//!   copied.) Short payloads are copied, so that small messages do not wait a round trip.
//! - **Failover.** A path without progress is given up by the rules of `vital`: its connection is
//!   reset, its chunks go over the others, each exactly once in effect (see `incoming`), and a new
//!   connection is made in the background ([`Connector`]) from another port.
//!
//! | file | what it holds |
//! |---|---|
//! | `paths` | what the transport is told; events; the connector |
//! | `scheme` | the assigners of `topology`, step by step |
//! | `deal` | what waits for a peer, in what order it may leave |
//! | `outgoing` | a connection for sending: batches, what is not acknowledged |
//! | `incoming` | a connection of a peer: placement, duplicates, acknowledgements |
//! | `peer` | all connections with a peer; death and replacement |
//! | `vital`, `kernel` | whether a path is alive |
//! | `replace` | when to connect again, from which port |
//! | `counters` | what went over each path |
//! | `fuzzing` | a connection over any bytes, for the fuzz targets |
//!
//! Chunks leave in an order that keeps the transport free from deadlock also when they change
//! paths: see `deal`.
mod counters;
mod deal;
#[doc(hidden)]
pub(crate) mod fuzzing;
mod incoming;
mod kernel;
mod outgoing;
mod paths;
mod peer;
mod replace;
mod scheme;
mod vital;

use std::sync::Arc;
use std::time::{Duration, Instant};

use onepath_topology::fabric::PathId;
use onepath_topology::{Nanos, Rank, WorldSize};
use rustix::event::{PollFd, Timespec, poll};

use crate::eager::EagerPool;
use crate::flow::{FlowTable, Slot};
use crate::plan::Plan;
use crate::poll_set::emptied;
use crate::share::{self, AssignFlows, Cut};
use crate::{Activity, Transport, TransportError};

pub use counters::{PathCount, PathCounters};
pub use paths::{
    Connected, Connector, PathDeath, PathEvent, PathPorts, PeerPaths, PinnedOptions, PinnedPeer,
    Redial, Sharing,
};

pub use scheme::SchemeAssigner;

use super::options::{OptionError, prepare};
use deal::{Deal, Loads, Order, Segment};
use incoming::Incoming;
use outgoing::Outgoing;
use peer::{Commons, Peer};
use replace::{MAX_CONNECTIONS, Next};
use vital::Vital;

/// How often the health of paths is looked at while something is under way.
const TICK: Nanos = Nanos::millis(10);
/// How much time a pause between two polls counts for at most: a caller that computes for seconds
/// must not find its paths dead afterwards.
const LONGEST_GAP: Nanos = Nanos::millis(20);
/// Bytes that the kernel takes beyond what the window of the connection allows to be sent: the
/// rest stays where another path can take it.
const NOT_SENT_BYTES: u32 = 128 << 10;
/// How long dropping the transport waits for acknowledgements of what was copied.
const LAST_WAIT: Duration = Duration::from_millis(300);

/// TCP pinned to paths, to any number of peers.
#[derive(Debug)]
pub struct PinnedTransport {
    peers: Vec<Peer>,
    /// Index in `peers` by rank.
    by_rank: Vec<Option<u32>>,
    commons: Commons,
    assigner: Option<Arc<dyn AssignFlows>>,
    connector: Box<dyn Connector>,
    counters: PathCounters,
    /// Operations so far.
    posted: u64,
    polled: Instant,
    next_tick: Nanos,
    cuts: Vec<Cut>,
    /// Empty between waits; kept for its memory.
    poll_set: Vec<PollFd<'static>>,
}

impl PinnedTransport {
    /// Takes over connected sockets. Without an assigner any path takes any chunk.
    pub fn new(
        world: WorldSize,
        peers: Vec<PinnedPeer>,
        assigner: Option<Arc<dyn AssignFlows>>,
        options: PinnedOptions,
        connector: Box<dyn Connector>,
    ) -> Result<Self, OptionError> {
        let paths = peers.iter().flat_map(|peer| &peer.paths.paths);
        let mut links: Vec<PathId> = paths.map(|path| path.path).collect();
        links.sort_unstable();
        links.dedup();
        let mut commons = Commons {
            loads: Loads(vec![0; links.len()]),
            eager: EagerPool::new(options.eager_bytes),
            options,
            epoch: 0,
            now: Nanos(0),
        };
        let mut by_rank = vec![None; world.get()];
        let mut made: Vec<Peer> = Vec::with_capacity(peers.len());
        for peer in peers {
            by_rank[peer.rank.index()] = Some(made.len() as u32);
            made.push(join(peer, &links, &mut commons)?);
        }
        let sockets: usize = made.iter().map(|p| p.outgoing.len() + p.incoming.len()).sum();
        let cells = made.iter().flat_map(|peer| peer.paths.iter().map(|p| Arc::clone(&p.cell)));
        Ok(Self {
            counters: PathCounters::new(cells.collect()),
            peers: made,
            by_rank,
            commons,
            assigner,
            connector,
            posted: 0,
            polled: Instant::now(),
            next_tick: Nanos(0),
            cuts: Vec::new(),
            poll_set: Vec::with_capacity(2 * sockets),
        })
    }

    /// What went over each path, to be read at any time by anybody.
    pub fn counters(&self) -> PathCounters {
        self.counters.clone()
    }

    /// Whether anything that is under way could move by a peer's doing.
    pub(crate) fn is_waiting(&self, table: &FlowTable) -> bool {
        self.peers.iter().any(|peer| peer.has_work() || table.expects(peer.rank))
    }

    fn peer(&mut self, rank: Rank) -> Option<&mut Peer> {
        let at = *self.by_rank.get(rank.index())?;
        self.peers.get_mut(at? as usize)
    }

    /// Counts the time since the last poll, but not that in which nobody polled.
    fn advance(&mut self) {
        let now = Instant::now();
        let gap = Nanos::from(now - self.polled).min(LONGEST_GAP);
        self.commons.now = self.commons.now + gap;
        self.polled = now;
    }

    fn tick(&mut self) -> Result<(), TransportError> {
        self.next_tick = self.commons.now + TICK;
        while let Some(connected) = self.connector.next() {
            self.take(connected);
        }
        for peer in &mut self.peers {
            let connector = &mut self.connector;
            peer.tick(&mut self.commons, |event| connector.report(event));
            redial(peer, self.commons.now, connector.as_mut());
            if peer.is_cut_off() && peer.has_work() {
                return Err(TransportError::Closed { peer: peer.rank });
            }
        }
        Ok(())
    }

    /// Takes a connection that was made in the background into use.
    fn take(&mut self, connected: Connected) {
        let (now, staging) = (self.commons.now, self.commons.options.staging_bytes);
        match connected {
            Connected::Accepted { peer, index, socket } => {
                // One that cannot be prepared is dropped, which the peer sees and tries again.
                if let Some(peer) = self.peer(peer)
                    && prepare(&socket).is_ok()
                {
                    peer.accept(Incoming::new(index, socket, staging));
                }
            }
            Connected::Dialed { peer: rank, index, socket } => {
                let Some(peer) = self.by_rank.get(rank.index()).copied().flatten() else { return };
                let peer = &mut self.peers[peer as usize];
                let ended = |p: &mut peer::Path| p.replacing.as_mut().and_then(|r| r.ended(index));
                let mut paths = peer.paths.iter_mut().enumerate();
                let Some((lane, own)) = paths.find_map(|(lane, p)| Some((lane, ended(p)?))) else {
                    // Another try was faster.
                    return;
                };
                let Some(socket) = socket.filter(|socket| ready(socket).is_ok()) else { return };
                let vital = peer.vital(lane, now);
                let path = &mut peer.paths[lane];
                path.replacing = None;
                path.known = own || path.ports.is_empty();
                let (path, cell) = (path.id, Arc::clone(&path.cell));
                peer.open(lane, Outgoing::new(index, socket, vital, cell), &mut self.commons);
                self.connector.report(PathEvent::Replaced { peer: rank, path });
            }
        }
    }

    /// Sleeps until acknowledgements of copied payloads have come, or for a moment: closing a
    /// connection that has unread bytes may lose what is under way in it. Touches no operation.
    fn linger(&mut self) {
        let start = Instant::now();
        // What is acknowledged now was complete before, so the table is not told of it.
        let mut table = FlowTable::new(WorldSize::ONE);
        for peer in &mut self.peers {
            peer.incoming.clear();
        }
        loop {
            let mut missing = false;
            for peer in &mut self.peers {
                missing |= peer.await_copies(&mut table, &mut self.commons);
            }
            if !missing || start.elapsed() > LAST_WAIT {
                return;
            }
            self.wait(&table, Duration::from_millis(5));
        }
    }
}

/// Options of a connection for sending.
fn ready(socket: &socket2::Socket) -> Result<(), OptionError> {
    prepare(socket)?;
    let named = |source| OptionError { option: "TCP_NOTSENT_LOWAT", source };
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES).map_err(named)
}

/// A peer with the connections that are there from the start.
fn join(peer: PinnedPeer, links: &[PathId], commons: &mut Commons) -> Result<Peer, OptionError> {
    let PinnedPeer { rank, paths: PeerPaths { leaf, paths }, outgoing, incoming } = peer;
    let place = |path: &PathPorts| links.binary_search(&path.path).unwrap_or_default();
    let deal = Deal::new(paths.iter().map(place), commons.options.sharing);
    let mut peer = Peer::new(rank, leaf, paths, deal);
    for (lane, socket) in outgoing.into_iter().enumerate().take(peer.paths.len()) {
        ready(&socket)?;
        let cell = Arc::clone(&peer.paths[lane].cell);
        let vital = Vital::new(Nanos(0), 0);
        peer.open(lane, Outgoing::new(lane as u16, socket, vital, cell), commons);
    }
    peer.next_index = peer.paths.len() as u16;
    for (index, socket) in (0..).zip(incoming) {
        prepare(&socket)?;
        peer.accept(Incoming::new(index, socket, commons.options.staging_bytes));
    }
    Ok(peer)
}

/// Begins to replace dead paths that are due.
fn redial(peer: &mut Peer, now: Nanos, connector: &mut dyn Connector) {
    if peer.left {
        return;
    }
    for path in &mut peer.paths {
        let Some(replacing) = &mut path.replacing else { continue };
        loop {
            match replacing.next(&path.ports, now) {
                Next::Nothing => break,
                Next::Dial(port) => {
                    let index = peer.next_index;
                    let redial = Redial { peer: peer.rank, index, port };
                    if index < MAX_CONNECTIONS && connector.dial(redial) {
                        peer.next_index += 1;
                        replacing.began(index, port.is_some());
                    }
                }
                Next::Abandon => {
                    connector.report(PathEvent::Abandoned { peer: peer.rank, path: path.id });
                }
            }
        }
    }
}

impl crate::sealed::Sealed for PinnedTransport {}

impl Transport for PinnedTransport {
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        let Some(assigner) = &self.assigner else { return };
        let paths = |rank: Rank| {
            let at = self.by_rank.get(rank.index()).copied().flatten()?;
            let peer = self.peers.get(at as usize)?;
            Some((peer.leaf, &peer.live[..]))
        };
        let epoch = self.commons.epoch;
        share::deal(assigner.as_ref(), (plan, epoch), chunk_bytes, &mut self.cuts, paths);
    }

    fn post(&mut self, table: &FlowTable, slot: Slot) {
        let operation = self.posted;
        self.posted += 1;
        let mut shares = table.shares(slot).iter().peekable();
        for (send, rank) in table.sends(slot) {
            let Some(at) = self.by_rank.get(rank.index()).copied().flatten() else { continue };
            let peer = &mut self.peers[at as usize];
            let total = table.send_bytes(slot, send);
            let order = Order { operation, send };
            let eager = total <= self.commons.options.eager_bytes;
            while shares.next_if(|share| share.send < send).is_some() {}
            let mut offset = 0;
            while let Some(share) = shares.next_if(|share| share.send == send) {
                let end = share.offset + share.length;
                let segment = Segment { slot, order, offset, end, eager };
                match peer.lane(share.path) {
                    Some(lane) => peer.deal.push(lane, segment),
                    None => peer.deal.push_any(segment),
                }
                offset = end;
            }
            if offset < total {
                peer.deal.push_any(Segment { slot, order, offset, end: total, eager });
            }
        }
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        self.advance();
        let mut activity = Activity::Idle;
        for peer in &mut self.peers {
            activity = activity.or(peer.poll(table, &mut self.commons)?);
        }
        if self.commons.now >= self.next_tick {
            self.tick()?;
        }
        Ok(activity)
    }

    fn wait(&mut self, _table: &FlowTable, limit: Duration) {
        let mut set: Vec<PollFd<'_>> = std::mem::take(&mut self.poll_set);
        let ill =
            |peer: &Peer| peer.is_awaiting() || peer.paths.iter().any(|p| p.replacing.is_some());
        let watched = self.peers.iter().any(ill);
        let limit = if watched { limit.min(TICK.into()) } else { limit };
        for peer in &mut self.peers {
            peer.turn = 0;
        }
        for peer in &self.peers {
            peer.watch(&mut set);
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

impl Drop for PinnedTransport {
    fn drop(&mut self) {
        self.linger();
    }
}
