//! The slots that this rank writes to over one lane, and what of it is not known to have arrived:
//! no device.
//!
//! A slot of the peer and the staging slot of the same number are one thing. It goes round:
//!
//! ```text
//!            take                     credit
//!   free ───────────▶ sent ──────────────────────────▶ free
//!                       │
//!                       │ the queue pair failed, and the peer says what arrived
//!                       ├──▶ kept: the peer has it in its slot ──credit──▶ free
//!                       └──▶ lost: to be sent again from the staging slot ──▶ free, or sent
//! ```
//!
//! A slot may be **lent** besides: the payload of its chunk is not in the staging slot but in
//! memory of the caller's, which the device reads. The loan ends when the request has completed
//! (the peer's device has everything, the own one has let go), or when the queue pair is gone and
//! the peer says that the chunk arrived; a lost chunk stays lent, since it is sent again from
//! there. A slot whose credit comes before the end of its loan is free after it.

use std::collections::VecDeque;

use super::queue::Order;

/// What a message was, for the case that it does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A chunk, with the credits in its header.
    Data {
        /// Its slot.
        slot: u8,
        /// Slots of the other direction.
        credits: u64,
    },
    /// Credits alone.
    Credit {
        /// Slots of the other direction.
        slots: u64,
    },
    /// A letter, which goes over the connection of the session as well.
    Letter,
    /// A write that the peer is not told of.
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of the work request.
    id: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    order: Order,
    /// Bytes in the slot, header included.
    bytes: u32,
    /// Of the last work request.
    id: u64,
}

/// A peer that says of slots what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// Credit for a slot that is empty, or that the lane does not have.
    #[error("credit for slots {slots:#x}, of which {wrong:#x} hold nothing")]
    Credit {
        /// The set that was credited.
        slots: u64,
        /// Those that are wrong.
        wrong: u64,
    },
    /// A chunk in a slot that is in use, or that the lane does not have.
    #[error("a chunk in slot {slot}, which is in use or does not exist")]
    Busy {
        /// The slot.
        slot: u8,
    },
    /// A number of messages that arrived which cannot be.
    #[error("{found} messages are said to have arrived; it must be from {least} to {most}")]
    Received {
        /// The number.
        found: u64,
        /// What is known to have arrived.
        least: u64,
        /// What was sent.
        most: u64,
    },
}

/// A set of the lowest `count` slots.
pub(super) fn slot_set(count: u16) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The numbers in a set.
pub(super) fn members(mut set: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as u8)?;
        set &= set - 1;
        Some(lowest)
    })
}

/// What became of a queue pair's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Credits that are to be given again.
    pub(super) credits: u64,
    /// Slots whose chunks are to be sent again.
    pub(super) lost: u64,
    /// Slots whose loans have ended.
    pub(super) returned: u64,
}

/// One direction of one lane, on the side that sends.
#[derive(Debug)]
pub(super) struct Outbox {
    free: u64,
    sent: u64,
    kept: u64,
    lost: u64,
    /// Those whose payload the device reads from a caller's memory.
    lent: u64,
    /// Those of them that are free when the loan ends.
    credited: u64,
    chunks: Box<[Chunk]>,
    /// Posted over this queue pair and not known to have arrived.
    log: VecDeque<Entry>,
    /// Messages with an immediate: posted over this queue pair, and known to have arrived.
    posted: u64,
    arrived: u64,
}

impl Outbox {
    pub(super) fn new(slots: u16, requests: u32) -> Self {
        let order = Order { operation: 0, send: 0, offset: 0 };
        Self {
            free: slot_set(slots),
            sent: 0,
            kept: 0,
            lost: 0,
            lent: 0,
            credited: 0,
            chunks: vec![Chunk { order, bytes: 0, id: 0 }; usize::from(slots)].into(),
            log: VecDeque::with_capacity(requests as usize),
            posted: 0,
            arrived: 0,
        }
    }

    /// How many slots can be taken.
    pub(super) fn free(&self) -> u32 {
        self.free.count_ones()
    }

