//! Prices of pods at which no node earns more: column generation over the patterns of nodes.
//!
//! The packing of nodes as a linear program has a column for each way to fill a node (Gilmore and
//! Gomory 1961). Its dual gives each item a price; then the items at their prices and the nodes at
//! what they earn at best bound what any placement is worth (Lagrange), for whatever prices. The
//! bound is computed in integers.

use std::collections::HashMap;

use super::back_end::{Frozen, Stage};
use super::deadline::Deadline;
use super::knapsack::{Entry, Knapsack};
use super::model::{Model, Offer, Spot};
use super::proof::Prices;
use super::simplex::{Column, Simplex};
use crate::score::Goal;

/// What one pod of the wanted value is worth in integers.
pub(super) const SCALE: i64 = 1_000_000;
/// No price is above this.
const LARGEST_PRICE: i64 = 100_000 * SCALE;
/// Steps of one node's search; beyond them its bound is less sharp.
const KNAPSACK_STEPS: u64 = 100_000;
/// Rows of a linear program; its inverse has 8 bytes for each pair of them.
const MOST_ROWS: usize = 4_000;

/// Prices, and what they prove.
#[derive(Clone, Debug)]
pub(super) struct Dual {
    /// By item.
    pub(super) items: Vec<i64>,
    /// By row of the model.
    pub(super) rows: Vec<i64>,
    /// By kind of spot, no more than this is earned.
    pub(super) earned: Vec<i64>,
    /// In units of one [`SCALE`]th, no placement's items are worth more.
    pub(super) bound: i64,
}

/// Spots that are equal.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    /// By spot.
    pub(super) of: Vec<usize>,
    /// By kind, its spots.
    pub(super) spots: Vec<Vec<usize>>,
}

/// What a copy of an item earns at prices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profit {
    pub(super) placed: i64,
    /// In addition, for one that stays.
    pub(super) stays: i64,
}

impl Kinds {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let mut number: HashMap<(&[i64], &[Offer]), usize> = HashMap::new();
        let (mut of, mut spots) = (Vec::new(), Vec::<Vec<usize>>::new());
        for (index, spot) in model.spots.iter().enumerate() {
            let kind = *number.entry((&spot.room, &spot.offers)).or_insert(spots.len());
            if kind == spots.len() {
                spots.push(Vec::new());
            }
            spots[kind].push(index);
            of.push(kind);
        }
        Self { of, spots }
    }
}

impl Dual {
    /// By item what a copy earns.
    pub(super) fn profits(&self, model: &Model<'_>) -> Vec<Profit> {
        let of = |item: usize, goal: Goal| {
            let tier = model.items[item].tier;
            let wanted = model.goal == goal && model.tier == tier;
            let rows = model.rows.iter().zip(&self.rows);
            let frozen = rows.filter(|(row, _)| row.tier == tier && row.goal == goal);
            i64::from(wanted) * SCALE + frozen.map(|(_, price)| price).sum::<i64>()
        };
        let profit = |item: usize| Profit {
            placed: of(item, Goal::Placed) - self.items[item],
            stays: of(item, Goal::Disturbed),
        };
        (0..model.items.len()).map(profit).collect()
    }

    /// Computes what is earned, and the bound.
    pub(super) fn settle(
        &mut self,
        model: &Model<'_>,
        kinds: &Kinds,
        stop: &dyn Fn() -> bool,
    ) -> Vec<Vec<u32>> {
        let profits = self.profits(model);
        let mut patterns = Vec::new();
        self.earned.clear();
        for spots in &kinds.spots {
            let spot = &model.spots[spots[0]];
            let steps = if stop() { 0 } else { KNAPSACK_STEPS };
            let entries = entries(model, spot, &profits);
            let mut knapsack = Knapsack::new(entries, &spot.room, steps, stop);
            let best = knapsack.best();
            self.earned.push(best.at_most);
            patterns.push(pattern(spot, &best.taken));
        }
        let items = model.items.iter().zip(&self.items);
        let bought: i64 = items.map(|(item, price)| item.pods.len() as i64 * price).sum();
        let earned: i64 =
            kinds.spots.iter().zip(&self.earned).map(|(spots, e)| spots.len() as i64 * e).sum();
        let frozen: i64 = model.rows.iter().zip(&self.rows).map(|(row, p)| row.least * p).sum();
        self.bound = bought + earned - frozen;
        patterns
    }

    /// No more than this are items worth.
    pub(super) fn worth(&self) -> i64 {
        self.bound.div_euclid(SCALE)
    }

    /// As a proof of a stage, if the model is all of it.
    pub(super) fn proof(&self, stage: &Stage<'_>, model: &Model<'_>) -> Prices {
        let mut sets = vec![0; stage.problem.sets().len()];
        for (item, price) in model.items.iter().zip(&self.items) {
            if item.moves {
                sets[item.set.index()] = *price;
            }
        }
        let price = |frozen: &Frozen| {
            let rows = model.rows.iter().zip(&self.rows);
            let mut same = rows.filter(|(r, _)| r.tier == frozen.tier && r.goal == frozen.goal);
            same.next().map_or(0, |(_, price)| *price)
        };
        Prices { sets, frozen: stage.frozen.iter().map(price).collect() }
    }
}

