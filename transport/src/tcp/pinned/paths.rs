//! What a pinned transport is told: paths, how chunks may move between them, and who makes
//! connections.

use std::fmt;

use onepath_topology::Rank;
use socket2::Socket;

use onepath_topology::fabric::{LeafId, PathId};

/// A path and the local ports whose connections take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPorts {
    /// The path.
    pub path: PathId,
    /// The first is used, the others stand by; with none the system chooses.
    pub ports: Vec<u16>,
}

/// The paths from this rank to a peer. A connection's addresses and ports fix the path from the
/// side that connects to the other; the way back may be any. So each rank connects for its own
/// sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPaths {
    /// The peer's leaf: receivers below one leaf share their paths.
    pub leaf: LeafId,
    /// The paths, each once.
    pub paths: Vec<PathPorts>,
}

impl PeerPaths {
    /// So many connections from automatic ports, for a peer to which no path is known: which of
    /// them share links is not known either. A leaf with the number of the peer is made up.
    pub fn unknown(peer: Rank, count: u16) -> Self {
        let path = |number| PathPorts { path: PathId(number), ports: Vec::new() };
        let leaf = LeafId(u32::MAX - peer.number());
        Self { leaf, paths: (0..u32::from(count)).map(path).collect() }
    }
}

/// The connections with one peer when the transport is made.
#[derive(Debug)]
pub struct PinnedPeer {
    /// The peer.
    pub rank: Rank,
    /// The paths to it.
    pub paths: PeerPaths,
    /// Connected by this rank, one for each path in order.
    pub outgoing: Vec<Socket>,
    /// Connected by the peer, in the order of its paths.
    pub incoming: Vec<Socket>,
}

/// Whether a chunk may leave its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Only when the path has died.
    Static,
    /// Also when another path to the same peer has run dry: it takes chunks from the one that would
    /// finish last.
    #[default]
    Shared,
}

/// Numbers of a pinned transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedOptions {
    /// Whether chunks may leave their paths.
    pub sharing: Sharing,
    /// Bytes of the staging buffer of each incoming connection.
    pub staging_bytes: usize,
    /// Most payload bytes that one gathered write takes.
    pub batch_bytes: usize,
    /// Most payload bytes of one connection that are not acknowledged.
    pub window_bytes: usize,
    /// Payloads of messages up to this length are copied, so that a call need not wait for the
    /// acknowledgement; most in one chunk.
    pub eager_bytes: usize,
}

impl Default for PinnedOptions {
    fn default() -> Self {
        Self {
            sharing: Sharing::Shared,
            staging_bytes: 256 << 10,
            batch_bytes: 128 << 10,
            window_bytes: 4 << 20,
            eager_bytes: 32 << 10,
        }
    }
}

/// Something happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEvent {
    /// The path's connection was given up; its chunks go over others.
    Died {
        /// The receiver.
        peer: Rank,
        /// The path.
        path: PathId,
        /// How it was found.
        cause: PathDeath,
    },
    /// There is a new connection in its place.
    Replaced {
        /// The receiver.
        peer: Rank,
        /// The path.
        path: PathId,
    },
    /// No new connection could be made; the path stays dead.
    Abandoned {
        /// The receiver.
        peer: Rank,
        /// The path.
        path: PathId,
    },
}

/// How it was found that a path is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathDeath {
    /// Nothing that was sent over it was acknowledged any more.
    Silent,
    /// The connection was closed or reset.
    Closed,
}

impl fmt::Display for PathDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "nothing was acknowledged any more",
            Self::Closed => "its connection was closed",
        })
    }
}

/// A connection to be made in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redial {
    /// To whom.
    pub peer: Rank,
    /// Its index among the connections of this pair and direction, never used before.
    pub index: u16,
    /// The local port; nothing for an automatic one.
    pub port: Option<u16>,
}

/// A connection that was made in the background, or not.
#[derive(Debug)]
pub enum Connected {
    /// This rank asked for it.
    Dialed {
        /// To whom.
        peer: Rank,
        /// As in [`Redial`].
        index: u16,
        /// The connection; nothing if the try failed.
        socket: Option<Socket>,
    },
    /// A peer made it.
    Accepted {
        /// Who.
        peer: Rank,
        /// The peer's index for it.
        index: u16,
        /// The connection.
        socket: Socket,
    },
}

/// Makes connections in the background. None of its functions blocks or waits for a lock for long:
/// they are called on the data path.
pub trait Connector: fmt::Debug + Send {
    /// Begins to connect; a `Connected::Dialed` follows unless this says false.
    fn dial(&mut self, redial: Redial) -> bool;

    /// What has come about since, one at a time.
    fn next(&mut self) -> Option<Connected>;

    /// Tells whoever watches the job.
    fn report(&mut self, event: PathEvent);
}
