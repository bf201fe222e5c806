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
use crate::wire::{ChunkHeader, ChunkKind, MAX_CHUNK_BYTES, OperationId, Signature};

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

const ACK_BYTES: usize = 52;
const WORD_BYTES: usize = 24;
const CLOSE_BYTES: usize = COMMON_BYTES + 2;
const PROMPT: u8 = 0x80;

/// Names one direction-independent connection between two ranks, agreed when they met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

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
    /// Bytes, from 1 to [`MAX_CHUNK_BYTES`].
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
    fn wire(self) -> u16 {
        match self {
            Self::Finished => 1,
            Self::Cancelled => 2,
            Self::Protocol => 3,
        }
    }

    fn from_wire(word: u16) -> Result<Self, PacketError> {
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

    /// Writes the header with a tag of zero, and returns its length.
    pub fn encode(&self, out: &mut [u8; MAX_HEADER_BYTES]) -> usize {
        let mut writer = Writer { out, at: 0 };
        writer.put(&[0; TAG_BYTES]);
        writer.put(&self.connection.0.to_le_bytes());
        let kind = match self.body {
            Body::Data(_) => 1,
            Body::Acknowledgement(_) => 2,
            Body::Probe => 3,
            Body::MtuProbe { .. } => 4,
            Body::Close { .. } => 5,
        };
        writer.put(&[PROTOCOL_VERSION, kind | if self.prompt { PROMPT } else { 0 }]);
        writer.put(&self.entropy.0.to_le_bytes());
        writer.put(&self.number.to_le_bytes());
        writer.put(&self.path_sequence.to_le_bytes());
        match &self.body {
            Body::Data(piece) => writer.piece(piece),
            Body::Acknowledgement(ack) => writer.acknowledgement(ack),
            Body::Probe | Body::MtuProbe { .. } => {}
            Body::Close { reason } => writer.put(&reason.wire().to_le_bytes()),
        }
        writer.at
    }

    /// Reads a datagram whose tag has been verified; also gives its payload.
    pub fn decode(datagram: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let length = datagram.len();
        let mut reader = Reader { bytes: datagram };
        reader.take::<TAG_BYTES>()?;
        let connection = ConnectionId(u32::from_le_bytes(reader.take()?));
        let [version, kind] = reader.take()?;
        if version != PROTOCOL_VERSION {
            return Err(PacketError::Version { found: version });
        }
        let entropy = Entropy(u16::from_le_bytes(reader.take()?));
        let number = u64::from_le_bytes(reader.take()?);
        let path_sequence = u32::from_le_bytes(reader.take()?);
        let body = match kind & !PROMPT {
            1 => Body::Data(reader.piece()?),
            2 => Body::Acknowledgement(reader.acknowledgement()?),
            3 => Body::Probe,
            4 => Body::MtuProbe { padding: reader.bytes.len() as u32 },
            5 => {
                Body::Close { reason: CloseReason::from_wire(u16::from_le_bytes(reader.take()?))? }
            }
            found => return Err(PacketError::Kind { found }),
        };
        let prompt = kind & PROMPT != 0;
        let packet = Self { connection, entropy, number, path_sequence, prompt, body };
        let expected = packet.datagram_bytes();
        if expected != length {
            return Err(PacketError::Length { found: length, expected });
        }
        Ok((packet, reader.bytes))
    }
}

/// The number whose low half is `low` and which is nearest to `near`.
pub(super) fn expand(low: u32, near: u64) -> u64 {
    let ahead = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(ahead))
}

