//! The search.

use serde::Serialize;

use super::Sites;
use super::candidates::{Book, Degrees, candidates};
use super::evaluate::{Solved, chain, solve};
use crate::cluster::Inventory;
use crate::pipeline::model::{ModelShape, ModelShapeError};
use crate::pipeline::partition::Transfers;
use crate::pipeline::schedule::{Timing, timing};
use crate::units::{Bytes, Nanos};

/// The most samples of an iteration.
const MAX_GLOBAL_BATCH: u64 = 1 << 20;

/// What to search, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// Samples of an iteration.
    pub global_batch: u64,
    /// Sizes of a micro-batch to be tried.
    pub micro_batches: Vec<u32>,
    /// Numbers of virtual stages to be tried.
    pub virtual_stages: Vec<u32>,
    /// The largest tensor degree; never more than a node's GPUs.
    pub max_tensor: u32,
    /// The most stages.
    pub max_pipeline: u32,
    /// Bytes of gradients that are reduced at once.
    pub bucket: Bytes,
    /// Whether computing waits for transfers between stages.
    pub transfers: Transfers,
    /// The most combinations that are cut exactly; the gap shows what is left open.
    pub evaluations: usize,
}

impl SearchOptions {
    /// The usual choice for this many samples.
    pub fn new(global_batch: u64) -> Self {
        Self {
            global_batch,
            micro_batches: vec![1, 2, 4, 8, 16],
            virtual_stages: vec![1, 2, 4],
            max_tensor: 8,
            max_pipeline: 128,
            bucket: Bytes::mib(160),
            transfers: Transfers::Blocking,
            evaluations: 1_000,
        }
    }
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The model.
    #[error(transparent)]
    Shape(#[from] ModelShapeError),
    /// The batch.
    #[error("global_batch is {0}: it must be from 1 to {MAX_GLOBAL_BATCH}")]
    Batch(u64),
    /// A pool that does not say what its GPUs compute.
    #[error("tflops of {0} is missing: it must be a positive number to plan by formula")]
    Speed(String),
    /// Nothing divides and has room.
    #[error("no degrees divide {global_batch} samples and fit the memory of {gpus} GPUs")]
    Nothing {
        /// Samples of an iteration.
        global_batch: u64,
        /// All GPUs.
        gpus: u64,
    },
}

/// One stage of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FoundStage {
    /// Which pool, in the inventory's order.
    pub pool: usize,
    /// The first layer: 0 is the embedding, the last is the head.
    pub first_layer: usize,
    /// How many layers.
    pub layers: usize,
    /// Memory of one GPU.
    pub memory: Bytes,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The degrees.
    pub degrees: Degrees,
    /// Stages from first to last.
    pub stages: Vec<FoundStage>,
    /// Predicted time of an iteration.
    pub iteration: Nanos,
    /// No combination takes less.
    pub bound: Nanos,
    /// Combinations that divide and have room.
    pub candidates: usize,
    /// Of these, how many were cut exactly; the others are excluded by their bounds.
    pub evaluated: usize,
}

impl Found {
    /// How far the result may be above the best, as a share of the bound; 0 when it is the best.
    pub fn gap(&self) -> f64 {
        self.iteration.0 as f64 / self.bound.0.max(1) as f64 - 1.0
    }
}

/// The degrees of the least predicted iteration time; always the same for the same input.
pub fn search(
    inventory: &Inventory,
    shape: &ModelShape,
    options: &SearchOptions,
) -> Result<Found, SearchError> {
    let shape = shape.checked()?;
    if options.global_batch == 0 || options.global_batch > MAX_GLOBAL_BATCH {
        return Err(SearchError::Batch(options.global_batch));
    }
    let sites = Sites::new(inventory)?;
    let mut book = Book::new(&shape, &sites);
    let all = candidates(&shape, &sites, options, &mut book);
    let one_pool = sites.sites().len() == 1;
    let mut best: Option<(Degrees, Solved)> = None;
    let mut open = Nanos(u64::MAX);
    let mut evaluated = 0;
    for candidate in &all {
        let least = best.as_ref().map(|(_, solved)| solved.partition.iteration);
        if least.is_some_and(|least| candidate.bound >= least) {
            break;
        }
        if evaluated >= options.evaluations {
            open = open.min(candidate.bound);
            break;
        }
        evaluated += 1;
        if !one_pool {
            open = open.min(candidate.bound);
        }
        let Some(solved) = solve(&sites, options, &mut book, candidate.degrees) else {
            continue;
        };
        if least.is_none_or(|least| solved.partition.iteration < least) {
            best = Some((candidate.degrees, solved));
        }
    }
    let nothing = SearchError::Nothing { global_batch: options.global_batch, gpus: sites.gpus() };
    let (degrees, solved) = best.ok_or(nothing)?;
    let iteration = solved.partition.iteration;
    Ok(Found {
        degrees,
        stages: stages(&solved),
        iteration,
        bound: open.min(iteration),
        candidates: all.len(),
        evaluated,
    })
}

/// The times of what was found, for a timeline of its schedule; `None` if it was found in another
/// inventory.
pub fn timing_of(
    inventory: &Inventory,
    shape: &ModelShape,
    options: &SearchOptions,
    found: &Found,
) -> Option<Timing> {
    let sites = Sites::new(inventory).ok()?;
    let pools: Vec<usize> = found.stages.iter().map(|stage| stage.pool).collect();
    let shape = shape.checked().ok()?;
    let total: usize = found.stages.iter().map(|stage| stage.layers).sum();
    let known = pools.iter().all(|&pool| pool < sites.sites().len());
    if !known || total != shape.layers as usize + 2 {
        return None;
    }
    let mut book = Book::new(&shape, &sites);
    let stages = chain(&sites, &mut book, found.degrees, &pools)?;
    let layers: Vec<usize> = found.stages.iter().map(|stage| stage.layers).collect();
    Some(timing(&stages, &layers, found.degrees.virtual_stages, options.bucket))
}

fn stages(solved: &Solved) -> Vec<FoundStage> {
    let cuts = solved.partition.cuts();
    let stage = |(index, &pool): (usize, &usize)| FoundStage {
        pool,
        first_layer: cuts[index],
        layers: cuts[index + 1] - cuts[index],
        memory: solved.costs.memory(index, cuts[index]..cuts[index + 1]),
    };
    solved.pools.iter().enumerate().map(stage).collect()
}
