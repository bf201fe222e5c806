//! Round-trip times, and the time-outs made from them.

use onepath_topology::Nanos;

use crate::proto::config::Config;

/// No sample counts for more than so many smoothed round trips: a peer that computed for a second
/// and answered late is not a slow network.
const MOST_TIMES: u64 = 8;

/// Steps by which the patience for reordering across paths can grow.
const MOST_PATIENCE: u64 = 16;

/// Estimator after RFC 6298 and RFC 9002, section 5, over all paths together: their differences
/// appear in the variation.
#[derive(Debug)]
pub(super) struct Rtt {
    smoothed: u64,
    variation: u64,
    least: u64,
    latest: u64,
    sampled: bool,
    /// How many quarters of the least round trip a loss by time is put off (RFC 8985, section 7.1:
    /// the reordering window grows when a loss turns out to be none).
    patience: u64,
    granularity: u64,
    max_ack_delay: u64,
    most: u64,
}

impl Rtt {
    pub(super) fn new(config: &Config) -> Self {
        let initial = config.initial_rtt.get();
        Self {
            smoothed: initial,
            variation: initial / 2,
            least: initial,
            latest: initial,
            sampled: false,
            patience: 0,
            granularity: config.granularity.get(),
            max_ack_delay: config.max_ack_delay.get(),
            most: config.max_probe_timeout.get(),
        }
    }

    pub(super) fn smoothed(&self) -> Nanos {
        Nanos(self.smoothed)
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.sampled
    }

    pub(super) fn sample(&mut self, rtt: Nanos) {
        let rtt = rtt.get().clamp(1, MOST_TIMES * self.smoothed.max(1));
        self.latest = rtt;
        if !self.sampled {
            self.sampled = true;
            self.smoothed = rtt;
            self.variation = rtt / 2;
            self.least = rtt;
            return;
        }
        self.least = self.least.min(rtt);
        self.variation = (3 * self.variation + self.smoothed.abs_diff(rtt)) / 4;
        self.smoothed = (7 * self.smoothed + rtt) / 8;
    }

    /// A loss by time was none.
    pub(super) fn be_patient(&mut self) {
        self.patience = (self.patience + 1).min(MOST_PATIENCE);
    }

    fn base(&self) -> u64 {
        let spread = (4 * self.variation).max(self.granularity);
        self.smoothed.max(self.latest) + spread + self.max_ack_delay
    }

    /// A packet is lost when it left so long ago and something that left later has arrived.
    pub(super) fn loss_delay(&self) -> Nanos {
        Nanos(self.base() + self.patience * self.least / 4)
    }

    /// How long to wait for any answer, after `timeouts` waits in vain.
    pub(super) fn probe_timeout(&self, timeouts: u32) -> Nanos {
        let backed_off = self.base().saturating_mul(1 << timeouts.min(20));
        Nanos(backed_off.min(self.most.max(self.base())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_answer_does_not_become_the_round_trip() {
        let mut rtt = Rtt::new(&Config::default());
        for _ in 0..20 {
            rtt.sample(Nanos::micros(100));
        }
        rtt.sample(Nanos::secs(2));
        assert!(rtt.smoothed() < Nanos::micros(200));
    }

    #[test]
    fn time_outs_double_up_to_the_limit() {
        let rtt = Rtt::new(&Config::default());
        assert_eq!(rtt.probe_timeout(1).get(), 2 * rtt.probe_timeout(0).get());
        assert_eq!(rtt.probe_timeout(63), Config::default().max_probe_timeout);
    }
}
