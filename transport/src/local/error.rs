//! Why shared memory could not be set up.

use std::io;
use std::path::PathBuf;

use onepath_topology::Rank;

/// Shared memory that could not be made or opened, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Even the smallest rings for so many peers take too much.
    #[error(
        "{peers} local peers do not fit in {total_bytes} bytes of rings (4 slots of \
         {least_slot_bytes} bytes each at the least): allow more bytes, or use the tcp transport"
    )]
    TooManyPeers {
        /// Peers on this host.
        peers: usize,
        /// The limit in force.
        total_bytes: usize,
        /// The smallest slot.
        least_slot_bytes: usize,
    },
    /// The kernel gave no memory file.
    #[error(
        "cannot {action} {bytes} bytes of shared memory: {source}; free memory, raise the limit \
         of this container, or use the tcp transport"
    )]
    Create {
        /// What was tried.
        action: &'static str,
        /// Bytes wanted.
        bytes: u64,
        /// The cause.
        source: io::Error,
    },
    /// A peer's memory file could not be reached.
    #[error(
        "cannot open the shared memory of rank {peer} at {path}: {source}; ranks that share \
         memory must run as one user in one PID namespace, with that rank still alive: else use \
         the tcp transport"
    )]
    Open {
        /// The peer.
        peer: Rank,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something else is at the address.
    #[error(
        "{path} is not the shared memory of rank {peer} but has {found}: that rank has exited, \
         or is of another version: start the job again with one version"
    )]
    NotTheSegment {
        /// The peer.
        peer: Rank,
        /// The path.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// The peer counts its local ranks otherwise.
    #[error(
        "the shared memory of rank {peer} has no ring {ring}: \
         the ranks disagree on who is on this host"
    )]
    NoSuchRing {
        /// The peer.
        peer: Rank,
        /// The ring wanted.
        ring: usize,
    },
    /// Another rank writes to the ring.
    #[error(
        "ring {ring} of rank {peer} is used by rank {by}: the ranks disagree on who is on this host"
    )]
    RingTaken {
        /// The peer.
        peer: Rank,
        /// The ring wanted.
        ring: usize,
        /// Who has it.
        by: u32,
    },
}
