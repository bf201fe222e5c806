//! What is to be measured, after everything on the command line has been checked.

use std::path::PathBuf;
use std::time::Duration;

use onepath_collectives::{Algorithm, DataType, ReduceOp};
use onepath_topology::{Rank, WorldSize};
use onepath_transport::verbs::transport::{VerbsOptionError, VerbsOptions};

use crate::arguments::{
    AllReduceArguments, BroadcastArguments, Command, CommonArguments, DataArguments, Format,
    LimitsArguments, ReduceArguments, ReductionArguments, SizeArguments,
};
use crate::collective::{Collective, Place};
use crate::join::{EntropyChoice, TransportKind};
use crate::measure::Slowest;
use crate::sizes::{self, SizeError};
use crate::verbs::{Buffers, KnownPaths};

/// Smallest and largest size and the factor between sizes, if nothing is said.
const DEFAULT_RANGE: (usize, usize, usize) = (4, 64 << 20, 4);

/// Ranks that are started, if nothing is said.
const DEFAULT_RANKS: u32 = 2;

/// Options that do not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    /// The sizes.
    #[error(transparent)]
    Sizes(#[from] SizeError),
    /// The root is none of the ranks.
    #[error("--root {root} is not a rank: with {world} ranks it must be below {world}")]
    Root {
        /// The root.
        root: u32,
        /// The ranks.
        world: WorldSize,
    },
    /// `--format peers` of something else than an all-reduce.
    #[error("--format peers is for allreduce, not for {0}: use table, csv or json")]
    PeersFormat(&'static str),
    /// `--format peers` has no place for limits.
    #[error(
        "--limits does not go with --format peers, whose rows are fixed: use table, csv or json"
    )]
    PeersLimits,
    /// In place what cannot be.
    #[error("--in-place-only does not go with {0}, which always has separate buffers")]
    InPlace(&'static str),
    /// Options of RDMA.
    #[error("--transport verbs: {0}")]
    Verbs(#[from] VerbsOptionError),
    /// Nobody to send to.
    #[error("sendrecv needs --ranks 2 or more, not {0}")]
    Alone(WorldSize),
    /// A single rank moves nothing.
    #[error("the limits need --ranks 2 or more, not {0}: a single rank moves nothing")]
    NoLimits(WorldSize),
    /// The launcher's world is not what was asked for.
    #[error("--ranks {asked} is not what the launcher started, {started} ranks: leave it out")]
    Ranks {
        /// `--ranks`.
        asked: u32,
        /// What the launcher says.
        started: WorldSize,
    },
}

/// What the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A collective.
    Measure(Collective),
    /// The limits alone.
    Limits,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) world: WorldSize,
    pub(crate) transport: TransportKind,
    pub(crate) subflows: Option<u16>,
    pub(crate) entropy: Option<EntropyChoice>,
    pub(crate) verbs: VerbsOptions,
    /// Paths that the labels of its queue pairs take, if they are to be known.
    pub(crate) paths: Option<KnownPaths>,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) tuning: Option<PathBuf>,
    pub(crate) write_tuning: Option<PathBuf>,
    pub(crate) channels: usize,
    pub(crate) limits: bool,
    /// Counts of elements, as [`Collective::count`] makes them of the sizes.
    pub(crate) counts: Vec<usize>,
    pub(crate) data_type: DataType,
    pub(crate) op: ReduceOp,
    pub(crate) root: Rank,
    pub(crate) places: Vec<Place>,
    pub(crate) buffers: Buffers,
    pub(crate) check: bool,
    pub(crate) iterations: Option<u32>,
    pub(crate) warm_up: u32,
    pub(crate) format: Format,
    pub(crate) seed: Option<u64>,
    pub(crate) timeout: Duration,
    pub(crate) insecure: bool,
}

/// The options of a subcommand, whichever it has.
#[derive(Clone, Debug)]
struct Parts {
    work: Work,
    common: CommonArguments,
    data: Option<DataArguments>,
    sizes: Option<SizeArguments>,
    op: ReduceOp,
    root: u32,
    channels: u16,
    limits: bool,
}

impl Parts {
    fn new(work: Work, common: CommonArguments) -> Self {
        let (data, sizes, op) = (None, None, ReduceOp::Sum);
        Self { work, common, data, sizes, op, root: 0, channels: 1, limits: false }
    }

    fn moving(collective: Collective, data: DataArguments) -> Self {
        let (common, sizes) = (data.common.clone(), Some(data.sizes.clone()));
        Self { data: Some(data), sizes, ..Self::new(Work::Measure(collective), common) }
    }

