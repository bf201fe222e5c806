//! The best partition, by dynamic programming over (stages used, layers placed).
//!
//! A prefix matters to the rest by three numbers: its slowest stage, its largest exposed time, its
//! sum. So each state keeps the prefixes that no other beats in all three (a Pareto front), and of
//! those only what can still beat the best partition known, by lower bounds of the rest: both
//! keep at least one best partition.

use super::{StageCost, StageCosts};
use crate::units::Nanos;

/// The most stages times layers² that are searched: about a minute.
const MAX_WORK: usize = 1 << 30;

/// A partition and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Layers of each stage.
    pub layers: Vec<usize>,
    /// The time of an iteration.
    pub iteration: Nanos,
}

impl Partition {
    /// The first layer of each stage, and the number of layers at the end.
    pub fn cuts(&self) -> Vec<usize> {
        let mut cuts = vec![0];
        for layers in &self.layers {
            cuts.push(cuts[cuts.len() - 1] + layers);
        }
        cuts
    }
}

/// Why there is no partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// No stages or no micro-batches.
    #[error("{0} is 0: it must be at least 1")]
    Zero(&'static str),
    /// Every stage has at least one layer.
    #[error("{stages} stages for {layers} layers: there must be a layer for each stage")]
    Stages {
        /// How many stages.
        stages: usize,
        /// How many layers.
        layers: usize,
    },
    /// Beyond any real model.
    #[error("{stages} stages and {layers} layers are too many to be searched")]
    TooLarge {
        /// How many stages.
        stages: usize,
        /// How many layers.
        layers: usize,
    },
    /// Whatever the cut, some stage is too large for its memory.
    #[error("{layers} layers do not fit the memory of {stages} stages, however they are cut")]
    Memory {
        /// How many stages.
        stages: usize,
        /// How many layers.
        layers: usize,
    },
}

/// What a partition costs; `None` if a stage does not fit its memory.
pub fn iteration(costs: &impl StageCosts, layers: &[usize]) -> Option<Nanos> {
    let mut label = Label::default();
    let mut start = 0;
    for (stage, count) in layers.iter().enumerate() {
        label = label.with(costs.cost(stage, start..start + count)?);
        start += count;
    }
    Some(Nanos(label.total(turns(costs))))
}

/// m − 1, or with v virtual stages m − 1/v: the fill counts a v-th of each stage.
fn turns(costs: &impl StageCosts) -> (u64, u64) {
    let parts = costs.virtual_stages();
    (costs.micro_batches().saturating_mul(parts) - 1, parts)
}

/// A prefix of stages.
#[derive(Clone, Copy, Debug, Default)]
struct Label {
    slowest: u64,
    exposed: u64,
    sum: u64,
    /// Layers placed before the last stage, and the label there.
    before: usize,
    parent: usize,
}

impl Label {
    fn with(self, cost: StageCost) -> Self {
        Self {
            slowest: self.slowest.max(cost.period.0),
            exposed: self.exposed.max(cost.exposed.0),
            sum: self.sum.saturating_add(cost.fill.0),
            ..self
        }
    }

    /// `turns` is how often the slowest stage counts beside its part of the sum, with the
    /// divisor of that number.
    fn total(&self, turns: (u64, u64)) -> u64 {
        let steady = turns.0.saturating_mul(self.slowest) / turns.1;
        steady.saturating_add(self.sum).saturating_add(self.exposed)
    }

    /// The least total with the rest's own least terms.
    fn total_with(&self, rest: (u64, u64, u64), turns: (u64, u64)) -> u64 {
        let slowest = self.slowest.max(rest.0);
        let exposed = self.exposed.max(rest.1);
        Self { slowest, exposed, sum: self.sum.saturating_add(rest.2), ..*self }.total(turns)
    }

    fn beats(&self, other: &Self) -> bool {
        self.slowest <= other.slowest && self.exposed <= other.exposed && self.sum <= other.sum
    }
}

/// The least that stages `s..` can cost with the layers from `j` on, each term for itself;
/// `None` where they cannot be placed.
struct Rest {
    layers: usize,
    terms: Vec<Option<(u64, u64, u64)>>,
}

impl Rest {
    fn new(costs: &impl StageCosts) -> Self {
        let (stages, layers) = (costs.stages(), costs.layers());
        let mut terms = vec![None; (stages + 1) * (layers + 1)];
        terms[stages * (layers + 1) + layers] = Some((0, 0, 0));
        for stage in (0..stages).rev() {
            let after = stages - stage - 1;
            for start in stage..layers - after {
                let mut best: Option<(u64, u64, u64)> = None;
                for end in start + 1..=layers - after {
                    let Some(rest) = terms[(stage + 1) * (layers + 1) + end] else { continue };
                    let Some(cost) = costs.cost(stage, start..end) else { continue };
                    let this = (
                        rest.0.max(cost.period.0),
                        rest.1.max(cost.exposed.0),
                        u64::saturating_add(rest.2, cost.fill.0),
                    );
                    best = Some(best.map_or(this, |best| {
                        (best.0.min(this.0), best.1.min(this.1), best.2.min(this.2))
                    }));
                }
                terms[stage * (layers + 1) + start] = best;
            }
        }
        Self { layers, terms }
    }

