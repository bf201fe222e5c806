//! The memory of one ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::{ChunkHeader, HEADER_BYTES};

use super::layout::{COUNTER_WORD, Layout};
use super::mapping::Mapping;
use super::ring::RingCells;

/// The slots and counters of one ring in a segment.
#[derive(Debug)]
pub(super) struct RingMemory {
    mapping: Arc<Mapping>,
    layout: Layout,
    start: usize,
}

impl RingMemory {
    /// The ring that begins at `start` of a segment with this layout.
    pub(super) fn new(mapping: Arc<Mapping>, layout: Layout, start: usize) -> Self {
        Self { mapping, layout, start }
    }

    /// Payload bytes of a slot.
    pub(super) fn slot_bytes(&self) -> usize {
        self.layout.slot_bytes()
    }

    fn slot(&self, slot: usize) -> usize {
        assert!(slot < self.layout.slots(), "no slot {slot} in the ring");
        Layout::first_slot(self.start) + slot * self.layout.stride()
    }

    /// Writes a header, all but the word that is the publication counter.
    pub(super) fn write_header(&self, slot: usize, header: &ChunkHeader) {
        let mut bytes = [0; HEADER_BYTES];
        header.encode(&mut bytes);
        let start = self.slot(slot);
        for (word, value) in bytes.as_chunks::<8>().0.iter().enumerate() {
            if word != COUNTER_WORD {
                let value = u64::from_ne_bytes(*value);
                let cell = self.mapping.word(start + 8 * word);
                cell.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Copies a header out, so that what is checked cannot change afterwards.
    pub(super) fn read_header(&self, slot: usize) -> [u8; HEADER_BYTES] {
        let start = self.slot(slot);
        let mut bytes = [0; HEADER_BYTES];
        for (word, value) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let cell = self.mapping.word(start + 8 * word);
            *value = cell.load(Ordering::Relaxed).to_ne_bytes();
        }
        bytes
    }

    /// The first bytes of a slot's payload.
    ///
    /// # Safety
    /// The consumer has peeked this slot and gives it back only after the slice is gone.
    pub(super) unsafe fn payload(&self, slot: usize, length: usize) -> &[u8] {
        assert!(length <= self.slot_bytes());
        // SAFETY: payload by the layout. The producer does not write a slot between publishing it
        // and seeing it freed (module `ring`). That it keeps to this is not checked and cannot be:
        // it is a rank of the same job, run by the same user, which could as well write to this
        // process's memory by ptrace. What a broken peer can spoil is payload bytes, of which any
        // value is a value; lengths and places were copied out and checked before.
        unsafe { self.mapping.payload(self.slot(slot) + HEADER_BYTES, length) }
    }

    /// Writes the first bytes of a slot's payload, past the cache if `streaming`.
    ///
    /// # Safety
    /// The producer has claimed this slot and not published it; `bytes` is not shared memory.
    pub(super) unsafe fn write_payload(&self, slot: usize, bytes: &[u8], streaming: bool) {
        assert!(bytes.len() <= self.slot_bytes());
        // SAFETY: payload by the layout; the consumer does not read a slot before it is published
        // (module `ring`), and the ring has one producer (the attach mark).
        unsafe { self.mapping.write(self.slot(slot) + HEADER_BYTES, bytes, streaming) }
    }
}

impl RingCells for RingMemory {
    type Counter = AtomicU64;

    fn slots(&self) -> usize {
        self.layout.slots()
    }

    fn published(&self, slot: usize) -> &AtomicU64 {
        self.mapping.word(self.slot(slot) + 8 * COUNTER_WORD)
    }

    fn freed(&self) -> &AtomicU64 {
        self.mapping.word(self.start)
    }
}
