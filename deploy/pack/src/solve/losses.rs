//! An exhaustive search for a placement worth so much, led by prices.
//!
//! At given prices each placement falls short of their bound by the sum of its losses: of each
//! node, by how much less than the most its pattern earns; of each item, its price for each pod
//! left out; of each frozen value, its price for each pod above it. A placement that is worth
//! `target` has no greater loss than the bound is above the target, so all patterns of greater
//! losses are out of the question (pricing by reduced costs, as in Baldacci, Christofides and
//! Mingozzi 2008).

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::columns::{Dual, Kinds, Profit, SCALE, entries};
use super::knapsack::Knapsack;
use super::model::{Model, Offer};
use crate::check::check;
use crate::score::Goal;

/// Patterns of all kinds of spots that are written down at most.
const MOST_PATTERNS: usize = 400_000;
/// Steps of listing them.
const LIST_STEPS: u64 = 4_000_000;
/// States that are remembered at most.
const MOST_STATES: usize = 2_000_000;

/// What came of a search.
#[derive(Debug)]
pub(super) enum Outcome {
    /// By spot the counts of its offers.
    Found(Vec<Vec<u32>>),
    /// There is no such placement.
    None,
    /// Stopped.
    GaveUp,
}

/// A way to fill a spot: counts of items, and the loss.
#[derive(Clone, Debug)]
struct Pattern {
    loss: i64,
    /// Place in the offers, and how many.
    counts: Vec<(u32, u32)>,
    /// By row of the model, how many it adds.
    rows: Vec<i64>,
}

/// A search under way.
pub(super) struct Losses<'m, 'p> {
    model: &'m Model<'p>,
    kinds: &'m Kinds,
    dual: &'m Dual,
    /// By kind, by growing loss.
    patterns: Vec<Vec<Pattern>>,
    /// Spots in the order in which they are filled.
    order: Vec<usize>,
    /// By depth and item, no more than so many are taken from there on.
    later: Vec<Vec<u32>>,
    /// By depth and row, no more than so much is added from there on.
    later_rows: Vec<Vec<i64>>,
    left: Vec<u32>,
    sums: Vec<i64>,
    chosen: Vec<usize>,
    budget: i64,
    codes: Vec<u128>,
    row_codes: Vec<u128>,
    place_code: u128,
    seen: HashMap<u128, i64>,
    /// States say all there is: no rule looks further back.
    remembers: bool,
    pub(super) steps: u64,
    most_steps: u64,
}

impl<'m, 'p> Losses<'m, 'p> {
    /// Of a model with prices, for a placement worth `target` or more; none if there are too many
    /// patterns, or `stop` says so.
    pub(super) fn new(
        model: &'m Model<'p>,
        kinds: &'m Kinds,
        dual: &'m Dual,
        target: i64,
        seed: u64,
        stop: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let budget = dual.bound - target * SCALE;
        let patterns = list(model, kinds, dual, budget, stop)?;
        let mut order: Vec<usize> = (0..model.spots.len()).collect();
        order.sort_by_key(|spot| (patterns[kinds.of[*spot]].len(), kinds.of[*spot]));
        let mut codes = SmallRng::seed_from_u64(seed);
        let mut search = Self {
            model,
            kinds,
            dual,
            patterns,
            order,
            later: Vec::new(),
            later_rows: Vec::new(),
            left: model.items.iter().map(|item| item.pods.len() as u32).collect(),
            sums: vec![0; model.rows.len()],
            chosen: Vec::new(),
            budget,
            codes: (0..model.items.len()).map(|_| codes.random()).collect(),
            row_codes: (0..model.rows.len()).map(|_| codes.random()).collect(),
            place_code: codes.random::<u128>() | 1,
            seen: HashMap::new(),
            remembers: !model.has_gangs(),
            steps: 0,
            most_steps: 0,
        };
        search.look_ahead();
        Some(search)
    }

