//! Where everything lies in a segment.
//!
//! | bytes | use |
//! |---|---|
//! | 0..56 | identity: magic, version, rings, slots, slot bytes, token (two words) |
//! | 128..132 | doorbell of the owner |
//! | 256..260 | closed: the owner will neither read nor write any more |
//! | 4096.. | the rings |
//!
//! A ring: two cache lines with the counter of freed slots and the mark of the attached producer,
//! then the slots, each a header of 64 bytes and the payload. The header's word 6 (the chunk
//! number on TCP) is the slot's publication counter, and word 7 (the acknowledgement on TCP) holds
//! the payload if that is no longer than a word.

use crate::wire::HEADER_BYTES;

use super::pace::SlotCopy;

/// Two cache lines: the hardware fetches lines in pairs.
const APART: usize = 128;
/// Where the identity words begin.
pub(super) const IDENTITY: usize = 0;
/// Where the doorbell is.
pub(super) const DOORBELL: usize = APART;
/// Where the closed mark is.
pub(super) const CLOSED: usize = 2 * APART;
/// Where the first ring begins.
const RINGS: usize = 4096;
/// Where the mark of the attached producer is in a ring.
const ATTACHED: usize = 64;
/// Word of a slot's header that is its publication counter.
pub(super) const COUNTER_WORD: usize = 6;

/// The least number of slots of a ring.
pub const LEAST_SLOTS: usize = 4;
/// Slots that a ring keeps as long as its slots can be made smaller instead.
const FEW_SLOTS: usize = 8;
/// The least payload of a slot in bytes.
pub const LEAST_SLOT_BYTES: usize = 8 << 10;
/// The largest payload of a slot in bytes.
pub const MOST_SLOT_BYTES: usize = 4 << 20;
/// The most that the rings of one rank take in bytes.
pub const MOST_RING_BYTES: usize = 16 << 20;

/// How large the rings of one rank are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalOptions {
    /// Payload bytes of a slot; rounded down to a power of two.
    pub slot_bytes: usize,
    /// Slots of a ring; rounded down to a power of two.
    pub slots: usize,
    /// Bytes of all rings of one rank together, at most [`MOST_RING_BYTES`]: with many local peers
    /// the rings are made smaller, down to [`LEAST_SLOTS`] slots of [`LEAST_SLOT_BYTES`].
    pub total_bytes: usize,
    /// How slots are written.
    pub copy: SlotCopy,
}

impl Default for LocalOptions {
    /// The best of what `examples/local_speed.rs` tries: 1 MiB a ring.
    fn default() -> Self {
        Self {
            slot_bytes: 64 << 10,
            slots: 16,
            total_bytes: MOST_RING_BYTES,
            copy: SlotCopy::Measured,
        }
    }
}

/// The shape of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    rings: usize,
    slots: usize,
    slot_bytes: usize,
}

impl Layout {
    /// Rings for this many peers as near to the options as the memory allows; `None` when even the
    /// smallest rings take too much.
    pub(super) fn fit(options: &LocalOptions, peers: usize) -> Option<Self> {
        let power = |value: usize| 1 << value.max(1).ilog2();
        let total = options.total_bytes.min(MOST_RING_BYTES);
        let mut layout = Self {
            rings: peers,
            slots: power(options.slots.clamp(LEAST_SLOTS, 1 << 16)),
            slot_bytes: power(options.slot_bytes.clamp(LEAST_SLOT_BYTES, MOST_SLOT_BYTES)),
        };
        while layout.rings * layout.ring_bytes() > total {
            if layout.slots > FEW_SLOTS {
                layout.slots /= 2;
            } else if layout.slot_bytes > LEAST_SLOT_BYTES {
                layout.slot_bytes /= 2;
            } else if layout.slots > LEAST_SLOTS {
                layout.slots /= 2;
            } else {
                return None;
            }
        }
        Some(layout)
    }

