//! How fast packets leave.

use onepath_topology::Nanos;

use crate::proto::config::Config;

/// Windows a round trip: above 1, so that pacing is not what limits (RFC 9002, section 7.7).
const GAIN: f64 = 1.25;

/// Lets bursts of a bounded size go at once and spreads the rest.
#[derive(Debug)]
pub(super) struct Pacer {
    enabled: bool,
    burst_bytes: f64,
    /// When the next packet may leave if nothing was saved up.
    next: Nanos,
    /// Bytes a nanosecond; 0 before there is a round trip.
    rate: f64,
}

impl Pacer {
    pub(super) fn new(config: &Config) -> Self {
        let burst_bytes = f64::from(config.burst_bytes);
        Self { enabled: config.pacing, burst_bytes, next: Nanos(0), rate: 0.0 }
    }

    pub(super) fn set_rate(&mut self, window: u64, smoothed: Nanos) {
        self.rate = GAIN * window as f64 / smoothed.get().max(1) as f64;
    }

    /// From when on a packet may leave.
    pub(super) fn ready_at(&self) -> Nanos {
        if !self.enabled || self.rate <= 0.0 {
            return Nanos(0);
        }
        self.next.since(Nanos((self.burst_bytes / self.rate) as u64))
    }

    pub(super) fn sent(&mut self, bytes: usize, now: Nanos) {
        if self.enabled && self.rate > 0.0 {
            self.next = self.next.max(now) + Nanos((bytes as f64 / self.rate) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let config = Config { burst_bytes: 10_000, ..Config::default() };
        let mut pacer = Pacer::new(&config);
        pacer.set_rate(80_000, Nanos::micros(100));
        let mut now = Nanos::millis(1);
        let mut at_once = 0;
        for sent in 0..100 {
            if pacer.ready_at() <= now {
                at_once = if now == Nanos::millis(1) { sent + 1 } else { at_once };
            } else {
                now = pacer.ready_at();
            }
            pacer.sent(1_000, now);
        }
        assert_eq!(at_once, 11);
        // 1,000 bytes a microsecond: 1.25 times 80,000 in 100 microseconds.
        assert_eq!(now, Nanos::millis(1) + Nanos::micros(89));
    }
}
