//! Connections that each rank makes for its own sending, pinned to paths by their local ports: at
//! the opening of a session, and later in the place of dead ones.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use onepath_topology::Rank;
use onepath_transport::tcp::pinned::{Connected, Connector, PathEvent, Redial};
use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::{Dial, LastError};
use super::event::Event;
use super::hello::{Hello, Purpose};
use super::shared::Shared;

/// Connections of one pair and direction over the life of a session, at most.
pub(super) const MAX_PINNED: u16 = 1_024;
/// Requests for new connections, and new connections, that wait to be looked at.
const WAITING: usize = 256;
/// What one try may take in all.
const REDIAL_LIMIT: Duration = Duration::from_secs(4);

/// Connections that this rank is to make to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedPorts {
    /// The peer; both ranks of a pair pin, or neither does.
    pub rank: Rank,
    /// The local port of each connection; nothing for an automatic one.
    pub ports: Vec<Option<u16>>,
}

/// The pinned connections with one peer, as [`super::Session::data`] has the others.
#[derive(Debug)]
pub struct PinnedSockets {
    /// The peer.
    pub rank: Rank,
    /// Made by this rank, in the order of [`PinnedPorts::ports`].
    pub outgoing: Vec<Socket>,
    /// Made by the peer, in its order.
    pub incoming: Vec<Socket>,
}

/// How the data path gets new connections while a session is open.
#[derive(Debug)]
pub struct Redialer {
    session: u128,
    requests: mpsc::Sender<Redial>,
    connected: Receiver<Connected>,
    shared: Arc<Shared>,
}

impl Connector for Redialer {
    fn dial(&mut self, redial: Redial) -> bool {
        self.requests.try_send(redial).is_ok()
    }

    fn next(&mut self) -> Option<Connected> {
        self.connected.try_recv().ok()
    }

    fn report(&mut self, event: PathEvent) {
        self.shared.emit(Event::Path { session: self.session, event });
    }
}

/// The driver's side of a [`Redialer`].
#[derive(Debug)]
pub(super) struct Redials {
    session: u128,
    me: Rank,
    addresses: Vec<Vec<SocketAddr>>,
    connected: Sender<Connected>,
    shared: Arc<Shared>,
    /// Dropping it ends all dials.
    dials: JoinSet<()>,
}

impl Redials {
    /// Both sides, and where the driver receives requests.
    pub(super) fn new(
        session: u128,
        me: Rank,
        addresses: Vec<Vec<SocketAddr>>,
        shared: Arc<Shared>,
    ) -> (Self, Redialer, mpsc::Receiver<Redial>) {
        let (requests, asked) = mpsc::channel(WAITING);
        let (sender, connected) = bounded(WAITING);
        let redialer = Redialer { session, requests, connected, shared: Arc::clone(&shared) };
        let dials = JoinSet::new();
        (Self { session, me, addresses, connected: sender, shared, dials }, redialer, asked)
    }

    /// Connects in the background.
    pub(super) fn dial(&mut self, Redial { peer, index, port }: Redial) {
        while self.dials.try_join_next().is_some() {}
        let dial = Dial {
            hello: Hello {
                session: self.session,
                from: self.me,
                to: peer,
                purpose: Purpose::Pinned { index },
            },
            addresses: self.addresses.get(peer.index()).cloned().unwrap_or_default(),
            local_port: port,
            last_error: LastError::default(),
        };
        let (shared, connected) = (Arc::clone(&self.shared), self.connected.clone());
        self.dials.spawn(async move {
            let stream = timeout(REDIAL_LIMIT, dial.run_once(&shared)).await.ok().flatten();
            let socket = stream.and_then(|stream| owned(stream).ok());
            // With its queue full the data path has not looked for long: it is as if this failed.
            let _ = connected.try_send(Connected::Dialed { peer, index, socket });
        });
    }

