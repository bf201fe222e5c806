//! The pods that one node should take, when each has a profit: exactly, by depth first search.

/// A choice of up to `copies` of something.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// By resource.
    pub(super) size: &'a [i64],
    /// Of one copy.
    pub(super) profit: i64,
    /// At most so many.
    pub(super) copies: u32,
    /// Whatever it means to the caller.
    pub(super) tag: usize,
}

/// Copies of entries by tag.
pub(super) type Taken = Vec<(usize, u32)>;

/// Bits of the share of a node that a size is rounded to.
const SHARE_BITS: u32 = 20;
/// Steps between two looks at the clock.
const STOP_EVERY: u64 = 1024;

/// All ways to fill one node that earn at least so much.
pub(super) struct Knapsack<'a> {
    entries: Vec<Entry<'a>>,
    /// By entry, its size as a share of the node, all resources added up, rounded down.
    shares: Vec<i64>,
    room: Vec<i64>,
    /// Of which the node has any.
    resources: i64,
    taken: Vec<u32>,
    /// Nodes of the search that are left.
    steps: u64,
    /// Whether no more are to be taken.
    stop: &'a dyn Fn() -> bool,
}

/// What one node earns at best.
#[derive(Debug)]
pub(super) struct Best {
    /// Of the best selection found.
    pub(super) profit: i64,
    /// It: copies by tag.
    pub(super) taken: Taken,
    /// No selection earns more; this is its profit if there were steps enough.
    pub(super) at_most: i64,
}

/// More steps than allowed, or stopped: nothing is known.
#[derive(Debug)]
pub(super) struct TooManySteps;

