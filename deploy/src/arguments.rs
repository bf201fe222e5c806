//! The command line as it is written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::launch::LaunchArguments;
use crate::pack::arguments::PackCommand;
use crate::status::StatusArguments;

/// Plans training jobs on clusters of clusters, and starts them.
#[derive(Debug, Parser)]
#[command(name = "onepath", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Decides which rank does what, and explains it
    Plan(PlanCommand),
    /// In a Kubernetes cluster, places pods that the default scheduler leaves pending
    Scheduler(SchedulerArguments),
    /// Prints this node's GPUs and NICs as an entry of an inventory file
    Detect(DetectArguments),
    /// Starts the ranks of a job: on this machine, on hosts, in a Kubernetes cluster
    Launch(Box<LaunchArguments>),
    /// Cleans up after a launcher that was killed, which starts it
    #[command(hide = true)]
    LaunchWarden {
        /// Folder that is removed in the end
        folder: PathBuf,
    },
    /// Shows what the ranks and pods of a job in a Kubernetes cluster do
    Status(StatusArguments),
    /// Places pods on nodes, by priority, gangs all or none
    Pack(Box<PackCommand>),
}

/// In which form a table is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One document
    Json,
    /// One line a group, with a line of names
    Csv,
}

/// What is written instead of the explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// The plan as one document
    Json,
    /// Arguments of Megatron-LM
    Megatron,
    /// Networks of Megatron-LM's communicators, for --nccl-communicator-config-path
    Nccl,
    /// A shell script with torchrun's environment of each node, to be sourced there
    Torchrun,
    /// Hosts in the order of their ranks, for mpirun and `DeepSpeed`
    Hostfile,
    /// Host and slot of each rank, for mpirun
    Rankfile,
    /// A picture: clusters, stages, groups, links, timeline
    Html,
}

/// What `plan` does: one of its tasks, or a plan.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct PlanCommand {
    #[command(subcommand)]
    pub(crate) task: Option<PlanTask>,
    #[command(flatten)]
    pub(crate) plan: PlanArguments,
}

/// What is done with plans of others.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanTask {
    /// Predicts iteration, reduction and memory of a plan that somebody else made
    Evaluate(EvaluateArguments),
    /// Converts Sailor's plans, profiles and network to what `evaluate` reads
    ConvertSailor(ConvertArguments),
}

/// Options of `plan evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// The plan: JSON in our format or in Sailor's
    pub(crate) plan: PathBuf,
    /// Folder of layer profiles: `[GPU/]mbsB_tmpT.json`
    #[arg(long, value_name = "DIR")]
    pub(crate) profiles: PathBuf,
    /// Bandwidth by message size, within and between nodes
    #[arg(long, value_name = "FILE")]
    pub(crate) network: PathBuf,
    /// How the prediction is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Options of `plan convert-sailor`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// Folder with measured/, profiles/ and `network_coefficients.json`
    pub(crate) folder: PathBuf,
    /// Folder that is made; it must not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Inventory file with the tables model and training
    #[arg(required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Slurm's topology.yaml, which orders hosts and names them for `hosts_from`
    #[arg(long, value_name = "FILE", conflicts_with = "kubernetes")]
    pub(crate) slurm: Option<PathBuf>,
    /// Which of its topologies [default: the default one]
    #[arg(long, value_name = "NAME", requires = "slurm")]
    pub(crate) topology: Option<String>,
    /// What kubectl get nodes -o json prints, for the same
    #[arg(long, value_name = "FILE")]
    pub(crate) kubernetes: Option<PathBuf>,
    /// What is written instead of the explanation
    #[arg(long, value_enum, conflicts_with = "format")]
    pub(crate) emit: Option<Emit>,
    /// How the explanation is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Options of `detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArguments {
    /// Folder with the node's sys and proc
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// Name of the node [default: the kernel's]
    #[arg(long)]
    pub(crate) host: Option<String>,
}

/// Options of `scheduler`. The cluster is that of KUBECONFIG, or the one that it runs in.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArguments {
    /// Seconds that a pod stays unschedulable before it is stepped in
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) patience: f64,
    /// Seconds to look for a better placement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) budget: f64,
    /// Seconds for a second try when the first found none and proved nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) long_budget: f64,
    /// Seconds: a pod whose terminationGracePeriodSeconds is more is never evicted or moved, since
    /// nodes would be reserved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    pub(crate) max_grace: f64,
    /// Prints plans and touches nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Ends after one plan, or when there is nothing to do
    #[arg(long)]
    pub(crate) once: bool,
    /// Namespace of its lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "onepath-system")]
    pub(crate) namespace: String,
    /// Who it is among its replicas [default: host and a random number]
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// spec.schedulerName of the pods that it always binds
    #[arg(long, default_value = "onepath")]
    pub(crate) name: String,
    /// Of whatever is random in looking for placements
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Seconds that reserved nodes are left alone; tests that act in that time need more
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, hide = true)]
    pub(crate) settle: f64,
}
