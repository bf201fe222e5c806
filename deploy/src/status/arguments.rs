//! The command line of `status` as it is written.

use std::time::Duration;

use clap::Args;

use crate::arguments::Format;
use crate::connect::ClusterArguments;

/// How long changes are gathered before they are shown.
pub(super) const BURST: Duration = Duration::from_millis(300);

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Name of the job, as `launch --kubernetes` made it
    pub(super) job: String,
    /// Show it anew after each change, until it has ended
    #[arg(long)]
    pub(super) watch: bool,
    /// How the state is written
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}