    fn reducing(collective: Collective, reduction: ReductionArguments) -> Self {
        Self { op: reduction.op, ..Self::moving(collective, reduction.data) }
    }

    fn of(command: Command) -> Self {
        match command {
            Command::Allreduce(AllReduceArguments { reduction, channels, limits }) => {
                Self { channels, limits, ..Self::reducing(Collective::AllReduce, reduction) }
            }
            Command::Reducescatter(reduction) => {
                Self::reducing(Collective::ReduceScatter, reduction)
            }
            Command::Allgather(data) => Self::moving(Collective::AllGather, data),
            Command::Broadcast(BroadcastArguments { data, root }) => {
                Self { root: root.root, ..Self::moving(Collective::Broadcast, data) }
            }
            Command::Reduce(ReduceArguments { reduction, root }) => {
                Self { root: root.root, ..Self::reducing(Collective::Reduce, reduction) }
            }
            Command::Alltoall(data) => Self::moving(Collective::AllToAll, data),
            Command::Sendrecv(data) => Self::moving(Collective::SendReceive, data),
            Command::Barrier(common) => Self::new(Work::Measure(Collective::Barrier), common),
            Command::Limits(LimitsArguments { common, sizes }) => {
                Self { sizes: Some(sizes), ..Self::new(Work::Limits, common) }
            }
        }
    }
}

impl Job {
    /// Checks what was asked for, for the world that a launcher started, or the one to be started.
    pub(crate) fn new(command: Command, started: Option<WorldSize>) -> Result<Self, JobError> {
        let parts = Parts::of(command);
        let world = world(parts.common.ranks, started)?;
        let root = Rank::new(parts.root);
        if !world.contains(root) {
            return Err(JobError::Root { root: parts.root, world });
        }
        let data = parts.data.as_ref();
        let data_type = data.map_or(DataType::F32, |data| data.data_type);
        let format = parts.common.format;
        let job = Self {
            world,
            root,
            counts: parts.counts(data_type, world)?,
            places: parts.places(format)?,
            data_type,
            work: parts.work,
            transport: parts.common.transport,
            subflows: parts.common.subflows,
            entropy: parts.common.entropy,
            verbs: parts.common.verbs.options(),
            paths: parts.common.verbs.paths(),
            algorithm: data.and_then(|data| data.algorithm),
            tuning: data.and_then(|data| data.tuning.clone()),
            write_tuning: data.and_then(|data| data.write_tuning.clone()),
            channels: usize::from(parts.channels),
            limits: parts.limits,
            op: parts.op,
            buffers: parts.common.verbs.buffers(),
            check: !data.is_some_and(|data| data.no_check),
            iterations: parts.common.iterations,
            warm_up: parts.common.warmup,
            format,
            seed: parts.common.seed,
            timeout: Duration::from_secs(parts.common.timeout),
            insecure: parts.common.insecure,
        };
        job.fits()
    }

    fn fits(self) -> Result<Self, JobError> {
        self.verbs.check()?;
        if self.format == Format::Peers {
            match self.work {
                Work::Measure(Collective::AllReduce) if self.limits => {
                    return Err(JobError::PeersLimits);
                }
                Work::Measure(Collective::AllReduce) => {}
                work => return Err(JobError::PeersFormat(work.name())),
            }
        }
        if self.work == Work::Measure(Collective::SendReceive) && self.world.get() < 2 {
            return Err(JobError::Alone(self.world));
        }
        if (self.limits || self.work == Work::Limits) && self.world.get() < 2 {
            return Err(JobError::NoLimits(self.world));
        }
        Ok(self)
    }

    /// How the slowest rank's times are found.
    pub(crate) fn slowest(&self) -> Slowest {
        if self.format == Format::Peers { Slowest::EachTime } else { Slowest::AtTheEnd }
    }
}

impl Work {
    /// The subcommand's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Measure(collective) => collective.name(),
            Self::Limits => "limits",
        }
    }
}

fn world(asked: Option<u32>, started: Option<WorldSize>) -> Result<WorldSize, JobError> {
    match (asked, started) {
        (Some(asked), Some(started)) if u32::from(started) != asked => {
            Err(JobError::Ranks { asked, started })
        }
        (_, Some(started)) => Ok(started),
        (asked, None) => Ok(WorldSize::new(u64::from(asked.unwrap_or(DEFAULT_RANKS)))
            .expect("the command line was checked to have from 1 to 256 ranks")),
    }
}

