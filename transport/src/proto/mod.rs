//! Our datagram protocol without sockets and without a clock: it serves UDP, a simulator, and
//! tests with a virtual network.
//!
//! Many packets of one operation are in flight by many paths and arrive in any order; each says
//! which bytes of which chunk it brings, so they are placed directly. What path a packet takes is
//! a policy; all the rest is the same for a single path and for spraying, so that a comparison of
//! the two changes one thing.
//!
//! | module | what it holds |
//! |---|---|
//! | `connection` | [`Connection`]: both directions between two ranks |
//! | `config` | everything that can be chosen |
//! | [`packet`], `codec` | the wire format; to bytes and back |
//! | `seal` | the keyed tag of every datagram |
//! | `inbound` | what came: packets, chunks, credit, when to acknowledge |
//! | `outbound` | chunks that leave, packets in flight, losses, paths, pacing, MTU |
//! | [`congestion`] | how much may be in flight |
//! | `granules` | which bytes of a chunk are done |
//! | `random` | random numbers that are the same everywhere |
//! | `error`, `stats` | what can be wrong; what is counted |
//!
//! **Order of chunks and early bytes.** Chunks are numbered in the order in which they are handed
//! over, and a sender is never further ahead of the first chunk that is not at its place than
//! [`Config::early_bytes`] and [`Config::chunk_window`]. So a receiver that has not posted an
//! operation yet keeps at most that much, in an [`EarlyBuffer`], and the argument of
//! [`crate::plan`] for freedom from deadlock holds: the smallest undelivered chunk can move.

mod codec;
mod config;
pub mod congestion;
mod connection;
mod error;
mod granules;
mod inbound;
mod outbound;
pub mod packet;
mod random;
mod seal;
mod stats;
#[doc(hidden)]
pub mod testing;

pub use config::{Config, CongestionConfig, EntropyPolicy, MAX_ENTROPIES, MtuConfig};
pub use connection::{Connection, Event, OutboxFull, ReceiveError, Transmit};
pub use error::{ConfigError, ConnectionError, PacketError, ProtocolProblem};
pub use inbound::{ChunkNumber, EarlyBuffer, IncomingPiece};
pub use outbound::{OutgoingPiece, PathStats};
pub use packet::{Body, Packet};
pub use packet::{ChunkInfo, CloseReason, ConnectionId, Entropy, GRANULE_BYTES, MAX_HEADER_BYTES};
pub use random::Random;
pub use seal::{TagKey, TagKeys};
pub use stats::Stats;