    fn get(&self, stage: usize, start: usize) -> Option<(u64, u64, u64)> {
        self.terms[stage * (self.layers + 1) + start]
    }
}

/// The partition of the least iteration time; of equal ones always the same.
pub fn exact(costs: &impl StageCosts) -> Result<Partition, PartitionError> {
    let (stages, layers) = (costs.stages(), costs.layers());
    check(costs)?;
    let rest = Rest::new(costs);
    if rest.get(0, 0).is_none() {
        return Err(PartitionError::Memory { stages, layers });
    }
    let first = min_max(costs, &rest);
    let turns = turns(costs);
    let mut best = first.iteration.0;
    let mut fronts: Vec<Vec<Vec<Label>>> = vec![vec![Vec::new(); layers + 1]];
    fronts[0][0].push(Label::default());
    for stage in 0..stages {
        let step = Step { costs, rest: &rest, stage };
        let next = step.extend(&fronts[stage], &mut best);
        fronts.push(next);
    }
    let found = fronts[stages][layers].iter().enumerate();
    let found = found.min_by_key(|(_, label)| label.total(turns)).map(|(index, _)| index);
    Ok(found.map_or(first, |index| trace(&fronts, layers, index, turns)))
}

/// One stage of the dynamic program.
struct Step<'a, C> {
    costs: &'a C,
    rest: &'a Rest,
    stage: usize,
}

impl<C: StageCosts> Step<'_, C> {
    /// The prefixes with this stage from those without, as far as they can still beat `best`.
    fn extend(&self, fronts: &[Vec<Label>], best: &mut u64) -> Vec<Vec<Label>> {
        let (stage, layers) = (self.stage, self.costs.layers());
        let after_this = self.costs.stages() - stage - 1;
        let mut next: Vec<Vec<Label>> = vec![Vec::new(); layers + 1];
        for (start, front) in fronts.iter().enumerate().filter(|(_, front)| !front.is_empty()) {
            let ends = start + 1..=layers - after_this;
            for (end, into) in ends.clone().zip(&mut next[ends]) {
                let Some(rest) = self.rest.get(stage + 1, end) else { continue };
                let Some(cost) = self.costs.cost(stage, start..end) else { continue };
                for (parent, label) in front.iter().enumerate() {
                    let label = Label { before: start, parent, ..label.with(cost) };
                    let bound = label.total_with(rest, turns(self.costs));
                    if bound < *best {
                        insert(into, label);
                        if after_this == 0 {
                            *best = bound;
                        }
                    }
                }
            }
        }
        next
    }
}

fn check(costs: &impl StageCosts) -> Result<(), PartitionError> {
    let (stages, layers) = (costs.stages(), costs.layers());
    if stages == 0 {
        return Err(PartitionError::Zero("stages"));
    }
    if costs.micro_batches() == 0 {
        return Err(PartitionError::Zero("micro_batches"));
    }
    if stages > layers {
        return Err(PartitionError::Stages { stages, layers });
    }
    if stages.saturating_mul(layers).saturating_mul(layers) > MAX_WORK {
        return Err(PartitionError::TooLarge { stages, layers });
    }
    Ok(())
}

/// Keeps only what nothing else beats.
fn insert(front: &mut Vec<Label>, label: Label) {
    if front.iter().any(|other| other.beats(&label)) {
        return;
    }
    front.retain(|other| !label.beats(other));
    front.push(label);
}

fn trace(fronts: &[Vec<Vec<Label>>], layers: usize, index: usize, turns: (u64, u64)) -> Partition {
    let stages = fronts.len() - 1;
    let mut counts = vec![0; stages];
    let (mut end, mut at) = (layers, index);
    let iteration = Nanos(fronts[stages][end][at].total(turns));
    for stage in (0..stages).rev() {
        let label = fronts[stage + 1][end][at];
        counts[stage] = end - label.before;
        (end, at) = (label.before, label.parent);
    }
    Partition { layers: counts, iteration }
}

/// A good partition to begin with: the slowest stage is the least possible, then the sum.
fn min_max(costs: &impl StageCosts, rest: &Rest) -> Partition {
    let (stages, layers) = (costs.stages(), costs.layers());
    let slowest = rest.get(0, 0).map_or(u64::MAX, |terms| terms.0);
    let fits = |stage: usize, start: usize, end: usize| {
        costs.cost(stage, start..end).filter(|cost| cost.period.0 <= slowest)
    };
    // The least sum of stages `s..` from `j` on under that limit, with where stage s ends.
    let mut best = vec![vec![None::<(u64, usize)>; layers + 1]; stages + 1];
    best[stages][layers] = Some((0, layers));
    for stage in (0..stages).rev() {
        let after = stages - stage - 1;
        for start in stage..layers - after {
            let ends = (start + 1..=layers - after).filter_map(|end| {
                let rest = best[stage + 1][end]?.0;
                let cost = fits(stage, start, end)?;
                Some((rest.saturating_add(cost.fill.0), end))
            });
            best[stage][start] = ends.min();
        }
    }
    let mut counts = Vec::with_capacity(stages);
    let mut start = 0;
    for row in &best[..stages] {
        let end = row[start].expect("the limit is reached by some partition").1;
        counts.push(end - start);
        start = end;
    }
    let iteration = iteration(costs, &counts).expect("every stage fits");
    Partition { layers: counts, iteration }
}
