//! What one node earns at most.

/// Pods of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// By resource.
    pub(super) size: &'a [i64],
    /// Of one pod.
    pub(super) profit: i128,
    /// At most so many.
    pub(super) copies: i64,
}

/// How much may still be tried, on all nodes together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps(pub(super) u64);

/// Of one node.
const STEPS_OF_A_NODE: u64 = 2_000_000;
/// With more kinds nothing is tried, so that no call goes too deep.
const MOST_PARTS: usize = 2_000;
/// Bits of a node's room in the sum of its resources.
const ROOM_BITS: u32 = 64;

/// No filling earns more than this; one earns as much, unless the steps are used up.
pub(super) fn most(parts: &[Part<'_>], room: &[i64], steps: &mut Steps) -> i128 {
    // Resources added up so that the node has as much of each.
    let weights: Vec<i128> =
        room.iter().map(|room| (1 << ROOM_BITS) / i128::from((*room).max(1))).collect();
    let mut without_size = 0;
    let mut kinds = Vec::new();
    for part in parts.iter().filter(|part| part.profit > 0 && part.copies > 0) {
        let asked = part.size.iter().zip(room).filter(|(size, _)| **size > 0);
        let fit = asked.map(|(size, room)| room / size).min();
        let copies = part.copies.min(fit.unwrap_or(part.copies));
        let weight = part.size.iter().zip(&weights).map(|(size, w)| i128::from(*size) * w).sum();
        if weight == 0 {
            without_size += part.profit * i128::from(copies);
        } else if copies > 0 {
            kinds.push(Kind { size: part.size, profit: part.profit, copies, weight });
        }
    }
    // Of what earns most for its size first: profit / weight falling, without a division.
    kinds.sort_by(|a, b| (b.profit * a.weight).cmp(&(a.profit * b.weight)));
    let all = room.iter().zip(&weights).map(|(room, weight)| i128::from(*room) * weight).sum();
    let at_most = at_most(&kinds, all);
    let allowed = if kinds.len() > MOST_PARTS { 0 } else { steps.0.min(STEPS_OF_A_NODE) };
    let mut filling = Filling { kinds: &kinds, room: room.to_vec(), best: 0, steps: allowed };
    let whole = filling.fill(0, all, 0);
    steps.0 -= allowed - filling.steps;
    without_size + if whole { filling.best } else { at_most }
}

struct Kind<'a> {
    size: &'a [i64],
    profit: i128,
    copies: i64,
    /// Its size with all resources added up; above 0.
    weight: i128,
}

/// As if resources could be exchanged, and the last pod cut.
fn at_most(kinds: &[Kind<'_>], mut room: i128) -> i128 {
    let mut sum = 0;
    for kind in kinds {
        let whole = kind.weight * i128::from(kind.copies);
        if whole > room {
            return sum + kind.profit * room / kind.weight;
        }
        room -= whole;
        sum += kind.profit * i128::from(kind.copies);
    }
    sum
}

struct Filling<'k, 'a> {
    kinds: &'k [Kind<'a>],
    room: Vec<i64>,
    best: i128,
    steps: u64,
}

impl Filling<'_, '_> {
    /// Tries all ways to go on with kinds from one on, the fullest first; false if steps ran out.
    fn fill(&mut self, from: usize, left: i128, earned: i128) -> bool {
        self.best = self.best.max(earned);
        for index in from..self.kinds.len() {
            if earned + at_most(&self.kinds[index..], left) <= self.best {
                return true;
            }
            let Some(steps) = self.steps.checked_sub(1) else { return false };
            self.steps = steps;
            let Kind { size, profit, copies, weight } = self.kinds[index];
            let asked = size.iter().zip(&self.room).filter(|(size, _)| **size > 0);
            let fit = asked.map(|(size, room)| room / size).min().unwrap_or(copies).min(copies);
            for count in (1..=fit).rev() {
                let many = i128::from(count);
                self.take(size, count);
                let whole = self.fill(index + 1, left - many * weight, earned + many * profit);
                self.take(size, -count);
                if !whole {
                    return false;
                }
            }
        }
        true
    }

    fn take(&mut self, size: &[i64], count: i64) {
        self.room.iter_mut().zip(size).for_each(|(room, size)| *room -= size * count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Part, Steps, most};

    /// The most that any filling earns, by trying each.
    fn brute_force(parts: &[Part<'_>], room: &[i64]) -> i128 {
        let Some((part, others)) = parts.split_first() else { return 0 };
        let mut room = room.to_vec();
        let mut most = brute_force(others, &room);
        for count in 1..=part.copies {
            room.iter_mut().zip(part.size).for_each(|(room, size)| *room -= size);
            if room.iter().any(|room| *room < 0) {
                break;
            }
            most = most.max(i128::from(count) * part.profit + brute_force(others, &room));
        }
        most
    }

    proptest! {
        #[test]
        fn a_node_earns_what_its_best_filling_does_and_never_more_than_the_bound_without_trying(
            room in prop::array::uniform2(0_i64..30),
            given in prop::collection::vec(
                (prop::array::uniform2(0_i64..20), -3_i64..1_000, 0_i64..4), 0..6),
        ) {
            let parts: Vec<Part<'_>> = given.iter()
                .map(|(size, profit, copies)| {
                    Part { size, profit: i128::from(*profit), copies: *copies }
                })
                .collect();
            let best = brute_force(&parts, &room);
            prop_assert_eq!(most(&parts, &room, &mut Steps(u64::MAX)), best);
            prop_assert!(most(&parts, &room, &mut Steps(0)) >= best);
        }
    }
}
