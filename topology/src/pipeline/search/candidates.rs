//! All combinations of degrees, each with a bound that its iteration cannot beat.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{SearchOptions, Sites};
use crate::pipeline::model::{LayerCost, ModelShape, layers_of_shape};
use crate::pipeline::partition::Transfers;
use crate::units::{Bytes, Nanos};

/// A combination of degrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Degrees {
    /// Ranks that share a layer.
    pub tensor: u32,
    /// Replicas.
    pub data: u32,
    /// Stages.
    pub pipeline: u32,
    /// Samples of a micro-batch.
    pub micro_batch: u32,
    /// Parts of each stage; 1 unless interleaved.
    pub virtual_stages: u32,
}

impl Degrees {
    /// All GPUs that take part.
    pub fn gpus(&self) -> u64 {
        u64::from(self.tensor) * u64::from(self.data) * u64::from(self.pipeline)
    }

    /// Micro-batches of each replica.
    pub fn micro_batches(&self, global_batch: u64) -> u64 {
        global_batch / (u64::from(self.data) * u64::from(self.micro_batch))
    }
}

/// A combination and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) bound: Nanos,
    pub(super) degrees: Degrees,
}

/// Layer costs by pool, for one tensor degree, micro-batch and number of replicas.
pub(super) type Layers = Vec<Vec<LayerCost>>;

/// Layer costs that were made once.
pub(super) struct Book<'a> {
    shape: &'a ModelShape,
    sites: &'a Sites,
    pages: BTreeMap<(u32, u32, u32), Layers>,
}

impl<'a> Book<'a> {
    pub(super) const fn new(shape: &'a ModelShape, sites: &'a Sites) -> Self {
        Self { shape, sites, pages: BTreeMap::new() }
    }

    pub(super) fn layers(&mut self, tensor: u32, micro_batch: u32, data: u32) -> &Layers {
        let (shape, sites) = (self.shape, self.sites);
        self.pages.entry((tensor, micro_batch, data)).or_insert_with(|| {
            let of = |site: &super::Site| {
                layers_of_shape(shape, &site.device, micro_batch, tensor, data)
            };
            sites.sites().iter().map(of).collect()
        })
    }
}

