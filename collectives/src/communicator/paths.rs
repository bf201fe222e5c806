//! Which paths the data connections of a communicator are pinned to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use onepath_topology::Rank;
use onepath_transport::path::roce::RoceSource;
use onepath_transport::share::AssignFlows;
use onepath_transport::tcp::pinned::{PathPorts, PeerPaths, PinnedOptions};
use onepath_transport::wire::MAX_CHUNK_BYTES;

use super::build_error::BuildError;
use crate::control::PinnedPorts;

/// The most paths to one peer.
pub const MAX_PATHS: usize = 256;

/// Finds the paths from this rank to its peers.
pub trait FindPaths: Send + Sync {
    /// Says from where the queue pairs of this rank send, before anything else; over RDMA by RoCE
    /// alone.
    fn device(&self, _source: &RoceSource) {}

    /// Says which peers will be asked about, each with what it listens on (ports of TCP, or of UDP
    /// for datagrams), so that all can be looked for at once; may block. Does nothing unless it is
    /// said how.
    fn expect(&self, _peers: &[(Rank, Vec<SocketAddr>)]) {}

    /// The paths to the rank that listens on `addresses`, best first. `peer` is its number in the
    /// communicator that is being made (another after a split or shrink). Called once for each
    /// peer that is not reached by shared memory, when all ranks listen; may block. Where no path
    /// is known, [`PeerPaths::unknown`] is the answer.
    fn paths(&self, peer: Rank, addresses: &[SocketAddr]) -> PeerPaths;

    /// How the sends of rank `me` are dealt to those paths; nothing lets any path take any chunk.
    fn assigner(&self, me: Rank) -> Option<Arc<dyn AssignFlows>>;
}

/// Pins data connections to paths, see [`onepath_transport::tcp::pinned`].
#[derive(Clone)]
pub struct Pinning {
    /// Where the paths come from.
    pub find: Arc<dyn FindPaths>,
    /// How they are used.
    pub options: PinnedOptions,
    /// Size of chunks, which are what is cut and resent: the same on all ranks, a power of two
    /// from 4 KiB to 4 MiB.
    pub chunk_bytes: usize,
}

impl Pinning {
    /// With chunks of 32 KiB and the default options.
    pub fn new(find: Arc<dyn FindPaths>) -> Self {
        Self { find, options: PinnedOptions::default(), chunk_bytes: 32 << 10 }
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        let chunk_bytes = self.chunk_bytes;
        let fits = (4 << 10..=MAX_CHUNK_BYTES).contains(&chunk_bytes);
        if fits && chunk_bytes.is_power_of_two() {
            Ok(())
        } else {
            Err(BuildError::PinnedChunk { chunk_bytes })
        }
    }

    /// The paths to one peer, checked.
    pub(super) fn paths(
        &self,
        peer: Rank,
        addresses: &[SocketAddr],
    ) -> Result<PeerPaths, BuildError> {
        let found = self.find.paths(peer, addresses);
        let mut ids: Vec<_> = found.paths.iter().map(|path| path.path).collect();
        let given = ids.len();
        ids.sort_unstable();
        ids.dedup();
        if given == 0 || given > MAX_PATHS || ids.len() != given {
            return Err(BuildError::Paths { peer, given, distinct: ids.len() });
        }
        Ok(found)
    }
}

impl fmt::Debug for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinning")
            .field("options", &self.options)
            .field("chunk_bytes", &self.chunk_bytes)
            .finish_non_exhaustive()
    }
}

/// The local ports of the first connection on each path.
pub(super) fn first_ports(rank: Rank, paths: &PeerPaths) -> PinnedPorts {
    let first = |path: &PathPorts| path.ports.first().copied();
    PinnedPorts { rank, ports: paths.paths.iter().map(first).collect() }
}
