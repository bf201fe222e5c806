//! Choosing between plain and streaming stores by what they cost.
//!
//! Which is faster depends on whether the two ranks' cores share a cache, which changes when the
//! scheduler or the hypervisor moves them. So a sender times one slot in 128 of the way it uses and
//! one of the other way. Where cores share a cache both take about as long to write (streaming
//! stores down to 0.4 of the time, for short pieces), and the reader is better served by plain
//! stores; where they do not, plain ones take five times as long and more.

use std::time::Duration;

/// How slots are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotCopy {
    /// By plain stores, always.
    Plain,
    /// By streaming stores, past the cache, if at least 4 KiB go into the slot.
    Streaming,
    /// By whichever of the two the clock favours.
    #[default]
    Measured,
}

/// Smaller pieces are always written by plain stores: their lines are few, and the reader is
/// already waiting for them.
pub(super) const LEAST_BYTES: usize = 4 << 10;

/// Fills between two measurements of one way.
const PERIOD: u32 = 128;

/// How much of the new measurement goes into the average.
const WEIGHT: f64 = 0.25;

/// Streaming stores must take less than this part of the time of plain ones.
const ADVANTAGE: f64 = 0.3;

/// How to write one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// By streaming stores.
    pub(super) streaming: bool,
    /// With the time taken, for [`Pace::note`].
    pub(super) timed: bool,
}

/// What both ways cost of late, for one sender.
#[derive(Debug)]
pub(super) struct Pace {
    copy: SlotCopy,
    fills: u32,
    /// Average nanoseconds a byte of plain and of streaming stores; 0 before the first.
    costs: [f64; 2],
}

impl Pace {
    pub(super) fn new(copy: SlotCopy) -> Self {
        // The first two fills are timed.
        Self { copy, fills: PERIOD - 1, costs: [0.0; 2] }
    }

    /// How to write the next slot, into which `bytes` bytes go.
    pub(super) fn choose(&mut self, bytes: usize) -> Choice {
        if bytes < LEAST_BYTES || self.copy == SlotCopy::Plain {
            return Choice { streaming: false, timed: false };
        }
        if self.copy == SlotCopy::Streaming {
            return Choice { streaming: true, timed: false };
        }
        let streams = self.costs[1] < ADVANTAGE * self.costs[0];
        self.fills = self.fills.wrapping_add(1);
        match self.fills % PERIOD {
            0 => Choice { streaming: streams, timed: true },
            1 => Choice { streaming: !streams, timed: true },
            _ => Choice { streaming: streams, timed: false },
        }
    }

    /// Takes the time of a choice that was to be timed.
    pub(super) fn note(&mut self, choice: Choice, bytes: usize, time: Duration) {
        let cost = &mut self.costs[usize::from(choice.streaming)];
        let new = time.as_secs_f64() * 1e9 / bytes as f64;
        if *cost == 0.0 {
            *cost = new;
        } else {
            // Bounded, since a fill that was interrupted says nothing about stores.
            *cost += WEIGHT * (new.min(2.0 * *cost) - *cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 64 << 10;

    /// Slots written by streaming stores among the last hundred of `fills`.
    fn streamed(pace: &mut Pace, fills: usize, plain_us: u64, streaming_us: u64) -> usize {
        let mut last = 0;
        for fill in 0..fills {
            let choice = pace.choose(BYTES);
            let us = if choice.streaming { streaming_us } else { plain_us };
            if choice.timed {
                pace.note(choice, BYTES, Duration::from_micros(us));
            }
            last += usize::from(choice.streaming && fill + 100 >= fills);
        }
        last
    }

    #[test]
    fn the_way_in_use_follows_what_both_cost() {
        let mut pace = Pace::new(SlotCopy::Measured);
        assert!(streamed(&mut pace, 4_000, 4, 4) <= 4);
        assert!(streamed(&mut pace, 4_000, 25, 5) >= 96);
        assert!(streamed(&mut pace, 4_000, 4, 5) <= 4);
    }

    #[test]
    fn one_interrupted_fill_does_not_change_the_way() {
        let mut pace = Pace::new(SlotCopy::Measured);
        streamed(&mut pace, 4_000, 5, 5);
        let timed = Choice { streaming: false, timed: true };
        pace.note(timed, BYTES, Duration::from_millis(50));
        assert!(streamed(&mut pace, 300, 5, 5) <= 4);
    }

    #[test]
    fn small_pieces_are_never_streamed_nor_timed() {
        for copy in [SlotCopy::Plain, SlotCopy::Streaming, SlotCopy::Measured] {
            let mut pace = Pace::new(copy);
            let plain = Choice { streaming: false, timed: false };
            assert!((0..100).all(|_| pace.choose(LEAST_BYTES - 1) == plain));
        }
    }
}
