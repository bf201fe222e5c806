//! Which entropy the next packet takes.

use onepath_topology::Nanos;

use crate::proto::config::{Config, EntropyPolicy};
use crate::proto::packet::Entropy;
use crate::proto::random::Random;

use super::paths::Paths;
use super::reps::Reps;

#[derive(Debug)]
enum Choice {
    /// The entropy that each lane takes while its own, the one of its number, is retired.
    Lanes(Box<[Entropy]>),
    RoundRobin,
    Random(Random),
    Burst {
        packets: u32,
        left: u32,
        current: Entropy,
        random: Random,
    },
    Reps(Reps),
}

/// One policy at work.
#[derive(Debug)]
pub(super) struct Selector {
    choice: Choice,
    /// Turns of the round robin, and of lanes looking for a new entropy.
    turn: usize,
}

impl Selector {
    pub(super) fn new(config: &Config) -> Self {
        let choice = match config.policy {
            EntropyPolicy::PerSubflow { lanes } => Choice::Lanes((0..lanes).map(Entropy).collect()),
            EntropyPolicy::RoundRobin => Choice::RoundRobin,
            EntropyPolicy::Random { seed } => Choice::Random(Random::new(seed)),
            EntropyPolicy::Burst { packets, seed } => {
                let (current, random) = (Entropy(0), Random::new(seed));
                Choice::Burst { packets, left: 0, current, random }
            }
            EntropyPolicy::Reps { seed } => Choice::Reps(Reps::new(seed)),
        };
        Self { choice, turn: 0 }
    }

    /// The entropy of the next packet, of a chunk of this lane.
    pub(super) fn next(&mut self, lane: u16, paths: &Paths) -> Entropy {
        let active = paths.active();
        match &mut self.choice {
            Choice::Lanes(lanes) => {
                let home = Entropy(lane % lanes.len() as u16);
                if paths.is_active(home) { home } else { lanes[home.index()] }
            }
            Choice::RoundRobin => self.round_robin(paths),
            Choice::Random(random) => active[random.below(active.len() as u64) as usize],
            Choice::Burst { packets, left, current, random } => {
                if *left == 0 || !paths.is_active(*current) {
                    *left = *packets;
                    *current = active[random.below(active.len() as u64) as usize];
                }
                *left -= 1;
                *current
            }
            Choice::Reps(reps) => reps.next(active),
        }
    }

    fn round_robin(&mut self, paths: &Paths) -> Entropy {
        let active = paths.active();
        self.turn = self.turn.wrapping_add(1);
        active[self.turn % active.len()]
    }

    /// Another one than `avoided`, if there is any: for a packet that has to get through.
    pub(super) fn other(&mut self, avoided: Entropy, paths: &Paths) -> Entropy {
        let chosen = self.round_robin(paths);
        if chosen == avoided { self.round_robin(paths) } else { chosen }
    }

    /// Whether a piece that was lost may take another entropy than its lane's.
    pub(super) fn is_free(&self) -> bool {
        !matches!(self.choice, Choice::Lanes(_))
    }

    /// A packet of this entropy arrived and met no crowd.
    pub(super) fn good(&mut self, entropy: Entropy, now: Nanos) {
        if let Choice::Reps(reps) = &mut self.choice {
            reps.good(entropy, now);
        }
    }

    /// Nothing was heard for too long.
    pub(super) fn timed_out(&mut self, now: Nanos) {
        if let Choice::Reps(reps) = &mut self.choice {
            reps.freeze(now);
        }
    }

    /// An entropy is not to be used any more.
    pub(super) fn retired(&mut self, entropy: Entropy, paths: &Paths) {
        match &mut self.choice {
            Choice::Lanes(lanes) => {
                // Ports that stand by follow those of the lanes in the order of the paths, as long
                // as all have some: so this one is probably of another path.
                let count = lanes.len();
                let is_unused = |candidate: &Entropy| !lanes.contains(candidate);
                let elsewhere = |e: &Entropy| e.index() % count != entropy.index() % count;
                let mut active = paths.active().iter().copied();
                let unused = active.clone().find(|e| is_unused(e) && elsewhere(e));
                let unused = unused.or_else(|| active.find(is_unused));
                // Those that had taken refuge on it, and the one whose own it is.
                for (_, lane) in (0..)
                    .zip(lanes.iter_mut())
                    .filter(|(own, lane)| **lane == entropy || Entropy(*own) == entropy)
                {
                    // Without an unused one, lanes share those that are left, in turn.
                    let active = paths.active();
                    self.turn = self.turn.wrapping_add(1);
                    *lane = unused.unwrap_or(active[self.turn % active.len()]);
                }
            }
            // Others deliver, so nothing has failed but this one: it is not used as it is, and to
            // explore no others for its sake would crowd the few that are remembered.
            Choice::Reps(reps) => reps.forget(entropy),
            Choice::RoundRobin | Choice::Random(_) | Choice::Burst { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(policy: EntropyPolicy) -> (Selector, Paths) {
        let config = Config { entropies: 4, policy, losses_until_retired: 1, ..Config::default() };
        (Selector::new(&config), Paths::new(&config))
    }

    fn retire(entropy: u16, selector: &mut Selector, paths: &mut Paths) {
        paths.lost(Entropy(entropy), Nanos(0));
        assert!(paths.judge(Entropy(entropy), Nanos(0), (Nanos(0), Nanos(1))));
        selector.retired(Entropy(entropy), paths);
    }

    #[test]
    fn a_lane_takes_an_unused_entropy_while_its_own_is_retired() {
        let (mut selector, mut paths) = made(EntropyPolicy::PerSubflow { lanes: 2 });
        assert_eq!([0, 0, 1].map(|lane| selector.next(lane, &paths).0), [0, 0, 1]);
        retire(0, &mut selector, &mut paths);
        let moved = selector.next(0, &paths).0;
        assert!([2, 3].contains(&moved));
        assert_eq!(selector.next(1, &paths).0, 1);
        retire(moved, &mut selector, &mut paths);
        assert_eq!(selector.next(0, &paths).0, 5 - moved);
        paths.restore(Nanos::secs(10));
        assert_eq!([0, 1].map(|lane| selector.next(lane, &paths).0), [0, 1]);
    }

    #[test]
    fn no_policy_chooses_a_retired_entropy() {
        for policy in [
            EntropyPolicy::RoundRobin,
            EntropyPolicy::Random { seed: 1 },
            EntropyPolicy::Burst { packets: 3, seed: 1 },
            EntropyPolicy::Reps { seed: 1 },
        ] {
            let (mut selector, mut paths) = made(policy);
            selector.good(Entropy(2), Nanos(0));
            retire(2, &mut selector, &mut paths);
            let mut chosen = [0; 4];
            for _ in 0..400 {
                chosen[selector.next(0, &paths).index()] += 1;
            }
            assert_eq!(chosen[2], 0, "{policy:?}");
            assert!([0, 1, 3].iter().all(|&at| chosen[at] > 80), "{policy:?}: {chosen:?}");
        }
    }

    #[test]
    fn a_burst_keeps_together() {
        let (mut selector, paths) = made(EntropyPolicy::Burst { packets: 5, seed: 9 });
        for _ in 0..10 {
            let first = selector.next(0, &paths);
            assert!((1..5).all(|_| selector.next(0, &paths) == first));
        }
    }
}
