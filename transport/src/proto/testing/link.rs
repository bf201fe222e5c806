//! A queue with a rate, a delay, marks and faults.

use onepath_topology::{Bandwidth, Bytes, Nanos};

use crate::proto::random::Random;

/// What a link does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that it comes twice.
    pub duplication: f64,
    /// Probability that one bit of it is changed.
    pub corruption: f64,
    /// Probability that it is held up, by at most `held`.
    pub reordering: f64,
    /// How long a datagram is held up at most.
    pub held: Nanos,
    /// From this time on it loses everything without a word.
    pub dead_from: Option<Nanos>,
    /// Datagrams above this size are lost without a word.
    pub mtu: Option<usize>,
}

/// Counters of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkStats {
    /// Datagrams that entered the queue.
    pub entered: u64,
    /// Bytes that entered the queue.
    pub bytes: u64,
    /// Datagrams that found the queue full.
    pub full: u64,
    /// Datagrams marked.
    pub marked: u64,
    /// Sum of the waiting times found by entering datagrams, ns.
    pub waited: u64,
    /// The longest of them.
    pub longest_wait: Nanos,
}

/// One direction of a cable and the queue before it: first in, first out.
#[derive(Clone, Debug)]
pub struct Link {
    rate: Bandwidth,
    delay: Nanos,
    limit: u64,
    mark_above: Option<u64>,
    faults: Faults,
    busy_until: Nanos,
    stats: LinkStats,
}

/// What comes out at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) at: Nanos,
    pub(super) marked: bool,
    pub(super) corrupted: bool,
    /// Comes a second time, then.
    pub(super) again: Option<Nanos>,
}

impl Link {
    /// A link that holds at most `limit` bytes.
    pub fn new(rate: Bandwidth, delay: Nanos, limit: Bytes) -> Self {
        Self {
            rate,
            delay,
            limit: limit.get(),
            mark_above: None,
            faults: Faults::default(),
            busy_until: Nanos(0),
            stats: LinkStats::default(),
        }
    }

    /// Marks what enters when more bytes than this wait.
    #[must_use]
    pub fn marking_above(mut self, bytes: Bytes) -> Self {
        self.mark_above = Some(bytes.get());
        self
    }

    /// With these faults.
    #[must_use]
    pub fn with(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Its counters.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    pub(super) fn enter(
        &mut self,
        now: Nanos,
        size: usize,
        random: &mut Random,
    ) -> Option<Passage> {
        let wait = self.busy_until.since(now);
        let queued = (wait.get() as f64 * self.rate.0 / 1e9) as u64;
        if queued + size as u64 > self.limit {
            self.stats.full += 1;
            return None;
        }
        self.stats.entered += 1;
        self.stats.bytes += size as u64;
        self.stats.waited += wait.get();
        self.stats.longest_wait = self.stats.longest_wait.max(wait);
        let marked = self.mark_above.is_some_and(|above| queued > above);
        self.stats.marked += u64::from(marked);
        self.busy_until = now.max(self.busy_until) + self.rate.time_for(Bytes(size as u64));
        let faults = &self.faults;
        let dead = faults.dead_from.is_some_and(|from| from <= now);
        if dead || faults.mtu.is_some_and(|mtu| size > mtu) || random.chance(faults.loss) {
            return None;
        }
        let mut held = || {
            let span = faults.held.get() + 1;
            Nanos(if random.chance(faults.reordering) { random.below(span) } else { 0 })
        };
        let at = self.busy_until + self.delay + held();
        let second = self.busy_until + self.delay + held();
        let again = random.chance(faults.duplication).then_some(second);
        Some(Passage { at, marked, corrupted: random.chance(faults.corruption), again })
    }
}
