//! Slots in registered memory: what is sent from, and what peers write to.
//!
//! Peers are authenticated and trusted with the memory of slots as ranks of one host are with
//! shared memory: a peer writes to a slot only while it has the slot's credit. One that breaks
//! that makes nonsense of its own payload; sizes and places are always those of the header that
//! was checked.

use crate::flow::{IncomingChunk, OutgoingChunk};
use crate::verbs::{
    Access, LocalSpan, MemoryRegion, MemoryRegionError, ProtectionDomain, RemoteRegion,
};
use crate::wire::{ACKNOWLEDGED_AT, HEADER_BYTES};

use super::letter::LETTER_BYTES;

/// Letters to one lane: closed and ready.
pub(super) const LETTERS_A_LANE: usize = 2;

/// How slots lie in a region: lane after lane, then the places of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) lanes: u16,
    pub(super) slots: u16,
    pub(super) slot_bytes: usize,
}

impl Layout {
    /// Where a slot begins.
    pub(super) fn slot(&self, lane: u8, slot: u8) -> usize {
        (usize::from(lane) * usize::from(self.slots) + usize::from(slot)) * self.slot_bytes
    }

    /// Where a letter begins.
    pub(super) fn letter(&self, place: u8) -> usize {
        self.slots_bytes() + usize::from(place) * LETTER_BYTES
    }

    /// How many places for letters there are.
    pub(super) fn letters(&self) -> usize {
        usize::from(self.lanes) * LETTERS_A_LANE
    }

    fn slots_bytes(&self) -> usize {
        usize::from(self.lanes) * usize::from(self.slots) * self.slot_bytes
    }

    /// Bytes of a region.
    pub(super) fn bytes(&self) -> usize {
        self.slots_bytes() + self.letters() * LETTER_BYTES
    }
}

/// What is sent from: a slot for each of the peer's.
#[derive(Debug)]
pub(super) struct Staging {
    region: MemoryRegion,
    layout: Layout,
}

impl Staging {
    pub(super) fn new(
        domain: &ProtectionDomain,
        layout: Layout,
    ) -> Result<Self, MemoryRegionError> {
        let region = MemoryRegion::allocate(domain, layout.bytes(), Access::LocalRead)?;
        Ok(Self { region, layout })
    }

    /// Copies a chunk, which has just been pulled, into a slot behind its header; how many bytes
    /// are there then.
    pub(super) fn fill(
        &self,
        (lane, slot): (u8, u8),
        header: &[u8; HEADER_BYTES],
        chunk: &OutgoingChunk,
    ) -> Result<(), MemoryRegionError> {
        let at = self.layout.slot(lane, slot);
        // Also checks that all of it is inside the region.
        self.region.span(at, HEADER_BYTES + chunk.length())?;
        self.region.store(at, header)?;
        // SAFETY: the chunk was pulled in this moment and the table has not been told of it, so the
        // caller's buffer is alive and nobody writes to it.
        let payload = unsafe { chunk.payload() };
        // SAFETY: the target is inside the region, which is owned memory (just checked) and cannot
        // overlap the caller's. The slot is free: its last chunk has arrived, so the device reads
        // it at most to repeat packets that the peer drops.
        unsafe {
            let to = self.region.start().as_ptr().add(at + HEADER_BYTES);
            std::ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len());
        }
        Ok(())
    }

    /// Copies a header into a slot, for a payload that is elsewhere.
    pub(super) fn head(
        &self,
        (lane, slot): (u8, u8),
        header: &[u8; HEADER_BYTES],
    ) -> Result<(), MemoryRegionError> {
        self.region.store(self.layout.slot(lane, slot), header)
    }

    /// Copies the first bytes of a slot to a buffer, for an inline request.
    pub(super) fn read(
        &self,
        (lane, slot): (u8, u8),
        to: &mut [u8],
    ) -> Result<(), MemoryRegionError> {
        self.region.load(self.layout.slot(lane, slot), to)
    }

    /// Copies a chunk of `bytes` bytes, header included, from a slot to another one.
    pub(super) fn copy(
        &self,
        from: (u8, u8),
        to: (u8, u8),
        bytes: u32,
    ) -> Result<(), MemoryRegionError> {
        let [from, to] = [from, to].map(|(lane, slot)| self.layout.slot(lane, slot));
        self.region.span(from, bytes as usize)?;
        self.region.span(to, bytes as usize)?;
        // SAFETY: both ranges are inside the region (just checked); `copy` allows any overlap. The
        // target is free, see `fill`; the source is read by nobody but a device.
        unsafe {
            let start = self.region.start().as_ptr();
            std::ptr::copy(start.add(from), start.add(to), bytes as usize);
        }
        Ok(())
    }

    /// Writes other credits into the header of a chunk that is sent again.
    pub(super) fn patch(
        &self,
        (lane, slot): (u8, u8),
        credits: u64,
    ) -> Result<(), MemoryRegionError> {
        let at = self.layout.slot(lane, slot) + ACKNOWLEDGED_AT;
        self.region.store(at, &credits.to_le_bytes())
    }

    /// The first `bytes` of a slot, for a work request.
    pub(super) fn span(
        &self,
        lane: u8,
        slot: u8,
        bytes: u32,
    ) -> Result<LocalSpan, MemoryRegionError> {
        self.region.span(self.layout.slot(lane, slot), bytes as usize)
    }
}

/// What one peer writes to.
#[derive(Debug)]
pub(super) struct Landing {
    region: MemoryRegion,
    layout: Layout,
}

impl Landing {
    pub(super) fn new(
        domain: &ProtectionDomain,
        layout: Layout,
    ) -> Result<Self, MemoryRegionError> {
        let region = MemoryRegion::allocate(domain, layout.bytes(), Access::RemoteWrite)?;
        Ok(Self { region, layout })
    }

    pub(super) fn remote(&self) -> RemoteRegion {
        self.region.remote()
    }

    /// The header in a slot.
    pub(super) fn header(
        &self,
        lane: u8,
        slot: u8,
    ) -> Result<[u8; HEADER_BYTES], MemoryRegionError> {
        let mut header = [0; HEADER_BYTES];
        self.region.load(self.layout.slot(lane, slot), &mut header)?;
        Ok(header)
    }

    /// The letter in a place.
    pub(super) fn letter(&self, place: u8) -> Result<[u8; LETTER_BYTES], MemoryRegionError> {
        let mut letter = [0; LETTER_BYTES];
        self.region.load(self.layout.letter(place), &mut letter)?;
        Ok(letter)
    }

    /// Places or combines the payload of a slot; whether all of it was whole elements.
    pub(super) fn place(
        &self,
        (lane, slot): (u8, u8),
        chunk: &IncomingChunk,
    ) -> Result<bool, MemoryRegionError> {
        let at = self.layout.slot(lane, slot) + HEADER_BYTES;
        self.region.span(at, chunk.length())?;
        // SAFETY: inside the region, which is owned memory (just checked). The completion of the
        // peer's write was seen, and the peer has not got the credit of this slot, without which it
        // does not write here (see the module on peers that do).
        let payload = unsafe {
            let start = self.region.start().as_ptr().add(at);
            std::slice::from_raw_parts(start, chunk.length())
        };
        // SAFETY: the table keeps the operation until `received` has been called for every chunk of
        // it, and `cancel` drops what could call this; the plan gives these bytes to this chunk
        // alone.
        Ok(unsafe { chunk.place(0, payload) } == chunk.length())
    }
}
