//! What is known of each entropy, and which are in use.

use onepath_topology::Nanos;

use crate::proto::config::{Config, EntropyPolicy};
use crate::proto::packet::Entropy;

use super::sent::{Fate, SentRing};

/// Reordering inside one path that is believed at most.
const MOST_REORDERING: u32 = 512;

/// Doublings of the probation.
const MOST_DOUBLINGS: u32 = 6;

/// Round trips for which an entropy that lost something is avoided.
const AVOIDED_RTTS: u64 = 4;

/// Doublings of that.
const MOST_AVOIDING_DOUBLINGS: u32 = 10;

/// Packets that have to arrive in a row after a probation until the next one is short again.
const TRUSTED_AFTER: u32 = 64;

/// Counters of one entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStats {
    /// The entropy.
    pub entropy: Entropy,
    /// Numbered packets sent.
    pub sent: u64,
    /// Of those, known to have arrived.
    pub arrived: u64,
    /// Of those, arrived with a mark.
    pub marked: u64,
    /// Called lost.
    pub lost: u64,
    /// How often it was retired.
    pub retired: u32,
    /// Whether packets take it now.
    pub in_use: bool,
}

#[derive(Debug)]
struct Path {
    next_sequence: u32,
    /// The packet in flight that left first, and the one that left last, in flight or not.
    first: Option<u64>,
    last: Option<u64>,
    /// Path sequence behind the highest one that arrived.
    arrived_to: u32,
    reordering: u32,
    losses_in_row: u32,
    /// When the first of them left.
    losing_since: Nanos,
    /// While it is retired.
    until: Option<Nanos>,
    /// Of the next probation.
    doublings: u32,
    /// Packets that arrived since the last loss.
    arrived_in_row: u32,
    stats: PathStats,
}

#[derive(Debug)]
pub(super) struct Paths {
    all: Box<[Path]>,
    /// Those in use, in no order.
    active: Vec<Entropy>,
    losses_until_retired: u32,
    probation: Nanos,
    /// There are always others to choose from: one that lost anything is avoided for a moment.
    avoiding: bool,
}

impl Paths {
    pub(super) fn new(config: &Config) -> Self {
        let path = |entropy| Path {
            next_sequence: 0,
            first: None,
            last: None,
            arrived_to: 0,
            reordering: config.reordering,
            losses_in_row: 0,
            losing_since: Nanos(0),
            until: None,
            doublings: 0,
            arrived_in_row: 0,
            stats: PathStats {
                entropy: Entropy(entropy),
                sent: 0,
                arrived: 0,
                marked: 0,
                lost: 0,
                retired: 0,
                in_use: true,
            },
        };
        Self {
            all: (0..config.entropies).map(path).collect(),
            active: (0..config.entropies).map(Entropy).collect(),
            losses_until_retired: config.losses_until_retired,
            probation: config.probation,
            avoiding: !matches!(config.policy, EntropyPolicy::PerSubflow { .. }),
        }
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.all.iter().map(|path| path.stats)
    }

    /// Those in use; never empty.
    pub(super) fn active(&self) -> &[Entropy] {
        &self.active
    }

    pub(super) fn is_active(&self, entropy: Entropy) -> bool {
        self.all[entropy.index()].until.is_none()
    }

    /// The path sequence of the next packet, which is number `number`.
    pub(super) fn sent(&mut self, entropy: Entropy, number: u64, ring: &mut SentRing) -> u32 {
        let path = &mut self.all[entropy.index()];
        if let Some(last) = path.last {
            ring.link(last, number);
        }
        path.last = Some(number);
        path.first.get_or_insert(number);
        path.stats.sent += 1;
        let sequence = path.next_sequence;
        path.next_sequence = sequence.wrapping_add(1);
        sequence
    }

    pub(super) fn arrived(&mut self, entropy: Entropy, sequence: u32, marked: bool) {
        let path = &mut self.all[entropy.index()];
        let after = sequence.wrapping_add(1);
        if (after.wrapping_sub(path.arrived_to) as i32) > 0 {
            path.arrived_to = after;
        }
        path.losses_in_row = 0;
        path.arrived_in_row = path.arrived_in_row.saturating_add(1);
        // One that was only avoided has proved itself by its trial.
        if self.avoiding || path.arrived_in_row == TRUSTED_AFTER {
            path.doublings = 0;
        }
        path.stats.arrived += 1;
        path.stats.marked += u64::from(marked);
    }

    /// A packet that was called lost because others of its entropy overtook it arrived: such
    /// reordering is to be borne.
    pub(super) fn reordered(&mut self, entropy: Entropy, sequence: u32) {
        let path = &mut self.all[entropy.index()];
        let overtaken_by = path.arrived_to.wrapping_sub(sequence);
        path.reordering = path.reordering.max(overtaken_by.saturating_add(1)).min(MOST_REORDERING);
    }

    /// A packet that left at `at` was lost.
    pub(super) fn lost(&mut self, entropy: Entropy, at: Nanos) {
        let path = &mut self.all[entropy.index()];
        if path.losses_in_row == 0 {
            path.losing_since = at;
        }
        path.losses_in_row += 1;
        path.arrived_in_row = 0;
        path.stats.lost += 1;
    }

