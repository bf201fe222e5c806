//! Connecting the ranks of a group, whether a world, a part of one, or survivors.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::local::{LocalOptions, LocalTransport, Segment, SegmentAddress};
use onepath_transport::router::{Router, Tcp};
use onepath_transport::tcp::pinned::{PeerPaths, PinnedPeer, PinnedTransport};
use onepath_transport::tcp::{TcpOptions, TcpTransport};
use sha2::{Digest, Sha256};
use socket2::Socket;

use crate::control::{Endpoint, Parent, PinnedSockets, Redialer, SessionConfig};
use crate::engine::{EngineConfig, IdlePolicy, Watch};
use crate::tuning::Tuning;

use super::build_error::BuildError;
use super::builder::TransportKind;
use super::join::{Card, Options};
use super::paths::{Pinning, first_ports};
use super::{Communicator, SCRATCH_LIMIT, spray, verbs};

/// What the communicators of a process that stem from one world share.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) options: Arc<Options>,
    pub(super) endpoint: Endpoint,
    /// Of the ranks of this group.
    pub(super) cards: Vec<Card>,
    /// Number of this group's session, the same on all its ranks and on no others.
    pub(super) session: u128,
}

impl Group {
    /// The session number of a group made from this one; `purpose` tells it from others.
    pub(super) fn derive(&self, purpose: &str, numbers: &[u64]) -> u128 {
        let mut hash = Sha256::new();
        hash.update(self.session.to_le_bytes());
        hash.update(purpose.as_bytes());
        for number in numbers {
            hash.update(number.to_le_bytes());
        }
        let mut word = [0; 16];
        word.copy_from_slice(&hash.finalize()[..16]);
        u128::from_le_bytes(word)
    }

    /// The group of some of its ranks.
    pub(super) fn part(&self, members: &[Rank], session: u128) -> Self {
        Self {
            cards: members.iter().map(|rank| self.cards[rank.index()].clone()).collect(),
            session,
            ..self.clone()
        }
    }

    /// How many hosts the ranks are on; one that does not know its host counts as one.
    pub(super) fn hosts(&self) -> u32 {
        let mut hosts: Vec<_> = self.cards.iter().filter_map(|card| card.host).collect();
        let unknown = self.cards.len() - hosts.len();
        hosts.sort_unstable();
        hosts.dedup();
        (hosts.len() + unknown) as u32
    }

    /// How many ranks of the host of `me` have smaller numbers in this group.
    pub(super) fn place_on_host(&self, me: Rank) -> usize {
        let host = self.cards[me.index()].host;
        let before = self.cards[..me.index()].iter();
        before.filter(|card| host.is_some() && card.host == host).count()
    }

    /// The ranks that share memory with `me`.
    fn local_peers(&self, me: Rank, world: WorldSize) -> Vec<Rank> {
        let host = self.cards[me.index()].host;
        let same =
            |rank: &Rank| *rank != me && host.is_some() && self.cards[rank.index()].host == host;
        world.ranks().filter(same).collect()
    }
}

