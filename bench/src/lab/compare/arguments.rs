//! The command line of `lab` as it is written.

use std::path::PathBuf;

use clap::Args;

use super::plan::RunOptions;
use crate::lab::arguments::LabFormat;
use crate::lab::fabric::FabricOptions;
use crate::lab::training::TrainingOptions;

/// Options of `lab` without a subcommand.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    pub(crate) fabric: FabricOptions,
    #[command(flatten)]
    pub(crate) run: RunOptions,
    /// A TOML file with fabric and runs; options of the fabric have the last word. Or what
    /// `onepath plan --emit json` writes: a small model is trained under that plan
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "collectives", "schemes", "conditions", "orders", "seeds", "bytes", "warm_ups"
    ])]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) training: TrainingOptions,
    /// Write a page of HTML with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// How the results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: LabFormat,
}