    /// By depth, what the spots from there on can take at most.
    fn look_ahead(&mut self) {
        let items = self.model.items.len();
        let rows = self.model.rows.len();
        let (mut later, mut later_rows) = (vec![vec![0; items]], vec![vec![0; rows]]);
        for spot in self.order.iter().rev() {
            let offers = &self.model.spots[*spot].offers;
            let mut most = vec![0; items];
            let mut most_rows = vec![0; rows];
            for pattern in &self.patterns[self.kinds.of[*spot]] {
                for (offer, count) in &pattern.counts {
                    let most: &mut u32 = &mut most[offers[*offer as usize].item];
                    *most = (*most).max(*count);
                }
                for (most, sum) in most_rows.iter_mut().zip(&pattern.rows) {
                    *most = (*most).max(*sum);
                }
            }
            let (after, after_rows) = (&later[later.len() - 1], &later_rows[later_rows.len() - 1]);
            most.iter_mut().zip(after).for_each(|(most, after)| *most += after);
            most_rows.iter_mut().zip(after_rows).for_each(|(most, after)| *most += after);
            later.push(most);
            later_rows.push(most_rows);
        }
        later.reverse();
        later_rows.reverse();
        (self.later, self.later_rows) = (later, later_rows);
    }

    /// Looks until it is found, everything was tried, or `stop` says so or the steps are used up.
    pub(super) fn run(&mut self, most_steps: u64, stop: &dyn Fn() -> bool) -> Outcome {
        self.most_steps = self.steps + most_steps;
        match self.fill(0, 0, stop) {
            Some(true) => Outcome::Found(self.selection()),
            Some(false) => Outcome::None,
            None => Outcome::GaveUp,
        }
    }

    /// Loss that is certain by now beside that of the chosen patterns; none if nothing can come of
    /// it.
    fn certain(&self, depth: usize) -> Option<i64> {
        let mut loss = 0;
        let prices = self.dual.items.iter().zip(&self.left).zip(&self.later[depth]);
        for ((price, left), later) in prices {
            loss += price * i64::from(left.saturating_sub(*later));
        }
        let rows = self.model.rows.iter().zip(&self.sums).zip(&self.later_rows[depth]);
        for (((row, sum), later), price) in rows.zip(&self.dual.rows) {
            if sum + later < row.least {
                return None;
            }
            loss += price * (sum - row.least).max(0);
        }
        Some(loss)
    }

    fn state(&self, depth: usize, first: usize) -> u128 {
        let items = self.codes.iter().zip(&self.left);
        let items = items.map(|(code, left)| code.wrapping_mul(u128::from(*left)));
        let rows = self.row_codes.iter().zip(&self.sums);
        let rows = rows.map(|(code, sum)| code.wrapping_mul(*sum as u128));
        let sum = items.chain(rows).fold(0_u128, u128::wrapping_add);
        let place = ((depth as u128) << 64) | first as u128;
        sum.wrapping_add(place.wrapping_mul(self.place_code))
    }

    fn fill(&mut self, depth: usize, loss: i64, stop: &dyn Fn() -> bool) -> Option<bool> {
        self.steps += 1;
        if self.steps > self.most_steps || (self.steps.is_multiple_of(256) && stop()) {
            return None;
        }
        let Some(certain) = self.certain(depth) else { return Some(false) };
        if loss + certain > self.budget {
            return Some(false);
        }
        let Some(spot) = self.order.get(depth).copied() else { return Some(self.keeps_rules()) };
        let kind = self.kinds.of[spot];
        let same = depth > 0 && self.kinds.of[self.order[depth - 1]] == kind;
        // Equal spots are filled by growing numbers of patterns, unless rules tell them apart.
        let first = if same && self.remembers { self.chosen[depth - 1] } else { 0 };
        let state = self.state(depth, first);
        if self.remembers && self.seen.get(&state).is_some_and(|before| *before <= loss) {
            return Some(false);
        }
        for index in first..self.patterns[kind].len() {
            let pattern_loss = self.patterns[kind][index].loss;
            if loss + certain + pattern_loss > self.budget {
                break;
            }
            if !self.take(kind, spot, index) {
                continue;
            }
            self.chosen.push(index);
            let found = self.fill(depth + 1, loss + pattern_loss, stop)?;
            if found {
                return Some(true);
            }
            self.chosen.pop();
            self.give_back(kind, spot, index);
        }
        if self.remembers && self.seen.len() < MOST_STATES {
            self.seen.insert(state, loss);
        }
        Some(false)
    }

