//! The command line as it is written; [`crate::job`] makes sense of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use onepath_collectives::{Algorithm, DataType, ReduceOp};

use crate::join::{EntropyChoice, TransportKind};
use crate::lab::LabArguments;
use crate::measure::{MAX_ITERATIONS, WARM_UP};
use crate::paths::PathsArguments;
use crate::sizes::parse_size;
use crate::verbs::VerbsArguments;

/// The most ranks that are started on one machine.
pub(crate) const MAX_RANKS: i64 = 256;

/// The subcommand of a process that is a rank of the lab.
pub(crate) const RANK_COMMAND: &str = "lab-rank";

/// The subcommand of a process that is a rank of a training run in the lab.
pub(crate) const STAGE_COMMAND: &str = "lab-stage";

/// Measures collectives between real ranks, checks every element, and prints a table.
///
/// Without a launcher's variables in the environment (torchrun, mpirun, srun), it starts the ranks
/// itself on this machine.
#[derive(Debug, Parser)]
#[command(name = "onepath-bench", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// A measurement between ranks.
    #[command(flatten)]
    Measure(Command),
    /// Which local ports take which path to other hosts, found by probes
    Paths(PathsArguments),
    /// Compares schemes on a leaf-spine fabric on this machine
    Lab(Box<LabArguments>),
    /// A rank of the lab, which starts it
    #[command(name = RANK_COMMAND, hide = true)]
    LabRank,
    /// A rank of a training run in the lab, which starts it
    #[command(name = STAGE_COMMAND, hide = true)]
    LabStage,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everybody gets the reduction of everybody's buffer
    Allreduce(AllReduceArguments),
    /// Each rank gets its part of the reduction
    Reducescatter(ReductionArguments),
    /// Everybody gets everybody's part
    Allgather(DataArguments),
    /// Everybody gets the root's buffer
    Broadcast(BroadcastArguments),
    /// The root gets the reduction
    Reduce(ReduceArguments),
    /// Everybody sends a part to everybody
    Alltoall(DataArguments),
    /// Everybody sends to the next rank and receives from the one before
    Sendrecv(DataArguments),
    /// Nobody goes on before everybody is there
    Barrier(CommonArguments),
    /// What the machine can do: the bytes of an all-reduce, moved by a bare loop
    Limits(LimitsArguments),
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As nccl-tests' users know it
    #[default]
    Table,
    /// One line a size and placement, with a line of names
    Csv,
    /// One document
    Json,
    /// Rows `onepath,ranks,bytes,iterations,median_us,p99_us`, in place, measured as the peers are
    Peers,
}

/// Options of every subcommand.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArguments {
    /// Ranks that are started on this machine [default: 2, or the launcher's]
    #[arg(long, value_parser = value_parser!(u32).range(1..=MAX_RANKS))]
    pub(crate) ranks: Option<u32>,
    /// How bytes travel: auto, tcp, local (shared memory), spray (datagrams) or verbs (RDMA)
    #[arg(long, env = "ONEPATH_TRANSPORT", default_value = "auto")]
    pub(crate) transport: TransportKind,
    /// TCP connections to each peer [default: the library's]
    #[arg(long, env = "ONEPATH_SUBFLOWS", value_parser = value_parser!(u16).range(1..=16))]
    pub(crate) subflows: Option<u16>,
    /// Source port of each datagram: per-subflow, round-robin, random, reps, burst or
    /// burst:PACKETS; with --transport spray [default: reps]
    #[arg(long, env = "ONEPATH_ENTROPY", value_name = "POLICY")]
    pub(crate) entropy: Option<EntropyChoice>,
    #[command(flatten)]
    pub(crate) verbs: VerbsArguments,
    /// Iterations that are timed [default: by time, or the peers' with --format peers]
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(MAX_ITERATIONS)))]
    pub(crate) iterations: Option<u32>,
    /// Iterations before those
    #[arg(long, default_value_t = WARM_UP, value_parser = value_parser!(u32).range(0..=10_000))]
    pub(crate) warmup: u32,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Seed of the checked data [default: random; it is printed]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seconds after which one call fails
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Accept ranks of other hosts without a job secret
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// Message sizes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SizeArguments {
    /// Sizes in bytes, as in 4,1024,64K,1M
    #[arg(long, value_delimiter = ',', value_parser = parse_size, value_name = "LIST",
          conflicts_with_all = ["min", "max", "factor"])]
    pub(crate) sizes: Vec<usize>,
    /// Smallest size [default: 4, or one element]
    #[arg(long, value_parser = parse_size)]
    pub(crate) min: Option<usize>,
    /// Largest size [default: 64M]
    #[arg(long, value_parser = parse_size)]
    pub(crate) max: Option<usize>,
    /// From one size to the next [default: 4]
    #[arg(long, value_parser = value_parser!(u32).range(2..=1024))]
    pub(crate) factor: Option<u32>,
}

