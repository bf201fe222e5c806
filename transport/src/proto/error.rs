//! What can be wrong with a datagram, with a connection, and with its configuration.

use onepath_topology::Nanos;

use crate::wire::MAX_CHUNK_BYTES;

use super::packet::{CloseReason, ConnectionId, Entropy, MAX_ACK_WORDS, PROTOCOL_VERSION};

/// A datagram that is none of ours, or damaged: it is dropped and counted, nothing else. Anybody
/// can send one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It ends too early.
    #[error("the datagram ends {missing} bytes or less before the end of a field")]
    Short {
        /// Bytes of the field.
        missing: usize,
    },
    /// Its tag does not fit it and the key.
    #[error("the tag does not fit the datagram")]
    Tag,
    /// Another version.
    #[error("protocol version {found} where this rank speaks {PROTOCOL_VERSION}")]
    Version {
        /// The version.
        found: u8,
    },
    /// A kind that this version does not have.
    #[error("datagram kind {found} is not known: 1 to 5 are")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// Another connection, or an earlier life of this one.
    #[error("connection {found:?} where {expected:?} was expected")]
    Connection {
        /// The connection.
        found: ConnectionId,
        /// This one.
        expected: ConnectionId,
    },
    /// An entropy outside the agreed number.
    #[error("{found:?} where {count} entropies were agreed, from 0")]
    Entropy {
        /// The entropy.
        found: Entropy,
        /// How many there are.
        count: u16,
    },
    /// Longer or shorter than its kind.
    #[error("the datagram has {found} bytes where {expected} were expected")]
    Length {
        /// Its length.
        found: usize,
        /// The right one.
        expected: usize,
    },
    /// A chunk without bytes or with too many.
    #[error("chunk length {found} is not between 1 and {MAX_CHUNK_BYTES}")]
    ChunkLength {
        /// Its length.
        found: u32,
    },
    /// A piece that does not lie in its chunk, or not on the grid of granules.
    #[error("a piece of {length} bytes at {offset} does not fit a chunk of {chunk_length}")]
    Piece {
        /// First byte of the piece.
        offset: u32,
        /// Bytes of the piece.
        length: u32,
        /// Bytes of the chunk.
        chunk_length: u32,
    },
    /// Too many words.
    #[error("{found} words of acknowledgement; the most is {MAX_ACK_WORDS}")]
    AckWords {
        /// How many.
        found: u16,
    },
    /// A reason that this version does not have.
    #[error("reason {found} to close is not known: 1 to 3 are")]
    Reason {
        /// The reason.
        found: u16,
    },
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The other end closed it.
    #[error("the peer closed the connection: {reason:?}")]
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// Nothing was heard for too long although an answer was due.
    #[error("nothing was heard of the peer for {silence}")]
    Silent {
        /// How long.
        silence: Nanos,
    },
    /// A piece was lost again and again while others came through.
    #[error("bytes {offset}.. of chunk {chunk} were sent {transmissions} times and never came")]
    Undeliverable {
        /// The chunk's number.
        chunk: u64,
        /// The piece.
        offset: u32,
        /// How often it was sent.
        transmissions: u8,
    },
    /// The peer, which knows the key, sent what the protocol forbids.
    #[error("the peer does not keep to the protocol: {problem}")]
    Protocol {
        /// What.
        problem: ProtocolProblem,
    },
}

/// What an authenticated peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolProblem {
    /// A chunk beyond the credit.
    #[error("chunk {chunk} goes beyond the credit")]
    BeyondCredit {
        /// Its number.
        chunk: u64,
    },
    /// Two pieces with one chunk number describe different chunks.
    #[error("chunk {chunk} is described in two ways")]
    ChunkChanged {
        /// Its number.
        chunk: u64,
    },
    /// A chunk is not where the chunks before it end.
    #[error("chunk {chunk} does not begin where the chunks before it end")]
    Position {
        /// Its number.
        chunk: u64,
    },
    /// More chunks acknowledged than were sent.
    #[error("{delivered} chunks delivered of {sent} sent")]
    DeliveredAhead {
        /// What the peer says.
        delivered: u64,
        /// What is possible.
        sent: u64,
    },
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; it has to be between {least} and {most}{also}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// The least that works.
    pub least: u64,
    /// The most that works.
    pub most: u64,
    /// A further condition.
    pub also: &'static str,
}
