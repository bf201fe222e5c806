//! The time as connections see it.

use std::time::Instant;

use onepath_topology::Nanos;

/// How much a pause between two polls counts for at most: a caller that computes for seconds finds
/// answers waiting for it, not connections that have timed out.
const LONGEST_GAP: Nanos = Nanos::millis(20);

/// Time since the transport was made, without long pauses of the caller.
#[derive(Debug)]
pub(super) struct Clock {
    now: Nanos,
    read: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        // Not zero, which timers take for "at once".
        Self { now: Nanos(1), read: Instant::now() }
    }

    /// The time now, when the caller has just come back.
    pub(super) fn resume(&mut self) -> Nanos {
        self.advance(LONGEST_GAP)
    }

    /// The time now, when the transport itself was at work or asleep.
    pub(super) fn read(&mut self) -> Nanos {
        self.advance(Nanos(u64::MAX))
    }

    fn advance(&mut self, most: Nanos) -> Nanos {
        let read = Instant::now();
        self.now = self.now + Nanos::from(read - self.read).min(most);
        self.read = read;
        self.now
    }
}