impl Parts {
    fn counts(&self, data_type: DataType, world: WorldSize) -> Result<Vec<usize>, JobError> {
        let Some(sizes) = &self.sizes else { return Ok(vec![0]) };
        let element = data_type.size();
        let (min, max, factor) = DEFAULT_RANGE;
        let list = if sizes.sizes.is_empty() {
            let min = sizes.min.unwrap_or(min.max(element).min(sizes.max.unwrap_or(max)));
            let factor = sizes.factor.map_or(factor, |factor| factor as usize);
            sizes::range(min, sizes.max.unwrap_or(max.max(min)), factor)?
        } else {
            sizes.sizes.clone()
        };
        sizes::check(&list, data_type.name(), element)?;
        let count = |size: &usize| match self.work {
            Work::Measure(collective) => collective.count(*size, element, world),
            Work::Limits => size / element,
        };
        let mut counts: Vec<usize> = list.iter().map(count).collect();
        // Small sizes of many parts become the same count.
        counts.dedup();
        Ok(counts)
    }

    fn places(&self, format: Format) -> Result<Vec<Place>, JobError> {
        let Work::Measure(collective) = self.work else { return Ok(Vec::new()) };
        let asked = self.data.as_ref().is_some_and(|data| data.in_place_only);
        if asked && !collective.in_place() {
            return Err(JobError::InPlace(collective.name()));
        }
        let only_in_place = asked || format == Format::Peers;
        let mut places = Vec::new();
        if !only_in_place {
            places.push(Place::Out);
        }
        if collective.in_place() {
            places.push(Place::In);
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Task};

    fn job(line: &str, started: Option<u64>) -> Result<Job, JobError> {
        let words = std::iter::once("onepath-bench").chain(line.split_whitespace());
        let arguments = Arguments::try_parse_from(words).expect("a command line of a test");
        let Task::Measure(command) = arguments.task else { panic!("'{line}' measures nothing") };
        Job::new(command, started.map(|n| WorldSize::new(n).expect("a world size")))
    }

    #[test]
    fn the_default_is_from_4_bytes_to_64_mebibytes_of_f32_in_both_placements() {
        let job = job("allreduce --ranks 4", None).expect("the defaults are right");
        assert_eq!(job.counts.first(), Some(&1));
        assert_eq!(job.counts.last(), Some(&(16 << 20)));
        assert_eq!(job.counts.len(), 13);
        assert_eq!(job.places, [Place::Out, Place::In]);
        assert!(job.check);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_in_one_line() {
        for (line, part) in [
            ("broadcast --ranks 2 --root 2", "--root 2"),
            ("allgather --format peers", "--format peers"),
            ("allreduce --format peers --limits", "--limits"),
            ("alltoall --in-place-only", "--in-place-only"),
            ("sendrecv --ranks 1", "--ranks 2"),
            ("allreduce --sizes 6", "size 6"),
            ("allreduce --verbs-spread ecmp --verbs-lanes 2", "say 1"),
            ("allreduce --verbs-labels 3,3", "twice"),
            ("allreduce --verbs-labels 3 --verbs-lanes 2", "2 lanes"),
            ("allreduce --min 1M --max 1K", "--min 1M"),
        ] {
            let message = job(line, None).expect_err(line).to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{line}: {message}");
        }
    }

    #[test]
    fn a_launcher_s_world_counts_and_must_be_the_one_that_is_asked_for() {
        assert_eq!(job("allreduce", Some(3)).map(|job| job.world.get()), Ok(3));
        assert_eq!(job("allreduce --ranks 3", Some(3)).map(|job| job.world.get()), Ok(3));
        let message = job("allreduce --ranks 4", Some(3)).expect_err("4 are not 3").to_string();
        assert!(message.contains("--ranks 4") && message.contains('3'), "{message}");
    }

    #[test]
    fn sizes_of_large_elements_and_many_parts_make_no_row_twice() {
        let wide = job("allreduce --type f64", None).expect("the defaults fit f64");
        assert_eq!(wide.counts.first(), Some(&1));
        let parts = job("allgather --ranks 4 --sizes 4,16,64", None).expect("sizes are right");
        assert_eq!(parts.counts, [1, 4]);
    }

    #[test]
    fn the_peers_format_is_in_place_alone() {
        let job = job("allreduce --format peers", None).expect("allreduce has peers");
        assert_eq!(job.places, [Place::In]);
        assert_eq!(job.slowest(), Slowest::EachTime);
    }
}
