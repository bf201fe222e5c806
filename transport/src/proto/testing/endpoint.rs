//! One end of a connection, with real bytes, which checks what the protocol promises.

use onepath_topology::Nanos;

use crate::plan::FlowTag;
use crate::proto::random::Random;
use crate::proto::{
    ChunkInfo, ChunkNumber, Config, Connection, ConnectionError, ConnectionId, EarlyBuffer, Event,
    IncomingPiece, MAX_HEADER_BYTES, ReceiveError, TagKey, TagKeys, Transmit,
};
use crate::wire::{OperationId, Signature};

/// What one end sends.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Lengths of the chunks, in order.
    pub chunks: Vec<u32>,
    /// Lanes that they take in turn.
    pub lanes: u16,
    /// When the receiver knows where chunks belong, by number; from the start, if there is none.
    pub open_at: Vec<Nanos>,
    /// Of the bytes.
    pub seed: u64,
}

impl Job {
    /// `count` chunks of `length` bytes.
    pub fn equal(count: usize, length: u32) -> Self {
        Self { chunks: vec![length; count], lanes: 1, ..Self::default() }
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|&length| u64::from(length)).sum()
    }

    fn content(&self, chunk: usize) -> Vec<u8> {
        let mut random = Random::new(self.seed ^ (chunk as u64) << 32);
        (0..self.chunks[chunk]).map(|_| random.bits() as u8).collect()
    }

    fn is_open(&self, chunk: ChunkNumber, now: Nanos) -> bool {
        self.open_at.get(chunk.0 as usize).is_none_or(|&at| at <= now)
    }
}

/// One end.
#[derive(Debug)]
pub struct Endpoint {
    /// The protocol.
    pub connection: Connection,
    /// When the last chunk that this end sends was known to have arrived.
    pub sent_at: Option<Nanos>,
    /// When the last byte that this end receives was at its place.
    pub received_at: Option<Nanos>,
    /// Datagrams refused for their tag.
    pub refused: u64,
    /// Entropies retired.
    pub retired: Vec<u16>,
    outgoing: Job,
    sources: Vec<Vec<u8>>,
    pushed: usize,
    arrived: Vec<bool>,
    incoming: Job,
    targets: Vec<Vec<u8>>,
    /// How often each byte was written.
    writes: Vec<Vec<u8>>,
    early: EarlyBuffer,
    delivered: usize,
}

impl Endpoint {
    /// The end that sends one job and receives another.
    pub fn new(config: &Config, first: bool, outgoing: Job, incoming: Job) -> Self {
        let (one, other) = (TagKey::new([1; 16]), TagKey::new([2; 16]));
        let (send, receive) = if first { (one, other) } else { (other, one) };
        let keys = TagKeys { send, receive };
        let connection = Connection::new(ConnectionId(7), config, keys).expect("a valid config");
        let sources = (0..outgoing.chunks.len()).map(|i| outgoing.content(i)).collect();
        let empty = |length: &u32| vec![0; *length as usize];
        Self {
            connection,
            sent_at: outgoing.chunks.is_empty().then_some(Nanos(0)),
            received_at: incoming.chunks.is_empty().then_some(Nanos(0)),
            refused: 0,
            retired: Vec::new(),
            sources,
            pushed: 0,
            arrived: vec![false; outgoing.chunks.len()],
            targets: incoming.chunks.iter().map(empty).collect(),
            writes: incoming.chunks.iter().map(empty).collect(),
            early: EarlyBuffer::new(config.early_bytes),
            delivered: 0,
            outgoing,
            incoming,
        }
    }

    /// Whether everything was sent and received.
    pub fn is_done(&self) -> bool {
        self.sent_at.is_some() && self.received_at.is_some()
    }

    /// When the receiver learns the next place, if data waits for one.
    pub(super) fn next_opening(&self, now: Nanos) -> Option<Nanos> {
        let opening = |chunk: ChunkNumber| self.incoming.open_at.get(chunk.0 as usize).copied();
        self.connection.early().filter_map(opening).filter(|&at| at > now).min()
    }