/// Everything that divides and has room, sorted by bound, then by degrees.
pub(super) fn candidates(
    shape: &ModelShape,
    sites: &Sites,
    options: &SearchOptions,
    book: &mut Book<'_>,
) -> Vec<Candidate> {
    let largest = sites.sites().iter().map(|site| site.gpus_per_node).max().unwrap_or(1);
    let mut found = Vec::new();
    for tensor in 1..=options.max_tensor.min(largest) {
        if !shape.heads.is_multiple_of(tensor) || !shape.hidden.is_multiple_of(tensor) {
            continue;
        }
        let most = sites.gpus() / u64::from(tensor);
        for data in divisors(options.global_batch).filter(|data| *data <= most) {
            let data = data as u32;
            let slots = slots(sites, tensor, data);
            let room: u32 = slots.iter().sum();
            let deepest = room.min(shape.layers + 2).min(options.max_pipeline);
            for &micro_batch in &options.micro_batches {
                let samples = u64::from(data) * u64::from(micro_batch);
                if micro_batch == 0 || !options.global_batch.is_multiple_of(samples) {
                    continue;
                }
                let layers = book.layers(tensor, micro_batch, data);
                let terms = Terms::new(sites, layers, &slots, options, tensor, data);
                for pipeline in 1..=deepest {
                    for &virtual_stages in &options.virtual_stages {
                        let degrees =
                            Degrees { tensor, data, pipeline, micro_batch, virtual_stages };
                        if !sensible(shape, sites, options, degrees) {
                            continue;
                        }
                        if let Some(bound) = terms.bound(options, degrees) {
                            found.push(Candidate { bound, degrees });
                        }
                    }
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// Interleaving needs equal GPUs, whole rounds, and blocks for each part.
fn sensible(shape: &ModelShape, sites: &Sites, options: &SearchOptions, degrees: Degrees) -> bool {
    let parts = degrees.virtual_stages;
    let micro_batches = degrees.micro_batches(options.global_batch);
    match parts {
        0 => false,
        1 => true,
        _ => {
            sites.sites().len() == 1
                && degrees.pipeline >= 2
                && micro_batches.is_multiple_of(u64::from(degrees.pipeline))
                && u64::from(degrees.pipeline) * u64::from(parts) <= u64::from(shape.layers)
        }
    }
}

/// Stages that each pool has room for; none where a tensor group does not divide a node.
pub(super) fn slots(sites: &Sites, tensor: u32, data: u32) -> Vec<u32> {
    let room = |site: &super::Site| {
        let fits = site.gpus_per_node.is_multiple_of(tensor);
        if fits { site.slots(tensor.saturating_mul(data)) } else { 0 }
    };
    sites.sites().iter().map(room).collect()
}

/// Divisors up to 2^20, rising.
fn divisors(number: u64) -> impl Iterator<Item = u64> {
    (1..=number.min(1 << 20)).filter(move |divisor| number.is_multiple_of(*divisor))
}

/// What bounds are made of, for one tensor degree, micro-batch and number of replicas.
struct Terms {
    /// Computing of all layers and of one block on each pool, fastest first, with its slots.
    work: Vec<((f64, f64), u32)>,
    /// Times of any number of blocks on any pool, rising: the slowest stage takes one of these.
    steps: Vec<f64>,
    blocks: u32,
    /// Both messages of the fastest boundary.
    boundary: f64,
    /// Reducing and gathering all parameters on the fastest ring, less what the slowest pool
    /// computes at the same time.
    exposed: f64,
    state: u64,
    memory: Vec<(u64, u32)>,
}

impl Terms {
    fn new(
        sites: &Sites,
        layers: &Layers,
        slots: &[u32],
        options: &SearchOptions,
        tensor: u32,
        data: u32,
    ) -> Self {
        let gpus = tensor.saturating_mul(data);
        let compute =
            |layers: &[LayerCost]| layers.iter().map(|l| (l.forward.0 + l.backward.0) as f64).sum();
        let usable: Vec<usize> = (0..slots.len()).filter(|&site| slots[site] > 0).collect();
        let both = |site: usize| {
            let block = &layers[site][1];
            (compute(&layers[site]), (block.forward.0 + block.backward.0) as f64)
        };
        let mut work: Vec<((f64, f64), u32)> =
            usable.iter().map(|&site| (both(site), slots[site])).collect();
        work.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
        let slowest: f64 = work.last().map_or(0.0, |((work, _), _)| *work);
        let least = |of: &dyn Fn(usize) -> f64| {
            usable.iter().map(|&site| of(site)).fold(f64::INFINITY, f64::min)
        };
        let blocks = usable.first().map_or(0, |&site| layers[site].len() as u32 - 2);
        let mut steps: Vec<f64> = work
            .iter()
            .flat_map(|((_, block), _)| (1..=blocks).map(move |count| f64::from(count) * block))
            .collect();
        steps.sort_by(f64::total_cmp);
        let bytes = |of: &dyn Fn(&LayerCost) -> Bytes| -> Bytes {
            usable.first().map_or(Bytes(0), |&site| layers[site].iter().map(of).sum())
        };
        let (gradients, parameters) = (bytes(&|l| l.gradients), bytes(&|l| l.parameters));
        let collectives = least(&|site| {
            let rate = sites.sites()[site].ring(tensor, data).hop.bandwidth.0;
            let share = f64::from(data - 1) / f64::from(data);
            (gradients.0 + parameters.0) as f64 * share * 1e9 / rate
        });
        let boundary = match options.transfers {
            Transfers::Overlapped => 0.0,
            Transfers::Blocking => fastest_boundary(sites, layers, &usable, gpus),
        };
        let memory =
            usable.iter().map(|&site| (sites.sites()[site].device.memory.0, slots[site])).collect();
        Self {
            work,
            steps,
            blocks,
            boundary,
            exposed: if data > 1 { collectives - slowest } else { 0.0 },
            state: bytes(&|l| l.state).0,
            memory,
        }
    }

    /// No partition of these degrees takes less; `None` if its state fits no memory.
    fn bound(&self, options: &SearchOptions, degrees: Degrees) -> Option<Nanos> {
        let stages = degrees.pipeline;
        let mut memory = self.memory.clone();
        memory.sort_unstable_by_key(|(memory, _)| std::cmp::Reverse(*memory));
        let room = taken(&memory, stages).map(|(memory, count)| memory * u64::from(count)).sum();
        if self.state > room {
            return None;
        }
        let (count, parts) = (f64::from(stages), f64::from(degrees.virtual_stages));
        // The slowest stage is no faster than when work is divided in proportion to speed.
        let speed: f64 = taken(&self.work, stages).map(|((work, _), n)| f64::from(n) / work).sum();
        let one_kind = self.work.len() == 1;
        let crossings = match stages {
            1 => 0.0,
            // A mean over stages, each with a boundary on both sides but the first and last.
            _ if one_kind => 2.0 * (count - 1.0) / count * parts * self.boundary,
            _ => parts * self.boundary,
        };
        let at_an_end = if stages > 1 { parts * self.boundary } else { 0.0 };
        let even = 1.0 / speed + crossings;
        let period = even.max(self.whole_blocks(stages) + at_an_end);
        let fill = self.work[0].0.0 / parts + (count - 1.0) * parts * self.boundary;
        let exposed = (self.exposed / count).max(0.0);
        let turns = degrees.micro_batches(options.global_batch) as f64 - 1.0 / parts;
        // Rounding of single stages may lower a sum by less than a nanosecond each.
        let bound = (turns * (period - 1.0) + fill + exposed - count - 2.0).max(0.0);
        Some(Nanos(bound as u64))
    }
}

impl Terms {
    /// The least time in which the fastest `stages` slots hold all blocks, none cut.
    fn whole_blocks(&self, stages: u32) -> f64 {
        let holds = |time: f64| {
            let counts = taken(&self.work, stages).map(|((_, block), slots)| {
                // Half a nanosecond, so that k blocks fit k times a block's time.
                f64::from(slots) * ((time + 0.5) / block).floor()
            });
            counts.sum::<f64>() >= f64::from(self.blocks)
        };
        let first = self.steps.partition_point(|&time| !holds(time));
        self.steps.get(first).copied().unwrap_or(0.0)
    }
}

/// The first `stages` slots, as (value, how many of it).
fn taken<T: Copy>(slots: &[(T, u32)], stages: u32) -> impl Iterator<Item = (T, u32)> {
    let mut left = stages;
    slots.iter().map_while(move |&(value, count)| {
        let take = count.min(left);
        left -= take;
        (take > 0).then_some((value, take))
    })
}

fn fastest_boundary(sites: &Sites, layers: &Layers, usable: &[usize], gpus: u32) -> f64 {
    let pairs = usable.iter().flat_map(|&a| usable.iter().map(move |&b| (a, b)));
    let times = pairs.filter_map(|(a, b)| {
        let hop = sites.hop(a, b, gpus)?;
        Some(2.0 * hop.time(layers[a][0].output).0 as f64)
    });
    let fastest = times.fold(f64::INFINITY, f64::min);
    if fastest.is_finite() { fastest } else { 0.0 }
}