struct Writer<'a> {
    out: &'a mut [u8; MAX_HEADER_BYTES],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn piece(&mut self, piece: &PieceHeader) {
        let info = &piece.info;
        self.put(&piece.offset.to_le_bytes());
        self.put(&info.operation.wire().to_le_bytes());
        self.put(&info.tag.0.to_le_bytes());
        self.put(&info.length.to_le_bytes());
        self.put(&info.offset.to_le_bytes());
        self.put(&info.signature.0[0].to_le_bytes());
        self.put(&info.signature.0[1].to_le_bytes());
        self.put(&piece.chunk.to_le_bytes());
        self.put(&piece.position.to_le_bytes());
    }

    fn acknowledgement(&mut self, ack: &Acknowledgement) {
        let delay = u32::try_from(ack.delay.get()).unwrap_or(u32::MAX);
        self.put(&delay.to_le_bytes());
        self.put(&ack.latest.to_le_bytes());
        self.put(&ack.delivered.to_le_bytes());
        self.put(&(ack.count as u16).to_le_bytes());
        self.put(&[0; 2]);
        for word in ack.words() {
            self.put(&word.index.to_le_bytes());
            self.put(&word.received.to_le_bytes());
            self.put(&word.marked.to_le_bytes());
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], PacketError> {
        let (now, later) =
            self.bytes.split_first_chunk().ok_or(PacketError::Short { missing: N })?;
        self.bytes = later;
        Ok(*now)
    }

    fn word(&mut self) -> Result<u64, PacketError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn half(&mut self) -> Result<u32, PacketError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn piece(&mut self) -> Result<PieceHeader, PacketError> {
        let offset = self.half()?;
        let operation = OperationId::from_wire(self.word()?);
        let tag = FlowTag(self.half()?);
        let chunk_length = self.half()?;
        let chunk_offset = self.word()?;
        let signature = Signature([self.word()?, self.word()?]);
        let chunk = self.half()?;
        let position = self.half()?;
        let length = self.bytes.len() as u32;
        if chunk_length == 0 || chunk_length as usize > MAX_CHUNK_BYTES {
            return Err(PacketError::ChunkLength { found: chunk_length });
        }
        let aligned = |at: u32| (at as usize).is_multiple_of(GRANULE_BYTES);
        let end = u64::from(offset) + u64::from(length);
        let ends_well = end == u64::from(chunk_length)
            || (end < u64::from(chunk_length) && aligned(offset.wrapping_add(length)));
        if length == 0 || !aligned(offset) || !ends_well {
            return Err(PacketError::Piece { offset, length, chunk_length });
        }
        let info =
            ChunkInfo { operation, tag, offset: chunk_offset, length: chunk_length, signature };
        Ok(PieceHeader { info, chunk, position, offset, length })
    }

    fn acknowledgement(&mut self) -> Result<Acknowledgement, PacketError> {
        let delay = Nanos(u64::from(self.half()?));
        let (latest, delivered) = (self.word()?, self.word()?);
        let count = u16::from_le_bytes(self.take()?);
        self.take::<2>()?;
        let mut ack = Acknowledgement::new(delay, latest, delivered);
        if usize::from(count) > MAX_ACK_WORDS {
            return Err(PacketError::AckWords { found: count });
        }
        for _ in 0..count {
            let (index, received, marked) = (self.word()?, self.word()?, self.word()?);
            ack.push(AckWord { index, received, marked });
        }
        Ok(ack)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data() -> Packet {
        let info = ChunkInfo {
            operation: OperationId::collective(7),
            tag: FlowTag(3),
            offset: 1 << 40,
            length: 100,
            signature: Signature([1, 2]),
        };
        let piece = PieceHeader { info, chunk: 9, position: 8, offset: 64, length: 36 };
        Packet {
            connection: ConnectionId(5),
            entropy: Entropy(6),
            number: 1 << 50,
            path_sequence: 77,
            prompt: true,
            body: Body::Data(piece),
        }
    }

    fn round_trip(packet: &Packet) {
        let mut header = [0; MAX_HEADER_BYTES];
        let length = packet.encode(&mut header);
        let mut datagram = header[..length].to_vec();
        datagram.resize(packet.datagram_bytes(), 0);
        let (decoded, payload) = Packet::decode(&datagram).expect("it was just encoded");
        assert_eq!(decoded, *packet);
        assert_eq!(payload.len(), packet.payload_bytes());
    }

    #[test]
    fn every_kind_survives_encoding() {
        let mut ack = Acknowledgement::new(Nanos(5), 6, 7);
        for index in 0..MAX_ACK_WORDS as u64 {
            assert!(ack.push(AckWord { index, received: !index, marked: index }));
        }
        assert!(!ack.push(AckWord::default()));
        let close = Body::Close { reason: CloseReason::Cancelled };
        for body in [
            data().body,
            Body::Acknowledgement(ack),
            Body::Probe,
            Body::MtuProbe { padding: 900 },
            close,
        ] {
            round_trip(&Packet { body, ..data() });
        }
    }

    #[test]
    fn a_piece_that_leaves_its_chunk_or_the_grid_is_refused() {
        for (offset, length) in [(64, 37), (65, 35), (32, 33), (128, 32), (64, 0)] {
            let Body::Data(piece) = data().body else { unreachable!("it is data") };
            let body = Body::Data(PieceHeader { offset, length, ..piece });
            let mut header = [0; MAX_HEADER_BYTES];
            let used = Packet { body, ..data() }.encode(&mut header);
            let mut datagram = header[..used].to_vec();
            datagram.resize(used + length as usize, 0);
            let problem = Packet::decode(&datagram);
            assert!(matches!(problem, Err(PacketError::Piece { .. })), "{problem:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_found_from_its_low_half(near in any::<u32>(), step in -1_000_000_i64..1_000_000) {
            let near = u64::from(near) + (7 << 32);
            let number = near.wrapping_add_signed(step);
            prop_assert_eq!(expand(number as u32, near), number);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = bytes;
            if bytes.len() > 13 {
                bytes[12] = PROTOCOL_VERSION;
                bytes[13] %= 6;
            }
            let _ = Packet::decode(&bytes);
        }
    }
}
