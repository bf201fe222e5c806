//! The command line of `launch` as it is written.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum, value_parser};

use crate::connect::ClusterArguments;

/// The most ranks that are started on one machine.
pub(super) const MAX_RANKS: u32 = 1024;

/// Options of `launch`.
#[derive(Debug, Args)]
pub(crate) struct LaunchArguments {
    #[command(flatten)]
    pub(super) place: PlaceArguments,
    /// What `onepath plan --emit json` wrote
    #[arg(long, value_name = "PLAN.json")]
    pub(super) plan: Option<PathBuf>,
    /// Ranks, where neither plan nor hostfile says it
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(MAX_RANKS)),
          conflicts_with_all = ["plan", "hostfile", "kubernetes"])]
    pub(super) ranks: Option<u32>,
    /// One more variable of every rank
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub(super) variables: Vec<Variable>,
    /// Port where rank 0 listens [default: a free one with --local, else 29500]
    #[arg(long, value_parser = value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// Seconds between asking ranks to end (SIGTERM) and making them (SIGKILL)
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
          value_parser = value_parser!(u32).range(0..=3600))]
    pub(super) grace: u32,
    /// Pass lines on without the rank that wrote them
    #[arg(long, conflicts_with = "kubernetes")]
    pub(super) no_prefix: bool,
    /// Program and options that connect to a host, for --hostfile
    #[arg(long, value_name = "PROGRAM", default_value = "ssh",
          conflicts_with_all = ["local", "kubernetes"])]
    pub(super) ssh: String,
    /// Folder of the ranks [default: this one, or the image's]
    #[arg(long, value_name = "DIR", conflicts_with = "local")]
    pub(super) workdir: Option<String>,
    #[command(flatten, next_help_heading = "Options of --kubernetes")]
    pub(super) kubernetes: KubernetesArguments,
    /// What each rank runs, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

/// Where ranks are started.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct PlaceArguments {
    /// As processes of this machine
    #[arg(long)]
    pub(super) local: bool,
    /// On the hosts of a file, over ssh: lines `HOST slots=N` in the order of the ranks
    #[arg(long, value_name = "FILE")]
    pub(super) hostfile: Option<PathBuf>,
    /// As Indexed Jobs of a Kubernetes cluster, one for each stage of the plan
    #[arg(long, requires = "plan")]
    pub(super) kubernetes: bool,
}

/// Who places pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Scheduler {
    /// The default scheduler; where `onepath scheduler` runs, it steps in when pods stay pending
    #[default]
    Default,
    /// `onepath scheduler` alone, which may then also move them
    Onepath,
}

/// Options of `launch --kubernetes`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent")]
pub(super) struct KubernetesArguments {
    /// Name of the job [default: the plan's]
    #[arg(long, conflicts_with_all = ["local", "hostfile"])]
    pub(super) name: Option<String>,
    /// Container image; it must have /bin/sh
    #[arg(long, conflicts_with_all = ["local", "hostfile"])]
    pub(super) image: Option<String>,
    /// Print YAML for `kubectl create -f -`, with the job's secret; needs no cluster
    #[arg(long, conflicts_with_all = ["local", "hostfile", "dry_run", "kubeconfig", "context"])]
    pub(super) emit: bool,
    /// Have the server check everything and create nothing
    #[arg(long, conflicts_with_all = ["local", "hostfile"])]
    pub(super) dry_run: bool,
    /// Who places the pods
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["local", "hostfile"])]
    pub(super) scheduler: Scheduler,
    /// Hold pods back by a scheduling gate until `onepath scheduler` has room for all
    #[arg(long, conflicts_with_all = ["local", "hostfile"])]
    pub(super) gate: bool,
    /// Priority class of the pods
    #[arg(long, value_name = "NAME", conflicts_with_all = ["local", "hostfile"])]
    pub(super) priority_class: Option<String>,
    /// How the pods of one stage lie: together:LABEL, at-most:PODS:LABEL or none [default:
    /// together:network.topology.nvidia.com/leaf, but none where no node has that label]
    #[arg(long, value_name = "RULE", conflicts_with_all = ["local", "hostfile"])]
    pub(super) stage_rule: Option<String>,
    /// Ranks of a pod [default: the GPUs of a node]
    #[arg(long, value_name = "N", conflicts_with_all = ["local", "hostfile"],
          value_parser = value_parser!(u32).range(1..=i64::from(MAX_RANKS)))]
    pub(super) ranks_per_pod: Option<u32>,
    /// Resource that a rank takes one of, or none
    #[arg(long, value_name = "NAME", default_value = "nvidia.com/gpu",
          conflicts_with_all = ["local", "hostfile"])]
    pub(super) gpu_resource: String,
    /// Node label whose value must be the stage's GPU as the plan calls it
    #[arg(long, value_name = "LABEL", conflicts_with_all = ["local", "hostfile"])]
    pub(super) gpu_label: Option<String>,
    /// Label that nodes must have
    #[arg(long, value_name = "LABEL=VALUE", conflicts_with_all = ["local", "hostfile"])]
    pub(super) node_selector: Vec<Variable>,
    /// CPU of a pod, as in 16 or 500m
    #[arg(long, value_name = "QUANTITY", conflicts_with_all = ["local", "hostfile"])]
    pub(super) cpu: Option<String>,
    /// Memory of a pod, as in 64Gi
    #[arg(long, value_name = "QUANTITY", conflicts_with_all = ["local", "hostfile"])]
    pub(super) memory: Option<String>,
    /// Another resource of a pod, as in rdma/hca=1
    #[arg(long, value_name = "NAME=QUANTITY", conflicts_with_all = ["local", "hostfile"])]
    pub(super) resource: Vec<Variable>,
    /// Size of /dev/shm, which counts as memory [default: the container engine's]
    #[arg(long, value_name = "QUANTITY", conflicts_with_all = ["local", "hostfile"])]
    pub(super) shm: Option<String>,
    /// Use the network of the node, with the interfaces that the plan names
    #[arg(long, conflicts_with_all = ["local", "hostfile"])]
    pub(super) host_network: bool,
    /// How often a failed pod is started again; pods that were evicted always are
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=1000),
          conflicts_with_all = ["local", "hostfile"])]
    pub(super) restarts: u32,
    /// Seconds that the server may take for one answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = value_parser!(u32).range(1..=3600),
          conflicts_with_all = ["local", "hostfile"])]
    pub(super) request_timeout: u32,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

/// Two texts with `=` between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Before the first `=`; not empty.
    pub(super) name: String,
    /// After it.
    pub(super) value: String,
}

/// A text without `=`, or with nothing before it.
#[derive(Debug, thiserror::Error)]
#[error("NAME=VALUE would be right")]
pub(super) struct VariableError;

impl FromStr for Variable {
    type Err = VariableError;

    fn from_str(text: &str) -> Result<Self, VariableError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(VariableError),
        }
    }
}
