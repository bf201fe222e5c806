//! Plans, as somebody made them.

use serde::{Deserialize, Serialize};

use crate::cluster::{printable, shown};
use crate::pipeline::model::MAX_LAYERS;

/// The only version of the format.
const FORMAT: &str = "onepath-plan/1";

/// The most GPUs that a plan may use.
const MAX_GPUS: u64 = 1 << 20;

/// Who computes what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `onepath-plan/1`.
    pub format: String,
    /// Samples of a micro-batch.
    pub micro_batch: u32,
    /// Samples of an iteration, over all replicas.
    pub global_batch: u64,
    /// The order of passes; 1F1B when missing.
    #[serde(default)]
    pub schedule: PlanSchedule,
    /// Usually one; more when pipelines are cut differently.
    pub pipelines: Vec<Pipeline>,
}

/// The order of passes. Both take as long; `GPipe` keeps the activations of all micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanSchedule {
    /// One forward, one backward: stage i of p keeps p − i micro-batches.
    #[default]
    #[serde(rename = "1f1b")]
    OneForwardOneBackward,
    /// All forward, then all backward.
    #[serde(rename = "gpipe")]
    GPipe,
}

/// Stages from first to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// At least one.
    pub stages: Vec<Stage>,
}

/// Layers, and who computes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Numbers of layers.
    pub layers: Vec<u32>,
    /// Data-parallel replicas; as many in every stage.
    pub replicas: Vec<Replica>,
}

/// One tensor-parallel group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// The kind of GPU, as the network table and the profiles name it.
    pub gpu: String,
    /// GPUs of one node.
    pub gpus_per_node: u32,
    /// GPUs of this replica.
    pub tensor_parallel: u32,
    /// The node among those of this kind of GPU; packed in order when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
}

/// Why a plan is refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not the expected JSON.
    #[error("not a plan: {}", printable(&.0.to_string(), 400))]
    Json(#[from] serde_json::Error),
    /// Another format or version.
    #[error("format is '{0}': it must be '{FORMAT}'")]
    Format(String),
    /// A count that must be positive.
    #[error("{field} of {place} is 0: it must be at least 1")]
    Zero {
        /// Which count.
        field: &'static str,
        /// Where.
        place: String,
    },
    /// A batch that cannot be dealt out.
    #[error("global_batch is {global}: it must be a multiple of {share}, micro_batch × replicas")]
    Batch {
        /// What was given.
        global: u64,
        /// Samples of one micro-batch of every replica.
        share: u64,
    },
    /// Stages with different numbers of replicas.
    #[error("stage {stage} of pipeline {pipeline} has {found} replicas: stage 0 has {first}")]
    Replicas {
        /// Which pipeline.
        pipeline: usize,
        /// Which stage.
        stage: usize,
        /// How many it has.
        found: usize,
        /// How many the first has.
        first: usize,
    },
    /// Too many layers.
    #[error("stage {stage} of pipeline {pipeline} has {found} layers: at most {MAX_LAYERS}")]
    Layers {
        /// Which pipeline.
        pipeline: usize,
        /// Which stage.
        stage: usize,
        /// How many it has.
        found: usize,
    },
    /// Too many GPUs.
    #[error("the plan uses {0} GPUs: at most {MAX_GPUS} are accepted")]
    Gpus(u64),
}

impl Plan {
    /// A plan of these parts, if they fit together.
    pub fn new(
        micro_batch: u32,
        global_batch: u64,
        pipelines: Vec<Pipeline>,
    ) -> Result<Self, PlanError> {
        let (format, schedule) = (FORMAT.to_owned(), PlanSchedule::default());
        Self { format, micro_batch, global_batch, schedule, pipelines }.checked()
    }

    /// Reads a plan.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text)?;
        plan.checked()
    }

    /// The plan as text that [`Plan::parse`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data has a JSON form")
    }

    fn checked(self) -> Result<Self, PlanError> {
        if self.format != FORMAT {
            return Err(PlanError::Format(shown(&self.format)));
        }
        let zero = |field, place: String| Err(PlanError::Zero { field, place });
        if self.micro_batch == 0 {
            return zero("micro_batch", "the plan".to_owned());
        }
        if self.pipelines.is_empty() {
            return zero("number of pipelines", "the plan".to_owned());
        }
        for (number, pipeline) in self.pipelines.iter().enumerate() {
            check_pipeline(number, pipeline)?;
        }
        let gpus = self.gpus();
        if gpus > MAX_GPUS {
            return Err(PlanError::Gpus(gpus));
        }
        let share = u64::from(self.micro_batch) * self.replicas() as u64;
        if self.global_batch == 0 || !self.global_batch.is_multiple_of(share) {
            return Err(PlanError::Batch { global: self.global_batch, share });
        }
        Ok(self)
    }

    /// Data-parallel replicas over all pipelines.
    pub fn replicas(&self) -> usize {
        self.pipelines.iter().map(|pipeline| pipeline.stages[0].replicas.len()).sum()
    }

    /// Micro-batches of one replica in an iteration.
    pub fn micro_batches(&self) -> u64 {
        self.global_batch / (u64::from(self.micro_batch) * self.replicas() as u64)
    }

    /// All GPUs.
    pub fn gpus(&self) -> u64 {
        let stages = self.pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        let replicas = stages.flat_map(|stage| &stage.replicas);
        replicas.map(|replica| u64::from(replica.tensor_parallel)).sum()
    }
}

fn check_pipeline(number: usize, pipeline: &Pipeline) -> Result<(), PlanError> {
    let zero = |field, place: String| Err(PlanError::Zero { field, place });
    let Some(first) = pipeline.stages.first().map(|stage| stage.replicas.len()) else {
        return zero("number of stages", format!("pipeline {number}"));
    };
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let place = || format!("stage {index} of pipeline {number}");
        if stage.layers.is_empty() {
            return zero("number of layers", place());
        }
        let found = stage.layers.len();
        if found > MAX_LAYERS {
            return Err(PlanError::Layers { pipeline: number, stage: index, found });
        }
        let found = stage.replicas.len();
        if found != first {
            return Err(PlanError::Replicas { pipeline: number, stage: index, found, first });
        }
        if found == 0 {
            return zero("number of replicas", place());
        }
        for replica in &stage.replicas {
            let counts = [
                ("gpus_per_node", replica.gpus_per_node),
                ("tensor_parallel", replica.tensor_parallel),
            ];
            if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
                return zero(field, place());
            }
        }
    }
    Ok(())
}
