//! Chunks that are arriving: each byte is placed once, and the sender's credit is kept.
//!
//! The only state is a ring of chunks with one bit for each 32 bytes. A sender may be ahead of the
//! first chunk that is not delivered by `chunk_window` chunks and `early_bytes` bytes. So whatever
//! it sends has a place: its own, if the operation has been posted and its gates are open, or else
//! the [`EarlyBuffer`](super::EarlyBuffer), which is as long as the credit.

use std::ops::Range;

use crate::proto::config::Config;
use crate::proto::error::ProtocolProblem;
use crate::proto::granules::{Granules, Overlap};
use crate::proto::packet::{ChunkInfo, GRANULE_BYTES, PieceHeader, expand};
use crate::wire::ChunkHeader;

/// Number of a chunk on its connection and direction, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(pub u64);

/// A piece that came for the first time: put its bytes where they belong, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingPiece {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// First byte, counted in the chunk; a multiple of [`GRANULE_BYTES`].
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// Whether the chunk's place was [opened](crate::proto::Connection::open): if not, match the
    /// chunk's header, or keep the bytes.
    pub open: bool,
    /// Where in the stream of all chunks the piece begins, for the early buffer.
    pub position: u64,
    /// Whether this was the last piece of the chunk.
    pub complete: bool,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Taken {
    /// It is new.
    New(IncomingPiece),
    /// All its bytes came before: acknowledge it.
    Before,
    /// Some of its bytes came before. The sender has cut it smaller since and sends the parts, so
    /// this one is not needed: do not acknowledge it.
    Overtaken,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    info: ChunkInfo,
    position: u64,
    granules: Granules,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Early,
    Open,
    Delivered,
}

#[derive(Debug)]
pub(in crate::proto) struct Inbox {
    slots: Box<[Slot]>,
    early_bytes: u64,
    /// Chunks with smaller numbers are delivered.
    delivered: u64,
    /// Where they end.
    delivered_position: u64,
    /// The same as the sender was last told.
    told: u64,
    told_position: u64,
}

/// Bytes that a chunk takes in the stream of all chunks.
pub(in crate::proto) fn rounded(length: u32) -> u64 {
    u64::from(length).next_multiple_of(GRANULE_BYTES as u64)
}

impl Inbox {
    pub(in crate::proto) fn new(config: &Config) -> Self {
        let slot = |_| Slot {
            number: 0,
            info: ChunkInfo::NOTHING,
            position: 0,
            granules: Granules::default(),
            state: State::Empty,
        };
        Self {
            slots: (0..config.chunk_window).map(slot).collect(),
            early_bytes: config.early_bytes.into(),
            delivered: 0,
            delivered_position: 0,
            told: 0,
            told_position: 0,
        }
    }

    /// Makes room for chunks of up to `length` bytes.
    pub(in crate::proto) fn reserve(&mut self, length: usize) {
        self.slots.iter_mut().for_each(|slot| slot.granules.reserve(length));
    }

    /// The credit to tell the sender.
    pub(in crate::proto) fn tell(&mut self) -> u64 {
        self.told = self.delivered;
        self.told_position = self.delivered_position;
        self.delivered
    }

