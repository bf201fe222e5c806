//! The receiving half from one peer: bytes are combined or stored straight out of the slot.

use onepath_topology::Rank;

use crate::flow::{FlowTable, IncomingChunk, Match};
use crate::wire::{ChunkHeader, ChunkKind, WireError};
use crate::{Activity, TransportError};

use super::doorbell;
use super::ring::Consumer;
use super::segment::Shared;
use super::slots::RingMemory;
use super::tiny;

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next slot begins with a header.
    Header,
    /// The next slot's header has been read, but its payload may not be placed yet.
    Held(ChunkHeader),
    /// `done` bytes of the chunk's payload have been placed.
    Payload { chunk: IncomingChunk, done: usize },
}

#[derive(Debug)]
pub(super) struct Receiver {
    ring: Consumer<RingMemory>,
    state: State,
}

impl Receiver {
    pub(super) fn new(ring: RingMemory) -> Self {
        Self { ring: Consumer::new(ring), state: State::Header }
    }

    /// Whether a poll might receive something now or find that the peer `closed`.
    pub(super) fn may_move(&self, closed: bool) -> bool {
        !matches!(self.state, State::Held(_)) && (closed || self.ring.peek().is_some())
    }

    /// Empties at most `burst` slots.
    pub(super) fn poll(
        &mut self,
        peer: Rank,
        remote: &Shared,
        table: &mut FlowTable,
        burst: usize,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        for _ in 0..burst {
            if !table.expects(peer) {
                break;
            }
            let Some(slot) = self.next_slot(peer, remote)? else {
                break;
            };
            let Some((chunk, done)) = self.open(peer, slot, table)? else {
                break;
            };
            self.place(peer, slot, chunk, done, table);
            activity = Activity::Moved;
        }
        if activity == Activity::Moved {
            doorbell::ring(remote.doorbell());
        }
        Ok(activity)
    }

    fn next_slot(&self, peer: Rank, remote: &Shared) -> Result<Option<usize>, TransportError> {
        let slot = self.ring.peek();
        // The mark first, the ring again: what was published before the peer left is taken.
        if slot.is_none() && remote.is_closed() {
            let slot = self.ring.peek();
            return slot.map(Some).ok_or(TransportError::Closed { peer });
        }
        Ok(slot)
    }

    /// The chunk that the slot's payload belongs to, and how much of it was placed before; nothing
    /// if it must wait.
    fn open(
        &mut self,
        peer: Rank,
        slot: usize,
        table: &mut FlowTable,
    ) -> Result<Option<(IncomingChunk, usize)>, TransportError> {
        let header = match self.state {
            State::Payload { chunk, done } => return Ok(Some((chunk, done))),
            State::Held(header) => header,
            State::Header => {
                let bytes = self.ring.cells().read_header(slot);
                let protocol = |problem| TransportError::Protocol { peer, problem };
                let header = ChunkHeader::decode(&bytes).map_err(protocol)?;
                if header.kind != ChunkKind::Data {
                    // Slots free themselves; there are no acknowledgements here.
                    return Err(protocol(WireError::Kind { found: bytes[3] }));
                }
                self.state = State::Held(header);
                header
            }
        };
        match table.match_chunk(peer, &header) {
            Ok(Match::Open(chunk)) => Ok(Some((chunk, 0))),
            Ok(Match::NotPosted | Match::Closed) => Ok(None),
            Err(problem) => Err(TransportError::Mismatch { peer, problem }),
        }
    }

    fn place(
        &mut self,
        peer: Rank,
        slot: usize,
        chunk: IncomingChunk,
        done: usize,
        table: &mut FlowTable,
    ) {
        let cells = self.ring.cells();
        let piece = cells.slot_bytes().min(chunk.length() - done);
        let word;
        let payload = match self.state {
            State::Held(header) if piece <= tiny::MOST_BYTES => {
                word = tiny::unpack(header.acknowledged);
                &word[..piece]
            }
            // SAFETY: `peek` showed this slot, and `give_back` comes after the last use.
            _ => unsafe { cells.payload(slot, piece) },
        };
        // SAFETY: the table keeps the operation until `received` has been called for every chunk
        // of it, and `cancel` drops this receiver; the plan gives these bytes to this chunk alone.
        let taken = unsafe { chunk.place(done, payload) };
        // Slots are a power of two of at least 8 KiB and elements of at most 8 bytes, both sides'
        // chunks are whole elements.
        assert_eq!(taken, piece, "a slot ends inside an element");
        self.ring.give_back();
        if done + piece == chunk.length() {
            self.state = State::Header;
            table.received(peer, &chunk);
        } else {
            let done = done + piece;
            self.state = State::Payload { chunk, done };
        }
    }
}
