//! From addresses and keys to a transport.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use onepath_topology::{Rank, WorldSize};

use crate::eager::EagerPool;
use crate::proto::{
    Config, ConfigError, CongestionConfig, Connection, ConnectionId, Random, TagKeys,
};
use crate::share::AssignFlows;
use crate::tcp::pinned::PeerPaths;

use super::SprayTransport;
use super::batch::Batch;
use super::clock::Clock;
use super::counters::SprayCounters;
use super::hello::Hello;
use super::intake::Intake;
use super::lanes::Lanes;
use super::options::{EntropyChoice, MAX_SOCKETS, SprayOptions};
use super::peer::{Assigned, Parts, Peer};
use super::sockets::{ReceivePort, SendPort, SocketError};

/// Datagrams of the largest size that a window has room for at least, whatever peers share a
/// receiver: with one in flight at a time, a link is idle for most of each round trip.
const LEAST_DATAGRAMS: u32 = 4;

/// A peer to be reached by datagrams.
#[derive(Clone, Debug)]
pub struct SprayPeer {
    /// Its rank.
    pub rank: Rank,
    /// What it said of itself, over an authenticated connection.
    pub hello: Hello,
    /// Keys of this pair: derived by both ends from what nobody else knows.
    pub keys: TagKeys,
    /// The paths to it. For subflows that keep to their ports: a lane for each, which begins on
    /// the path's first port; the other ports stand by. For spraying: the ports that are sprayed
    /// over, as many on each path, path after path.
    pub paths: Option<PeerPaths>,
}

/// Why a transport could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An option is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// IPv4 here, IPv6 there.
    #[error("rank {peer} receives on {there}, which cannot be reached from {here}")]
    Family {
        /// The peer.
        peer: Rank,
        /// This rank's address.
        here: SocketAddr,
        /// The peer's.
        there: SocketAddr,
    },
    /// The paths to all peers have more first ports together than a rank has sockets.
    #[error("the paths to all peers begin on {found} ports; there may be {MAX_SOCKETS}")]
    Ports {
        /// How many.
        found: usize,
    },
}

/// Numbers of the connections of one world.
///
/// The number of a pair is the same at both ends, so a receiver finds the sender from it; the
/// session in it keeps worlds apart that follow each other on a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    me: u32,
    world: u32,
    session: u32,
}

impl Names {
    fn new(me: Rank, world: WorldSize, session: u32) -> Self {
        Self { me: me.number(), world: u32::from(world), session }
    }

    pub(super) fn world(&self) -> WorldSize {
        WorldSize::new(u64::from(self.world)).unwrap_or(WorldSize::ONE)
    }

    /// Below 2^32 for a world of at most 65,536 ranks.
    fn id(&self, peer: Rank) -> ConnectionId {
        let (low, high) = (self.me.min(peer.number()), self.me.max(peer.number()));
        ConnectionId(low.wrapping_mul(self.world).wrapping_add(high) ^ self.session)
    }

    /// The other rank of a pair that this one belongs to.
    pub(super) fn peer(&self, id: ConnectionId) -> Option<Rank> {
        let pair = id.0 ^ self.session;
        let (low, high) = (pair / self.world, pair % self.world);
        match (low == self.me, high == self.me) {
            (true, false) if low < high => Some(Rank::new(high)),
            (false, true) if low < high => Some(Rank::new(low)),
            _ => None,
        }
    }
}

/// The sockets that a rank sends from, and which of them a peer's entropies are.
struct Sources {
    sockets: Vec<SendPort>,
    by_port: HashMap<u16, u16>,
    /// Those on ports that the system chose.
    automatic: Vec<u16>,
}

impl Sources {
    fn add(&mut self, ip: IpAddr, wanted: u16) -> Result<u16, SetupError> {
        let at = self.sockets.len() as u16;
        self.sockets.push(SendPort::bind(ip, wanted)?);
        Ok(at)
    }

    /// So many sockets on ports that the system chooses, made when they are first wanted.
    fn automatic(&mut self, ip: IpAddr, count: usize) -> Result<&[u16], SetupError> {
        while self.automatic.len() < count {
            let at = self.add(ip, 0)?;
            self.automatic.push(at);
        }
        Ok(&self.automatic[..count])
    }