    /// A packet that left at `at` and was called lost has arrived: an entropy that was retired for
    /// such losses is used again at once. After a time without answers, because the peer computed
    /// or all paths were dead, those entropies of which it answers last look dead for a moment.
    pub(super) fn vindicate(&mut self, entropy: Entropy, at: Nanos) {
        let path = &mut self.all[entropy.index()];
        if path.until.is_some() && at >= path.losing_since {
            path.until = None;
            path.doublings = path.doublings.saturating_sub(1);
            path.stats.in_use = true;
            self.active.push(entropy);
        }
    }

    /// Moves over packets whose fate is decided. To be called whenever one was, before its record
    /// is used again, so that the chain through the records never breaks: its first is in flight.
    pub(super) fn advance(&mut self, entropy: Entropy, ring: &SentRing) {
        let path = &mut self.all[entropy.index()];
        while let Some(first) = path.first {
            match ring.get(first) {
                Some(sent) if sent.fate == Fate::InFlight => return,
                Some(sent) => path.first = sent.next_on_path,
                None => path.first = None,
            }
        }
        path.last = None;
    }

    /// The oldest packet of this entropy, if enough later ones arrived to call it lost.
    pub(super) fn overtaken(&self, entropy: Entropy, ring: &SentRing) -> Option<u64> {
        let path = &self.all[entropy.index()];
        let sent = ring.get(path.first?)?;
        let after = path.arrived_to.wrapping_sub(sent.path_sequence) as i32;
        (after > path.reordering as i32).then_some(sent.number)
    }

    /// Whether an entropy in use lost something since it last delivered.
    pub(super) fn is_suspect(&self, entropy: Entropy) -> bool {
        let path = &self.all[entropy.index()];
        path.losses_in_row > 0 && path.until.is_none()
    }

    /// Retires an entropy that loses everything while others deliver; whether it was.
    ///
    /// A lane's for at least `patience`: a burst that found a queue full is lost all at once, by a
    /// healthy path, and a lane that moves makes the load uneven. Where the choice is free, nothing
    /// is lost by avoiding an entropy for some round trips (`rtt`) and trying it again with one
    /// packet: if that is lost too, for twice as long.
    pub(super) fn judge(
        &mut self,
        entropy: Entropy,
        now: Nanos,
        (patience, rtt): (Nanos, Nanos),
    ) -> bool {
        let path = &mut self.all[entropy.index()];
        let long = now.since(path.losing_since) >= patience;
        let bad = self.avoiding || (long && path.losses_in_row >= self.losses_until_retired);
        if !bad || path.until.is_some() || self.active.len() < 2 {
            return false;
        }
        let (probation, most) = if self.avoiding {
            (AVOIDED_RTTS * rtt.get(), MOST_AVOIDING_DOUBLINGS)
        } else {
            (self.probation.get(), MOST_DOUBLINGS)
        };
        path.until = Some(now + Nanos(probation << path.doublings));
        path.doublings = (path.doublings + 1).min(most);
        path.stats.retired += 1;
        path.stats.in_use = false;
        self.active.retain(|&other| other != entropy);
        true
    }

    /// Takes entropies whose probation is over into use again. One loss is enough to lose it.
    pub(super) fn restore(&mut self, now: Nanos) {
        if self.active.len() == self.all.len() {
            return;
        }
        for path in &mut self.all {
            if path.until.is_some_and(|until| until <= now) {
                path.until = None;
                path.losses_in_row = self.losses_until_retired - 1;
                path.stats.in_use = true;
                self.active.push(path.stats.entropy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Entropy = Entropy(1);

    fn config() -> Config {
        let policy = EntropyPolicy::PerSubflow { lanes: 2 };
        Config { entropies: 2, policy, ..Config::default() }
    }

    fn retired(paths: &mut Paths, at: u64, now: u64) -> Nanos {
        (0..3).for_each(|_| paths.lost(ONE, Nanos(at)));
        assert!(
            paths.judge(ONE, Nanos(now), (Nanos(10), Nanos(1))),
            "lost at {at}, judged at {now}"
        );
        paths.all[1].until.expect("it is retired").0.checked_sub(now).map(Nanos).expect("later")
    }

    #[test]
    fn a_packet_that_arrives_after_all_ends_the_probation_it_caused() {
        let config = config();
        let mut paths = Paths::new(&config);
        for round in 1..20 {
            assert_eq!(retired(&mut paths, 100 * round, 100 * round + 50), config.probation);
            paths.arrived(ONE, 0, false);
            paths.vindicate(ONE, Nanos(100 * round - 1));
            assert!(!paths.is_active(ONE), "that one left before the losses");
            paths.vindicate(ONE, Nanos(100 * round));
            assert!(paths.is_active(ONE) && paths.active().len() == 2);
        }
    }

    #[test]
    fn probations_double_until_the_path_has_proved_itself() {
        let config = config();
        let mut paths = Paths::new(&config);
        let mut now = 1_000;
        for doublings in 0..10 {
            let probation = retired(&mut paths, now - 100, now);
            assert_eq!(probation.0, config.probation.0 << doublings.min(MOST_DOUBLINGS));
            now += probation.0;
            paths.restore(Nanos(now));
            paths.arrived(ONE, doublings, false);
            now += 1_000;
        }
        (0..TRUSTED_AFTER).for_each(|sequence| paths.arrived(ONE, sequence, false));
        assert_eq!(retired(&mut paths, now - 100, now), config.probation);
    }
}
