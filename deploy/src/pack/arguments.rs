//! Options of `pack`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use onepath_pack::kubernetes::MovablePods;

use super::bench::{BackEndName, BenchArguments, ObjectiveName, duration};
use crate::arguments::Format;

/// What `pack` does: one of its tasks, or a placement.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct PackCommand {
    #[command(subcommand)]
    pub(crate) task: Option<PackTask>,
    #[command(flatten)]
    pub(crate) pack: PackArguments,
}

/// Tasks of `pack`.
#[derive(Debug, Subcommand)]
pub(crate) enum PackTask {
    /// Measures back ends on instances made from seeds
    Bench(BenchArguments),
    /// Checks a certificate against the objects that it is about
    Verify(VerifyArguments),
}

/// Which objects are placed, and how they are seen.
#[derive(Debug, Args)]
pub(crate) struct ObjectArguments {
    /// File of nodes, if they are not among the pods
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: Vec<PathBuf>,
    /// Which running pods may be moved; what `onepath scheduler` does is `controlled`
    #[arg(long, value_enum, default_value_t)]
    pub(crate) movable: MovableName,
    /// What onepath plan --emit json printed: worker pods of a pipeline stage are kept together
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// The label of nodes by which a stage is kept together [default: leaf, cluster, zone or
    /// region, the nearest that has room for each stage]
    #[arg(long, value_name = "LABEL", requires = "plan")]
    pub(crate) stage_label: Option<String>,
}

/// Options of `pack`.
#[derive(Debug, Args)]
pub(crate) struct PackArguments {
    /// Files of pods, or of Deployments, Jobs and others that make pods: YAML or JSON of
    /// Kubernetes; budgets, priority classes, pod groups, volumes and claims in them are heeded
    #[arg(value_name = "PODS", required_unless_present = "cluster")]
    pub(crate) pods: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) objects: ObjectArguments,
    /// Reads nodes, pods and what belongs to them from a cluster, and changes nothing there; pods
    /// of files are added to them
    #[arg(long)]
    pub(crate) cluster: bool,
    /// How to reach the cluster [default: KUBECONFIG, ~/.kube/config, or the pod's own account]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub(crate) context: Option<String>,
    /// What counts as better
    #[arg(long, value_enum, default_value_t)]
    pub(crate) objective: ObjectiveName,
    /// How long solving may take, in s or ms; Ctrl-C ends it sooner with the best so far
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) budget: Duration,
    /// Who solves
    #[arg(long, value_enum, default_value = "search", value_name = "NAME")]
    pub(crate) back_end: BackEndName,
    /// libortools.so, or the folder that it is in [default: that of the Python package]
    #[arg(long, env = "ONEPATH_ORTOOLS", value_name = "PATH")]
    pub(crate) ortools: Option<PathBuf>,
    /// Of whatever is random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Writes the placement with the proofs of its bounds, for onepath pack verify
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// A picture of the nodes now, by the default scheduler and by onepath
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Options of `pack verify`; those that say which problem it is must be as they were.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// What --certificate wrote
    pub(crate) certificate: PathBuf,
    /// The same files of pods
    #[arg(value_name = "PODS", required = true)]
    pub(crate) pods: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) objects: ObjectArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Which running pods may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MovableName {
    /// All that have a controller to make them anew: what could be
    #[default]
    Owned,
    /// Those made for onepath's scheduler or with its gate; others that have a controller may only
    /// be evicted for more urgent ones
    Controlled,
}

impl From<MovableName> for MovablePods {
    fn from(name: MovableName) -> Self {
        match name {
            MovableName::Owned => Self::Owned,
            MovableName::Controlled => Self::Controlled,
        }
    }
}