    /// Hands over chunks while the connection wants them.
    pub(super) fn feed(&mut self) {
        while self.pushed < self.outgoing.chunks.len() && self.connection.wants_chunk() {
            let number = self.pushed as u64;
            let info = ChunkInfo {
                operation: OperationId::collective(number),
                tag: FlowTag(9),
                offset: number * 3,
                length: self.outgoing.chunks[self.pushed],
                signature: Signature([5, 6]),
            };
            let lane = (number % u64::from(self.outgoing.lanes.max(1))) as u16;
            let chunk = self.connection.push_chunk(&info, lane, number).expect("it wants one");
            assert_eq!(chunk.0, number);
            self.pushed += 1;
        }
    }

    /// The bytes of a datagram.
    pub(super) fn datagram(&self, transmit: &Transmit) -> Vec<u8> {
        let padding;
        let payload = if let Some(piece) = transmit.piece {
            let token = piece.token as usize;
            assert!(!self.arrived[token], "chunk {token} is read after it was given back");
            &self.sources[token][piece.offset as usize..][..piece.length as usize]
        } else {
            padding = vec![0; transmit.packet.payload_bytes()];
            &padding
        };
        let mut header = [0; MAX_HEADER_BYTES];
        let length = self.connection.seal(&transmit.packet, payload, &mut header);
        [&header[..length], payload].concat()
    }

    /// Takes in a datagram.
    pub(super) fn receive(
        &mut self,
        now: Nanos,
        marked: bool,
        datagram: &[u8],
    ) -> Result<(), ConnectionError> {
        match self.connection.handle_datagram(now, marked, datagram) {
            Ok(Some((piece, payload))) => self.place(now, &piece, payload)?,
            Ok(None) => {}
            Err(ReceiveError::Packet(_)) => self.refused += 1,
            Err(ReceiveError::Connection(error)) => return Err(error),
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::ChunkArrived { token } => self.gone(token as usize, now),
                Event::EntropyRetired { entropy } => self.retired.push(entropy.0),
            }
        }
        Ok(())
    }

    fn gone(&mut self, token: usize, now: Nanos) {
        assert!(!std::mem::replace(&mut self.arrived[token], true), "chunk {token} arrives twice");
        if self.arrived.iter().all(|&arrived| arrived) {
            self.sent_at = Some(now);
        }
    }

    fn place(
        &mut self,
        now: Nanos,
        piece: &IncomingPiece,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        assert_eq!(piece.length as usize, payload.len());
        if piece.open {
            self.write(piece.chunk, piece.offset, payload);
            return if piece.complete { self.deliver(piece.chunk, now) } else { Ok(()) };
        }
        self.early.store(piece, payload);
        self.open_early(now)
    }

    /// Opens what waits for its place and whose time has come.
    pub(super) fn open_early(&mut self, now: Nanos) -> Result<(), ConnectionError> {
        let ready: Vec<ChunkNumber> =
            self.connection.early().filter(|&c| self.incoming.is_open(c, now)).collect();
        for chunk in ready {
            let header = self.connection.header(chunk).expect("something of it came");
            assert_eq!(header.operation, OperationId::collective(chunk.0));
            assert_eq!(header.length, self.incoming.chunks[chunk.0 as usize]);
            let mut from = 0;
            while let Some((run, position)) = self.connection.present(chunk, from) {
                let [one, two] = self.early.load(position, run.end - run.start);
                let bytes = [one, two].concat();
                self.write(chunk, run.start, &bytes);
                from = run.end;
            }
            self.connection.open(chunk);
            if self.connection.is_complete(chunk) {
                self.deliver(chunk, now)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, chunk: ChunkNumber, offset: u32, bytes: &[u8]) {
        let (index, offset) = (chunk.0 as usize, offset as usize);
        let range = offset..offset + bytes.len();
        self.targets[index][range.clone()].copy_from_slice(bytes);
        for count in &mut self.writes[index][range] {
            assert_eq!(*count, 0, "a byte of chunk {index} is placed twice");
            *count = 1;
        }
    }

    fn deliver(&mut self, chunk: ChunkNumber, now: Nanos) -> Result<(), ConnectionError> {
        let index = chunk.0 as usize;
        assert!(self.writes[index].iter().all(|&count| count == 1), "chunk {index} has gaps");
        assert!(self.targets[index] == self.incoming.content(index), "chunk {index} is wrong");
        self.delivered += 1;
        if self.delivered == self.incoming.chunks.len() {
            self.received_at = Some(now);
        }
        self.connection.deliver(chunk, now)
    }
}