/// The entries of a spot's knapsack: those that stay apart from the others where that is worth
/// more.
pub(super) fn entries<'a>(model: &'a Model<'_>, spot: &Spot, profits: &[Profit]) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (tag, Offer { item, most, here }) in spot.offers.iter().enumerate() {
        let Profit { placed, stays } = profits[*item];
        let size = &model.items[*item].size;
        let staying = if stays > 0 { *here } else { 0 };
        for (copies, profit) in [(staying, placed + stays), (most - staying, placed)] {
            if copies > 0 {
                entries.push(Entry { size, profit, copies, tag });
            }
        }
    }
    entries
}

/// How many of each of a spot's offers.
fn pattern(spot: &Spot, taken: &[(usize, u32)]) -> Vec<u32> {
    let mut pattern = vec![0; spot.offers.len()];
    for (offer, count) in taken {
        pattern[*offer] += count;
    }
    pattern
}

/// A column generation under way.
pub(super) struct Generation<'m, 'p> {
    model: &'m Model<'p>,
    kinds: &'m Kinds,
    simplex: Simplex,
    /// By item the row that limits it.
    row_of: Vec<Option<usize>>,
    /// By row of the model the row of the program.
    frozen_at: Vec<Option<usize>>,
}

impl<'m, 'p> Generation<'m, 'p> {
    /// None if the program would not fit memory.
    fn new(model: &'m Model<'p>, kinds: &'m Kinds) -> Option<Self> {
        let mut limits: Vec<f64> = kinds.spots.iter().map(|spots| spots.len() as f64).collect();
        let mut row_of = Vec::new();
        for item in &model.items {
            row_of.push(item.moves.then_some(limits.len()));
            if item.moves {
                limits.push(item.pods.len() as f64);
            }
        }
        let mut frozen_at = Vec::new();
        for row in &model.rows {
            frozen_at.push((row.least > 0).then_some(limits.len()));
            if row.least > 0 {
                limits.push(-(row.least as f64));
            }
        }
        if limits.len() > MOST_ROWS {
            return None;
        }
        Some(Self { model, kinds, simplex: Simplex::new(&limits), row_of, frozen_at })
    }

    fn push(&mut self, kind: usize, pattern: &[u32]) {
        let spot = &self.model.spots[self.kinds.spots[kind][0]];
        let mut entries = vec![(kind, 1.0)];
        let mut worth = 0.0;
        let mut frozen = vec![0.0; self.model.rows.len()];
        for (offer, count) in spot.offers.iter().zip(pattern).filter(|(_, count)| **count > 0) {
            if let Some(row) = self.row_of[offer.item] {
                entries.push((row, f64::from(*count)));
            }
            let tier = self.model.items[offer.item].tier;
            let of = |goal: Goal| match goal {
                Goal::Placed => f64::from(*count),
                Goal::Disturbed => f64::from(offer.here.min(*count)),
            };
            if tier == self.model.tier {
                worth += of(self.model.goal);
            }
            for (sum, row) in frozen.iter_mut().zip(&self.model.rows) {
                if row.tier == tier {
                    *sum += of(row.goal);
                }
            }
        }
        for (sum, row) in frozen.iter().zip(&self.frozen_at) {
            if let Some(row) = row
                && *sum > 0.0
            {
                entries.push((*row, -sum));
            }
        }
        self.simplex.push(Column { entries, worth });
    }

    fn dual(&self) -> Dual {
        let prices = self.simplex.prices();
        let whole = |row: Option<usize>| {
            row.map_or(0, |row| {
                (prices[row].clamp(0.0, (LARGEST_PRICE / SCALE) as f64) * SCALE as f64).round()
                    as i64
            })
        };
        Dual {
            items: self.row_of.iter().map(|row| whole(*row)).collect(),
            rows: self.frozen_at.iter().map(|row| whole(*row)).collect(),
            earned: Vec::new(),
            bound: i64::MAX,
        }
    }
}

/// The best prices found: those of the linear program's optimum, if there is time; sooner if they
/// prove that nothing is worth more than `known`.
pub(super) fn prices(
    model: &Model<'_>,
    kinds: &Kinds,
    start: &[Vec<u32>],
    known: i64,
    deadline: &Deadline,
) -> Option<Dual> {
    let mut generation = Generation::new(model, kinds)?;
    for (spot, pattern) in start.iter().enumerate() {
        generation.push(kinds.of[spot], pattern);
    }
    let stop = || deadline.passed();
    let mut best: Option<Dual> = None;
    while !stop() {
        generation.simplex.solve(&stop);
        let mut dual = generation.dual();
        let patterns = dual.settle(model, kinds, &stop);
        let reached = generation.simplex.worth();
        let gap = dual.bound as f64 / SCALE as f64 - reached;
        for (kind, pattern) in patterns.iter().enumerate() {
            generation.push(kind, pattern);
        }
        if best.as_ref().is_none_or(|best| dual.bound < best.bound) {
            best = Some(dual);
        }
        if gap < 1e-4 || best.as_ref().is_some_and(|best| best.worth() <= known) {
            break;
        }
    }
    best
}
