//! What a range of layers costs when it is a stage.

use std::ops::Range;

use super::exposed::Exposed;
use crate::pipeline::model::LayerCost;
use crate::units::{Bandwidth, Bytes, Nanos};

/// The terms of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCost {
    /// Of each micro-batch in the steady state: computing, and transfers that it waits for.
    pub period: Nanos,
    /// Once an iteration, while the pipeline fills and drains: computing of one micro-batch, and
    /// both transfers of the boundary after the stage.
    pub fill: Nanos,
    /// Of reduce-scatter and all-gather, what computing does not hide, and the optimizer step.
    pub exposed: Nanos,
}

/// The costs of all possible stages.
pub trait StageCosts {
    /// How many stages there are.
    fn stages(&self) -> usize;
    /// How many layers there are.
    fn layers(&self) -> usize;
    /// How many micro-batches an iteration has.
    fn micro_batches(&self) -> u64;
    /// Virtual stages of each rank: 1 unless the schedule is interleaved.
    fn virtual_stages(&self) -> u64 {
        1
    }
    /// The cost of `layers` as stage `stage`; `None` if they do not fit its memory.
    fn cost(&self, stage: usize, layers: Range<usize>) -> Option<StageCost>;
}

/// A table of costs by closure, for tests and for costs of another origin.
#[derive(Clone, Copy, Debug)]
pub struct Costs<F> {
    /// How many stages there are.
    pub stages: usize,
    /// How many layers there are.
    pub layers: usize,
    /// How many micro-batches an iteration has.
    pub micro_batches: u64,
    /// The cost of a range of layers at a stage.
    pub cost: F,
}

impl<F: Fn(usize, Range<usize>) -> Option<StageCost>> StageCosts for Costs<F> {
    fn stages(&self) -> usize {
        self.stages
    }

    fn layers(&self) -> usize {
        self.layers
    }

    fn micro_batches(&self) -> u64 {
        self.micro_batches
    }

    fn cost(&self, stage: usize, layers: Range<usize>) -> Option<StageCost> {
        (self.cost)(stage, layers)
    }
}

/// A way between two GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hop {
    /// Of one message.
    pub latency: Nanos,
    /// For one GPU.
    pub bandwidth: Bandwidth,
}

impl Hop {
    /// How long a message takes.
    pub fn time(&self, bytes: Bytes) -> Nanos {
        self.latency + self.bandwidth.time_for(bytes)
    }
}

/// A ring of data-parallel ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collective {
    /// How many.
    pub members: u32,
    /// The slowest hop of the ring.
    pub hop: Hop,
}

impl Collective {
    /// Reduce-scatter or all-gather: d − 1 messages of a d-th each.
    pub fn one_way(&self, bytes: Bytes) -> Nanos {
        if self.members < 2 || bytes.0 == 0 {
            return Nanos(0);
        }
        let steps = u64::from(self.members - 1);
        let share = bytes.0 as f64 * steps as f64 / f64::from(self.members);
        Nanos(steps.saturating_mul(self.hop.latency.0))
            + self.hop.bandwidth.time_for(Bytes(share.ceil() as u64))
    }
}

/// Whether computing waits for transfers between stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfers {
    /// They run beside it; only filling and draining the pipeline shows them, unless a boundary
    /// itself is slower than its stages.
    Overlapped,
    /// Each message occupies both its ends, as in `DeepSpeed`.
    Blocking,
}

/// One stage's hardware.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainStage {
    /// The costs of every layer here.
    pub layers: Vec<LayerCost>,
    /// Memory of the smallest GPU; `None` when it is not to be looked at.
    pub memory: Option<Bytes>,
    /// The way to the next stage; unused for the last.
    pub next: Hop,
    /// The ring that reduces gradients.
    pub reduction: Collective,
}

/// Costs of stages made from layers: prefix sums, so that any range is priced at once.
#[derive(Clone, Debug)]
pub struct ChainCosts {
    micro_batches: u64,
    virtual_stages: u64,
    layers: usize,
    transfers: Transfers,
    stages: Vec<Prepared>,
}

#[derive(Clone, Debug)]
struct Prepared {
    compute: Vec<u64>,
    state: Vec<u64>,
    activation: Vec<u64>,
    output: Vec<Bytes>,
    memory: Option<Bytes>,
    in_flight: u64,
    next: Hop,
    exposed: Exposed,
}

fn prefix(layers: &[LayerCost], of: impl Fn(&LayerCost) -> u64) -> Vec<u64> {
    let mut sums = vec![0];
    let mut sum: u64 = 0;
    sums.extend(layers.iter().map(|layer| {
        sum = sum.saturating_add(of(layer));
        sum
    }));
    sums
}

