//! All connections with one peer, in both directions.

use std::os::fd::AsFd;
use std::sync::Arc;

use onepath_topology::{Nanos, Rank};
use rustix::event::{PollFd, PollFlags};

use crate::eager::EagerPool;
use crate::flow::FlowTable;
use crate::wire::WireError;
use crate::{Activity, TransportError};
use onepath_topology::fabric::{LeafId, PathId};

use super::counters::PathCell;
use super::deal::{Deal, Loads};
use super::incoming::{End, Fragment, Heard, Incoming};
use super::outgoing::{Fault, Outgoing, Work};
use super::paths::{PathDeath, PathEvent, PathPorts, PinnedOptions};
use super::replace::{MAX_CONNECTIONS, Replacing};
use super::vital::{Verdict, Vital};

/// Connections that nothing is expected on are looked at once in so many polls.
const QUIET_TURNS: u32 = 8;

/// How long a peer may be without any connection to this rank, after they broke, before it counts
/// as gone: time for it to find out and to connect again.
const BROKEN_GRACE: Nanos = Nanos::secs(10);

/// What all peers of a transport share.
#[derive(Debug)]
pub(super) struct Commons {
    pub(super) loads: Loads,
    pub(super) eager: EagerPool,
    pub(super) options: PinnedOptions,
    /// Counts changes of the set of live paths.
    pub(super) epoch: u64,
    pub(super) now: Nanos,
}

/// A path to a peer.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) id: PathId,
    pub(super) ports: Vec<u16>,
    pub(super) cell: Arc<PathCell>,
    /// Nothing while the connection is well.
    pub(super) replacing: Option<Replacing>,
    /// Patience with the next connection, see [`Vital`].
    pub(super) backoff: u32,
    /// Whether its connection has a port of this path.
    pub(super) known: bool,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) rank: Rank,
    pub(super) leaf: LeafId,
    pub(super) paths: Vec<Path>,
    /// The live paths, for assignment.
    pub(super) live: Vec<PathId>,
    pub(super) deal: Deal,
    /// By path.
    pub(super) outgoing: Vec<Option<Outgoing>>,
    pub(super) incoming: Vec<Incoming>,
    fragments: Vec<Fragment>,
    /// Indices of the connections that this rank gave up.
    lost: Vec<u16>,
    /// Indices of the connections that the peer gave up.
    pub(super) gone: Vec<u16>,
    /// When the peer was last seen reading.
    read_at: Nanos,
    pub(super) next_index: u16,
    /// The last connection of this rank was closed by the peer, which has left, then.
    pub(super) left: bool,
    /// How the last connection of the peer ended, and since when there is none.
    farewell: Option<(End, Nanos)>,
    /// Polls so far.
    pub(super) turn: u32,
}

impl Peer {
    pub(super) fn new(rank: Rank, leaf: LeafId, paths: Vec<PathPorts>, deal: Deal) -> Self {
        let path = |PathPorts { path, ports }| Path {
            id: path,
            ports,
            cell: Arc::new(PathCell::new(rank, path)),
            replacing: None,
            backoff: 0,
            known: true,
        };
        let paths: Vec<Path> = paths.into_iter().map(path).collect();
        Self {
            rank,
            leaf,
            live: Vec::with_capacity(paths.len()),
            outgoing: paths.iter().map(|_| None).collect(),
            next_index: 0,
            paths,
            deal,
            incoming: Vec::new(),
            fragments: Vec::new(),
            // A peer that leaves while another operation is in flight must not make it allocate.
            lost: Vec::with_capacity(64),
            gone: Vec::new(),
            read_at: Nanos(0),
            left: false,
            farewell: None,
            turn: 0,
        }
    }

    /// The lane of a path, if it has a connection.
    pub(super) fn lane(&self, path: PathId) -> Option<usize> {
        let lane = self.paths.iter().position(|p| p.id == path)?;
        self.outgoing[lane].is_some().then_some(lane)
    }

    /// Takes a connection into use.
    pub(super) fn open(&mut self, lane: usize, outgoing: Outgoing, commons: &mut Commons) {
        self.outgoing[lane] = Some(outgoing);
        self.deal.lanes[lane].open = true;
        self.left = false;
        self.recount(commons);
    }

    fn recount(&mut self, commons: &mut Commons) {
        commons.epoch += 1;
        self.live.clear();
        let paths = self.paths.iter().zip(&self.outgoing);
        self.live.extend(paths.filter(|(p, o)| p.known && o.is_some()).map(|(p, _)| p.id));
        self.live.sort_unstable();
    }