    /// The socket on a port, made when it is first wanted.
    fn on(&mut self, ip: IpAddr, port: u16) -> Result<u16, SetupError> {
        if let Some(&at) = self.by_port.get(&port) {
            return Ok(at);
        }
        let at = self.add(ip, port)?;
        self.by_port.insert(port, at);
        Ok(at)
    }

    /// The sockets of a peer's entropies: the first port of each path, then those that stand by,
    /// up to `most`.
    fn of_paths(
        &mut self,
        ip: IpAddr,
        paths: &PeerPaths,
        most: usize,
    ) -> Result<Box<[u16]>, SetupError> {
        let mut sockets = Vec::new();
        for (lane, path) in paths.paths.iter().enumerate() {
            sockets.push(match path.ports.first() {
                Some(&port) => self.on(ip, port)?,
                None => self.automatic(ip, lane + 1)?[lane],
            });
        }
        let spare = |at: usize| paths.paths.iter().filter_map(move |path| path.ports.get(at));
        let longest = paths.paths.iter().map(|path| path.ports.len()).max().unwrap_or(0);
        for &port in (1..longest).flat_map(spare) {
            if sockets.len() >= most || self.sockets.len() >= usize::from(MAX_SOCKETS) {
                break;
            }
            // Somebody else may have a port that only stands by.
            if let Ok(socket) = self.on(ip, port) {
                sockets.push(socket);
            }
        }
        Ok(sockets.into_boxed_slice())
    }
}

pub(super) fn make(
    (me, world): (Rank, WorldSize),
    session: u32,
    port: ReceivePort,
    peers: Vec<SprayPeer>,
    assigner: Option<Arc<dyn AssignFlows>>,
    options: SprayOptions,
) -> Result<SprayTransport, SetupError> {
    options.check()?;
    let names = Names::new(me, world, session);
    let assigner = assigner.filter(|_| options.entropy == EntropyChoice::PerSubflow);
    check_ports(&peers)?;
    let mut sources =
        Sources { sockets: Vec::new(), by_port: HashMap::new(), automatic: Vec::new() };
    let mut by_rank = vec![None; world.get()];
    let mut made = Vec::with_capacity(peers.len());
    for peer in peers {
        let index = made.len() as u32;
        by_rank[peer.rank.index()] = Some(index);
        made.push(join(peer, index, &port, &names, &mut sources, &options)?);
    }
    let sockets = sources.sockets.len();
    let cells = made.iter().map(|peer: &Peer| Arc::clone(&peer.cell)).collect();
    Ok(SprayTransport {
        port,
        senders: sources.sockets,
        names,
        peers: made,
        by_rank,
        intake: Intake::new(),
        batch: Batch::new(sockets),
        eager: EagerPool::new(options.eager_bytes),
        options,
        assigner,
        chunk_bytes: 0,
        epoch: 0,
        cuts: Vec::new(),
        clock: Clock::new(),
        sending: 0,
        turn: 0,
        changes: u64::MAX,
        refused: 0,
        counters: SprayCounters::new(cells),
        poll_set: Vec::with_capacity(sockets + 1),
    })
}

fn check_ports(peers: &[SprayPeer]) -> Result<(), SetupError> {
    let paths = peers.iter().filter_map(|peer| peer.paths.as_ref()).flat_map(|p| &p.paths);
    let mut first: Vec<u16> = paths.filter_map(|path| path.ports.first().copied()).collect();
    first.sort_unstable();
    first.dedup();
    let found = first.len();
    if found > usize::from(MAX_SOCKETS) { Err(SetupError::Ports { found }) } else { Ok(()) }
}

