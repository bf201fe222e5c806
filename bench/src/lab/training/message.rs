//! What the lab and a rank of a training run tell each other, a line of JSON each.

use onepath_collectives::pipeline::perceptron::Perceptron;
use serde::{Deserialize, Serialize};

use crate::lab::compare::world::Told;

/// A group that a rank is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupTask {
    pub(super) rank: usize,
    pub(super) ranks: usize,
    /// Where its first rank listens.
    pub(super) rendezvous: String,
    /// The interface of this rank's host on the group's network.
    pub(super) interface: String,
}

/// All that a rank needs to know, its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) model: Model,
    pub(super) virtual_stages: u32,
    pub(super) stages: u32,
    /// Layers of this rank's stages, first and behind the last.
    pub(super) layers: Vec<(usize, usize)>,
    pub(super) pipeline: GroupTask,
    pub(super) data: GroupTask,
    /// Gradients that are reduced at once, bytes.
    pub(super) bucket: u64,
    /// Iterations that are measured, after one that is not.
    pub(super) iterations: u64,
    /// Seconds after which a call may fail.
    pub(super) timeout_s: u64,
}

/// The model, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Model {
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) samples: usize,
    pub(super) micro_batches: u32,
    pub(super) replicas: u32,
    pub(super) seed: u64,
}

impl From<Model> for Perceptron {
    fn from(model: Model) -> Self {
        let Model { layers, width, samples, micro_batches, replicas, seed } = model;
        Self { layers, width, samples, micro_batches, replicas, seed }
    }
}

/// What a rank is told later: `Train` and `Go`, as often as it is measured, then `Leave`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Command {
    /// Train from the beginning.
    Train {
        /// Whether reductions and gathers overlap passes.
        overlap: bool,
    },
    /// Begin with the measured iterations.
    Go,
    /// Go away.
    Leave,
}

/// What a rank tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(super) enum Event {
    /// It is connected with the ranks of its groups.
    Joined,
    /// One iteration is done, which connections and caches needed.
    Warm,
    /// The measured iterations are done.
    Trained {
        /// When they began, in nanoseconds of a clock that all processes of a machine share.
        start_ns: u64,
        /// When they ended.
        end_ns: u64,
        /// The bits of each loss by iteration, that of the first one included, and micro-batch; of
        /// a rank with the last stage.
        losses: Vec<Vec<u32>>,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        problem: String,
    },
}

impl Told for Event {
    fn or_failure(self) -> Result<Self, String> {
        match self {
            Self::Failed { problem } => Err(problem),
            other => Ok(other),
        }
    }
}