    fn take(&mut self, kind: usize, spot: usize, index: usize) -> bool {
        let offers = &self.model.spots[spot].offers;
        let pattern = &self.patterns[kind][index];
        let item = |offer: u32| offers[offer as usize].item;
        if pattern.counts.iter().any(|(offer, n)| self.left[item(*offer)] < *n) {
            return false;
        }
        pattern.counts.iter().for_each(|(offer, n)| self.left[item(*offer)] -= *n);
        self.sums.iter_mut().zip(&pattern.rows).for_each(|(sum, row)| *sum += row);
        true
    }

    fn give_back(&mut self, kind: usize, spot: usize, index: usize) {
        let offers = &self.model.spots[spot].offers;
        let pattern = &self.patterns[kind][index];
        for (offer, n) in &pattern.counts {
            self.left[offers[*offer as usize].item] += *n;
        }
        self.sums.iter_mut().zip(&pattern.rows).for_each(|(sum, row)| *sum -= row);
    }

    fn selection(&self) -> Vec<Vec<u32>> {
        let mut all: Vec<Vec<u32>> =
            self.model.spots.iter().map(|spot| vec![0; spot.offers.len()]).collect();
        for (spot, index) in self.order.iter().zip(&self.chosen) {
            for (offer, n) in &self.patterns[self.kinds.of[*spot]][*index].counts {
                all[*spot][*offer as usize] = *n;
            }
        }
        all
    }

    /// What the prices know nothing of: gangs and parts.
    fn keeps_rules(&self) -> bool {
        if !self.model.has_gangs() {
            return true;
        }
        let placement = self.model.placement(&self.selection());
        let Ok(score) = check(self.model.problem, &placement) else { return false };
        let target = (self.dual.bound - self.budget) / SCALE;
        let worth = self.model.worth(score.value(self.model.tier, self.model.goal));
        worth >= target && self.model.keeps(&score)
    }
}

/// By kind, all patterns that lose no more than the budget.
fn list(
    model: &Model<'_>,
    kinds: &Kinds,
    dual: &Dual,
    budget: i64,
    stop: &dyn Fn() -> bool,
) -> Option<Vec<Vec<Pattern>>> {
    let profits = dual.profits(model);
    let mut count = 0;
    let mut all = Vec::new();
    for (spots, most) in kinds.spots.iter().zip(&dual.earned) {
        let spot = &model.spots[spots[0]];
        let mut patterns = Vec::new();
        let entries = entries(model, spot, &profits);
        let mut knapsack = Knapsack::new(entries, &spot.room, LIST_STEPS, stop);
        let mut each = |profit: i64, taken: Vec<(usize, u32)>| {
            let pattern = pattern(model, &spot.offers, most - profit, &taken);
            if earned(&spot.offers, &profits, &pattern.counts) == profit {
                patterns.push(pattern);
                count += 1;
            }
            count < MOST_PATTERNS
        };
        knapsack.all(most - budget, &mut each).ok()?;
        if count >= MOST_PATTERNS {
            return None;
        }
        patterns.sort_by_key(|pattern| pattern.loss);
        all.push(patterns);
    }
    Some(all)
}

/// What a pattern earns. A selection that brings a pod to a node while an equal one leaves it earns
/// less, and is the same pattern.
fn earned(offers: &[Offer], profits: &[Profit], counts: &[(u32, u32)]) -> i64 {
    let of = |(offer, n): &(u32, u32)| {
        let Offer { item, here, .. } = offers[*offer as usize];
        let Profit { placed, stays } = profits[item];
        i64::from(*n) * placed + i64::from(here.min(*n)) * stays
    };
    counts.iter().map(of).sum()
}

fn pattern(model: &Model<'_>, offers: &[Offer], loss: i64, taken: &[(usize, u32)]) -> Pattern {
    let mut counts: Vec<(u32, u32)> = Vec::new();
    let mut rows = vec![0; model.rows.len()];
    for (offer, n) in taken {
        match counts.iter_mut().find(|(other, _)| *other as usize == *offer) {
            Some((_, sum)) => *sum += *n,
            None => counts.push((*offer as u32, *n)),
        }
    }
    for (offer, n) in &counts {
        let Offer { item, here, .. } = offers[*offer as usize];
        for (sum, row) in rows.iter_mut().zip(&model.rows) {
            if row.tier == model.items[item].tier {
                *sum += match row.goal {
                    Goal::Placed => i64::from(*n),
                    Goal::Disturbed => i64::from(here.min(*n)),
                };
            }
        }
    }
    Pattern { loss, counts, rows }
}
