//! Datagrams to bytes and back: the layout that [`super::packet`] describes.

use onepath_topology::Nanos;

use crate::plan::FlowTag;
use crate::wire::{MAX_CHUNK_BYTES, OperationId, Signature};

use super::error::PacketError;
use super::packet::{
    AckWord, Acknowledgement, Body, ChunkInfo, CloseReason, ConnectionId, Entropy, GRANULE_BYTES,
    MAX_ACK_WORDS, MAX_HEADER_BYTES, PROTOCOL_VERSION, Packet, PieceHeader, TAG_BYTES,
};

/// Beside the kind: acknowledge now.
const PROMPT: u8 = 0x80;

impl Packet {
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
        self.put(&(ack.words().len() as u16).to_le_bytes());
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
