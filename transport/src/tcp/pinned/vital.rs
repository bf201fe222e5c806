//! Whether a connection is alive, from what is seen of it: no clock, no socket.
//!
//! Two kinds of evidence are needed against a path, for its silence alone says nothing: the peer
//! may be computing for minutes.
//!
//! - The kernel has bytes under way that time out again and again: the network swallows them. A
//!   peer that does not read closes its window, and its kernel still answers probes. Packets that
//!   come the other way prove nothing: where only the way there is dead, the peer's kernel repeats
//!   its own, since it does not hear that they came.
//! - Everything was delivered, as the kernel says, and yet not acknowledged by the peer, although
//!   the peer was seen reading for a while *after* the path fell silent: something between the
//!   two swallows bytes that it had acknowledged. A peer that holds a chunk back says so while it
//!   waits; one that goes on after a pause may answer over one connection before it looks at
//!   another.
//!
//! A path that is slow but moves bytes is never dead by either.

use onepath_topology::Nanos;

use super::kernel::KernelView;

/// The least time after which a path counts as dead.
const LEAST: Nanos = Nanos::millis(200);
/// The most, before back-off.
const MOST: Nanos = Nanos::secs(3);
/// The time until there is a measurement.
const UNKNOWN: Nanos = Nanos::millis(500);
/// Doublings by back-off at most.
const MOST_BACKOFF: u32 = 2;
/// Time-outs of the kernel in which nothing was acknowledged, several repetitions included.
const KERNEL_TIMEOUTS: u64 = 6;
/// So many in a row, and it does not matter any more that packets come the other way.
const REPEATED: u8 = 3;
/// Acknowledged chunks after which a connection is trusted again.
const TRUSTED_AFTER: u64 = 64;
/// Without the kernel's view the second kind of evidence must last this many times longer.
const UNINFORMED: u64 = 4;

/// What is to be made of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing wrong.
    Alive,
    /// Silent for so long that the peer should be asked over another path whether it reads.
    Suspect,
    /// To be given up.
    Dead,
}

/// The signs of life of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vital {
    /// When it last moved, or began to have something to do.
    progress: Nanos,
    /// When the peer was first seen reading since then.
    reading_since: Option<Nanos>,
    smoothed: Option<Nanos>,
    deviation: Nanos,
    samples: u64,
    backoff: u32,
    bytes_acked: u64,
}

impl Vital {
    /// A connection in the place of one that was found dead `backoff` times in a row.
    pub(super) fn new(now: Nanos, backoff: u32) -> Self {
        Self {
            progress: now,
            reading_since: None,
            smoothed: None,
            deviation: Nanos(0),
            samples: 0,
            backoff: backoff.min(MOST_BACKOFF),
            bytes_acked: 0,
        }
    }

    /// For the connection that follows this one on the same path.
    pub(super) fn next_backoff(&self) -> u32 {
        self.backoff + 1
    }

    /// Something came over it, or it has something to do from now on.
    pub(super) fn moved(&mut self, now: Nanos) {
        self.progress = now;
        self.reading_since = None;
    }

    /// A chunk was acknowledged `after` it had left: smoothed mean and deviation as in RFC 6298,
    /// section 2.
    pub(super) fn sample(&mut self, after: Nanos) {
        let Some(mean) = self.smoothed else {
            self.smoothed = Some(after);
            self.deviation = Nanos(after.0 / 2);
            return;
        };
        let error = mean.0.abs_diff(after.0);
        self.deviation = Nanos((3 * self.deviation.0 + error) / 4);
        self.smoothed = Some(Nanos((7 * mean.0 + after.0) / 8));
        self.samples += 1;
        if self.samples == TRUSTED_AFTER {
            self.backoff = 0;
        }
    }

    /// How long silence may last: twice the mean and eight deviations, between 200 ms and 3 s,
    /// doubled for each death before.
    pub(super) fn limit(&self) -> Nanos {
        let base = match self.smoothed {
            Some(mean) => Nanos((2 * mean.0 + 8 * self.deviation.0).clamp(LEAST.0, MOST.0)),
            None => UNKNOWN,
        };
        Nanos(base.0 << self.backoff)
    }

    /// How long the kernel may repeat itself in vain. A chunk may wait long behind others, so its
    /// time says little of the path; the kernel's own round trips do not include that wait.
    fn kernel_limit(&self, view: &KernelView) -> Nanos {
        let least = 2 * LEAST.0;
        let base = (KERNEL_TIMEOUTS * view.timeout.0).clamp(least, MOST.0) << self.backoff;
        self.limit().min(Nanos(base))
    }

    /// Whether it is worth asking the kernel.
    pub(super) fn is_quiet(&self, now: Nanos) -> bool {
        now.since(self.progress).0 >= self.limit().0.min(LEAST.0) / 4
    }

