//! Chunks that are leaving: cut into pieces, acknowledged piece by piece, sent again in part.

use std::collections::VecDeque;

use crate::proto::config::Config;
use crate::proto::error::ProtocolProblem;
use crate::proto::granules::Granules;
use crate::proto::inbound::rounded;
use crate::proto::packet::{ChunkInfo, Entropy, GRANULE_BYTES, PieceHeader};

/// Bytes of a chunk that the caller puts behind a packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingPiece {
    /// What the caller gave with the chunk.
    pub token: u64,
    /// First byte, counted in the chunk.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// A chunk that was handed over to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct OutgoingChunkInfo {
    pub(in crate::proto) info: ChunkInfo,
    pub(in crate::proto) token: u64,
    pub(in crate::proto) lane: u16,
}

/// A piece chosen to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) chunk: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// From 1; those that no answer at all followed are counted once.
    pub(super) transmission: u8,
    /// By which it was lost.
    pub(super) lost_on: Option<Entropy>,
}

#[derive(Debug)]
struct Slot {
    chunk: OutgoingChunkInfo,
    position: u64,
    /// Bytes that were cut off and sent at least once.
    cut: u32,
    arrived: Granules,
}

/// The chunks from the first that the peer has not delivered to the last that was handed over.
#[derive(Debug)]
pub(in crate::proto) struct Outbox {
    slots: Box<[Slot]>,
    early_bytes: u64,
    /// Chunks with smaller numbers were delivered, as far as the peer has said.
    delivered: u64,
    /// Where those end.
    delivered_position: u64,
    /// The first chunk that was not wholly sent.
    sending: u64,
    /// One past the last chunk, and where it ends.
    next: u64,
    next_position: u64,
    /// Pieces that were lost. Never more than packets in the window, since every new packet takes
    /// one of them first.
    again: VecDeque<Chosen>,
    unsent_bytes: u64,
}

impl Outbox {
    pub(in crate::proto) fn new(config: &Config) -> Self {
        let chunk = OutgoingChunkInfo { info: ChunkInfo::NOTHING, token: 0, lane: 0 };
        let slot = |_| Slot { chunk, position: 0, cut: 0, arrived: Granules::default() };
        Self {
            slots: (0..config.chunk_window).map(slot).collect(),
            early_bytes: config.early_bytes.into(),
            delivered: 0,
            delivered_position: 0,
            sending: 0,
            next: 0,
            next_position: 0,
            again: VecDeque::with_capacity(2 * config.packet_window as usize),
            unsent_bytes: 0,
        }
    }

    /// Makes room for chunks of up to `length` bytes.
    pub(in crate::proto) fn reserve(&mut self, length: usize) {
        self.slots.iter_mut().for_each(|slot| slot.arrived.reserve(length));
    }

    fn slot(&self, number: u64) -> &Slot {
        &self.slots[(number % self.slots.len() as u64) as usize]
    }

    fn slot_mut(&mut self, number: u64) -> &mut Slot {
        let count = self.slots.len() as u64;
        &mut self.slots[(number % count) as usize]
    }

    fn holds(&self, number: u64) -> bool {
        (self.delivered..self.next).contains(&number)
    }

    /// Whether another chunk finds a slot.
    pub(in crate::proto) fn has_room(&self) -> bool {
        self.next - self.delivered < self.slots.len() as u64
    }

    /// Bytes of chunks that were never sent.
    pub(in crate::proto) fn unsent_bytes(&self) -> u64 {
        self.unsent_bytes
    }

    /// Whether all that was handed over has arrived.
    pub(in crate::proto) fn is_idle(&self) -> bool {
        self.unsent_bytes == 0
            && self.again.is_empty()
            && (self.delivered..self.next).all(|n| self.slot(n).arrived.is_complete())
    }

    /// Adds a chunk; room was asked for before.
    pub(in crate::proto) fn push(&mut self, chunk: OutgoingChunkInfo) -> u64 {
        let (number, position) = (self.next, self.next_position);
        let slot = self.slot_mut(number);
        slot.chunk = chunk;
        slot.position = position;
        slot.cut = 0;
        slot.arrived.reset(chunk.info.length as usize);
        self.next += 1;
        self.next_position += rounded(chunk.info.length);
        self.unsent_bytes += u64::from(chunk.info.length);
        number
    }

    fn within_credit(&self, number: u64) -> bool {
        let slot = self.slot(number);
        let end = slot.position + rounded(slot.chunk.info.length);
        end <= self.delivered_position + self.early_bytes
    }

