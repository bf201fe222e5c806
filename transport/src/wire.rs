//! The header that goes before every chunk, the same on TCP subflows and in shared memory.
//!
//! 64 bytes, little-endian (a cache line, so that a shared-memory slot is header plus payload):
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..2 | magic | `0x504F` ("OP") |
//! | 2 | version | [`WIRE_VERSION`] |
//! | 3 | kind | 1 data, 2 acknowledgement, 3 data sent again, 4 subflow given up, 5 probe |
//! | 4..8 | length | payload bytes that follow |
//! | 8..16 | operation | [`OperationId`] |
//! | 16..20 | tag | [`FlowTag`] |
//! | 20..24 | | zero |
//! | 24..32 | offset | first payload byte, counted in the flow |
//! | 32..48 | signature | what call the sender is in, so that mismatching calls are found |
//! | 48..56 | chunk | number of this chunk on its subflow, from 1 |
//! | 56..64 | acknowledged | highest chunk number of the other direction that was placed |
//!
//! Kinds 3 to 5 appear only on subflows pinned to paths, see [`crate::tcp::pinned`]. There `chunk`
//! is in an acknowledgement how many headers of the other direction were read, and in kind 4 the
//! index of the subflow. Over RDMA ([`crate::verbs::transport`]) `acknowledged` is a set of slots
//! of the other direction that were emptied.

use crate::plan::FlowTag;

/// Bytes of an encoded [`ChunkHeader`].
pub const HEADER_BYTES: usize = 64;

/// Where [`ChunkHeader::acknowledged`] is in it.
pub(crate) const ACKNOWLEDGED_AT: usize = 56;

/// Version of the wire format; ranks with different versions refuse each other at start.
pub const WIRE_VERSION: u8 = 2;

/// The largest payload of one chunk.
pub const MAX_CHUNK_BYTES: usize = 1 << 22;

const MAGIC: u16 = 0x504F;

/// Number of an operation. Collectives of a communicator are counted alike by all its ranks;
/// point-to-point operations are counted per pair and direction and have the top bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u64);

impl OperationId {
    const POINT_TO_POINT: u64 = 1 << 63;

    /// The collective with this number.
    pub const fn collective(number: u64) -> Self {
        Self(number & !Self::POINT_TO_POINT)
    }

    /// The point-to-point transfer with this number between two ranks in one direction.
    pub const fn point_to_point(number: u64) -> Self {
        Self(number | Self::POINT_TO_POINT)
    }

    /// Whether it is a point-to-point transfer.
    pub const fn is_point_to_point(self) -> bool {
        self.0 & Self::POINT_TO_POINT != 0
    }

    /// Its number among the collectives, or among the transfers of its pair.
    pub const fn number(self) -> u64 {
        self.0 & !Self::POINT_TO_POINT
    }

    /// As it is on the wire.
    pub const fn wire(self) -> u64 {
        self.0
    }

    /// From the wire.
    pub const fn from_wire(word: u64) -> Self {
        Self(word)
    }
}

/// What the caller asked for, in two words that the transport only compares; the collectives
/// crate packs kind, type, reduction, algorithm, root and count into them and prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signature(pub [u64; 2]);

/// What a header introduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Payload of a flow follows.
    Data,
    /// Nothing follows: only the acknowledgement counts.
    Acknowledgement,
    /// Payload follows that was sent before over a subflow that has been given up, and may have
    /// arrived.
    Resent,
    /// Nothing follows: the sender has given up the subflow with the index in `chunk`, and nothing
    /// counts any more that comes over it.
    Lost,
    /// Nothing follows: the receiver is asked for an acknowledgement, to show that it reads.
    Probe,
}

/// The decoded header of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// What follows.
    pub kind: ChunkKind,
    /// Payload bytes that follow.
    pub length: u32,
    /// The operation.
    pub operation: OperationId,
    /// The flow within the operation.
    pub tag: FlowTag,
    /// Position of the payload in the flow.
    pub offset: u64,
    /// The sender's call.
    pub signature: Signature,
    /// Number of this chunk on its subflow, from 1.
    pub chunk: u64,
    /// Highest chunk number of the other direction of this subflow that was placed.
    pub acknowledged: u64,
}

