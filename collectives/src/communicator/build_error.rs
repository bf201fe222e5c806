//! Why a world could not be joined.

use std::io;
use std::path::PathBuf;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::local::SegmentError;
use onepath_transport::proto::ConfigError;
use onepath_transport::spray::hello::HelloError;
use onepath_transport::spray::{SetupError, SocketError};
use onepath_transport::tcp::{MAX_SUBFLOWS, OptionError};
use onepath_transport::verbs::transport::hello::HelloError as VerbsHelloError;
use onepath_transport::verbs::transport::{VerbsOptionError, VerbsSetupError};

use super::paths::MAX_PATHS;
use crate::algorithm::cost::TableError;
use crate::bootstrap::host_port::HostPortError;
use crate::bootstrap::interfaces::InterfaceTextError;
use crate::bootstrap::{
    InterfaceError, LaunchError, RendezvousError, SecretError, UntrustedAddress,
};
use crate::control::{EndpointError, SessionError};
use crate::error::CollectiveError;
use crate::reduce::IsaError;

/// Why a world could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Something that must be said was not.
    #[error("the {what} is not known: say it in code or start the rank by a launcher")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// The rank does not belong to the world.
    #[error("rank {rank} does not belong to a world of {world}: it must be below that")]
    RankOutOfRange {
        /// The rank.
        rank: Rank,
        /// The world.
        world: WorldSize,
    },
    /// Too few or too many subflows.
    #[error("subflows {subflows} is out of range: it must be from 1 to {MAX_SUBFLOWS}")]
    Subflows {
        /// The number.
        subflows: u16,
    },
    /// The paths to a peer make no sense.
    #[error(
        "{given} paths to rank {peer}, {distinct} of them distinct: there must be 1 to \
         {MAX_PATHS}, each once"
    )]
    Paths {
        /// The peer.
        peer: Rank,
        /// How many were given.
        given: usize,
        /// How many of these differ.
        distinct: usize,
    },
    /// Chunks of pinned connections of an impossible size.
    #[error("chunk_bytes {chunk_bytes} is wrong: it must be a power of two from 4 KiB to 4 MiB")]
    PinnedChunk {
        /// The size.
        chunk_bytes: usize,
    },
    /// A variable has a value that means nothing.
    #[error("{name}={value}: {problem}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// `ONEPATH_ISA` names an instruction set that is not known or that this CPU lacks.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// The launcher's variables are wrong.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The rendezvous address is wrong.
    #[error(transparent)]
    Address(#[from] HostPortError),
    /// The job secret is wrong.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The interface variables are wrong.
    #[error(transparent)]
    InterfaceText(#[from] InterfaceTextError),
    /// No interface fits.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The ranks did not meet.
    #[error(transparent)]
    Rendezvous(#[from] RendezvousError),
    /// The control plane could not be started.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The ranks met but could not connect.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What another rank said of itself cannot be read.
    #[error("rank {rank} introduced itself in a way that cannot be read: {problem}")]
    Card {
        /// The rank.
        rank: Rank,
        /// What is wrong.
        problem: String,
    },
    /// Shared memory was asked for, but ranks are on different hosts.
    #[error(
        "transport local needs all ranks on one host, but ranks {here} and {there} are on \
         different ones: use auto or tcp"
    )]
    DifferentHosts {
        /// This rank.
        here: Rank,
        /// One on another host.
        there: Rank,
    },
    /// Shared memory could not be set up.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The addresses of shared memory could not be exchanged.
    #[error("cannot exchange shared memory with rank {rank}: {source}")]
    SegmentExchange {
        /// The rank.
        rank: Rank,
        /// The cause.
        source: io::Error,
    },
    /// Options of datagrams are wrong.
    #[error("datagrams: {0}")]
    SprayOptions(#[from] ConfigError),
    /// A socket for datagrams could not be made.
    #[error(transparent)]
    SpraySocket(#[from] SocketError),
    /// Datagrams could not be set up.
    #[error(transparent)]
    Spray(#[from] SetupError),
    /// The addresses of datagrams could not be exchanged.
    #[error("cannot exchange datagram addresses with rank {rank}: {source}")]
    SprayExchange {
        /// The rank.
        rank: Rank,
        /// The cause.
        source: io::Error,
    },
    /// What a rank says of where it receives datagrams cannot be read.
    #[error("rank {rank} does not say where it receives datagrams: {problem}")]
    SprayHello {
        /// The rank.
        rank: Rank,
        /// What is wrong.
        problem: HelloError,
    },
    /// A rank wants its datagrams sent where nobody is trusted.
    #[error("rank {rank} receives datagrams elsewhere: {problem}")]
    SprayUntrusted {
        /// The rank.
        rank: Rank,
        /// What is wrong.
        problem: UntrustedAddress,
    },
    /// Options of RDMA are wrong.
    #[error(transparent)]
    VerbsOptions(#[from] VerbsOptionError),
    /// RDMA could not be set up.
    #[error("transport verbs: {0}")]
    Verbs(#[from] VerbsSetupError),
    /// Queue pairs could not be exchanged.
    #[error("cannot exchange queue pairs with rank {rank}: {source}")]
    VerbsExchange {
        /// The rank.
        rank: Rank,
        /// The cause.
        source: io::Error,
    },
    /// What a rank says of its queue pairs cannot be read.
    #[error("rank {rank} does not say what its queue pairs are: {problem}")]
    VerbsHello {
        /// The rank.
        rank: Rank,
        /// What is wrong.
        problem: VerbsHelloError,
    },
    /// A socket could not be prepared.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The runtime of the rendezvous could not be started.
    #[error("cannot start the rendezvous: {0}")]
    Runtime(#[source] io::Error),
    /// A first call, which agrees on the tuning, failed.
    #[error("the first call failed: {0}")]
    FirstCall(#[from] CollectiveError),
    /// The cost table could not be read.
    #[error("tuning file {path}: {problem}", path = .path.display())]
    TuningFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Rank 0 has no cost table to share; its own error says why.
    #[error("rank 0 could not read the tuning file")]
    NoTable,
    /// The cost table that rank 0 sent is wrong.
    #[error(transparent)]
    Tuning(#[from] TableError),
}