    /// How many slots are under way.
    pub(super) fn under_way(&self) -> u32 {
        self.sent.count_ones()
    }

    /// Takes a free slot for a chunk.
    pub(super) fn take(&mut self, order: Order, bytes: u32) -> Option<u8> {
        let slot = members(self.free).next()?;
        self.free &= !(1 << slot);
        self.sent |= 1 << slot;
        self.chunks[usize::from(slot)] = Chunk { order, bytes, id: 0 };
        Some(slot)
    }

    /// The payload of a chunk that was just taken a slot for is in a caller's memory.
    pub(super) fn lend(&mut self, slot: u8) {
        self.lent |= 1 << slot;
    }

    /// Whether the payload of a slot's chunk is in a caller's memory.
    pub(super) fn is_lent(&self, slot: u8) -> bool {
        self.lent >> slot & 1 == 1
    }

    /// Slots that are lent.
    pub(super) fn lent(&self) -> u64 {
        self.lent
    }

    /// Bytes in a slot, header included.
    pub(super) fn bytes(&self, slot: u8) -> u32 {
        self.chunks[usize::from(slot)].bytes
    }

    pub(super) fn order(&self, slot: u8) -> Order {
        self.chunks[usize::from(slot)].order
    }

    /// A lost chunk is sent again from where it is.
    pub(super) fn again(&mut self, slot: u8) {
        self.lost &= !(1 << slot);
        self.sent |= 1 << slot;
    }

    /// A lost chunk was copied to a slot of another lane, with its loan.
    pub(super) fn moved(&mut self, slot: u8) {
        self.lost &= !(1 << slot);
        self.lent &= !(1 << slot);
        self.free |= 1 << slot;
    }

    /// The smallest chunk that may still need a slot: one that the peer keeps in a slot of a closed
    /// queue pair needs none.
    pub(super) fn smallest(&self) -> Option<Order> {
        members(self.sent | self.lost).map(|slot| self.order(slot)).min()
    }

    /// A request was posted.
    pub(super) fn note(&mut self, id: u64, what: What) {
        self.posted += u64::from(what != What::Silent);
        if let What::Data { slot, .. } = what {
            self.chunks[usize::from(slot)].id = id;
        }
        self.log.push_back(Entry { id, what });
    }

    /// A request and those before it are with the peer's device; the slots whose loans end so.
    pub(super) fn done(&mut self, id: u64) -> u64 {
        let mut returned = 0;
        while let Some(&entry) = self.log.front().filter(|entry| entry.id <= id) {
            self.arrived += u64::from(entry.what != What::Silent);
            self.log.pop_front();
            returned |= self.loan_of(entry);
        }
        self.end_loans(returned)
    }

    /// The slot of a request, if it is the last one of a slot that is lent. (Before it there may
    /// have been one of a chunk that was not.)
    fn loan_of(&self, entry: Entry) -> u64 {
        match entry.what {
            What::Data { slot, .. } if self.chunks[usize::from(slot)].id == entry.id => {
                self.lent & 1 << slot
            }
            _ => 0,
        }
    }

    fn end_loans(&mut self, slots: u64) -> u64 {
        self.lent &= !slots;
        self.free |= self.credited & slots;
        self.credited &= !slots;
        slots
    }

    /// The peer has left and the queue pair has ended: nobody reads what was lent any more, and
    /// nothing is sent again. The slots that were lent.
    pub(super) fn take_back(&mut self) -> u64 {
        self.end_loans(self.lent)
    }

    /// Whether chunks were posted that may not be with the peer's device yet.
    pub(super) fn is_unsure(&self) -> bool {
        // One whose credit came has arrived, although its completion was not seen.
        let sent = |entry: &Entry| match entry.what {
            What::Data { slot, .. } => self.sent >> slot & 1 == 1,
            What::Credit { .. } | What::Letter | What::Silent => false,
        };
        self.lost != 0 || self.log.iter().any(sent)
    }

