//! The wire format: one kind of content a datagram, little-endian.
//!
//! Every datagram begins with 28 bytes:
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..8 | tag | keyed hash of all that follows ([`super::TagKey`]) |
//! | 8..12 | connection | [`ConnectionId`]: pair, subflow and epoch |
//! | 12 | version | [`PROTOCOL_VERSION`] |
//! | 13 | kind | 1 data, 2 acknowledgement, 3 probe, 4 MTU probe, 5 close; + 128: acknowledge now |
//! | 14..16 | entropy | [`Entropy`] by which the sender sent it |
//! | 16..24 | number | packet number, never used twice; acknowledgements count by themselves |
//! | 24..28 | path sequence | how many numbered packets took this entropy before |
//!
//! Data goes on with 52 bytes, then the payload, which is one piece of a chunk:
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 28..32 | piece offset | first payload byte, counted in the chunk; a multiple of 32 |
//! | 32..40 | operation | [`OperationId`] |
//! | 40..44 | tag | [`FlowTag`] |
//! | 44..48 | chunk length | bytes of the whole chunk |
//! | 48..56 | chunk offset | first byte of the chunk, counted in the flow |
//! | 56..72 | signature | the sender's call |
//! | 72..76 | chunk number | low half of the chunk's number on this connection |
//! | 76..80 | position | low half of the sum of the (rounded) lengths of all chunks before |
//!
//! An acknowledgement goes on with 24 bytes and up to [`MAX_ACK_WORDS`] words of 24:
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 28..32 | delay | nanoseconds between the arrival of `latest` and this datagram, saturating |
//! | 32..40 | latest | number of the packet that arrived last |
//! | 40..48 | delivered | chunks with smaller numbers have reached their place: the credit |
//! | 48..50 | words | how many follow |
//! | 50..52 | | zero |
//! | each | index, received, marked | packets `64·index..`: bits of those that came, and came CE |
//!
//! An MTU probe is padded with zeros to the size under test; close has a `u16` reason.
//!
//! No time stamp and no entropy is echoed: the sender remembers both for every packet number in
//! its window, and each packet is acknowledged by its number, so delay and marks are known for the
//! very entropy that the packet took.

use onepath_topology::Nanos;

use crate::plan::FlowTag;
use crate::wire::{ChunkHeader, ChunkKind, OperationId, Signature};

use super::error::PacketError;

/// Version of the datagram format.
pub const PROTOCOL_VERSION: u8 = 1;

/// Bytes of the tag.
pub const TAG_BYTES: usize = 8;

/// Bytes before the payload of a data packet.
pub const DATA_HEADER_BYTES: usize = 80;

/// Pieces begin at multiples of this many bytes of their chunk, and end at one or at its end: no
/// element is ever cut, and one bit stands for so many bytes.
pub const GRANULE_BYTES: usize = 32;

/// Words of 64 packets in one acknowledgement.
pub const MAX_ACK_WORDS: usize = 16;

/// The longest header; only payload or padding is longer.
pub const MAX_HEADER_BYTES: usize = ACK_BYTES + MAX_ACK_WORDS * WORD_BYTES;

/// The longest datagram that UDP over IPv4 carries.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Bytes that all kinds begin with; a probe has no others.
pub const COMMON_BYTES: usize = 28;

pub(super) const ACK_BYTES: usize = 52;
pub(super) const WORD_BYTES: usize = 24;
pub(super) const CLOSE_BYTES: usize = COMMON_BYTES + 2;

/// Names one direction-independent connection between two ranks, agreed when they met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// The one that a datagram names, to find whose it is before its tag is checked.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let bytes = datagram.get(TAG_BYTES..)?.first_chunk()?;
        Some(Self(u32::from_le_bytes(*bytes)))
    }
}

/// Index of an entropy value: the header bits (for UDP the source port) that select a path. What
/// bits an index stands for is the business of whoever sends the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entropy(pub u16);

impl Entropy {
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a chunk is: a run of bytes of one flow of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// The operation.
    pub operation: OperationId,
    /// The flow in it.
    pub tag: FlowTag,
    /// First byte, counted in the flow.
    pub offset: u64,
    /// Bytes, from 1 to [`crate::wire::MAX_CHUNK_BYTES`].
    pub length: u32,
    /// The sender's call.
    pub signature: Signature,
}

impl ChunkInfo {
    pub(super) const NOTHING: Self = Self {
        operation: OperationId::collective(0),
        tag: FlowTag(0),
        offset: 0,
        length: 0,
        signature: Signature([0; 2]),
    };

