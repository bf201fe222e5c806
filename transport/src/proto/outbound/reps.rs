//! The memory of REPS: entropies that brought a packet through without a mark are used again.

use onepath_topology::Nanos;

use crate::proto::packet::Entropy;
use crate::proto::random::Random;

/// Entropies remembered (the paper's buffer of 8).
const REMEMBERED: usize = 8;

/// How long nothing is explored after a failure (the paper's `FREEZING_TIMEOUT`).
const FREEZING: Nanos = Nanos::millis(1);

/// Random choices after the thaw (the paper takes a window's worth).
const EXPLORED: u32 = 16;

/// Algorithms 1 and 2 of Bonato et al., "REPS: Recycled Entropy Packet Spraying for Adaptive Load
/// Balancing and Failure Mitigation" (2024).
#[derive(Debug)]
pub(super) struct Reps {
    remembered: [Option<Entropy>; REMEMBERED],
    head: usize,
    /// Of those remembered, how many were not used since; the latest ones.
    fresh: usize,
    frozen_until: Option<Nanos>,
    explore: u32,
    random: Random,
}

impl Reps {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            remembered: [None; REMEMBERED],
            head: 0,
            fresh: 0,
            frozen_until: None,
            explore: EXPLORED,
            random: Random::new(seed),
        }
    }

    /// Algorithm 1: a packet arrived without a mark.
    pub(super) fn good(&mut self, entropy: Entropy, now: Nanos) {
        self.remembered[self.head] = Some(entropy);
        self.head = (self.head + 1) % REMEMBERED;
        self.fresh = (self.fresh + 1).min(REMEMBERED);
        if self.frozen_until.is_some_and(|until| until <= now) {
            self.frozen_until = None;
            self.explore = EXPLORED;
        }
    }

    /// A path failed: use what is known to work, also again and again.
    pub(super) fn freeze(&mut self, now: Nanos) {
        if self.frozen_until.is_none() && self.explore == 0 {
            self.frozen_until = Some(now + FREEZING);
        }
    }

    /// Forgets an entropy that was retired.
    pub(super) fn forget(&mut self, entropy: Entropy) {
        for place in &mut self.remembered {
            if *place == Some(entropy) {
                *place = None;
            }
        }
    }

    /// Algorithm 2: the entropy of the next packet.
    pub(super) fn next(&mut self, active: &[Entropy]) -> Entropy {
        if self.explore == 0 {
            while self.fresh > 0 {
                let at = (self.head + REMEMBERED - self.fresh) % REMEMBERED;
                self.fresh -= 1;
                if let Some(entropy) = self.remembered[at] {
                    return entropy;
                }
            }
            if self.frozen_until.is_some() {
                for _ in 0..REMEMBERED {
                    let at = self.head;
                    self.head = (self.head + 1) % REMEMBERED;
                    if let Some(entropy) = self.remembered[at] {
                        return entropy;
                    }
                }
            }
        }
        self.explore = self.explore.saturating_sub(1);
        active[self.random.below(active.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explored(active: &[Entropy]) -> Reps {
        let mut reps = Reps::new(3);
        for _ in 0..EXPLORED {
            reps.next(active);
        }
        reps
    }

    #[test]
    fn good_entropies_are_used_once_each_in_the_order_of_their_news() {
        let active: Vec<Entropy> = (0..100).map(Entropy).collect();
        let mut reps = explored(&active);
        for entropy in [7, 9, 7] {
            reps.good(Entropy(entropy), Nanos(0));
        }
        let used: Vec<u16> = (0..3).map(|_| reps.next(&active).0).collect();
        assert_eq!(used, [7, 9, 7]);
    }

    #[test]
    fn after_a_failure_only_known_ones_are_used_until_the_thaw() {
        let active: Vec<Entropy> = (0..1000).map(Entropy).collect();
        let mut reps = explored(&active);
        for entropy in [1, 2, 3] {
            reps.good(Entropy(entropy), Nanos(0));
        }
        reps.freeze(Nanos(10));
        reps.forget(Entropy(2));
        for _ in 0..50 {
            assert!([1, 3].contains(&reps.next(&active).0));
        }
        reps.good(Entropy(1), Nanos(10) + FREEZING);
        let explored = (0..EXPLORED).filter(|_| reps.next(&active).0 > 3).count();
        assert!(explored > 10);
    }
}