    /// A peer has made a connection. Gives it back if there is no room.
    pub(super) fn accept(
        &self,
        peer: Rank,
        index: u16,
        stream: TcpStream,
    ) -> Result<(), io::Error> {
        let socket = owned(stream)?;
        let accepted = Connected::Accepted { peer, index, socket };
        self.connected.try_send(accepted).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

fn owned(stream: TcpStream) -> io::Result<Socket> {
    stream.into_std().map(Socket::from)
}

/// The pinned connections with one peer while a session is being opened.
#[derive(Debug)]
struct Slots {
    ports: Vec<Option<u16>>,
    outgoing: Vec<Option<TcpStream>>,
    /// How many the peer makes, once it has said so.
    theirs: Option<u16>,
    incoming: BTreeMap<u16, TcpStream>,
}

/// The pinned connections of a session that is being opened.
#[derive(Debug)]
pub(super) struct PinnedOpening(BTreeMap<Rank, Slots>);

impl PinnedOpening {
    pub(super) fn new(pinned: Vec<PinnedPorts>) -> Self {
        let slots = |PinnedPorts { rank, ports }| {
            let outgoing = ports.iter().map(|_| None).collect();
            (rank, Slots { ports, outgoing, theirs: None, incoming: BTreeMap::new() })
        };
        Self(pinned.into_iter().map(slots).collect())
    }

    /// How many connections this rank makes to `rank`.
    pub(super) fn count(&self, rank: Rank) -> u16 {
        self.0.get(&rank).map_or(0, |slots| slots.ports.len() as u16)
    }

    /// The local port of one of them.
    pub(super) fn port(&self, rank: Rank, index: u16) -> Option<u16> {
        self.0.get(&rank)?.ports.get(usize::from(index)).copied().flatten()
    }

    /// The peer has said how many it makes.
    pub(super) fn expect(&mut self, rank: Rank, theirs: u16) {
        if let Some(slots) = self.0.get_mut(&rank) {
            slots.theirs = Some(theirs);
        }
    }

    /// Keeps a connection that this rank has made.
    pub(super) fn put_own(&mut self, rank: Rank, index: u16, stream: TcpStream) {
        let slots = self.0.get_mut(&rank);
        if let Some(slot) = slots.and_then(|slots| slots.outgoing.get_mut(usize::from(index))) {
            *slot = Some(stream);
        }
    }

    /// Keeps a connection that a peer has made; the last one of an index counts. Gives it back if
    /// no such connection can be.
    pub(super) fn put_theirs(
        &mut self,
        rank: Rank,
        index: u16,
        stream: TcpStream,
    ) -> Result<(), TcpStream> {
        let slots = self.0.get_mut(&rank).filter(|_| index < MAX_PINNED);
        let Some(slots) = slots else { return Err(stream) };
        slots.incoming.insert(index, stream);
        Ok(())
    }

    /// Whether all connections with `rank` are there.
    pub(super) fn is_complete(&self, rank: Rank) -> bool {
        self.0.get(&rank).is_none_or(|slots| {
            let has = |theirs: u16| (0..theirs).all(|index| slots.incoming.contains_key(&index));
            slots.outgoing.iter().all(Option::is_some) && slots.theirs.is_some_and(has)
        })
    }

    /// The ranks with pinned connections.
    pub(super) fn ranks(&self) -> impl Iterator<Item = Rank> + '_ {
        self.0.keys().copied()
    }

    /// Hands out all sockets.
    pub(super) fn finish(self) -> Result<Vec<PinnedSockets>, (Rank, io::Error)> {
        let hand_out = |(rank, slots): (Rank, Slots)| {
            let theirs = slots.theirs.unwrap_or(0);
            let incoming = slots.incoming.into_iter().filter(|&(index, _)| index < theirs);
            let outgoing: io::Result<_> = slots.outgoing.into_iter().flatten().map(owned).collect();
            let incoming: io::Result<_> = incoming.map(|(_, stream)| owned(stream)).collect();
            let failed = |error| (rank, error);
            let (outgoing, incoming) = (outgoing.map_err(failed)?, incoming.map_err(failed)?);
            Ok(PinnedSockets { rank, outgoing, incoming })
        };
        self.0.into_iter().map(hand_out).collect()
    }
}
