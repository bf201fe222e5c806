//! Waking a rank that sleeps.
//!
//! A doorbell is one futex word of the rank that may sleep: [`AWAKE`] or [`ASLEEP`]. Only its
//! owner writes `ASLEEP`; a peer that made progress for the owner swaps it to `AWAKE` and wakes.
//!
//! **No wake-up is lost.** The peer does: (P) publish, (F1) fence, (B) read the bell. The owner
//! does: (S) write `ASLEEP`, (F2) fence, (C) check for work, then sleep. Both fences are
//! sequentially consistent, so one comes first in their single order.
//! - F1 before F2: the check C sees P, and the owner does not sleep.
//! - F2 before F1: the read B sees S or a later write. If it sees `ASLEEP`, the peer swaps the
//!   word and wakes: either the futex call has not begun, and refuses because the word is not
//!   `ASLEEP`, or it has, and is woken. If it sees `AWAKE`, somebody wrote that after S: another
//!   peer, who wakes in our stead, or the owner, who is up and checks again before it next sleeps.
//!
//! All writes of the word are swaps, so that each comes right after the one that it read, whoever
//! wrote that.
//!
//! A wake that comes late (the peer slept between swap and wake) makes a later sleep end early,
//! which the contract of waiting allows.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

/// The owner of the doorbell is at work, and looks at its rings by itself.
pub(super) const AWAKE: u32 = 0;
/// The owner sleeps or is about to.
pub(super) const ASLEEP: u32 = 1;

/// The word, and the system's help to sleep on it.
pub(super) trait DoorbellCell {
    /// Reads it.
    fn load(&self) -> u32;
    /// Writes it and returns what it was, with acquire and release order.
    fn swap(&self, value: u32) -> u32;
    /// A sequentially consistent fence.
    fn fence(&self);
    /// Sleeps until woken, at most `limit`, unless the word is not `expected`; may end early.
    fn sleep(&self, expected: u32, limit: Duration);
    /// Wakes the sleeper.
    fn wake(&self);
}

impl DoorbellCell for AtomicU32 {
    fn load(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }

    fn swap(&self, value: u32) -> u32 {
        self.swap(value, Ordering::AcqRel)
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn sleep(&self, expected: u32, limit: Duration) {
        let limit = Timespec::try_from(limit).ok();
        // Woken, refused, interrupted, timed out: the caller looks at its rings in any case.
        let _ = futex::wait(self, futex::Flags::empty(), expected, limit.as_ref());
    }

    fn wake(&self) {
        // It fails only for a word that is not mapped.
        let _ = futex::wake(self, futex::Flags::empty(), 1);
    }
}

/// Wakes the owner if it sleeps. Call it after publishing something for it.
pub(super) fn ring(bell: &impl DoorbellCell) {
    bell.fence();
    if bell.load() == ASLEEP && bell.swap(AWAKE) == ASLEEP {
        bell.wake();
    }
}

/// Sleeps until the bell rings, at most `limit`, unless `is_idle` says that there is work. For the
/// owner only.
pub(super) fn sleep(bell: &impl DoorbellCell, is_idle: impl FnOnce() -> bool, limit: Duration) {
    bell.swap(ASLEEP);
    bell.fence();
    if is_idle() {
        bell.sleep(ASLEEP, limit);
    }
    bell.swap(AWAKE);
}
