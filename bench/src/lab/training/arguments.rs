//! What may be said about the run of a plan.

use clap::{Args, value_parser};

/// Options of `lab --plan FILE` where the file is what `onepath plan --emit json` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Of a plan of a job")]
pub(crate) struct TrainingOptions {
    /// All rates of the plan are divided by this, 1 to 1000000000 [default: 4000]
    #[arg(long, requires = "plan", value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) slowdown: Option<u64>,
    /// Numbers between two layers for each sample, 1 to 4096 [default: 256]
    #[arg(long, requires = "plan", value_parser = value_parser!(u64).range(1..=4096))]
    pub(crate) width: Option<u64>,
    /// Samples of a micro-batch, 1 to 4096 [default: 8]
    #[arg(long, requires = "plan", value_parser = value_parser!(u64).range(1..=4096))]
    pub(crate) samples: Option<u64>,
    /// Iterations that are measured, 1 to 1000 [default: 3]
    #[arg(long, requires = "plan", value_parser = value_parser!(u64).range(1..=1000))]
    pub(crate) iterations: Option<u64>,
}
