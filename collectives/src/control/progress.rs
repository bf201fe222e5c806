//! How far a rank has come: written by its data path for each operation, read by the control
//! thread for each heartbeat.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Instant;

use onepath_transport::wire::Signature;

/// The first operation of a rank that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestOperation {
    /// Its number, as the data path counts.
    pub number: u64,
    /// What was called.
    pub signature: Signature,
}

/// How far a rank has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of the operation that was posted last; 0 before the first.
    pub posted: u64,
    /// The first operation that is not complete.
    pub oldest: Option<OldestOperation>,
    /// Whether the caller is inside a call that waits for it.
    pub waiting: bool,
}

/// What a peer said last of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// How far it had come.
    pub progress: Progress,
    /// When its word arrived here.
    pub received: Instant,
}

/// Tries of a reader before it gives up. A writer changes the cell once an operation and needs
/// nanoseconds for it, unless the system takes its processor away in the middle.
const READ_TRIES: u32 = 64;

/// A [`Progress`] with one writer and any number of readers, none of which waits.
///
/// A sequence lock over atomic words (Boehm, "Can seqlocks get along with programming language
/// memory models?", section 4): odd while it is being written. With two writers at once, which the
/// owner must not allow, readers could see a mixture; nothing worse.
#[derive(Debug, Default)]
pub(super) struct ProgressCell {
    version: AtomicU64,
    posted: AtomicU64,
    number: AtomicU64,
    signature: [AtomicU64; 2],
    has_oldest: AtomicBool,
    waiting: AtomicBool,
}

impl ProgressCell {
    /// Stores `progress`; one thread at a time.
    pub(super) fn write(&self, progress: Progress) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.posted.store(progress.posted, Ordering::Relaxed);
        self.waiting.store(progress.waiting, Ordering::Relaxed);
        self.has_oldest.store(progress.oldest.is_some(), Ordering::Relaxed);
        if let Some(oldest) = progress.oldest {
            self.number.store(oldest.number, Ordering::Relaxed);
            self.signature[0].store(oldest.signature.0[0], Ordering::Relaxed);
            self.signature[1].store(oldest.signature.0[1], Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// What was stored last; nothing if the writer is in the middle of it and does not get on.
    pub(super) fn read(&self) -> Option<Progress> {
        for _ in 0..READ_TRIES {
            let before = self.version.load(Ordering::Acquire);
            let progress = self.read_words();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return Some(progress);
            }
            std::hint::spin_loop();
        }
        None
    }

    fn read_words(&self) -> Progress {
        let number = self.number.load(Ordering::Relaxed);
        let signature = [0, 1].map(|word: usize| self.signature[word].load(Ordering::Relaxed));
        let oldest = OldestOperation { number, signature: Signature(signature) };
        Progress {
            posted: self.posted.load(Ordering::Relaxed),
            oldest: self.has_oldest.load(Ordering::Relaxed).then_some(oldest),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(number: u64) -> Progress {
        Progress {
            posted: number,
            oldest: (!number.is_multiple_of(5))
                .then_some(OldestOperation { number, signature: Signature([number, !number]) }),
            waiting: number % 2 == 1,
        }
    }

    #[test]
    fn a_reader_never_sees_a_mixture_of_two_writes() {
        let cell = ProgressCell::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=200_000).for_each(|number| cell.write(progress(number))));
            let mut last = 0;
            while last < 200_000 {
                let Some(seen) = cell.read() else { continue };
                assert!(seen.posted >= last, "time ran backwards");
                last = seen.posted;
                if last > 0 {
                    assert_eq!(seen, progress(last));
                }
            }
        });
    }

    #[test]
    fn a_reader_takes_nothing_from_a_writer_that_stopped_in_the_middle() {
        let cell = ProgressCell::default();
        cell.write(progress(3));
        let version = cell.version.load(Ordering::Relaxed);
        cell.version.store(version + 1, Ordering::Relaxed);
        cell.number.store(4, Ordering::Relaxed);
        assert_eq!(cell.read(), None);
        cell.version.store(version, Ordering::Relaxed);
        cell.write(progress(4));
        assert_eq!(cell.read(), Some(progress(4)));
    }
}
