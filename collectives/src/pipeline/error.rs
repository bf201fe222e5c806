//! What goes wrong with a pipeline.

use onepath_topology::pipeline::schedule::{Action, SimulateError};

use crate::CollectiveError;

/// Why there is no pipeline, or why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// A transfer, a reduction or a gather.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// Another number of ranks in the schedule.
    #[error(
        "the schedule has {schedule} ranks, the pipeline's communicator {ranks}: as many would be \
         right"
    )]
    Ranks {
        /// Of the schedule.
        schedule: usize,
        /// Of the communicator.
        ranks: usize,
    },
    /// Another number of virtual stages.
    #[error("{given} stages were given where the schedule has {wanted} on each rank")]
    Stages {
        /// How many were given.
        given: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// A stage without layers, or with empty ones.
    #[error("stage {chunk}: {problem}")]
    Shape {
        /// Which of this rank's stages.
        chunk: usize,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// An action that a schedule cannot have.
    #[error("action {position} of rank {rank} ({action}): {problem}")]
    Action {
        /// Whose.
        rank: usize,
        /// Where.
        position: usize,
        /// Which.
        action: Action,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A schedule that does not end.
    #[error("the schedule: {0}")]
    Deadlock(#[from] SimulateError),
    /// A virtual stage that a micro-batch does not pass once forward and once backward.
    #[error("the schedule of rank {rank}: {passes} passes where {wanted} would be right")]
    Passes {
        /// Whose.
        rank: usize,
        /// What there is.
        passes: usize,
        /// Two for each micro-batch and virtual stage.
        wanted: usize,
    },
    /// Too many buckets.
    #[error(
        "a bucket of {bytes} bytes makes {buckets} of them: at most {most} are accepted, a larger \
         bucket would be right"
    )]
    Buckets {
        /// As it was asked for.
        bytes: u64,
        /// How many there would be.
        buckets: usize,
        /// How many there may be.
        most: usize,
    },
}
