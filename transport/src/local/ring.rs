//! The arithmetic of a ring of slots between one producer and one consumer.
//!
//! Every slot has a counter of its own that says which position of the stream was last published
//! in it (positions count from 0, the counter holds position + 1, so a fresh ring is all zero).
//! The consumer waits for the counter of the next position, which lies in the same cache line as
//! the header that it reads next: a small message costs one line less than with a shared tail. The
//! consumer counts the slots that it gave back in one counter, which the producer reads only when
//! its last reading says that the ring is full.
//!
//! Generic over the memory, so that loom can run the same code.
//!
//! Why no slot is written while it is read: the producer writes position `p` only after it has
//! read (acquire) a count of freed slots above `p - slots`, which the consumer stored (release)
//! after its last read of position `p - slots`, the previous user of the slot. Why the consumer
//! reads whole slots: it reads position `p` only after it has read (acquire) the counter `p + 1`,
//! which the producer stored (release) after its last write.

/// A counter in memory that two ranks share.
pub(super) trait Counter {
    /// Reads with acquire order.
    fn acquire(&self) -> u64;
    /// Writes with release order.
    fn release(&self, value: u64);
}

impl Counter for std::sync::atomic::AtomicU64 {
    fn acquire(&self) -> u64 {
        self.load(std::sync::atomic::Ordering::Acquire)
    }

    fn release(&self, value: u64) {
        self.store(value, std::sync::atomic::Ordering::Release);
    }
}

/// The counters of one ring.
pub(super) trait RingCells {
    /// Their type.
    type Counter: Counter;
    /// How many slots the ring has: a power of two.
    fn slots(&self) -> usize;
    /// The counter of a slot, below [`slots`](Self::slots).
    fn published(&self, slot: usize) -> &Self::Counter;
    /// How many slots the consumer has given back.
    fn freed(&self) -> &Self::Counter;
}

/// The consumer's count of freed slots is not between what it was and what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImpossibleCount(pub(super) u64);

/// The writing end. There must be one for a ring.
#[derive(Debug)]
pub(super) struct Producer<C> {
    cells: C,
    /// Position that is published next.
    next: u64,
    /// Freed slots at the last reading.
    freed: u64,
}

impl<C: RingCells> Producer<C> {
    /// The writing end of a fresh ring.
    pub(super) fn new(cells: C) -> Self {
        Self { cells, next: 0, freed: 0 }
    }

    /// The memory.
    pub(super) fn cells(&self) -> &C {
        &self.cells
    }

    /// The slot to write next, if one is free. Until it is published the same slot is given.
    pub(super) fn claim(&mut self) -> Result<Option<usize>, ImpossibleCount> {
        let slots = self.cells.slots() as u64;
        if self.next - self.freed == slots {
            let freed = self.cells.freed().acquire();
            if !(self.freed..=self.next).contains(&freed) {
                return Err(ImpossibleCount(freed));
            }
            self.freed = freed;
        }
        let is_free = self.next - self.freed < slots;
        Ok(is_free.then_some((self.next & (slots - 1)) as usize))
    }

    /// Whether [`claim`](Self::claim) would give a slot or an error now.
    pub(super) fn may_claim(&self) -> bool {
        let slots = self.cells.slots() as u64;
        self.next - self.freed < slots || self.cells.freed().acquire() != self.freed
    }

    /// What [`publish`](Self::publish) will write to the counter of the claimed slot.
    pub(super) fn number(&self) -> u64 {
        self.next + 1
    }

    /// Hands the claimed slot to the consumer.
    pub(super) fn publish(&mut self) {
        debug_assert!(self.next - self.freed < self.cells.slots() as u64);
        let slot = (self.next & (self.cells.slots() as u64 - 1)) as usize;
        self.next += 1;
        self.cells.published(slot).release(self.next);
    }
}

/// The reading end. There must be one for a ring.
#[derive(Debug)]
pub(super) struct Consumer<C> {
    cells: C,
    /// Position that is read next.
    next: u64,
}

impl<C: RingCells> Consumer<C> {
    /// The reading end of a fresh ring.
    pub(super) fn new(cells: C) -> Self {
        Self { cells, next: 0 }
    }

    /// The memory.
    pub(super) fn cells(&self) -> &C {
        &self.cells
    }

    /// The slot to read next, if it has been published. Until it is given back the same is given.
    pub(super) fn peek(&self) -> Option<usize> {
        let slot = (self.next & (self.cells.slots() as u64 - 1)) as usize;
        let is_there = self.cells.published(slot).acquire() == self.next + 1;
        is_there.then_some(slot)
    }

    /// Gives the slot that [`peek`](Self::peek) showed back to the producer.
    pub(super) fn give_back(&mut self) {
        self.next += 1;
        self.cells.freed().release(self.next);
    }
}
