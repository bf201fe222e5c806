//! The slots that a peer writes to over one lane: no device.
//!
//! A chunk whose gate is closed stays in its slot; chunks behind it do not wait. Slots that were
//! emptied go back to the peer as credits, in any order.

use crate::wire::ChunkHeader;

use super::outbox::{SlotError, members, slot_set};
use super::word::Word;

/// One direction of one lane, on the side that receives.
#[derive(Debug)]
pub(super) struct Inbox {
    all: u64,
    /// With a chunk that is not placed.
    held: u64,
    /// Emptied; the peer has not been told.
    emptied: u64,
    headers: Box<[Option<ChunkHeader>]>,
    /// Messages that arrived over this queue pair.
    received: u64,
}

impl Inbox {
    pub(super) fn new(slots: u16) -> Self {
        let headers = vec![None; usize::from(slots)].into();
        Self { all: slot_set(slots), held: 0, emptied: 0, headers, received: 0 }
    }

    /// A message has arrived, of whatever kind.
    pub(super) fn count(&mut self) {
        self.received += 1;
    }

    /// Messages that arrived over this queue pair.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// A new queue pair has taken the place of the old one.
    pub(super) fn begin(&mut self) {
        self.received = 0;
    }

    /// Whether a chunk may arrive in this slot.
    pub(super) fn check(&self, slot: u8) -> Result<(), SlotError> {
        let ready = self.all & !(self.held | self.emptied);
        if ready >> slot & 1 == 1 { Ok(()) } else { Err(SlotError::Busy { slot }) }
    }

    /// Keeps a chunk in its slot.
    pub(super) fn hold(&mut self, slot: u8, header: ChunkHeader) {
        self.held |= 1 << slot;
        self.headers[usize::from(slot)] = Some(header);
    }

    /// A chunk was placed.
    pub(super) fn empty(&mut self, slot: u8) {
        self.held &= !(1 << slot);
        self.emptied |= 1 << slot;
    }

    /// The chunks that are held.
    pub(super) fn held(&self) -> impl Iterator<Item = u8> + use<> {
        members(self.held)
    }

    pub(super) fn header(&self, slot: u8) -> Option<ChunkHeader> {
        self.headers[usize::from(slot)]
    }

    /// How many credits are to be given.
    pub(super) fn credits(&self) -> u32 {
        self.emptied.count_ones()
    }

    /// All credits, for the header of a chunk.
    pub(super) fn take_credits(&mut self) -> u64 {
        std::mem::take(&mut self.emptied)
    }

    /// As many credits as one word names.
    pub(super) fn take_word(&mut self) -> u64 {
        let slots = Word::first_credit(self.emptied);
        self.emptied &= !slots;
        slots
    }

    /// Credits that did not arrive are to be given again.
    pub(super) fn give_again(&mut self, slots: u64) {
        self.emptied |= slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FlowTag;
    use crate::wire::{ChunkKind, OperationId, Signature};

    const HEADER: ChunkHeader = ChunkHeader {
        kind: ChunkKind::Data,
        length: 8,
        operation: OperationId::collective(0),
        tag: FlowTag(0),
        offset: 0,
        signature: Signature([0; 2]),
        chunk: 1,
        acknowledged: 0,
    };

    #[test]
    fn a_slot_takes_the_next_chunk_only_after_its_credit_was_given() {
        let mut inbox = Inbox::new(40);
        assert_eq!(inbox.check(40), Err(SlotError::Busy { slot: 40 }));
        for slot in [0, 39] {
            assert_eq!(inbox.check(slot), Ok(()));
            inbox.hold(slot, HEADER);
            assert_eq!(inbox.check(slot), Err(SlotError::Busy { slot }));
        }
        inbox.empty(39);
        assert_eq!(inbox.check(39), Err(SlotError::Busy { slot: 39 }));
        assert_eq!((inbox.credits(), inbox.take_credits()), (1, 1 << 39));
        assert_eq!(inbox.check(39), Ok(()));
        inbox.give_again(1 << 39);
        inbox.empty(0);
        assert_eq!([inbox.take_word(), inbox.take_word(), inbox.take_word()], [1, 1 << 39, 0]);
    }
}
