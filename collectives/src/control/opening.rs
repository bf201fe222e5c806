//! What a session needs while it is being opened: the dials under way and the data sockets so far.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use onepath_topology::{Rank, WorldSize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::{Dial, DialError, LastError, take_error};
use super::handle::FOR_EVER;
use super::hello::{Hello, Purpose};
use super::mesh::Mesh;
use super::pinned::{PinnedOpening, PinnedSockets};
use super::session::{MissingRank, Parent, SessionConfig, SessionError};
use super::shared::Shared;

/// The data sockets of each peer.
#[derive(Debug, Default)]
pub(super) struct DataSockets {
    pub(super) data: Vec<(Rank, Vec<socket2::Socket>)>,
    pub(super) pinned: Vec<PinnedSockets>,
}

/// A dial that has ended.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) peer: Rank,
    pub(super) result: Result<(Hello, TcpStream), DialError>,
}

/// The state of a session that is not open yet.
#[derive(Debug)]
pub(super) struct Opening {
    session: u128,
    me: Rank,
    world: WorldSize,
    addresses: Vec<Vec<SocketAddr>>,
    local_ports: Vec<u16>,
    data: BTreeMap<Rank, Vec<Option<TcpStream>>>,
    pub(super) pinned: PinnedOpening,
    errors: BTreeMap<Rank, LastError>,
    /// Dropping it ends all dials.
    dials: JoinSet<()>,
    dialed: mpsc::Sender<Dialed>,
    report: Sender<Result<DataSockets, SessionError>>,
    limit: Duration,
    pub(super) deadline: Instant,
    pub(super) parent: Option<Parent>,
    /// Whether this rank has told the others that it is ready.
    pub(super) told_ready: bool,
}

impl Opening {
    pub(super) fn new(
        config: SessionConfig,
        dialed: mpsc::Sender<Dialed>,
        report: Sender<Result<DataSockets, SessionError>>,
    ) -> Self {
        let slots = |&(rank, subflows): &(Rank, u16)| {
            (rank, (0..subflows).map(|_| None).collect::<Vec<Option<TcpStream>>>())
        };
        Self {
            session: config.session,
            me: config.me,
            world: config.world,
            addresses: config.peers,
            local_ports: config.local_ports,
            data: config.data.iter().map(slots).collect(),
            pinned: PinnedOpening::new(config.pinned),
            errors: BTreeMap::new(),
            dials: JoinSet::new(),
            dialed,
            report,
            limit: config.deadline,
            deadline: Instant::now() + config.deadline.min(FOR_EVER),
            parent: config.parent,
            told_ready: false,
        }
    }

    /// How many subflows there are to be with `rank`.
    pub(super) fn subflows(&self, rank: Rank) -> u16 {
        self.data.get(&rank).map_or(0, |slots| slots.len() as u16)
    }

    /// Connects to all lower ranks.
    pub(super) fn dial_all(&mut self, shared: &Arc<Shared>) {
        let me = self.me;
        for peer in self.world.ranks().filter(|&peer| peer < me) {
            self.dial(peer, Purpose::Control, shared);
        }
    }

    /// Connects the subflows with a lower rank that has joined, so that it expects them.
    pub(super) fn dial_data(&mut self, peer: Rank, shared: &Arc<Shared>) {
        for index in 0..self.subflows(peer) {
            self.dial(peer, Purpose::Data { index }, shared);
        }
    }

    /// Makes this rank's own connections with a rank that has joined.
    pub(super) fn dial_pinned(&mut self, peer: Rank, shared: &Arc<Shared>) {
        for index in 0..self.pinned.count(peer) {
            self.dial(peer, Purpose::Pinned { index }, shared);
        }
    }

