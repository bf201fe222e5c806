//! How large datagrams may be: discovery by probes (RFC 8899) and detection of black holes.

use onepath_topology::Nanos;

use crate::proto::config::MtuConfig;

/// Probes of one size before it counts as too large.
const PROBES: u32 = 3;
/// The search ends when it is known to so many bytes.
const RESOLUTION: u32 = 32;
/// Datagrams above the safe size lost in a row, with none arriving, until the size is given up.
const BLACK_HOLE: u32 = 8;
/// How long after a black hole the search begins again.
const AGAIN: Nanos = Nanos::secs(60);

/// The size for all paths together: fabrics have one MTU, and a path with a smaller one is a black
/// hole that is noticed.
#[derive(Debug)]
pub(super) struct Mtu {
    config: MtuConfig,
    /// Known to work.
    current: u32,
    /// Known, or decided, not to be exceeded.
    most: u32,
    /// The largest size is tried first.
    first: bool,
    failures: u32,
    /// A probe is in flight.
    probing: bool,
    large_losses: u32,
    /// When the latest of the large datagrams that are known to have arrived left.
    newest_large: Nanos,
    not_before: Nanos,
}

impl Mtu {
    pub(super) fn new(config: MtuConfig) -> Self {
        Self {
            config,
            current: config.safe,
            most: config.most,
            first: true,
            failures: 0,
            probing: false,
            large_losses: 0,
            newest_large: Nanos(0),
            not_before: Nanos(0),
        }
    }

    pub(super) fn current(&self) -> usize {
        self.current as usize
    }

    /// What every path carries.
    pub(super) fn safe(&self) -> usize {
        self.config.safe as usize
    }

    /// The size of the next probe, if one is to be sent now.
    pub(super) fn probe(&self, now: Nanos) -> Option<u32> {
        if self.probing || now < self.not_before {
            return None;
        }
        if self.first && self.most > self.current {
            return Some(self.most);
        }
        let open = self.most.saturating_sub(self.current) >= RESOLUTION;
        open.then(|| self.current + (self.most - self.current) / 2)
    }

    pub(super) fn probe_sent(&mut self) {
        self.probing = true;
    }

    pub(super) fn probe_arrived(&mut self, size: u32) {
        self.probing = false;
        self.failures = 0;
        self.first = false;
        self.current = self.current.max(size.min(self.config.most));
        self.large_losses = 0;
    }

    pub(super) fn probe_lost(&mut self, size: u32) {
        self.probing = false;
        self.failures += 1;
        if self.failures == PROBES {
            self.failures = 0;
            self.first = false;
            self.most = self.most.min(size.saturating_sub(1)).max(self.current);
        }
    }

    /// A datagram arrived that left `at`.
    pub(super) fn arrived(&mut self, size: u32, at: Nanos) {
        if size > self.config.safe {
            self.large_losses = 0;
            self.newest_large = self.newest_large.max(at);
        }
    }

    /// A datagram that left `at` was lost while others arrived; whether the size was given up for
    /// it. Its size is not to blame if another large one that left later came through: a queue was
    /// full, or one path of several is dead, which is found out many datagrams at a time.
    pub(super) fn lost(&mut self, size: u32, at: Nanos, now: Nanos) -> bool {
        let small = size <= self.config.safe || self.current == self.config.safe;
        if small || at <= self.newest_large {
            return false;
        }
        self.large_losses += 1;
        if self.large_losses < BLACK_HOLE {
            return false;
        }
        *self = Self { not_before: now + AGAIN, ..Self::new(self.config) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(path: u32) -> Mtu {
        let mut mtu = Mtu::new(MtuConfig { safe: 1_232, most: 8_952 });
        while let Some(size) = mtu.probe(Nanos(0)) {
            mtu.probe_sent();
            if size <= path { mtu.probe_arrived(size) } else { mtu.probe_lost(size) }
        }
        mtu
    }

    #[test]
    fn the_search_ends_close_below_what_the_path_carries() {
        assert_eq!(search(8_952).current(), 8_952);
        assert_eq!(search(1_232).current(), 1_232);
        let found = search(1_472).current();
        assert!((1_472 - RESOLUTION as usize..=1_472).contains(&found), "{found}");
    }

    #[test]
    fn a_black_hole_for_large_datagrams_is_left() {
        let mut mtu = search(8_952);
        for _ in 1..BLACK_HOLE {
            assert!(!mtu.lost(8_952, Nanos(2), Nanos(5)));
        }
        mtu.arrived(8_952, Nanos(3));
        for _ in 0..2 * BLACK_HOLE {
            assert!(!mtu.lost(8_952, Nanos(3), Nanos(5)), "a later one came through");
        }
        for _ in 1..BLACK_HOLE {
            assert!(!mtu.lost(8_952, Nanos(4), Nanos(5)));
        }
        assert!(mtu.lost(8_952, Nanos(4), Nanos(5)));
        assert_eq!(mtu.current(), 1_232);
        assert_eq!(mtu.probe(Nanos::secs(59)), None);
        assert_eq!(mtu.probe(Nanos::secs(61)), Some(8_952));
    }
}