/// Connects the ranks of `group`, this one being `me`. Those of a `parent` who die there meanwhile
/// are not waited for.
pub(super) fn connect(
    group: Group,
    me: Rank,
    world: WorldSize,
    parent: Option<Parent>,
) -> Result<Communicator, BuildError> {
    let options = Arc::clone(&group.options);
    let on_host = group.local_peers(me, world);
    let local = by_memory(options.transport, (me, world), &on_host)?;
    let pinning = options.pinning.as_ref();
    let by_datagrams = options.transport == TransportKind::Spray;
    let by_verbs = options.transport == TransportKind::Verbs;
    let addresses_only = by_datagrams || by_verbs;
    let pinned = pinning.filter(|_| !addresses_only);
    let paths = pinned_paths(&group, pinned, |rank| rank != me && !local.contains(&rank))?;
    let wanted = |rank: Rank| match (local.contains(&rank) || addresses_only, pinned) {
        // To exchange addresses by it, and to notice the end of a rank of this host.
        (true, _) => 1,
        (false, Some(_)) => 0,
        (false, None) if on_host.contains(&rank) => options.near_subflows,
        (false, None) => options.subflows,
    };
    let session = group.endpoint.open(SessionConfig {
        session: group.session,
        me,
        world,
        peers: group.cards.iter().map(|card| card.addresses.clone()).collect(),
        data: world.ranks().filter(|&r| r != me).map(|rank| (rank, wanted(rank))).collect(),
        pinned: paths.iter().map(|(rank, paths)| first_ports(*rank, paths)).collect(),
        silence: options.silence,
        deadline: options.join_timeout,
        local_ports: Vec::new(),
        parent,
    })?;
    let config = engine_config((me, world), &options, on_host.len() + 1);
    let watch = Watch::new(session.control);
    if by_datagrams {
        let transport = spray::connect(&group, (me, world), &session.data)?;
        let counters = transport.counters();
        let mut communicator = Communicator::assemble(config, Box::new(transport), watch);
        communicator.datagrams = Some(counters);
        communicator.group = Some(group);
        return Ok(communicator);
    }
    if by_verbs {
        return over_verbs(group, session.data, config, watch);
    }
    let (near, far): (Vec<_>, Vec<_>) =
        session.data.into_iter().partition(|(rank, _)| local.contains(rank));
    let shared = share_memory(world, me, &near, options.join_timeout)?;
    let (tcp, counters) = match pinned {
        Some(pinning) if !paths.is_empty() => {
            let peers = pinned_peers(paths, session.pinned);
            let tcp = pinned_transport((me, world), pinning, peers, session.redialer)?;
            let counters = tcp.counters();
            (Some(Tcp::from(tcp)), Some(counters))
        }
        None if !far.is_empty() => {
            (Some(TcpTransport::new(world, far, TcpOptions::default())?.into()), None)
        }
        _ => (None, None),
    };
    let router = Box::new(Router::new(shared, tcp));
    let mut communicator = Communicator::assemble(config, router, watch);
    communicator.paths = counters;
    communicator.group = Some(group);
    Ok(communicator)
}

/// A communicator over queue pairs, whose addresses go over the `connections`.
fn over_verbs(
    group: Group,
    connections: Vec<(Rank, Vec<Socket>)>,
    config: EngineConfig,
    watch: Watch,
) -> Result<Communicator, BuildError> {
    let transport = verbs::connect(&group, (config.me, config.world), connections)?;
    let counters = transport.counters();
    let config = EngineConfig { chunk_limit: Some(transport.chunk_bytes()), ..config };
    let mut communicator = Communicator::assemble(config, Box::new(transport), watch);
    communicator.lanes = Some(counters);
    communicator.group = Some(group);
    Ok(communicator)
}

fn engine_config(
    (me, world): (Rank, WorldSize),
    options: &Options,
    ranks_on_host: usize,
) -> EngineConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk_limit = match (&options.pinning, options.transport) {
        (Some(pinning), _) => Some(pinning.chunk_bytes),
        (None, TransportKind::Spray) => Some(spray::CHUNK_BYTES),
        (None, _) => None,
    };
    EngineConfig {
        me,
        world,
        tuning: Tuning::modelled(world),
        algorithm: options.algorithm,
        scratch_limit: SCRATCH_LIMIT,
        chunk_limit,
        idle: IdlePolicy::new(options.waiting, ranks_on_host, cores),
        operation_timeout: options.operation_timeout,
        late_warning: options.late_warning,
        flight_records: options.flight_records.clone(),
    }
}

fn pinned_transport(
    (me, world): (Rank, WorldSize),
    pinning: &Pinning,
    peers: Vec<PinnedPeer>,
    redialer: Redialer,
) -> Result<PinnedTransport, BuildError> {
    let assigner = pinning.find.assigner(me);
    Ok(PinnedTransport::new(world, peers, assigner, pinning.options, Box::new(redialer))?)
}