/// Micro-batches whose activations stage `index` of `count` keeps, rounded up.
const fn kept(count: u64, index: u64, micro_batches: u64, virtual_stages: u64) -> u64 {
    let behind = count - index - 1;
    let kept = if virtual_stages == 1 {
        behind + 1
    } else {
        (2 * behind + (virtual_stages - 1) * count + 1).div_ceil(virtual_stages)
    };
    if kept < micro_batches { kept } else { micro_batches }
}

impl ChainCosts {
    /// Prepares the costs; `bucket` is how many bytes of gradients are reduced at once. Stages
    /// must all have the same number of layers. Stage i of p keeps min(p − i, m) micro-batches
    /// (1F1B).
    pub fn new(
        stages: &[ChainStage],
        micro_batches: u64,
        bucket: Bytes,
        transfers: Transfers,
    ) -> Self {
        Self::interleaved(stages, micro_batches, 1, bucket, transfers)
    }

    /// The same where each rank has `virtual_stages` parts of its layers (interleaved 1F1B): the
    /// pipeline fills faster, but every boundary is crossed as often, and rank i keeps
    /// (2 (p − i − 1) + (v − 1) p + 1) / v micro-batches. The layers of a rank are counted as if
    /// they followed each other: that is the same where blocks are alike.
    pub fn interleaved(
        stages: &[ChainStage],
        micro_batches: u64,
        virtual_stages: u64,
        bucket: Bytes,
        transfers: Transfers,
    ) -> Self {
        let layers = stages.first().map_or(0, |stage| stage.layers.len());
        let count = stages.len() as u64;
        let mut known: Vec<(&ChainStage, Exposed)> = Vec::new();
        let mut prepared = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            assert_eq!(stage.layers.len(), layers, "all stages price the same layers");
            let same = known.iter().find(|(other, _)| {
                other.layers == stage.layers && other.reduction == stage.reduction
            });
            let exposed = if let Some((_, exposed)) = same {
                exposed.clone()
            } else {
                let exposed = Exposed::new(&stage.layers, stage.reduction, bucket);
                known.push((stage, exposed.clone()));
                exposed
            };
            prepared.push(Prepared {
                compute: prefix(&stage.layers, |layer| layer.forward.0 + layer.backward.0),
                state: prefix(&stage.layers, |layer| layer.state.0),
                activation: prefix(&stage.layers, |layer| layer.activation.0),
                output: stage.layers.iter().map(|layer| layer.output).collect(),
                memory: stage.memory,
                in_flight: kept(count, index as u64, micro_batches, virtual_stages),
                next: stage.next,
                exposed,
            });
        }
        Self { micro_batches, virtual_stages, layers, transfers, stages: prepared }
    }

    /// Both messages (activation, gradient) of the boundary after layer `last` of `stage`.
    fn boundary(&self, stage: usize, last: usize) -> Nanos {
        let stage = &self.stages[stage];
        let one = stage.next.time(stage.output[last]);
        one + one
    }

    /// Memory of one GPU of `stage` with `layers`.
    pub fn memory(&self, stage: usize, layers: Range<usize>) -> Bytes {
        let stage = &self.stages[stage];
        let sum = |sums: &[u64]| sums[layers.end] - sums[layers.start];
        let kept = stage.in_flight.saturating_mul(sum(&stage.activation));
        Bytes(sum(&stage.state).saturating_add(kept))
    }
}

impl StageCosts for ChainCosts {
    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn layers(&self) -> usize {
        self.layers
    }

    fn micro_batches(&self) -> u64 {
        self.micro_batches
    }

    fn virtual_stages(&self) -> u64 {
        self.virtual_stages
    }

    fn cost(&self, stage: usize, layers: Range<usize>) -> Option<StageCost> {
        let here = &self.stages[stage];
        if here.memory.is_some_and(|most| self.memory(stage, layers.clone()) > most) {
            return None;
        }
        let compute = Nanos(here.compute[layers.end] - here.compute[layers.start]);
        let times = self.virtual_stages;
        let every = |boundary: Nanos| Nanos(times.saturating_mul(boundary.0));
        // Interleaved, the last rank sends to the first; that way is taken for the slowest.
        let around = times > 1 && layers.end > 0 && self.stages.len() > 1;
        let after = if layers.end > 0 && (stage + 1 < self.stages.len() || around) {
            every(self.boundary(stage, layers.end - 1))
        } else {
            Nanos(0)
        };
        let period = match self.transfers {
            // A boundary has two directions, so each message may take the whole of a period.
            Transfers::Overlapped => compute.max(Nanos(after.0 / 2)),
            Transfers::Blocking => {
                let before = if stage > 0 && layers.start > 0 {
                    every(self.boundary(stage - 1, layers.start - 1))
                } else {
                    Nanos(0)
                };
                compute + before + after
            }
        };
        let fill = Nanos(compute.0 / times) + after;
        Some(StageCost { period, fill, exposed: here.exposed.of(layers) })
    }
}