    /// Whether chunks wait for their acknowledgement.
    pub(super) fn is_awaiting(&self) -> bool {
        self.outgoing.iter().flatten().any(Outgoing::is_awaiting)
    }

    /// Whether there is something to be sent or acknowledged.
    pub(super) fn has_work(&self) -> bool {
        !self.deal.is_empty() || self.is_awaiting()
    }

    pub(super) fn poll(
        &mut self,
        table: &mut FlowTable,
        commons: &mut Commons,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        if self.has_work() || self.outgoing.iter().flatten().any(|o| o.has_news(&self.lost)) {
            activity = self.poll_outgoing(table, commons)?;
            if self.left && self.has_work() {
                return Err(TransportError::Closed { peer: self.rank });
            }
        }
        activity = activity.or(self.poll_incoming(table, commons)?);
        self.turn = self.turn.wrapping_add(1);
        self.check_farewell(table, commons.now)?;
        Ok(activity)
    }

    /// Reads acknowledgements of copied payloads when no operation is in flight any more; whether
    /// some are missing.
    pub(super) fn await_copies(&mut self, table: &mut FlowTable, commons: &mut Commons) -> bool {
        let mut missing = false;
        for (lane, place) in self.outgoing.iter_mut().enumerate() {
            let Some(outgoing) = place.as_mut().filter(|o| o.is_settled()) else {
                *place = None;
                continue;
            };
            let mut work = Work {
                peer: self.rank,
                lane,
                table,
                deal: &mut self.deal,
                loads: &mut commons.loads,
                eager: &mut commons.eager,
                lost: &self.lost,
                options: &commons.options,
                now: commons.now,
            };
            if outgoing.is_awaiting() && outgoing.poll_acks(&mut work).is_err() {
                *place = None;
            } else {
                missing |= outgoing.is_awaiting();
            }
        }
        missing
    }

    fn poll_outgoing(
        &mut self,
        table: &mut FlowTable,
        commons: &mut Commons,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        let all = self.turn.is_multiple_of(QUIET_TURNS);
        for lane in 0..self.outgoing.len() {
            let Some(outgoing) = &mut self.outgoing[lane] else { continue };
            let mut work = Work {
                peer: self.rank,
                lane,
                table,
                deal: &mut self.deal,
                loads: &mut commons.loads,
                eager: &mut commons.eager,
                lost: &self.lost,
                options: &commons.options,
                now: commons.now,
            };
            let mut result = Ok(());
            if all || outgoing.is_awaiting() {
                result = outgoing.poll_acks(&mut work).map(|some| {
                    if some {
                        self.read_at = commons.now;
                        activity = Activity::Moved;
                    }
                });
            }
            let wants = outgoing.is_busy() || outgoing.has_news(&self.lost);
            if result.is_ok() && (wants || !work.deal.is_empty()) {
                result = outgoing.poll_send(&mut work).map(|sent| activity = activity.or(sent));
            }
            match result {
                Ok(()) => {}
                Err(Fault::Peer(error)) => return Err(error),
                Err(Fault::Path(cause)) => {
                    self.bury(lane, cause, commons);
                    activity = Activity::Moved;
                }
            }
        }
        Ok(activity)
    }

    /// Gives up the connection of a path.
    fn bury(&mut self, lane: usize, cause: PathDeath, commons: &mut Commons) {
        let Some(outgoing) = self.outgoing[lane].take() else { return };
        let path = &mut self.paths[lane];
        path.backoff = outgoing.next_backoff();
        path.replacing = Some(Replacing::new(cause, commons.now));
        self.lost.push(outgoing.index);
        commons.loads.0[self.deal.lanes[lane].links] -= outgoing.unacked_bytes();
        self.deal.bury(lane, outgoing.bury());
        let any = self.outgoing.iter().any(Option::is_some);
        self.left = cause == PathDeath::Closed && !any;
        self.recount(commons);
    }

    fn poll_incoming(
        &mut self,
        table: &mut FlowTable,
        commons: &Commons,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        let all = self.turn.is_multiple_of(QUIET_TURNS);
        let before = table.expected_flows(self.rank);
        let mut at = 0;
        while at < self.incoming.len() {
            let incoming = &mut self.incoming[at];
            let expects = table.expects(self.rank);
            let mut heard = Activity::Idle;
            if all || expects {
                match incoming.poll(self.rank, table, &mut self.fragments)? {
                    Heard::Bytes(moved) => heard = moved,
                    Heard::Lost(index) => {
                        self.give_up(index, table, commons.now)?;
                        activity = Activity::Moved;
                        // Its place in the list may have changed.
                        at = 0;
                        continue;
                    }
                }
            }
            activity = activity.or(heard);
            incoming.poll_ack(heard == Activity::Idle, commons.now);
            match incoming.end() {
                Some(end) => self.remove(at, end, table, commons.now),
                None => at += 1,
            }
        }
        if table.expected_flows(self.rank) < before {
            // The operation may be complete here, so that the next poll is far away.
            self.incoming.iter_mut().for_each(|i| i.poll_ack(true, commons.now));
        }
        Ok(activity)
    }