    /// Judges a connection that has something to do. `peer_read` is when the peer was last seen
    /// reading, over any connection.
    pub(super) fn judge(
        &mut self,
        now: Nanos,
        peer_read: Nanos,
        view: Option<KernelView>,
    ) -> Verdict {
        if let Some(view) = view
            && view.bytes_acked != self.bytes_acked
        {
            self.bytes_acked = view.bytes_acked;
            self.moved(now);
            return Verdict::Alive;
        }
        let limit = self.limit();
        let silent = now.since(self.progress);
        if peer_read > self.progress {
            self.reading_since.get_or_insert(peer_read);
        }
        let read_for = self.reading_since.map_or(Nanos(0), |since| peer_read.since(since));
        let swallowed = |limit: Nanos| silent >= limit && read_for.0 >= limit.0 / 2;
        let dead = match view {
            Some(view) if view.unacked > 0 => {
                let heard = |limit: Nanos| view.silent < limit && view.retransmits < REPEATED;
                let past = |limit: Nanos| silent >= limit && !heard(limit);
                (past(limit) && view.retransmits > 0)
                    || (past(self.kernel_limit(&view)) && view.retransmits > 1)
            }
            Some(view) if view.not_sent > 0 => silent >= limit && view.probes > 1,
            Some(_) => swallowed(limit),
            None => swallowed(Nanos(UNINFORMED * limit.0)),
        };
        match dead {
            true => Verdict::Dead,
            false if silent.0 >= limit.0 / 2 => Verdict::Suspect,
            false => Verdict::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERED: KernelView = KernelView {
        retransmits: 0,
        probes: 0,
        unacked: 0,
        not_sent: 0,
        silent: Nanos(0),
        bytes_acked: 0,
        timeout: Nanos(0),
    };

    fn at(ms: u64) -> Nanos {
        Nanos::millis(ms)
    }

    fn fast() -> Vital {
        let mut vital = Vital::new(at(0), 0);
        (0..10).for_each(|_| vital.sample(Nanos::micros(300)));
        vital
    }

    #[test]
    fn a_peer_that_does_not_read_kills_no_path_however_long() {
        let mut vital = fast();
        for ms in [250, 2_000, 600_000] {
            assert_ne!(vital.judge(at(ms), at(0), Some(DELIVERED)), Verdict::Dead);
            let closed = KernelView { not_sent: 9_000, ..DELIVERED };
            assert_ne!(vital.judge(at(ms), at(0), Some(closed)), Verdict::Dead);
        }
    }

    #[test]
    fn a_peer_seen_reading_after_the_path_fell_silent_convicts_it() {
        let mut vital = fast();
        assert_eq!(vital.judge(at(50), at(50), Some(DELIVERED)), Verdict::Alive);
        assert_eq!(vital.judge(at(120), at(5), Some(DELIVERED)), Verdict::Suspect);
        assert_eq!(vital.judge(at(250), at(5), Some(DELIVERED)), Verdict::Suspect);
        assert_eq!(vital.judge(at(250), at(160), Some(DELIVERED)), Verdict::Dead);
    }

    #[test]
    fn a_first_answer_after_a_pause_of_the_peer_convicts_no_other_path() {
        let mut vital = fast();
        assert_ne!(vital.judge(at(2_000), at(1_995), Some(DELIVERED)), Verdict::Dead);
        assert_ne!(vital.judge(at(2_050), at(2_045), Some(DELIVERED)), Verdict::Dead);
        assert_eq!(vital.judge(at(2_100), at(2_096), Some(DELIVERED)), Verdict::Dead);
    }

    #[test]
    fn time_outs_of_the_kernel_convict_without_the_peer() {
        let mut vital = fast();
        let view = KernelView { unacked: 4, retransmits: 1, silent: at(190), ..DELIVERED };
        assert_ne!(vital.judge(at(190), at(0), Some(view)), Verdict::Dead);
        let view = KernelView { silent: at(210), ..view };
        assert_eq!(vital.judge(at(210), at(0), Some(view)), Verdict::Dead);
        let healed = KernelView { bytes_acked: 9, ..view };
        assert_eq!(vital.judge(at(220), at(0), Some(healed)), Verdict::Alive);
    }

    #[test]
    fn repetitions_in_vain_convict_also_where_chunks_wait_long_behind_others() {
        let mut slow = Vital::new(at(0), 0);
        (0..100).for_each(|_| slow.sample(at(1_500)));
        let view = KernelView { unacked: 4, retransmits: 2, timeout: at(100), ..DELIVERED };
        let after = |ms| KernelView { silent: at(ms), ..view };
        assert_ne!(slow.judge(at(590), at(0), Some(after(590))), Verdict::Dead);
        assert_eq!(slow.judge(at(610), at(0), Some(after(610))), Verdict::Dead);
        let once = KernelView { retransmits: 1, ..after(700) };
        assert_ne!(slow.judge(at(700), at(0), Some(once)), Verdict::Dead);
    }

    #[test]
    fn packets_from_a_peer_that_hears_nothing_keep_no_path_alive() {
        let mut vital = fast();
        let view = KernelView { unacked: 23, retransmits: 2, silent: at(100), ..DELIVERED };
        assert_ne!(vital.judge(at(600), at(0), Some(view)), Verdict::Dead);
        let view = KernelView { retransmits: 3, ..view };
        assert_eq!(vital.judge(at(600), at(0), Some(view)), Verdict::Dead);
    }

    #[test]
    fn a_crawling_path_lives_and_a_slow_one_gets_more_time() {
        let mut vital = fast();
        for step in 1..100 {
            let view = KernelView { unacked: 3, bytes_acked: step, ..DELIVERED };
            assert_eq!(vital.judge(at(150 * step), at(150 * step), Some(view)), Verdict::Alive);
        }
        let mut slow = Vital::new(at(0), 0);
        (0..100).for_each(|_| slow.sample(at(400)));
        assert!(slow.limit() >= at(800) && slow.limit() <= MOST);
    }

    #[test]
    fn each_death_doubles_the_patience_until_the_path_has_proved_itself() {
        let mut vital = Vital::new(at(0), 2);
        vital.sample(Nanos::micros(300));
        assert_eq!(vital.limit(), at(800));
        assert_eq!(Vital::new(at(0), 99).limit(), Nanos(UNKNOWN.0 << MOST_BACKOFF));
        (0..=TRUSTED_AFTER).for_each(|_| vital.sample(Nanos::micros(300)));
        assert_eq!(vital.limit(), at(200));
    }
}
