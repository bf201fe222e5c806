//! The command line of the lab as it is written.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, value_parser};

use super::compare::CompareArguments;
use super::fabric::FabricOptions;

/// Compares schemes on a fabric on this machine.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LabArguments {
    #[command(subcommand)]
    pub(crate) command: Option<LabCommand>,
    #[command(flatten)]
    pub(crate) compare: CompareArguments,
}

/// What the lab does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Builds a fabric, checks that it is what it claims to be, and takes it down
    Fabric(FabricArguments),
}

/// How the lab writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabFormat {
    /// For people
    #[default]
    Table,
    /// One line a result, with a line of names
    Csv,
    /// One document
    Json,
}

/// Options of `lab fabric`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FabricArguments {
    #[command(flatten)]
    pub(crate) options: FabricOptions,
    /// A TOML file with the options above as keys (with _ for -); options have the last word
    #[arg(long, value_name = "FILE")]
    pub(crate) fabric: Option<PathBuf>,
    /// Also change rates, swallow packets and spray, and check that each is seen on the links
    #[arg(long)]
    pub(crate) controls: bool,
    /// Then keep the fabric for so many seconds, and print how to enter it
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    pub(crate) hold: Option<u64>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: LabFormat,
}