fn join(
    peer: SprayPeer,
    index: u32,
    port: &ReceivePort,
    names: &Names,
    sources: &mut Sources,
    options: &SprayOptions,
) -> Result<Peer, SetupError> {
    let SprayPeer { rank, hello, keys, paths } = peer;
    let (here, there) = (port.address(), hello.address);
    if here.is_ipv4() != there.is_ipv4() {
        return Err(SetupError::Family { peer: rank, here, there });
    }
    let ip = here.ip();
    let entropies = options.entropies;
    let (sockets, lanes) = if let Some(paths) = &paths {
        let sockets = sources.of_paths(ip, paths, usize::from(entropies))?;
        (sockets, paths.paths.len().max(1) as u16)
    } else {
        let sockets = sources.automatic(ip, usize::from(options.entropies))?;
        (sockets.into(), options.entropies)
    };
    // A policy that is free to choose has the ports that there are to choose from; more indices
    // would only be other names for some of them.
    let entropies = match options.entropy {
        EntropyChoice::PerSubflow => entropies,
        _ => sockets.len() as u16,
    };
    let entropies = entropies.max(lanes);
    let salt = u64::from(names.id(rank).0) << 32 | u64::from(names.me);
    let config = Config {
        congestion: fair(options.congestion, &hello, names.world, options.mtu.most),
        ..options.config(entropies, lanes, Random::new(salt).bits())
    };
    let paths = paths.filter(|_| options.entropy == EntropyChoice::PerSubflow);
    let assigned = paths.map(|paths| {
        let paths_by_lane: Vec<_> = paths.paths.iter().map(|path| path.path).collect();
        Assigned::new(paths.leaf, paths_by_lane)
    });
    let lane_paths = assigned.as_ref().map_or_else(Vec::new, |assigned| assigned.paths.clone());
    Ok(Peer::new(Parts {
        rank,
        index,
        address: there.into(),
        connection: Connection::new(names.id(rank), &config, keys)?,
        sockets,
        assigned,
        lanes: Lanes::new(lanes, options.seed ^ salt, lane_paths),
        chunk_window: config.chunk_window as usize,
        early_bytes: config.early_bytes,
    }))
}

/// A fixed window no larger than this rank's part of the receiver's buffer, which all its peers
/// may fill at once.
fn fair(
    congestion: CongestionConfig,
    hello: &Hello,
    world: u32,
    datagram: u32,
) -> CongestionConfig {
    let CongestionConfig::Fixed { window } = congestion else { return congestion };
    let part = hello.receive_bytes / world.saturating_sub(1).max(1);
    CongestionConfig::Fixed { window: window.min(part.max(LEAST_DATAGRAMS * datagram)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pair_have_one_number_and_find_each_other_by_it() {
        for ranks in [2, 3, 65_536] {
            let world = WorldSize::new(ranks).expect("a world size");
            let last = u32::from(world) - 1;
            for (one, other) in [(0, 1), (0, last), (last - 1, last)] {
                let session = 0xDEAD_BEEF;
                let (a, b) = (Rank::new(one), Rank::new(other));
                let (ours, theirs) = (Names::new(a, world, session), Names::new(b, world, session));
                let id = ours.id(b);
                assert_eq!(id, theirs.id(a));
                assert_eq!((ours.peer(id), theirs.peer(id)), (Some(b), Some(a)));
                let stranger = Names::new(a, world, session ^ 1);
                assert_ne!(stranger.id(b), id);
            }
        }
    }

    #[test]
    fn a_window_is_a_part_of_the_buffer_but_never_a_single_large_datagram() {
        let address = "10.0.0.1:9".parse().expect("an address");
        let window = |receive_bytes, world| {
            let hello = Hello { address, receive_bytes };
            match fair(CongestionConfig::Fixed { window: 256 << 10 }, &hello, world, 8_952) {
                CongestionConfig::Fixed { window } => window,
                other @ CongestionConfig::Nscc(_) => panic!("{other:?}"),
            }
        };
        assert_eq!(window(4 << 20, 2), 256 << 10);
        assert_eq!(window(1 << 20, 9), 128 << 10);
        // What a system without a larger `rmem_max` gives to 16 ranks.
        assert_eq!(window(212_992, 16), 4 * 8_952);
    }

    #[test]
    fn a_number_of_another_pair_is_nobody_s() {
        let world = WorldSize::new(5).expect("a world size");
        let names = |rank| Names::new(Rank::new(rank), world, 7);
        assert_eq!(names(0).peer(names(2).id(Rank::new(3))), None);
        for wild in [0, 1, u32::MAX, 1 << 31] {
            let peer = names(0).peer(ConnectionId(wild));
            assert!(peer.is_none_or(|peer| peer.index() > 0 && peer.index() < 5));
        }
    }
}