    pub(super) fn dial(&mut self, peer: Rank, purpose: Purpose, shared: &Arc<Shared>) {
        let local_port = match purpose {
            Purpose::Control => None,
            Purpose::Data { index } => self.local_ports.get(usize::from(index)).copied(),
            Purpose::Pinned { index } => self.pinned.port(peer, index),
        };
        let dial = Dial {
            hello: Hello { session: self.session, from: self.me, to: peer, purpose },
            addresses: self.addresses[peer.index()].clone(),
            local_port,
            last_error: Arc::clone(self.errors.entry(peer).or_default()),
        };
        let (shared, dialed) = (Arc::clone(shared), self.dialed.clone());
        self.dials.spawn(async move {
            let result = dial.run(shared).await;
            let _ = dialed.send(Dialed { peer, result }).await;
        });
    }

    /// Keeps a data connection; the last one of an index counts, for whoever connects again has
    /// given up the one before. Gives it back if no such subflow was asked for.
    pub(super) fn put_data(
        &mut self,
        peer: Rank,
        index: u16,
        stream: TcpStream,
    ) -> Result<(), TcpStream> {
        let slots = self.data.get_mut(&peer);
        match slots.and_then(|slots| slots.get_mut(usize::from(index))) {
            Some(slot) => {
                *slot = Some(stream);
                Ok(())
            }
            None => Err(stream),
        }
    }

    /// Whether all connections with all ranks that are not gone are there.
    pub(super) fn is_complete(&self, mesh: &Mesh) -> bool {
        mesh.missing().next().is_none()
            && self
                .data
                .iter()
                .all(|(&rank, slots)| mesh.is_gone(rank) || slots.iter().all(Option::is_some))
            && self.pinned.ranks().all(|rank| mesh.is_gone(rank) || self.pinned.is_complete(rank))
    }

    /// What to say when the time is over.
    pub(super) fn timed_out(&self, mesh: &Mesh) -> SessionError {
        let mut missing: Vec<MissingRank> =
            mesh.missing().map(|rank| self.missing_rank(rank, false)).collect();
        let some = |rank: &Rank| {
            let slots = self.data.get(rank);
            slots.is_some_and(|slots| slots.iter().any(Option::is_none))
                || !self.pinned.is_complete(*rank)
        };
        for rank in self.world.ranks().filter(|&rank| mesh.is_joined(rank)).filter(some) {
            missing.push(self.missing_rank(rank, true));
        }
        missing.sort_by_key(|missing| missing.rank);
        if missing.is_empty() {
            SessionError::NotReady { after: self.limit, ranks: mesh.unanswered() }
        } else {
            SessionError::NotConnected { after: self.limit, missing }
        }
    }

    fn missing_rank(&self, rank: Rank, subflows_only: bool) -> MissingRank {
        let dialed_by_us = rank < self.me;
        MissingRank {
            rank,
            addresses: if dialed_by_us { self.addresses[rank.index()].clone() } else { Vec::new() },
            subflows_only,
            last_error: self.errors.get(&rank).and_then(take_error),
        }
    }

    /// Ends the opening with an error.
    pub(super) fn fail(self, error: SessionError) {
        // The caller waits for longer than the deadline; when it is gone there is nobody to tell.
        let _ = self.report.send(Err(error));
    }

    /// Ends the opening with all data sockets.
    pub(super) fn succeed(self) {
        let mut data = Vec::new();
        for (rank, slots) in self.data {
            let sockets: Result<Vec<_>, _> = slots
                .into_iter()
                .flatten()
                .map(|stream| stream.into_std().map(socket2::Socket::from))
                .collect();
            match sockets {
                Ok(sockets) => data.push((rank, sockets)),
                Err(source) => {
                    let _ = self.report.send(Err(SessionError::Handover { rank, source }));
                    return;
                }
            }
        }
        let result = match self.pinned.finish() {
            Ok(pinned) => Ok(DataSockets { data, pinned }),
            Err((rank, source)) => Err(SessionError::Handover { rank, source }),
        };
        let _ = self.report.send(result);
    }
}