    /// Whether only the credit holds data back: here, or at the caller, since all slots are taken.
    pub(super) fn is_blocked(&self) -> bool {
        let here = self.sending < self.next && !self.within_credit(self.sending);
        self.again.is_empty() && (here || (self.sending == self.next && !self.has_room()))
    }

    /// Whether a piece could be sent now.
    pub(super) fn is_ready(&self) -> bool {
        !self.again.is_empty() || (self.sending < self.next && self.within_credit(self.sending))
    }

    /// The next piece of at most `most` bytes: lost ones first, then new ones.
    pub(super) fn choose(&mut self, most: usize) -> Option<Chosen> {
        let most = (most / GRANULE_BYTES * GRANULE_BYTES) as u32;
        while let Some(lost) = self.again.pop_front() {
            if let Some(piece) = self.still_missing(&lost, most) {
                return Some(piece);
            }
        }
        if self.sending == self.next || !self.within_credit(self.sending) {
            return None;
        }
        let chunk = self.sending;
        let slot = self.slot_mut(chunk);
        let (offset, whole) = (slot.cut, slot.chunk.info.length);
        let length = most.min(whole - offset);
        slot.cut += length;
        self.sending += u64::from(offset + length == whole);
        self.unsent_bytes -= u64::from(length);
        Some(Chosen { chunk, offset, length, transmission: 1, lost_on: None })
    }

    /// The part of a lost piece to be sent now; the rest of it is put back.
    fn still_missing(&mut self, lost: &Chosen, most: u32) -> Option<Chosen> {
        if !self.holds(lost.chunk) {
            return None;
        }
        let end = lost.offset + lost.length;
        let run = self.slot(lost.chunk).arrived.missing(lost.offset as usize, end as usize)?;
        let (offset, run_end) = (run.start as u32, run.end as u32);
        let length = (run_end - offset).min(most);
        let rest = Chosen { offset: offset + length, length: end - offset - length, ..*lost };
        if rest.length > 0 {
            self.again.push_front(rest);
        }
        Some(Chosen { offset, length, ..*lost })
    }

    /// Whether anything of a piece is not known to have arrived.
    pub(super) fn misses(&self, chunk: u64, offset: u32, length: u32) -> bool {
        let (from, end) = (offset as usize, (offset + length) as usize);
        self.holds(chunk) && self.slot(chunk).arrived.missing(from, end).is_some()
    }

    /// Has a piece sent again.
    pub(super) fn lose(&mut self, piece: Chosen) {
        if self.holds(piece.chunk) {
            self.again.push_back(piece);
        }
    }

    /// A piece arrived; the token of its chunk if that is complete by it.
    pub(super) fn arrived(&mut self, chunk: u64, offset: u32, length: u32) -> Option<u64> {
        if !self.holds(chunk) {
            return None;
        }
        let slot = self.slot_mut(chunk);
        if slot.arrived.is_complete() {
            return None;
        }
        slot.arrived.cover(offset as usize, length as usize);
        slot.arrived.is_complete().then_some(slot.chunk.token)
    }

    /// The peer has delivered all chunks before `delivered`. The tokens of those of which no
    /// acknowledgement had said so are given to `complete`.
    pub(super) fn delivered(
        &mut self,
        delivered: u64,
        mut complete: impl FnMut(u64),
    ) -> Result<(), ProtocolProblem> {
        if delivered > self.sending {
            return Err(ProtocolProblem::DeliveredAhead { delivered, sent: self.sending });
        }
        while self.delivered < delivered {
            let slot = self.slot(self.delivered);
            if !slot.arrived.is_complete() {
                complete(slot.chunk.token);
            }
            self.delivered_position = slot.position + rounded(slot.chunk.info.length);
            self.delivered += 1;
        }
        Ok(())
    }

    /// Describes a piece for its packet, and for the caller who has the bytes.
    pub(super) fn describe(&self, piece: &Chosen) -> (PieceHeader, OutgoingPiece, u16) {
        let slot = self.slot(piece.chunk);
        let (offset, length) = (piece.offset, piece.length);
        let header = PieceHeader {
            info: slot.chunk.info,
            chunk: piece.chunk as u32,
            position: slot.position as u32,
            offset,
            length,
        };
        (header, OutgoingPiece { token: slot.chunk.token, offset, length }, slot.chunk.lane)
    }
}