    /// Whether a quarter of the credit has come free since the sender was told.
    pub(in crate::proto) fn is_credit_due(&self) -> bool {
        4 * (self.delivered - self.told) >= self.slots.len() as u64
            || 4 * (self.delivered_position - self.told_position) >= self.early_bytes
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        let slot = &self.slots[(number % self.slots.len() as u64) as usize];
        (slot.number == number && slot.state != State::Empty).then_some(slot)
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot> {
        let count = self.slots.len() as u64;
        let slot = &mut self.slots[(number % count) as usize];
        (slot.number == number && slot.state != State::Empty).then_some(slot)
    }

    /// Takes in the description of a piece.
    pub(in crate::proto) fn take(&mut self, piece: &PieceHeader) -> Result<Taken, ProtocolProblem> {
        let number = expand(piece.chunk, self.delivered);
        if number < self.delivered {
            return Ok(Taken::Before);
        }
        let position = expand(piece.position, self.delivered_position);
        let slot = self.claim(number, position, &piece.info)?;
        match slot.granules.insert(piece.offset as usize, piece.length as usize) {
            Overlap::Whole => return Ok(Taken::Before),
            Overlap::Part => return Ok(Taken::Overtaken),
            Overlap::None => {}
        }
        Ok(Taken::New(IncomingPiece {
            chunk: ChunkNumber(number),
            offset: piece.offset,
            length: piece.length,
            open: slot.state == State::Open,
            position: position + u64::from(piece.offset),
            complete: slot.granules.is_complete(),
        }))
    }

    /// The slot of a chunk within the credit, made when its first piece comes.
    fn claim(
        &mut self,
        number: u64,
        position: u64,
        info: &ChunkInfo,
    ) -> Result<&mut Slot, ProtocolProblem> {
        let count = self.slots.len() as u64;
        let end = position.checked_add(rounded(info.length));
        let most = self.delivered_position + self.early_bytes;
        if number - self.delivered >= count || end.is_none_or(|end| end > most) {
            return Err(ProtocolProblem::BeyondCredit { chunk: number });
        }
        let first = number == self.delivered;
        if position < self.delivered_position || (first && position != self.delivered_position) {
            return Err(ProtocolProblem::Position { chunk: number });
        }
        let slot = &mut self.slots[(number % count) as usize];
        if slot.state == State::Empty {
            slot.number = number;
            slot.info = *info;
            slot.position = position;
            slot.granules.reset(info.length as usize);
            slot.state = State::Early;
        } else if slot.info != *info || slot.position != position {
            return Err(ProtocolProblem::ChunkChanged { chunk: number });
        }
        Ok(slot)
    }

    /// What the flow table needs to find the place of a chunk.
    pub(in crate::proto) fn header(&self, chunk: ChunkNumber) -> Option<ChunkHeader> {
        Some(self.slot(chunk.0)?.info.header(chunk.0))
    }

    /// Chunks of which something came and whose place is not known yet, in order.
    pub(in crate::proto) fn early(&self) -> impl Iterator<Item = ChunkNumber> + '_ {
        self.early_from(0)
    }

    /// The first of those from `from` on.
    pub(in crate::proto) fn next_early(&self, from: ChunkNumber) -> Option<ChunkNumber> {
        self.early_from(from.0).next()
    }