    /// As the flow table wants it, with the chunk's number on this connection (from 1, as on TCP).
    pub fn header(&self, number: u64) -> ChunkHeader {
        ChunkHeader {
            kind: ChunkKind::Data,
            length: self.length,
            operation: self.operation,
            tag: self.tag,
            offset: self.offset,
            signature: self.signature,
            chunk: number + 1,
            acknowledged: 0,
        }
    }
}

/// A piece of a chunk, as a data packet describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHeader {
    /// The whole chunk.
    pub info: ChunkInfo,
    /// Low half of its number.
    pub chunk: u32,
    /// Low half of its position.
    pub position: u32,
    /// First byte of the piece, counted in the chunk.
    pub offset: u32,
    /// Bytes of the piece.
    pub length: u32,
}

/// Sixty-four packets with neighbouring numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckWord {
    /// Packet numbers from 64 times this on.
    pub index: u64,
    /// Bit `i`: packet `64·index + i` came.
    pub received: u64,
    /// Bit `i`: it came with the mark "congestion experienced".
    pub marked: u64,
}

/// What a receiver has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Between the arrival of `latest` and the departure of this.
    pub delay: Nanos,
    /// The packet that arrived last.
    pub latest: u64,
    /// Chunks with smaller numbers are at their place; the sender may go on behind them.
    pub delivered: u64,
    words: [AckWord; MAX_ACK_WORDS],
    count: usize,
}

impl Acknowledgement {
    /// Without any word.
    pub fn new(delay: Nanos, latest: u64, delivered: u64) -> Self {
        Self { delay, latest, delivered, words: [AckWord::default(); MAX_ACK_WORDS], count: 0 }
    }

    /// Adds a word unless it is full; whether there was room.
    pub fn push(&mut self, word: AckWord) -> bool {
        let Some(place) = self.words.get_mut(self.count) else {
            return false;
        };
        *place = word;
        self.count += 1;
        true
    }

    /// The words.
    pub fn words(&self) -> &[AckWord] {
        &self.words[..self.count]
    }
}

/// Why an end closed the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Everything was done.
    Finished,
    /// An operation was given up.
    Cancelled,
    /// The other end broke the protocol.
    Protocol,
}

impl CloseReason {
    pub(super) fn wire(self) -> u16 {
        match self {
            Self::Finished => 1,
            Self::Cancelled => 2,
            Self::Protocol => 3,
        }
    }

    pub(super) fn from_wire(word: u16) -> Result<Self, PacketError> {
        match word {
            1 => Ok(Self::Finished),
            2 => Ok(Self::Cancelled),
            3 => Ok(Self::Protocol),
            found => Err(PacketError::Reason { found }),
        }
    }
}

/// The content of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one call; boxes allocate")]
pub enum Body {
    /// A piece of a chunk.
    Data(PieceHeader),
    /// What came.
    Acknowledgement(Acknowledgement),
    /// Nothing; asks for an acknowledgement.
    Probe,
    /// So many bytes of nothing; asks whether a datagram of this size comes through.
    MtuProbe {
        /// Zeros behind the header.
        padding: u32,
    },
    /// The end.
    Close {
        /// Why.
        reason: CloseReason,
    },
}

/// A datagram without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Whose it is.
    pub connection: ConnectionId,
    /// The entropy it was sent by.
    pub entropy: Entropy,
    /// Its number.
    pub number: u64,
    /// Its number among those of its entropy, low half.
    pub path_sequence: u32,
    /// Whether the sender has nothing more to send for now and wants an answer at once.
    pub prompt: bool,
    /// What it brings.
    pub body: Body,
}

impl Packet {
    /// Payload or padding behind the header.
    pub fn payload_bytes(&self) -> usize {
        match self.body {
            Body::Data(piece) => piece.length as usize,
            Body::MtuProbe { padding } => padding as usize,
            Body::Acknowledgement(_) | Body::Probe | Body::Close { .. } => 0,
        }
    }

    /// Bytes of the whole datagram.
    pub fn datagram_bytes(&self) -> usize {
        let header = match &self.body {
            Body::Data(_) => DATA_HEADER_BYTES,
            Body::Acknowledgement(ack) => ACK_BYTES + ack.count * WORD_BYTES,
            Body::Probe | Body::MtuProbe { .. } => COMMON_BYTES,
            Body::Close { .. } => CLOSE_BYTES,
        };
        header + self.payload_bytes()
    }
}

/// The number whose low half is `low` and which is nearest to `near`.
pub(super) fn expand(low: u32, near: u64) -> u64 {
    let ahead = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_found_from_its_low_half(
            near in any::<u32>(),
            step in -1_000_000_i64..1_000_000,
        ) {
            let near = u64::from(near) + (7 << 32);
            let number = near.wrapping_add_signed(step);
            prop_assert_eq!(expand(number as u32, near), number);
        }
    }
}