/// Options of the subcommands that move data.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    /// ring, halving-doubling, direct, tree or one-shot [default: by the cost table]
    #[arg(long, env = "ONEPATH_ALGORITHM", value_name = "NAME")]
    pub(crate) algorithm: Option<Algorithm>,
    /// Cost table to choose the algorithm by: measure, model or a file [default: measure]
    #[arg(long, value_name = "FILE")]
    pub(crate) tuning: Option<PathBuf>,
    /// Write the cost table of this run to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) write_tuning: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sizes: SizeArguments,
    /// f32, f64, f16, bf16, i8, i32, i64, u8, u32 or u64
    #[arg(long = "type", value_name = "TYPE", default_value = "f32")]
    pub(crate) data_type: DataType,
    /// Only in place
    #[arg(long)]
    pub(crate) in_place_only: bool,
    /// Check every element before and after timing (the default)
    #[arg(long, overrides_with = "no_check")]
    pub(crate) check: bool,
    /// Check nothing
    #[arg(long, overrides_with = "check")]
    pub(crate) no_check: bool,
}

/// Options of the subcommands that reduce.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReductionArguments {
    #[command(flatten)]
    pub(crate) data: DataArguments,
    /// sum, prod, min, max or avg
    #[arg(long, default_value = "sum")]
    pub(crate) op: ReduceOp,
}

/// The root.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RootArguments {
    /// The root's rank
    #[arg(long, default_value_t = 0)]
    pub(crate) root: u32,
}

/// All-reduce.
#[derive(Clone, Debug, Args)]
pub(crate) struct AllReduceArguments {
    #[command(flatten)]
    pub(crate) reduction: ReductionArguments,
    /// All-reduces in flight at once, each of its part of the buffer
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=64))]
    pub(crate) channels: u16,
    /// Measure the machine's limit in turn with the all-reduce, and print the fraction reached
    #[arg(long)]
    pub(crate) limits: bool,
}

/// Broadcast.
#[derive(Clone, Debug, Args)]
pub(crate) struct BroadcastArguments {
    #[command(flatten)]
    pub(crate) data: DataArguments,
    #[command(flatten)]
    pub(crate) root: RootArguments,
}

/// Reduce.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReduceArguments {
    #[command(flatten)]
    pub(crate) reduction: ReductionArguments,
    #[command(flatten)]
    pub(crate) root: RootArguments,
}

/// Limits.
#[derive(Clone, Debug, Args)]
pub(crate) struct LimitsArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    pub(crate) sizes: SizeArguments,
}

/// What is wrong with a command line, in one line: the option, its value and what is right.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let line = parts.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn error(line: &str) -> String {
        let words = line.split_whitespace();
        one_line(&Arguments::try_parse_from(words).expect_err("the line is wrong"))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_error_is_one_line_with_option_value_and_what_is_right() {
        for (line, expected) in [
            ("b allreduce --algorithm rings", &["--algorithm", "rings", "halving-doubling"][..]),
            ("b allreduce --sizes 4,5x", &["--sizes", "5x", "64K"]),
            ("b allreduce --type f8", &["--type", "f8", "bf16"]),
            ("b allreduce --op mean", &["--op", "mean", "avg"]),
            ("b allreduce --ranks 0", &["--ranks", "0", "1..=256"]),
            ("b allreduce --transport udp", &["--transport", "udp", "local"]),
            ("b allreduce --entropy ecmp", &["--entropy", "ecmp", "round-robin"]),
            ("b allreduce --verbs-lanes 17", &["--verbs-lanes", "17", "1..=16"]),
            ("b allreduce --verbs-labels 1,x", &["--verbs-labels", "x", "0xfffff"]),
            ("b allreduce --verbs-spread ecm", &["--verbs-spread", "ecm", "spray"]),
            ("b allreduce --verbs-paths none", &["--verbs-paths", "none", "probe or a file"]),
            (
                "b allreduce --verbs-paths probe --verbs-labels 1",
                &["--verbs-paths", "--verbs-labels"],
            ),
            ("b allreduce --verbs-assign line", &["--verbs-paths"]),
            ("b allreduce --format xml", &["--format", "xml", "peers"]),
            ("b allreduce --factor 1", &["--factor", "1", "2..=1024"]),
            ("b allreduce --sizes 4 --min 4", &["--sizes", "--min"]),
            ("b allreduces", &["allreduces", "allreduce"]),
            ("b barrier --op sum", &["--op"]),
        ] {
            let message = error(line);
            assert!(!message.contains('\n'), "{message}");
            for part in expected {
                assert!(message.contains(part), "{line}: {message}");
            }
        }
    }
}