    fn early_from(&self, from: u64) -> impl Iterator<Item = ChunkNumber> + '_ {
        (self.delivered.max(from)..self.delivered + self.slots.len() as u64)
            .filter(|&n| self.slot(n).is_some_and(|s| s.state == State::Early))
            .map(ChunkNumber)
    }

    /// From now on, pieces of this chunk go to their place.
    pub(in crate::proto) fn open(&mut self, chunk: ChunkNumber) {
        if let Some(slot) = self.slot_mut(chunk.0).filter(|s| s.state == State::Early) {
            slot.state = State::Open;
        }
    }

    /// The first run of a chunk's bytes from `from` on that has come, and its position.
    pub(in crate::proto) fn present(
        &self,
        chunk: ChunkNumber,
        from: u32,
    ) -> Option<(Range<u32>, u64)> {
        let slot = self.slot(chunk.0)?;
        let run = slot.granules.present(from as usize, slot.info.length as usize)?;
        Some((run.start as u32..run.end as u32, slot.position + run.start as u64))
    }

    /// Whether all bytes of a chunk came.
    pub(in crate::proto) fn is_complete(&self, chunk: ChunkNumber) -> bool {
        chunk.0 < self.delivered || self.slot(chunk.0).is_some_and(|s| s.granules.is_complete())
    }

    /// A complete chunk is at its place; whether the credit grew.
    pub(in crate::proto) fn deliver(
        &mut self,
        chunk: ChunkNumber,
    ) -> Result<bool, ProtocolProblem> {
        if let Some(slot) = self.slot_mut(chunk.0).filter(|s| s.granules.is_complete()) {
            slot.state = State::Delivered;
        }
        let before = self.delivered;
        while let Some(slot) = self.slot(self.delivered).filter(|s| s.state == State::Delivered) {
            if slot.position != self.delivered_position {
                return Err(ProtocolProblem::Position { chunk: self.delivered });
            }
            self.delivered_position += rounded(slot.info.length);
            let number = self.delivered;
            if let Some(slot) = self.slot_mut(number) {
                slot.state = State::Empty;
            }
            self.delivered += 1;
        }
        Ok(self.delivered > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FlowTag;
    use crate::wire::{OperationId, Signature};

    fn piece(chunk: u32, position: u32, offset: u32, length: u32) -> PieceHeader {
        let info = ChunkInfo {
            operation: OperationId::collective(1),
            tag: FlowTag(2),
            offset: 0,
            length: 100,
            signature: Signature([3, 4]),
        };
        PieceHeader { info, chunk, position, offset, length }
    }

    fn inbox() -> Inbox {
        Inbox::new(&Config { chunk_window: 4, ..Config::default() })
    }

    #[test]
    fn pieces_out_of_order_are_new_once_and_complete_their_chunk() {
        let mut inbox = inbox();
        let Ok(Taken::New(last)) = inbox.take(&piece(0, 0, 64, 36)) else { panic!("new") };
        assert!(!last.complete && !last.open && last.position == 64);
        assert_eq!(inbox.take(&piece(0, 0, 64, 36)), Ok(Taken::Before));
        assert_eq!(inbox.take(&piece(0, 0, 32, 68)), Ok(Taken::Overtaken));
        assert_eq!(inbox.present(ChunkNumber(0), 0), Some((64..100, 64)));
        inbox.open(ChunkNumber(0));
        let Ok(Taken::New(first)) = inbox.take(&piece(0, 0, 0, 64)) else { panic!("new") };
        assert!(first.complete && first.open);
        assert_eq!(inbox.deliver(ChunkNumber(0)), Ok(true));
        assert_eq!((inbox.tell(), inbox.delivered_position), (1, 128));
        assert_eq!(inbox.take(&piece(0, 0, 0, 64)), Ok(Taken::Before));
    }

    #[test]
    fn credit_grows_only_over_chunks_without_a_gap() {
        let mut inbox = inbox();
        for chunk in [1, 0] {
            assert!(matches!(inbox.take(&piece(chunk, chunk * 128, 0, 100)), Ok(Taken::New(_))));
        }
        assert_eq!(inbox.early().collect::<Vec<_>>(), [ChunkNumber(0), ChunkNumber(1)]);
        assert_eq!(inbox.deliver(ChunkNumber(1)), Ok(false));
        assert_eq!(inbox.deliver(ChunkNumber(0)), Ok(true));
        assert_eq!(inbox.tell(), 2);
    }

    #[test]
    fn what_goes_beyond_the_credit_or_contradicts_itself_is_refused() {
        let mut inbox = inbox();
        let beyond = Err(ProtocolProblem::BeyondCredit { chunk: 4 });
        assert_eq!(inbox.take(&piece(4, 512, 0, 100)), beyond);
        let far = inbox.early_bytes as u32;
        let beyond = Err(ProtocolProblem::BeyondCredit { chunk: 1 });
        assert_eq!(inbox.take(&piece(1, far, 0, 100)), beyond);
        let moved = Err(ProtocolProblem::Position { chunk: 0 });
        assert_eq!(inbox.take(&piece(0, 32, 0, 100)), moved);
        assert!(inbox.take(&piece(1, 128, 0, 32)).is_ok());
        let changed = Err(ProtocolProblem::ChunkChanged { chunk: 1 });
        assert_eq!(inbox.take(&piece(1, 160, 0, 32)), changed);
    }
}