    /// Whether no chunk waits for its credit.
    pub(super) fn is_empty(&self) -> bool {
        self.sent | self.kept | self.lost | self.lent == 0
    }

    /// The peer has emptied these slots.
    pub(super) fn credit(&mut self, slots: u64) -> Result<(), SlotError> {
        let wrong = slots & !(self.sent | self.kept);
        if wrong != 0 {
            return Err(SlotError::Credit { slots, wrong });
        }
        self.sent &= !slots;
        self.kept &= !slots;
        self.free |= slots & !self.lent;
        self.credited |= slots & self.lent;
        Ok(())
    }

    /// The queue pair is closed at both ends, and `received` messages arrived over it: chunks among
    /// these are kept there, others are lost.
    pub(super) fn close(&mut self, received: u64) -> Result<Ended, SlotError> {
        if !(self.arrived..=self.posted).contains(&received) {
            let (least, most) = (self.arrived, self.posted);
            return Err(SlotError::Received { found: received, least, most });
        }
        let (mut number, mut credits, mut lost, mut returned) = (self.arrived, 0, 0, 0);
        while let Some(entry) = self.log.pop_front() {
            number += u64::from(entry.what != What::Silent);
            if number <= received {
                returned |= self.loan_of(entry);
                continue;
            }
            match entry.what {
                What::Data { slot, credits: with } => {
                    lost |= 1 << slot;
                    credits |= with;
                }
                What::Credit { slots } => credits |= slots,
                What::Letter | What::Silent => {}
            }
        }
        // A slot in the log whose credit came was taken again later, and is there once more.
        lost &= self.sent;
        self.lost |= lost;
        self.kept |= self.sent & !lost;
        self.sent = 0;
        (self.posted, self.arrived) = (0, 0);
        Ok(Ended { credits, lost, returned: self.end_loans(returned) })
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(offset: usize) -> Order {
        Order { operation: 1, send: 0, offset }
    }

    fn sent(outbox: &mut Outbox, offset: usize, id: u64, credits: u64) -> u8 {
        let slot = outbox.take(order(offset), 100).expect("a free slot");
        outbox.note(id, What::Data { slot, credits });
        slot
    }

    #[test]
    fn a_slot_is_free_again_when_it_was_credited_and_not_before() {
        let mut outbox = Outbox::new(2, 16);
        let slots = [sent(&mut outbox, 0, 0, 0), sent(&mut outbox, 1, 1, 0)];
        assert_eq!((slots, outbox.take(order(2), 1)), ([0, 1], None));
        outbox.done(1);
        assert_eq!((outbox.free(), outbox.is_unsure()), (0, false));
        assert_eq!(outbox.smallest(), Some(order(0)));
        assert_eq!(outbox.credit(1), Ok(()));
        assert_eq!((outbox.free(), outbox.smallest()), (1, Some(order(1))));
        sent(&mut outbox, 2, 2, 0);
        assert!(outbox.is_unsure());
        assert_eq!((outbox.credit(1), outbox.is_unsure()), (Ok(()), false));
        let wrong = SlotError::Credit { slots: 5, wrong: 5 };
        assert_eq!(outbox.credit(5), Err(wrong));
    }

    fn lent(outbox: &mut Outbox, offset: usize, id: u64) -> u8 {
        let slot = outbox.take(order(offset), 100).expect("a free slot");
        outbox.lend(slot);
        outbox.note(id, What::Data { slot, credits: 0 });
        slot
    }

    #[test]
    fn a_loan_ends_with_its_request_and_its_slot_is_free_only_then() {
        let mut outbox = Outbox::new(2, 16);
        // The slot had a copied chunk before, whose completion was not seen.
        assert_eq!((sent(&mut outbox, 0, 0, 0), outbox.credit(1)), (0, Ok(())));
        assert_eq!((lent(&mut outbox, 1, 1), lent(&mut outbox, 2, 2)), (0, 1));
        assert_eq!((outbox.credit(1), outbox.free()), (Ok(()), 0));
        assert_eq!(outbox.smallest(), Some(order(2)));
        assert_eq!((outbox.done(0), outbox.lent()), (0, 0b11));
        assert_eq!((outbox.done(1), outbox.lent(), outbox.free()), (1, 0b10, 1));
        assert_eq!((outbox.done(2), outbox.free(), outbox.is_empty()), (0b10, 1, false));
        assert_eq!((outbox.credit(0b10), outbox.is_empty()), (Ok(()), true));
        assert_eq!(outbox.free(), 2);
    }

    #[test]
    fn of_a_closed_queue_pair_what_arrived_is_given_back_and_what_was_lost_stays_lent() {
        let mut outbox = Outbox::new(4, 16);
        for at in 0..3 {
            lent(&mut outbox, at, at as u64);
        }
        sent(&mut outbox, 3, 3, 0);
        // The credit of the first came, its completion did not.
        assert_eq!(outbox.credit(1), Ok(()));
        let ended = outbox.close(2);
        assert_eq!(ended, Ok(Ended { credits: 0, lost: 0b1100, returned: 0b11 }));
        assert_eq!((outbox.lent(), outbox.free()), (0b100, 1));
        assert!(outbox.is_lent(2) && !outbox.is_lent(3));
        outbox.again(2);
        outbox.note(0, What::Data { slot: 2, credits: 0 });
        outbox.moved(3);
        assert_eq!((outbox.done(0), outbox.lent()), (0b100, 0));
        assert_eq!((outbox.credit(0b110), outbox.is_empty()), (Ok(()), true));
    }

    #[test]
    fn a_loan_moves_with_its_chunk_or_is_taken_back_when_the_peer_has_left() {
        let (mut outbox, mut other) = (Outbox::new(4, 16), Outbox::new(4, 16));
        lent(&mut outbox, 0, 0);
        lent(&mut outbox, 1, 1);
        assert_eq!(outbox.close(1).map(|ended| ended.lost), Ok(0b10));
        let slot = other.take(order(1), 100).expect("a free slot");
        other.lend(slot);
        outbox.moved(1);
        assert_eq!((outbox.lent(), other.lent()), (0, 1));
        assert_eq!((other.take_back(), other.lent()), (1, 0));
    }

    #[test]
    fn what_had_arrived_is_kept_and_the_rest_is_lost_with_its_credits() {
        let mut outbox = Outbox::new(8, 16);
        sent(&mut outbox, 0, 0, 0);
        sent(&mut outbox, 1, 1, 0b100);
        outbox.note(2, What::Credit { slots: 0b10 });
        outbox.note(3, What::Silent);
        sent(&mut outbox, 2, 4, 0b1);
        outbox.note(5, What::Credit { slots: 0b1000 });
        outbox.done(0);
        let impossible = [0, 6].map(|received| outbox.close(received).is_err());
        assert_eq!(impossible, [true, true]);
        assert_eq!(outbox.close(3), Ok(Ended { credits: 0b1001, lost: 0b100, returned: 0 }));
        assert_eq!((outbox.lost(), outbox.smallest()), (0b100, Some(order(2))));
        // The first two may be credited when the lane is back; the third is sent again.
        assert_eq!(outbox.credit(0b11), Ok(()));
        assert!(outbox.credit(0b100).is_err());
        outbox.again(2);
        assert_eq!((outbox.lost(), outbox.under_way()), (0, 1));
        assert_eq!(outbox.credit(0b100), Ok(()));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_slot_taken_again_is_judged_by_its_last_chunk() {
        let mut outbox = Outbox::new(1, 16);
        sent(&mut outbox, 0, 0, 0);
        assert_eq!(outbox.credit(1), Ok(()));
        sent(&mut outbox, 1, 1, 0);
        // The credit shows that the first arrived, although its completion was not seen.
        assert_eq!(outbox.close(1), Ok(Ended { credits: 0, lost: 1, returned: 0 }));
        assert_eq!((outbox.lost(), outbox.order(0)), (1, order(1)));
        outbox.moved(0);
        assert_eq!(outbox.free(), 1);
    }
}