impl<'a> Knapsack<'a> {
    /// Of entries that fit at least once.
    pub(super) fn new(
        entries: Vec<Entry<'a>>,
        room: &[i64],
        steps: u64,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let share = |entry: &Entry<'_>| {
            let of = entry.size.iter().zip(room).filter(|(_, room)| **room > 0);
            of.map(|(size, room)| ((*size as i128) << SHARE_BITS) / *room as i128).sum::<i128>()
                as i64
        };
        // `bound` holds in this order: by profit for a share, exactly; what earns nothing last.
        let times = |profit: i64, share: i64| i128::from(profit) * i128::from(share);
        let falling = |(a, of_a): &(Entry<'_>, i64), (b, of_b): &(Entry<'_>, i64)| {
            if a.profit > 0 && b.profit > 0 {
                times(b.profit, *of_a).cmp(&times(a.profit, *of_b)).then(of_a.cmp(of_b))
            } else {
                b.profit.cmp(&a.profit)
            }
        };
        let with_share = |entry: Entry<'a>| {
            let share = share(&entry);
            (entry, share)
        };
        let mut sorted: Vec<(Entry<'_>, i64)> = entries.into_iter().map(with_share).collect();
        sorted.sort_by(falling);
        let (entries, shares): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
        let taken = vec![0; entries.len()];
        let resources = room.iter().filter(|room| **room > 0).count() as i64;
        Self { entries, shares, room: room.to_vec(), resources, taken, steps, stop }
    }

    /// The most that can be earned.
    pub(super) fn best(&mut self) -> Best {
        let mut best = Best { profit: 0, taken: Vec::new(), at_most: 0 };
        let mut least = 1;
        let done = self.walk(0, 0, self.whole(), &mut least, &mut |profit, taken, least| {
            (best.profit, best.taken) = (profit, taken);
            *least = profit + 1;
            true
        });
        best.at_most = if done.is_ok() { best.profit } else { self.bound(0, self.whole()) };
        best
    }

    /// Every way that earns at least so much; `each` says whether to go on.
    pub(super) fn all(
        &mut self,
        least: i64,
        each: &mut dyn FnMut(i64, Taken) -> bool,
    ) -> Result<(), TooManySteps> {
        let mut least = least;
        if least <= 0 && !each(0, Vec::new()) {
            return Ok(());
        }
        self.walk(0, 0, self.whole(), &mut least, &mut |profit, taken, _| each(profit, taken))
            .map(|_| ())
    }

    fn whole(&self) -> i64 {
        self.resources << SHARE_BITS
    }

    /// No more than this can be earned by entries from here on in such a share of the node.
    fn bound(&self, from: usize, mut share: i64) -> i64 {
        let mut bound = 0;
        for (entry, size) in self.entries[from..].iter().zip(&self.shares[from..]) {
            if entry.profit <= 0 {
                break;
            }
            let whole = size * i64::from(entry.copies);
            if whole > share {
                return bound + (entry.profit as i128 * share as i128 / *size as i128) as i64 + 1;
            }
            share -= whole;
            bound += entry.profit * i64::from(entry.copies);
        }
        bound
    }

    /// Tries 1 and more copies of each later entry; reports each selection that earns enough.
    fn walk(
        &mut self,
        from: usize,
        profit: i64,
        share: i64,
        least: &mut i64,
        each: &mut dyn FnMut(i64, Taken, &mut i64) -> bool,
    ) -> Result<bool, TooManySteps> {
        for index in from..self.entries.len() {
            self.steps = self.steps.checked_sub(1).ok_or(TooManySteps)?;
            if self.steps.is_multiple_of(STOP_EVERY) && (self.stop)() {
                return Err(TooManySteps);
            }
            if profit + self.bound(index, share) < *least {
                break;
            }
            let (gain, copies) = (self.entries[index].profit, self.entries[index].copies);
            let mut count = 0;
            let mut on = true;
            while on && count < copies && self.take(index) {
                count += 1;
                let (earned, left) = (
                    profit + gain * i64::from(count),
                    share - self.shares[index] * i64::from(count),
                );
                on = (earned < *least || each(earned, self.selection(), least))
                    && self.walk(index + 1, earned, left, least, each)?;
            }
            self.give_back(index);
            if !on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, index: usize) -> bool {
        let size = self.entries[index].size;
        if size.iter().zip(&self.room).any(|(size, room)| size > room) {
            return false;
        }
        self.room.iter_mut().zip(size).for_each(|(room, size)| *room -= size);
        self.taken[index] += 1;
        true
    }

    fn give_back(&mut self, index: usize) {
        let count = i64::from(std::mem::take(&mut self.taken[index]));
        let size = self.entries[index].size;
        self.room.iter_mut().zip(size).for_each(|(room, size)| *room += size * count);
    }

    fn selection(&self) -> Taken {
        let taken = self.entries.iter().zip(&self.taken);
        taken.filter(|(_, count)| **count > 0).map(|(entry, count)| (entry.tag, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Entry, Knapsack};

    /// The most that any selection earns.
    fn brute_force(entries: &[Entry<'_>], room: &[i64]) -> i64 {
        let Some((entry, others)) = entries.split_first() else { return 0 };
        let mut room = room.to_vec();
        let mut most = brute_force(others, &room);
        for count in 1..=i64::from(entry.copies) {
            room.iter_mut().zip(entry.size).for_each(|(room, size)| *room -= size);
            if room.iter().any(|room| *room < 0) {
                break;
            }
            most = most.max(count * entry.profit + brute_force(others, &room));
        }
        most
    }

    /// What is known without a step, and what is found with steps enough.
    fn bound_and_best(entries: &[Entry<'_>], room: &[i64]) -> (i64, i64) {
        let best = |steps| Knapsack::new(entries.to_vec(), room, steps, &|| false).best().at_most;
        (best(0), best(u64::MAX))
    }

    #[test]
    fn the_bound_holds_where_densities_differ_by_one_part_in_a_million() {
        // In shares of 2^-20 of the room: half of it and a bit, and a quarter of it and a bit.
        let (small, large) = ([131_072], [393_216]);
        let dense = 24_999_000_000_i64;
        let sparse = dense * 131_073 / 393_217;
        let entry = |size, profit, tag| Entry { size, profit, copies: 8, tag };
        let entries = [entry(&small[..], sparse, 0), entry(&large[..], dense, 1)];
        let (bound, best) = bound_and_best(&entries, &[1_048_576]);
        assert_eq!(best, brute_force(&entries, &[1_048_576]));
        assert!(bound >= best, "{bound} is below {best}");
    }

    proptest! {
        #[test]
        fn no_selection_earns_more_than_the_bound(
            room in prop::array::uniform2(0_i64..30),
            given in prop::collection::vec(
                (prop::array::uniform2(0_i64..20), -3_i64..1_000, 1_u32..4), 1..6),
        ) {
            let entries: Vec<Entry<'_>> = given.iter().enumerate()
                .filter(|(_, (size, ..))| size.iter().zip(&room).all(|(size, room)| size <= room))
                .map(|(tag, (size, profit, copies))| {
                    Entry { size, profit: *profit, copies: *copies, tag }
                })
                .collect();
            let (bound, best) = bound_and_best(&entries, &room);
            prop_assert_eq!(best, brute_force(&entries, &room));
            prop_assert!(bound >= best, "{} is below {}", bound, best);
        }
    }
}