/// Bytes that are not a chunk header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not our protocol.
    #[error("bytes {found:#06x} where a chunk header begins; a header begins with {MAGIC:#06x}")]
    Magic {
        /// The first two bytes.
        found: u16,
    },
    /// Another version of it.
    #[error("wire version {found} where this rank speaks {WIRE_VERSION}")]
    Version {
        /// The peer's version.
        found: u8,
    },
    /// A kind that this version does not have.
    #[error("chunk kind {found} is not known: 1 to 5 are")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// In shared memory: the count of freed slots runs backwards or ahead of what was sent.
    #[error("count {found} of freed slots, which is less than before or more than were sent")]
    RingCount {
        /// The count.
        found: u64,
    },
    /// An acknowledgement of chunks that were not sent, or were acknowledged before.
    #[error("acknowledgement of {found} chunks, which is less than before or more than were sent")]
    Acknowledged {
        /// The number.
        found: u64,
    },
    /// A length above the limit, or a payload behind an acknowledgement, or an empty data chunk.
    #[error("chunk length {found} is not between {least} and {most}")]
    Length {
        /// The length.
        found: u32,
        /// The least that would be right.
        least: u32,
        /// The most that would be right.
        most: u32,
    },
}

impl ChunkHeader {
    /// Writes the header.
    pub fn encode(&self, out: &mut [u8; HEADER_BYTES]) {
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        let kind = match self.kind {
            ChunkKind::Data => 1,
            ChunkKind::Acknowledgement => 2,
            ChunkKind::Resent => 3,
            ChunkKind::Lost => 4,
            ChunkKind::Probe => 5,
        };
        put(2, &[WIRE_VERSION, kind]);
        put(4, &self.length.to_le_bytes());
        put(8, &self.operation.wire().to_le_bytes());
        put(16, &self.tag.0.to_le_bytes());
        put(20, &[0; 4]);
        put(24, &self.offset.to_le_bytes());
        put(32, &self.signature.0[0].to_le_bytes());
        put(40, &self.signature.0[1].to_le_bytes());
        put(48, &self.chunk.to_le_bytes());
        put(ACKNOWLEDGED_AT, &self.acknowledged.to_le_bytes());
    }

    /// Reads a header and checks every field that can be wrong by itself.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let word = |at: usize| u64::from_le_bytes(array(bytes, at));
        let half = |at: usize| u32::from_le_bytes(array(bytes, at));
        let magic = u16::from_le_bytes(array(bytes, 0));
        if magic != MAGIC {
            return Err(WireError::Magic { found: magic });
        }
        if bytes[2] != WIRE_VERSION {
            return Err(WireError::Version { found: bytes[2] });
        }
        let (kind, least, most) = match bytes[3] {
            1 => (ChunkKind::Data, 1, MAX_CHUNK_BYTES as u32),
            2 => (ChunkKind::Acknowledgement, 0, 0),
            3 => (ChunkKind::Resent, 1, MAX_CHUNK_BYTES as u32),
            4 => (ChunkKind::Lost, 0, 0),
            5 => (ChunkKind::Probe, 0, 0),
            found => return Err(WireError::Kind { found }),
        };
        let length = half(4);
        if !(least..=most).contains(&length) {
            return Err(WireError::Length { found: length, least, most });
        }
        Ok(Self {
            kind,
            length,
            operation: OperationId::from_wire(word(8)),
            tag: FlowTag(half(16)),
            offset: word(24),
            signature: Signature([word(32), word(40)]),
            chunk: word(48),
            acknowledged: word(ACKNOWLEDGED_AT),
        })
    }
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> ChunkHeader {
        ChunkHeader {
            kind: ChunkKind::Data,
            length: 65_536,
            operation: OperationId::collective(7),
            tag: FlowTag(3),
            offset: 1 << 40,
            signature: Signature([1, 2]),
            chunk: 9,
            acknowledged: 8,
        }
    }

    #[test]
    fn a_header_survives_encoding() {
        let mut bytes = [0; HEADER_BYTES];
        header().encode(&mut bytes);
        assert_eq!(ChunkHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn a_chunk_longer_than_the_limit_is_refused() {
        let mut bytes = [0; HEADER_BYTES];
        ChunkHeader { length: MAX_CHUNK_BYTES as u32 + 1, ..header() }.encode(&mut bytes);
        assert!(matches!(ChunkHeader::decode(&bytes), Err(WireError::Length { .. })));
    }

    #[test]
    fn point_to_point_numbers_never_meet_collective_ones() {
        assert_ne!(OperationId::collective(5), OperationId::point_to_point(5));
        assert_eq!(OperationId::point_to_point(5).number(), 5);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in any::<[u8; 32]>(), tail in any::<[u8; 32]>()) {
            let mut all = [0; HEADER_BYTES];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&tail);
            let _ = ChunkHeader::decode(&all);
        }
    }
}