    /// The shape that the identity words of a segment of `bytes` bytes claim, if it is possible.
    pub(super) fn check(rings: u64, slots: u64, slot_bytes: u64, bytes: u64) -> Option<Self> {
        let layout = Self {
            rings: usize::try_from(rings).ok()?,
            slots: usize::try_from(slots).ok()?,
            slot_bytes: usize::try_from(slot_bytes).ok()?,
        };
        let possible = (LEAST_SLOTS..=1 << 16).contains(&layout.slots)
            && layout.slots.is_power_of_two()
            && (LEAST_SLOT_BYTES..=MOST_SLOT_BYTES).contains(&layout.slot_bytes)
            && layout.slot_bytes.is_power_of_two()
            && layout.rings <= MOST_RING_BYTES / layout.ring_bytes()
            && layout.bytes() as u64 == bytes;
        possible.then_some(layout)
    }

    /// As identity words: rings, slots, slot bytes.
    pub(super) fn words(self) -> [u64; 3] {
        [self.rings as u64, self.slots as u64, self.slot_bytes as u64]
    }

    /// Slots of a ring.
    pub(super) fn slots(self) -> usize {
        self.slots
    }

    /// Payload bytes of a slot.
    pub(super) fn slot_bytes(self) -> usize {
        self.slot_bytes
    }

    /// Bytes from one slot to the next.
    pub(super) fn stride(self) -> usize {
        HEADER_BYTES + self.slot_bytes
    }

    fn ring_bytes(self) -> usize {
        // A whole number of line pairs, so that neighbouring rings share none.
        (APART + self.slots * self.stride()).next_multiple_of(APART)
    }

    /// Bytes of the whole segment, in whole pages.
    pub(super) fn bytes(self) -> usize {
        (RINGS + self.rings * self.ring_bytes()).next_multiple_of(4096)
    }

    /// Where a ring begins: its counter of freed slots. `None` if there is no such ring.
    pub(super) fn ring(self, ring: usize) -> Option<usize> {
        (ring < self.rings).then(|| RINGS + ring * self.ring_bytes())
    }

    /// Where the mark of the attached producer of the ring at `start` is.
    pub(super) fn attached(start: usize) -> usize {
        start + ATTACHED
    }

    /// Where the first slot of the ring at `start` is.
    pub(super) fn first_slot(start: usize) -> usize {
        start + APART
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn many_peers_get_smaller_rings_until_there_is_no_room() {
        let options = LocalOptions { slot_bytes: 64 << 10, slots: 8, ..LocalOptions::default() };
        let few = Layout::fit(&options, 3).expect("three rings fit");
        assert_eq!((few.slots, few.slot_bytes), (8, 64 << 10));
        let many = Layout::fit(&options, 400).expect("400 small rings fit");
        assert_eq!((many.slots, many.slot_bytes), (4, 8 << 10));
        assert_eq!(Layout::fit(&options, 600), None);
    }

    proptest! {
        #[test]
        fn every_fitting_layout_passes_its_own_check_within_the_memory(
            slot_bytes in 0_usize..1 << 23,
            slots in 0_usize..1 << 12,
            peers in 0_usize..500,
        ) {
            let options = LocalOptions { slot_bytes, slots, ..LocalOptions::default() };
            if let Some(layout) = Layout::fit(&options, peers) {
                let [rings, slots, slot_bytes] = layout.words();
                let bytes = layout.bytes() as u64;
                prop_assert!(bytes <= (MOST_RING_BYTES + 8192) as u64);
                prop_assert_eq!(Layout::check(rings, slots, slot_bytes, bytes), Some(layout));
                prop_assert_eq!(Layout::check(rings, slots, slot_bytes, bytes + 1), None);
                prop_assert_eq!(layout.ring(peers), None);
            }
        }

        #[test]
        fn random_identities_are_refused_without_overflow(words in any::<[u64; 4]>()) {
            prop_assert_eq!(Layout::check(words[0], words[1], words[2], words[3]), None);
        }
    }
}