    /// The peer has given up a connection: nothing counts any more that is in it.
    fn give_up(
        &mut self,
        index: u16,
        table: &mut FlowTable,
        now: Nanos,
    ) -> Result<(), TransportError> {
        if self.gone.len() >= usize::from(MAX_CONNECTIONS) {
            let problem = WireError::Acknowledged { found: u64::from(index) };
            return Err(TransportError::Protocol { peer: self.rank, problem });
        }
        // Each connection of the peer brings the news.
        if !self.gone.contains(&index) {
            self.gone.push(index);
        }
        if let Some(at) = self.incoming.iter().position(|incoming| incoming.index == index) {
            self.remove(at, End::Broken, table, now);
        }
        Ok(())
    }

    fn remove(&mut self, at: usize, end: End, table: &mut FlowTable, now: Nanos) {
        let mut incoming = self.incoming.swap_remove(at);
        self.fragments.extend(incoming.close(end, table));
        self.farewell = Some((end, now));
    }

    /// Takes a connection of the peer into use, unless it was given up before it came.
    pub(super) fn accept(&mut self, incoming: Incoming) {
        if !self.gone.contains(&incoming.index) {
            self.incoming.push(incoming);
            self.farewell = None;
        }
    }

    fn check_farewell(&self, table: &FlowTable, now: Nanos) -> Result<(), TransportError> {
        let Some((end, since)) = self.farewell else { return Ok(()) };
        let over = end == End::Closed || now.since(since) > BROKEN_GRACE;
        if over && self.incoming.is_empty() && table.expects(self.rank) {
            return Err(TransportError::Closed { peer: self.rank });
        }
        Ok(())
    }

    /// Looks at the health of all paths; events go to `report`.
    pub(super) fn tick(&mut self, commons: &mut Commons, mut report: impl FnMut(PathEvent)) {
        let mut suspects = false;
        for lane in 0..self.outgoing.len() {
            let Some(outgoing) = &mut self.outgoing[lane] else { continue };
            let rate = &mut self.deal.lanes[lane].rate;
            *rate = (3 * *rate + outgoing.take_recent()) / 4;
            match outgoing.judge(commons.now, self.read_at) {
                Verdict::Alive => {}
                Verdict::Suspect => suspects = true,
                Verdict::Dead => self.bury(lane, PathDeath::Silent, commons),
            }
        }
        if suspects {
            self.outgoing.iter_mut().flatten().for_each(Outgoing::ask);
        }
        if self.left {
            return;
        }
        for path in &mut self.paths {
            if let Some(cause) = path.replacing.as_mut().and_then(|r| r.announce(commons.now)) {
                PathCell::add(&path.cell.deaths, 1);
                report(PathEvent::Died { peer: self.rank, path: path.id, cause });
            }
        }
    }

    /// Whether no path has a connection, nor will have one.
    pub(super) fn is_cut_off(&self) -> bool {
        self.outgoing.iter().all(Option::is_none)
            && self.paths.iter().all(|p| p.replacing.as_ref().is_some_and(Replacing::is_over))
    }

    /// Adds what is to be slept on.
    pub(super) fn watch<'a>(&'a self, set: &mut Vec<PollFd<'a>>) {
        let awaiting = self.has_work();
        for outgoing in self.outgoing.iter().flatten() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, awaiting);
            flags.set(PollFlags::OUT, outgoing.is_busy());
            if !flags.is_empty() {
                set.push(PollFd::from_borrowed_fd(outgoing.socket().as_fd(), flags));
            }
        }
        for incoming in &self.incoming {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, incoming.may_read());
            flags.set(PollFlags::OUT, incoming.is_busy());
            if !flags.is_empty() {
                set.push(PollFd::from_borrowed_fd(incoming.socket().as_fd(), flags));
            }
        }
    }

    /// A new connection in the place of a dead one.
    pub(super) fn vital(&self, lane: usize, now: Nanos) -> Vital {
        Vital::new(now, self.paths[lane].backoff)
    }
}