/// The peers that are reached by shared memory.
fn by_memory(
    transport: TransportKind,
    (me, world): (Rank, WorldSize),
    on_host: &[Rank],
) -> Result<Vec<Rank>, BuildError> {
    let far = || world.ranks().find(|rank| *rank != me && !on_host.contains(rank));
    match (transport, far()) {
        (TransportKind::Tcp | TransportKind::Spray | TransportKind::Verbs, _) => Ok(Vec::new()),
        (TransportKind::Local, Some(there)) => Err(BuildError::DifferentHosts { here: me, there }),
        (TransportKind::Auto | TransportKind::Local, _) => Ok(on_host.to_vec()),
    }
}

/// The paths to the peers that are `far`, if connections are pinned.
fn pinned_paths(
    group: &Group,
    pinning: Option<&Pinning>,
    far: impl Fn(Rank) -> bool,
) -> Result<Vec<(Rank, PeerPaths)>, BuildError> {
    let Some(pinning) = pinning else { return Ok(Vec::new()) };
    let ranks = (0..group.cards.len()).map(Rank::from_index).filter(|&rank| far(rank));
    let listening = |rank: Rank| (rank, group.cards[rank.index()].addresses.clone());
    let peers: Vec<(Rank, Vec<SocketAddr>)> = ranks.map(listening).collect();
    pinning.find.expect(&peers);
    let paths = |(rank, addresses): &(Rank, Vec<_>)| Ok((*rank, pinning.paths(*rank, addresses)?));
    peers.iter().map(paths).collect()
}

/// Paths and sockets of each peer; both lists are sorted by rank.
fn pinned_peers(paths: Vec<(Rank, PeerPaths)>, sockets: Vec<PinnedSockets>) -> Vec<PinnedPeer> {
    let peer = |((rank, paths), sockets): ((Rank, PeerPaths), PinnedSockets)| {
        debug_assert_eq!(rank, sockets.rank);
        let PinnedSockets { outgoing, incoming, .. } = sockets;
        PinnedPeer { rank, paths, outgoing, incoming }
    };
    paths.into_iter().zip(sockets).map(peer).collect()
}

/// Exchanges segment addresses with the ranks of this host over their (otherwise unused)
/// connections, and maps the segments.
fn share_memory(
    world: WorldSize,
    me: Rank,
    near: &[(Rank, Vec<Socket>)],
    limit: Duration,
) -> Result<Option<LocalTransport>, BuildError> {
    if near.is_empty() {
        return Ok(None);
    }
    let segment = Segment::create(near.len(), &LocalOptions::default())?;
    let mine = segment.address().encode();
    let failed = |rank| move |source| BuildError::SegmentExchange { rank, source };
    for (rank, sockets) in near {
        send_address(sockets, &mine, limit).map_err(failed(*rank))?;
    }
    let mut peers = Vec::with_capacity(near.len());
    for (rank, sockets) in near {
        let address = receive_address(sockets).map_err(failed(*rank))?;
        peers.push((*rank, SegmentAddress::decode(&address)));
    }
    let transport = LocalTransport::connect(world, me, segment, &peers)?;
    // Nobody may unmap or exit before all have opened; a byte each way says so.
    for (rank, sockets) in near {
        send_address(sockets, &mine, limit).map_err(failed(*rank))?;
    }
    for (rank, sockets) in near {
        receive_address(sockets).map_err(failed(*rank))?;
    }
    Ok(Some(transport))
}

type Address = [u8; SegmentAddress::ENCODED_BYTES];

pub(super) fn first(sockets: &[Socket]) -> io::Result<&Socket> {
    sockets.first().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

fn send_address(sockets: &[Socket], address: &Address, limit: Duration) -> io::Result<()> {
    let mut socket = first(sockets)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(limit))?;
    socket.write_all(address)
}

fn receive_address(sockets: &[Socket]) -> io::Result<Address> {
    let mut address = [0; SegmentAddress::ENCODED_BYTES];
    first(sockets)?.read_exact(&mut address)?;
    Ok(address)
}
